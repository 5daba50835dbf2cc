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

    def stage_ended(self, result: StageResult) -> None:
        """Also a stage that failed."""

    def note(self, text: str) -> None:
        """Something worth a line of its own while a stage runs, or between two."""

    def close(self) -> None:
        """The run is over, or died."""
