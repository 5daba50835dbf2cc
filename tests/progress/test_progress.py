"""What a person sees while a run goes on, and what a machine can read."""

from __future__ import annotations

import io
import json
import logging

import pytest
from rich.console import Console

from profiling_spark import log
from profiling_spark.context import Outcome
from profiling_spark.errors import ConfigError
from profiling_spark.job_runs import StageResult
from profiling_spark.progress import Lines
from profiling_spark.progress.lines import stage_lines
from profiling_spark.progress.live import Live
from profiling_spark.progress.work import Work

DONE = StageResult("ingest", "done", seconds=20.0, outcome=Outcome(rows_in=4000, rows_out=3000, lines=("log: 1 read",)))
SKIPPED = StageResult("score_users", "skipped", seconds=3.5, outcome=Outcome(rows_out=0, skipped="too few customers"))


def test_a_stage_is_one_line_with_rows_seconds_and_rate():
    head, found = stage_lines(DONE)
    assert head.split() == ["ingest", "done", "3,000", "rows", "20.0", "s", "200", "rows/s"]  # 4,000 read in 20 s
    assert found == "    log: 1 read"


def test_a_skipped_stage_has_its_reason_and_no_rows():
    head, reason = stage_lines(SKIPPED)
    assert head.split() == ["score_users", "skipped", "3.5", "s"]
    assert reason.strip() == "too few customers"


def test_lines_are_plain_text():
    stream = io.StringIO()
    shown = Lines(stream)
    shown.stage_began("ingest", 10.0)
    shown.note("a.csv: looks like GBK")
    shown.stage_ended(DONE)
    assert stream.getvalue().splitlines() == ["    a.csv: looks like GBK", *stage_lines(DONE)]


class Clock:
    """Seconds as a test sets them."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("width", [80, 120])
def test_the_moving_line_has_place_seconds_and_what_is_left(width):
    clock, stream = Clock(), io.StringIO()
    live = Live(Console(file=stream, width=width, get_time=clock, force_terminal=True, color_system=None))
    try:
        live.run_began("r1", ["ingest", "score_users"], lambda: (3, 8))
        live.stage_began("ingest", None)
        clock.now = 4.0
        text = drawn(live, width)
        assert ("1/2" in text, "ingest" in text, "4 s" in text, "left" in text) == (True, True, True, False)
        assert ("Spark tasks 3 of 8" in text) == (width >= 100)
        live.stage_ended(DONE)
        live.stage_began("score_users", 30.0)
        clock.now = 14.0
        text = drawn(live, width)
        assert ("2/2" in text, "about 20 s left" in text) == (True, True)
        clock.now = 64.0  # longer than usual: nothing is promised any more
        assert "left" not in drawn(live, width)
    finally:
        live.close()
    assert "3,000 rows" in stream.getvalue()


def test_the_moving_line_has_amount_rate_and_time_left_of_work_that_is_counted():
    clock, done = Clock(), 0
    live = Live(Console(file=io.StringIO(), width=120, get_time=clock, force_terminal=True, color_system=None))
    try:
        live.run_began("r1", ["build_features"], lambda: (3, 8))
        live.stage_began("build_features", 100.0)
        clock.now = 10.0
        live.work_began(lambda: done, 500_000, "rows")
        assert "about 90 s left 0 of 500,000 rows Spark tasks 3 of 8" in drawn(live, 120)
        clock.now, done = 14.0, 40_000  # little is known yet: what the stage usually takes says more
        assert "14 s, about 86 s left 40,000 of 500,000 rows Spark tasks 3 of 8" in drawn(live, 120)
        clock.now, done = 30.0, 200_000
        line = drawn(live, 120)
        assert "30 s, about 30 s left 200,000 of 500,000 rows, 10,000 rows/s" in line
        assert "tasks" not in line
        live.console.width = 80
        assert "rows" not in drawn(live, 80)
        live.console.width = 120
        clock.now, done = 60.0, 500_100  # a task was repeated; what follows is not counted
        assert "60 s, about 40 s left Spark tasks 3 of 8" in drawn(live, 120)
        live.stage_began("score_users", None)
        assert "rows" not in drawn(live, 120)
    finally:
        live.close()


def test_work_of_unknown_amount_has_a_rate_and_no_time_left():
    amount = Work(lambda: 3 * 2**20, None, "bytes", began=5.0).at(7.0)
    assert (str(amount), amount.share, amount.seconds_left) == ("3.0 MB, 1.5 MB/s", None, None)


def test_lines_tell_of_a_part_after_ten_seconds_without_a_line():
    clock, stream, done = Clock(), io.StringIO(), 0
    shown = Lines(stream, clock)
    clock.now = 100.0
    shown.stage_began("ingest", None)
    shown.work_began(lambda: done, 60 * 2**20, "bytes")
    clock.now, done = 105.0, 2**20
    shown.part_ended("items", 650)
    clock.now, done = 120.0, 30 * 2**20
    shown.part_ended("reviews", 4182)
    clock.now, done = 125.0, 45 * 2**20
    shown.part_ended("users", 4998)
    clock.now, done = 140.0, 60 * 2**20
    shown.part_ended("events", 277_038)
    assert stream.getvalue().splitlines() == [
        "    reviews: 4,182 rows; 30.0 of 60.0 MB, 1.5 MB/s, about 20 s left",
        "    events: 277,038 rows; 60.0 of 60.0 MB, 1.5 MB/s",
    ]


def drawn(live: Live, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(live._bottom())
    lines = console.file.getvalue().rstrip("\n").splitlines()
    assert len(lines) == 1
    return lines[0]


def test_a_log_is_one_json_object_a_line_with_what_is_bound(tmp_path):
    file = tmp_path / "run.log"
    with log.written_to(str(file)), log.bound(run_id="r1", job="ingest"):
        with log.bound(stage="ingest"):
            log.event("stage ended", rows_in=3, rows_out=None, seconds=1.5)
        log.event("run ended", level=logging.ERROR)
    log.event("after")
    first, second = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert list(first) == ["time", "level", "logger", "event", "run_id", "job", "stage", "rows_in", "seconds"]
    assert (first["level"], first["stage"], first["rows_in"]) == ("INFO", "ingest", 3)
    assert (second["level"], "stage" in second) == ("ERROR", False)


def test_a_record_has_no_field_that_nobody_knows(tmp_path):
    with log.written_to(str(tmp_path / "log")), pytest.raises(TypeError, match="user_id"):
        log.event("x", user_id="U1")


def test_a_log_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="--log"), log.written_to(str(tmp_path)):
        pass


def test_without_a_log_nothing_is_printed(capsys):
    log.event("quiet", level=logging.ERROR)
    assert capsys.readouterr() == ("", "")
