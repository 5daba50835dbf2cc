"""Stages called from Python in a session of the caller's, and what the commands that look say of that lake."""

from __future__ import annotations

import json
from contextlib import nullcontext
from datetime import date
from pathlib import Path

import pytest
import yaml
from ingest_shop import BAD, GOOD, HEADER, settings

from profiling_spark import log
from profiling_spark.cli.main import main
from profiling_spark.config import Settings
from profiling_spark.errors import ConfigError, EnvironmentProblem, InputError
from profiling_spark.overview.sample import samples
from profiling_spark.pipeline import Pipeline
from profiling_spark.progress import Progress
from profiling_spark.session import adopted

OWN = {"spark.sql.session.timeZone": "America/New_York", "spark.sql.adaptive.enabled": "true"}


class RecordingProgress(Progress):
    """Records the stages of a run."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, str]] = []
        self.usual: list[float | None] = []

    def stage_began(self, name, usual_seconds):
        self.usual.append(usual_seconds)

    def stage_ended(self, result):
        self.stages.append((result.name, result.status))


class Shop:
    """A log with refused rows, taken in by the library; the second run judges them again."""

    def __init__(self, spark, folder: Path) -> None:
        (folder / "a.csv").write_text(HEADER + "\n".join([*GOOD, *BAD]) + "\n")
        self.settings = settings(str(folder / "lake"), folder)
        self.file = folder / "shop.yaml"
        self.file.write_text(yaml.safe_dump(self.settings.model_dump(mode="json", exclude_unset=True)))
        self.recorded, self.session = RecordingProgress(), spark.newSession()
        for key, value in OWN.items():
            self.session.conf.set(key, value)
        self.log = folder / "run.log"
        with log.written_to(str(self.log)), Pipeline(self.file, self.session, progress=self.recorded) as pipeline:
            self.first = pipeline.run("build_features", "ingest", as_of=date(2026, 6, 1))
            mended = self.settings.model_dump(mode="json")
            mended["sources"]["log"]["event_types"]["buyy"] = "purchase"
            self.again = Pipeline(Settings.model_validate(mended), self.session).replay()
            self.events = pipeline.table("events").count()
            with pytest.raises(InputError, match="table profiles: expected one of bundles, events"):
                pipeline.table("profiles")


@pytest.fixture(scope="module")
def shop(spark, tmp_path_factory):
    return Shop(spark, tmp_path_factory.mktemp("library"))


def test_stages_run_in_their_order_and_say_how_they_ended(shop):
    assert (shop.first.job, shop.first.status, shop.first.as_of) == ("run_pipeline", "done", date(2026, 6, 1))
    assert list(shop.first.stages) == ["run_pipeline", "ingest", "build_features"]
    outcome = shop.first.stages["ingest"].outcome
    assert (outcome.rows_in, outcome.rows_out, outcome.rows_rejected) == (12, 3, 9)
    assert shop.recorded.stages == [("ingest", "done"), ("build_features", "done")]
    assert shop.recorded.usual == [None, None]
    assert (shop.first.problems, shop.first.exit_code) == ((), 0)


def test_refused_rows_are_judged_again_by_a_call_of_its_own(shop):
    assert shop.again.job == "ingest"
    # of the two rows with the word that is known now the other has no customer
    assert shop.again.stages["ingest"].outcome.rows_out == 1
    assert shop.events == 4


def test_the_callers_session_stays_as_it_was(shop, spark):
    assert {key: shop.session.conf.get(key) for key in OWN} == OWN
    assert spark.range(1).count() == 1  # and goes on


def test_a_session_without_delta_is_refused_with_what_to_type(shop, monkeypatch):
    class Bare:
        def __init__(self):
            self.conf = {}

        def newSession(self):
            return self

    with pytest.raises(
        EnvironmentProblem, match=r"--conf spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension"
    ):
        adopted(Bare(), shop.settings)


def test_an_unknown_stage_is_refused_before_anything_runs(shop):
    with pytest.raises(ConfigError, match=r"stages: expected some of ingest, .*, found cluster_users"):
        Pipeline(shop.settings, shop.session).run("cluster_users")


def test_the_log_follows_the_run(shop):
    lines = [json.loads(line) for line in shop.log.read_text(encoding="utf-8").splitlines()]
    of_run = [line for line in lines if line["run_id"] == shop.first.run_id]
    whole = [line["event"] for line in of_run if "stage" not in line and "table" not in line]
    assert whole == ["run began", "run ended"]
    ended = {line["stage"]: line for line in of_run if line["event"] == "stage ended"}
    assert (ended["ingest"]["rows_in"], ended["ingest"]["rows_out"], ended["ingest"]["rows_rejected"]) == (12, 3, 9)
    written = {line["table"] for line in of_run if line["event"] == "table written"}
    assert {"events", "rejected_rows", "user_features", "job_runs"} <= written
    assert all(line["memory_mb"] > 100 for line in ended.values())


def shown(capsys, *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def test_runs_and_tables_are_listed_without_spark(shop, capsys):
    at = ("--config", str(shop.file))
    runs = json.loads(shown(capsys, "runs", *at, "--json"))
    assert [(r["job"], r["status"], r["rows_in"], r["rows_rejected"]) for r in runs] == [
        ("ingest", "done", 9, 8),
        ("run_pipeline", "done", 12, 9),
    ]
    stages = json.loads(shown(capsys, "runs", shop.first.run_id, *at, "--json"))
    assert [s["job"] for s in stages] == ["run_pipeline", "ingest", "build_features"]
    assert shop.again.run_id in shown(capsys, "runs", "last", *at)
    tables = {t["name"]: t["rows"] for t in json.loads(shown(capsys, "tables", *at, "--json"))}
    assert (tables["events"], tables["rejected_rows"], tables["job_runs"]) == (4, 9, 4)
    assert main(["runs", "nobody", *at]) == InputError.exit_code
    assert "expected one of job_runs" in capsys.readouterr().err


def test_a_plan_says_what_is_new_and_writes_nothing(shop, capsys):
    at = ("--config", str(shop.file))
    lake = Path(shop.settings.storage.root)
    before = sorted(p for p in lake.rglob("*"))
    quiet = json.loads(shown(capsys, "plan", *at, "--json"))
    assert (quiet["sources"][0]["new"], quiet["sources"][0]["known"]) == (0, 1)
    assert (quiet["as_of"], quiet["is_given"]) == ("2026-05-03", False)  # the day after the latest event
    more = lake.parent / "b.csv"
    more.write_text(HEADER + GOOD[0].replace("1,", "99,", 1) + "\n")
    try:
        due = json.loads(shown(capsys, "plan", *at, "--as-of", "2026-06-01", "--json"))
    finally:
        more.unlink()
    assert (due["sources"][0]["new"], due["sources"][0]["new_bytes"] > 0, due["as_of"]) == (1, True, "2026-06-01")
    stages = {s["name"]: s["what"] for s in due["stages"]}
    assert stages["ingest"].startswith("read 1 files")
    assert stages["build_features"] == "features as of 2026-05-02 and 2026-06-01"
    assert stages["segment_users"] == "fit: no model is stored"
    assert sorted(p for p in lake.rglob("*")) == before


def test_a_plan_of_a_new_storage_and_an_absent_source(shop, capsys, tmp_path):
    at = ("--config", str(shop.file), "--set", f"storage.root={tmp_path / 'none'}", "--set", f"data_root={tmp_path}")
    found = json.loads(shown(capsys, "plan", *at, "--json"))
    assert found["as_of"] is None
    assert found["sources"][0]["absent"].startswith("source log: expected files at")
    assert not (tmp_path / "none").exists()
    optional = json.loads(shown(capsys, "plan", *at, "--set", "sources.log.required=false", "--json"))
    assert optional["sources"][0]["absent"] == "no files at *.csv (required: false)"
    text = shown(capsys, "plan", *at)
    assert "none is stored yet" in text


def test_the_first_rows_of_a_source_are_mapped_and_judged_and_nothing_is_stored(shop):
    lake = Path(shop.settings.storage.root)
    before = sorted(lake.rglob("*"))
    (found,) = samples(shop.session, shop.settings, rows=1000)
    assert (found.rows, found.accepted, found.ignored) == (12, 3, 0)
    assert found.refused is not None
    assert (found.refused["unknown_event_type"], found.refused["no_user"], found.refused["unreadable"]) == (2, 2, 1)
    columns = {c.name: c for c in found.columns}
    assert columns["user_id"].examples == ("a9",)  # the shape of u1 and u2
    assert (columns["event_time"].made_of, columns["event_type"].examples[0]) == ("when", "purchase")
    (few,) = samples(shop.session, shop.settings, rows=2)
    assert (few.rows, few.accepted) == (2, 2)
    assert sorted(lake.rglob("*")) == before


def test_a_source_that_cannot_be_mapped_says_so_and_the_others_follow(shop):
    both = shop.settings.model_dump(mode="json")
    log = both["sources"].pop("log")
    ignored = {word: "ignored" for word in log["event_types"]}
    wrong = log | {"columns": log["columns"] | {"channel": "till"}, "event_types": ignored}
    both["sources"] = {"wrong": wrong, "log": log}
    first, second = samples(shop.session, Settings.model_validate(both), rows=10)
    assert "`till` cannot be resolved" in first.problem
    assert "profiling_spark-" not in first.problem
    assert (second.problem, second.rows) == ("", 10)


@pytest.fixture
def own_files(shop, tmp_path):
    """Settings of two sources with the mapping of the shop's log, each of one file; makes their paths."""
    plain = shop.settings.model_dump(mode="json")
    log = plain["sources"].pop("log")
    ignored = {word: "ignored" for word in log["event_types"]}  # one source alone may bring an event type
    plain["sources"] = {
        "broken": log | {"path": f"{tmp_path}/broken/*", "event_types": ignored},
        "good": log | {"path": f"{tmp_path}/good/*"},
    }
    for name in plain["sources"]:
        (tmp_path / name).mkdir()
    (tmp_path / "good" / "a.csv").write_text(HEADER + "\n".join(GOOD) + "\n", encoding="utf-8")
    return plain


