"""A run of hand-made stages: what job_runs, the result, the terminal and the exit code say of how it ended."""

from __future__ import annotations

import json
from datetime import date

import pytest

from profiling_spark import runner, session
from profiling_spark.cli import execute
from profiling_spark.cli.main import main
from profiling_spark.config import Settings
from profiling_spark.config.load import read_settings
from profiling_spark.context import Outcome, Step
from profiling_spark.contracts.operations import JOB_RUNS
from profiling_spark.errors import ConfigError, QualityError, StorageError
from profiling_spark.job_runs import RunResult
from profiling_spark.progress import Progress
from profiling_spark.runner import run_steps
from profiling_spark.storage import Tables, locked

AS_OF = date(2026, 7, 1)


@pytest.fixture
def settings(tmp_path):
    return Settings.model_validate({"storage": {"root": str(tmp_path / "lake")}})


def recorded(spark, settings: Settings) -> list[tuple[str, str, str | None]]:
    """(job, status, error) of all runs, in order."""
    rows = Tables(spark, settings.storage.root, run_id="reader").rows(JOB_RUNS).sort("started_at", "run_id", "job")
    return rows.select("job", "status", "error").rows()


def fine(ctx) -> Outcome:
    return Outcome(rows_in=3, rows_out=2, rows_rejected=1)


def thin(ctx) -> Outcome:
    return Outcome(skipped="too few customers")


def partial(ctx) -> Outcome:
    return Outcome(rows_out=2, problem="b.csv: is not whole gzip")


def refused(ctx) -> Outcome:
    raise QualityError("share of refused rows 0.4, at most 0.1")


def killed(ctx) -> Outcome:
    raise KeyboardInterrupt


def test_a_run_of_several_stages_has_a_row_for_each_and_one_for_the_whole(spark, settings):
    result = run_steps(spark, settings, [Step("a", fine), Step("b", thin)], job="night", as_of=AS_OF)
    assert [(n, s.status, s.error) for n, s in result.stages.items()] == [
        ("night", "done", None),
        ("a", "done", None),
        ("b", "skipped", "too few customers"),
    ]
    assert sorted(recorded(spark, settings)) == [
        ("a", "done", None),
        ("b", "skipped", "too few customers"),
        ("night", "done", None),
    ]
    assert (result.as_of, result.problems, result.exit_code) == (AS_OF, (), 0)
    found = result.as_json()
    assert (found["job"], found["status"], found["as_of"]) == ("night", "done", AS_OF)
    assert (found["stages"]["a"]["rows_in"], found["stages"]["b"]["skipped"]) == (3, "too few customers")


def test_a_failed_stage_ends_the_run_and_the_others_are_not_begun(spark, settings):
    with pytest.raises(QualityError, match=r"0\.4"):
        run_steps(spark, settings, [Step("a", refused), Step("b", fine)], job="night")
    why = "share of refused rows 0.4, at most 0.1"
    assert sorted(recorded(spark, settings)) == [
        ("a", "failed", why),
        ("b", "skipped", "an earlier stage failed"),
        ("night", "failed", why),
    ]


def test_what_a_stage_finds_wrong_with_settings_shows_no_value_of_the_environment(spark, settings):
    over = f"storage.root={settings.storage.root}", "ingest.keep.events=${COLUMN}"
    given = read_settings([], over, {"COLUMN": "event_time"}).settings

    def wrong(ctx):
        raise ConfigError(f"ingest.keep.events = {ctx.settings.ingest.keep['events']!r}: there is no such column")

    with pytest.raises(ConfigError, match=r"^ingest\.keep\.events = '\$\{COLUMN\}': there is no such column$"):
        run_steps(spark, given, [Step("a", wrong)], job="a")
    assert "event_time" not in str(recorded(spark, settings))


