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