def test_a_source_that_cannot_be_read_is_named_by_the_users_own_path(shop, own_files, tmp_path):
    file = tmp_path / "broken" / "other.csv"
    file.write_text("a,b\n1,2\n", encoding="utf-8")
    broken, good = samples(shop.session, Settings.model_validate(own_files), rows=10)
    assert broken.problem.startswith(f"{file}: expected a header with columns such as ")
    assert (good.problem, good.accepted) == ("", 3)
    file.unlink()
    packed = tmp_path / "broken" / "b.csv.gz"
    packed.write_bytes(b"no gzip at all")
    broken, good = samples(shop.session, Settings.model_validate(own_files), rows=10)
    assert broken.problem.startswith(f"{packed}: cannot be read: ")
    assert (good.problem, good.accepted) == ("", 3)


def test_try_mapping_ends_with_the_code_of_input_where_a_source_cannot_be_mapped(
    shop, own_files, tmp_path, monkeypatch, capsys
):
    (tmp_path / "broken" / "other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    file = tmp_path / "two.yaml"
    file.write_text(yaml.safe_dump(own_files), encoding="utf-8")
    # the session of the tests stands for the one that the command would start and stop
    monkeypatch.setattr("profiling_spark.cli.execute.start", lambda given: None)
    monkeypatch.setattr("profiling_spark.session.begin_session", lambda *_, **__: None)
    monkeypatch.setattr("profiling_spark.runner.session_for", lambda *_, **__: nullcontext(shop.session))
    at = ("try-mapping", "--config", str(file), "--json")
    assert main([*at]) == InputError.exit_code == 4
    found = {sample["name"]: sample for sample in json.loads(capsys.readouterr().out)}
    assert [bool(found[name]["problem"]) for name in ("broken", "good")] == [True, False]
    assert found["good"]["accepted"] == 3
    assert main([*at, "--source", "good"]) == 0
