"""One line when a stage ends, with what it found below: for files, pipes and schedulers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from profiling_spark.progress.base import Progress

if TYPE_CHECKING:
    from profiling_spark.job_runs import StageResult

_INDENT = "    "


class Lines(Progress):
    """Plain text."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def stage_ended(self, result: StageResult) -> None:
        """The stage's line, and below it what it found or why it was skipped."""
        self._write("\n".join(stage_lines(result)))

    def note(self, text: str) -> None:
        """Indented like what a stage found."""
        self._write(f"{_INDENT}{text}")

    def _write(self, text: str) -> None:
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