def test_a_run_that_died_is_marked_lost_by_the_next(spark, settings):
    class RecordingProgress(Progress):
        notes: list[str] = []

        def note(self, text):
            self.notes.append(text)

    with pytest.raises(KeyboardInterrupt):
        run_steps(spark, settings, [Step("a", killed)], job="a")
    assert recorded(spark, settings) == [("a", "running", None)]
    run_steps(spark, settings, [Step("b", fine)], job="b", progress=RecordingProgress())
    assert sorted(recorded(spark, settings)) == [("a", "lost", None), ("b", "done", None)]
    assert len(RecordingProgress.notes) == 1
    assert "now marked lost" in RecordingProgress.notes[0]


def test_two_runs_do_not_write_to_one_storage(spark, settings):
    with locked(settings.storage.root), pytest.raises(StorageError, match="another run is writing here"):
        run_steps(spark, settings, [Step("a", fine)], job="a")
    assert recorded(spark, settings) == []
    run_steps(spark, settings, [Step("a", fine)], job="a")  # the lock is given back


def test_sql_that_cannot_be_used_is_refused_before_the_first_stage(spark, settings):
    tag = {"name_en": "A", "name_zh": "甲", "when": "monetry > 5", "reason": "r"}
    broken = settings.model_copy(update={"profile": Settings.model_validate({"profile": {"tags": {"a": tag}}}).profile})
    with pytest.raises(ConfigError, match=r"profile\.tags\.a"):
        run_steps(spark, broken, [Step("a", fine)], job="a")
    assert recorded(spark, settings) == []


@pytest.fixture
def command(spark, settings, monkeypatch):
    """The command `ingest` with a stage of the test's in the session of the tests; returns its exit code."""
    monkeypatch.setattr(execute, "start", lambda _: None)
    monkeypatch.setattr(session, "begin_session", lambda *_, **__: lambda: spark)
    monkeypatch.setattr(runner, "begin_session", lambda *_, **__: lambda: spark)
    monkeypatch.setattr(type(spark), "stop", lambda _: None)

    def run(stage, *options: str) -> int:
        def act(self, *stages: str, **values: object) -> RunResult:
            return self._run([Step("ingest", stage)])

        from profiling_spark.pipeline import Pipeline

        monkeypatch.setattr(Pipeline, "run", act)
        return main(["ingest", "--set", f"storage.root={settings.storage.root}", *options])

    return run


@pytest.mark.parametrize(("stage", "code"), [(fine, 0), (thin, 0), (partial, 4), (refused, 5)])
def test_the_exit_code_says_how_it_ended(command, capsys, stage, code):
    assert command(stage, "--json", "--quiet") == code
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    if stage is refused:
        assert (found["status"], found["exit_code"]) == ("failed", 5)
        assert shown.err == "error: share of refused rows 0.4, at most 0.1\n"
    else:
        assert found["stages"]["ingest"]["status"] == ("skipped" if stage is thin else "done")
        assert shown.err == ("error: b.csv: is not whole gzip\n" if stage is partial else "")


def test_what_to_type_next_is_shown_where_rows_were_refused(command, capsys, settings):
    assert command(fine) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].split()[:4] == ["ingest", "done", "2", "rows"]
    typed = f"profiling-spark ingest --set storage.root={settings.storage.root} --replay "
    assert typed in lines[-1]


def test_an_unexpected_error_is_named_without_its_text(command, capsys):
    def broken(ctx):
        raise KeyError("Wei Zhang")

    assert command(broken) == 1
    shown = capsys.readouterr().err
    assert "unexpected KeyError" in shown
    assert "run again with --verbose" in shown
    assert "Wei" not in shown


def test_faults_of_the_settings_are_all_shown_and_nothing_is_started(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(execute, "start", lambda _: pytest.fail("started"))
    log = tmp_path / "run.log"
    wrong = ["--set", "buckets=0", "--set", "segments.k_min=9", "--set", "segments.k_max=4"]
    assert main(["run", *wrong, "--log", str(log)]) == 2
    (line,) = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert (line["level"], line["exit_code"]) == ("ERROR", 2)
    shown = capsys.readouterr().err
    assert "buckets" in shown
    assert "k_max" in shown


def test_an_interrupted_command_says_that_the_next_run_clears_up(monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(execute, "start", interrupted)
    assert main(["ingest"]) == 130
    assert "the next run clears up" in capsys.readouterr().err
