"""A display of a run that records what it is given of a stage's work."""

from __future__ import annotations

from collections.abc import Callable

from profiling_spark.progress import Progress


class RecordingProgress(Progress):
    """Keeps the last work that began, and the parts that ended with what was done then."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, int, int]] = []

    def work_began(self, done: Callable[[], int], total: int | None, unit: str) -> None:
        self.done, self.total, self.unit, self.done_before = done, total, unit, done()

    def part_ended(self, name: str, rows: int) -> None:
        self.parts.append((name, rows, self.done()))
