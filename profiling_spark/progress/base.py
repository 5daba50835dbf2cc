"""What a run says of itself while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from profiling_spark.job_runs import StageResult

Tasks = Callable[[], tuple[int, int]]
"""Tasks done and tasks in all of the Spark jobs that run now; (0, 0) where none does."""


class Progress:
    """Hears of every step of a run; this one shows nothing."""

    def run_began(self, run_id: str, stages: Sequence[str], tasks: Tasks) -> None:
        """The session is there; these stages follow each other."""

    def stage_began(self, name: str, usual_seconds: float | None) -> None:
        """`usual_seconds`: what the stage took last time, None where it has never run."""

    def work_began(self, done: Callable[[], int], total: int | None, unit: str) -> None:
        """The stage goes through `total` units (rows, customers, bytes; None: not known) from now on. `done`: how many
        are behind; it must be quick, and is asked at any time from any thread.
        """

    def part_ended(self, name: str, rows: int) -> None:
        """A part of that work is over, such as the files of a table, which had so many rows."""

    def stage_ended(self, result: StageResult) -> None:
        """Also a stage that failed."""

    def note(self, text: str) -> None:
        """Something worth a line of its own while a stage runs, or between two."""

    def close(self) -> None:
        """The run is over, or died."""
