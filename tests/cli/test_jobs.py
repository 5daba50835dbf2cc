"""Commands that run stages: their options, before anything is started."""

from __future__ import annotations

from datetime import date

import pytest

from profiling_spark.cli.main import main, program
from profiling_spark.cli.options import Given


@pytest.mark.parametrize(
    "arguments",
    [
        ["--from", "2026-01-01"],
        ["--to", "2026-01-01"],
        ["--from", "2026-01-02", "--to", "2026-01-01"],
        ["--from", "2026-01-01", "--to", "2026-01-02", "--as-of", "2026-01-02"],
        ["--as-of", "yesterday"],
        ["--stale", "--as-of", "2026-01-02"],
        ["--stale", "--refit"],
        ["--from", "2026-01-01", "--to", "2026-01-02", "--refit"],
    ],
)
def test_dates_that_contradict_each_other_are_refused(arguments, capsys):
    assert main(["build_features", *arguments]) == 2
    assert "--from" in (shown := capsys.readouterr().err) or "--as-of" in shown


def test_build_features_takes_the_refit_of_the_fit_that_follows(monkeypatch):
    asked = []

    class Recorded:
        def run(self, *stages, **options):
            asked.append((stages, options))

    monkeypatch.setattr("profiling_spark.cli.execute.execute", lambda given, act: act(Recorded()) or 0)
    assert main(["build_features", "--as-of", "2026-01-02", "--refit"]) == 0
    assert asked == [(("build_features",), {"as_of": date(2026, 1, 2), "refit": True})]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["ingest", "--from", "2026-01-01"], "No such option '--from'"),
        (["ingest", "--replay", "last", "--reload", "log"], "--replay and --reload contradict each other"),
        (["run", "--only", "ingest", "--from", "ingest"], "--only and --from contradict each other"),
        (["run", "--only", "ingest", "--skip", "ingest"], "leave no stage"),
        (["run", "--quiet", "--verbose"], "contradict"),
        (["ingset"], "Did you mean ingest?"),
        (["run_pipelin"], "Did you mean run_pipeline?"),
    ],
)
def test_a_wrong_command_line_starts_nothing(arguments, expected, capsys):
    assert main(arguments) == 2
    assert expected in capsys.readouterr().err


def test_the_command_line_of_another_run_is_as_it_was_typed(monkeypatch):
    given = Given(config=("my shop.yaml",), overrides=("storage.root=lake",))
    line = "ingest --config 'my shop.yaml' --set storage.root=lake --replay r1"
    assert given.line(program(), "ingest", "--replay", "r1") == f"profiling-spark {line}"
    monkeypatch.setenv("PROFILING_SPARK_PROGRAM", "scripts/submit.sh")
    assert given.line(program(), "ingest", "--replay", "r1") == f"scripts/submit.sh {line}"
