"""One line when a stage ends, with what it found below: for files, pipes and schedulers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from profiling_spark.progress.base import Progress
from profiling_spark.progress.work import Work

if TYPE_CHECKING:
    from profiling_spark.job_runs import StageResult

_INDENT = "    "
# a stage says nothing of its parts before this
_QUIET_SECONDS = 10.0


class Lines(Progress):
    """Plain text."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream, self.clock = stream, clock
        self.work: Work | None = None
        self.last_line = clock()

    def stage_began(self, name: str, usual_seconds: float | None) -> None:
        """Its line comes when it ends."""
        self.work, self.last_line = None, self.clock()

    def work_began(self, done: Callable[[], int], total: int | None, unit: str) -> None:
        """Shown when a part ends."""
        self.work = Work(done, total, unit, self.clock())

    def part_ended(self, name: str, rows: int) -> None:
        """`events: 253,835 rows; 45.6 of 60.2 MB, 1.5 MB/s, about 10 s left`, if nothing was said for a while."""
        now = self.clock()
        if self.work is not None and now - self.last_line >= _QUIET_SECONDS:
            amount = self.work.at(now)
            left = amount.seconds_left or 0.0
            self.note(f"{name}: {rows:,} rows; {amount}" + (f", about {left:.0f} s left" if left >= 1 else ""))

    def stage_ended(self, result: StageResult) -> None:
        """The stage's line, and below it what it found or why it was skipped."""
        self._write("\n".join(stage_lines(result)))

    def note(self, text: str) -> None:
        """Indented like what a stage found."""
        self._write(f"{_INDENT}{text}")

    def _write(self, text: str) -> None:
        self.last_line = self.clock()
        self.stream.write(text + "\n")
        self.stream.flush()


def stage_lines(result: StageResult) -> list[str]:
    """`ingest             done         313,340 rows      12.3 s     25,475 rows/s`, and what the stage found."""
    outcome, seconds = result.outcome, result.seconds or 0.0
    rows = "" if outcome.rows_out is None or outcome.skipped else f"{outcome.rows_out:>12,} rows"
    read = outcome.rows_in or outcome.rows_out
    rate = f"{read / seconds:>10,.0f} rows/s" if read and seconds >= 1 and not outcome.skipped else ""
    found = (outcome.skipped, *outcome.lines) if outcome.skipped else outcome.lines
    head = f"{result.name:<18} {result.status:<8}{rows:<18} {seconds:6.1f} s{rate}"
    return [head, *(_INDENT + line for line in found)]
