"""A line at the bottom of the terminal that moves: stage, bar, seconds, what is left; ended stages stay above it.

Imported only where stderr is a terminal: Rich takes a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live as RichLive
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from profiling_spark.progress.base import Progress, Tasks
from profiling_spark.progress.lines import stage_lines
from profiling_spark.progress.work import Amount, Work

if TYPE_CHECKING:
    from profiling_spark.job_runs import StageResult

_STYLES = {"done": "green", "skipped": "yellow", "failed": "bold red"}
_REFRESH_PER_SECOND = 5
_BAR = 24
_WIDE = 100


class Live(Progress):
    """Shows a run on a Rich console."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.stages: list[str] = []
        self.ended = 0
        self.name, self.begun, self.usual = "starting Spark", console.get_time(), None
        self.tasks: Tasks = _no_tasks
        self.work: Work | None = None
        self.spinner = Spinner("dots", style="cyan")
        self.live = RichLive(
            console=console, refresh_per_second=_REFRESH_PER_SECOND, get_renderable=self._bottom, transient=True
        )
        self.live.start()

    name: str
    usual: float | None

    def run_began(self, run_id: str, stages: Sequence[str], tasks: Tasks) -> None:
        """Which stages follow each other."""
        self.stages, self.tasks = list(stages), tasks
        self.console.print(Text(f"run {run_id}", style="dim"))

    def stage_began(self, name: str, usual_seconds: float | None) -> None:
        """The line at the bottom is this stage's from now on."""
        self.name, self.usual, self.begun, self.work = name, usual_seconds, self.console.get_time(), None

    def work_began(self, done: Callable[[], int], total: int | None, unit: str) -> None:
        """The line at the bottom says how far it is."""
        self.work = Work(done, total, unit, self.console.get_time())

    def stage_ended(self, result: StageResult) -> None:
        """What `Lines` shows, in colour."""
        self.ended += 1
        self.work = None
        head, *found = stage_lines(result)
        text = Text(head)
        text.highlight_words([result.status], style=_STYLES.get(result.status, ""))
        self.console.print(text, soft_wrap=True)
        for line in found:
            self.console.print(Text(line, style="yellow" if "warning" in line else "dim"), soft_wrap=True)
        self.name, self.usual, self.begun = "writing the run's record", None, self.console.get_time()

    def note(self, text: str) -> None:
        """Above the line that moves."""
        self.console.print(Text(f"    {text}", style="dim"), soft_wrap=True)

    def close(self) -> None:
        """Take the moving line away."""
        self.live.stop()

    def _bottom(self) -> Table:
        """Spinner, place among the stages, name, bar, seconds and what is left, in as many columns as fit."""
        now = self.console.get_time()
        seconds = now - self.begun
        amount = self.work.at(now) if self.work is not None else None
        if amount is not None and amount.is_done:  # the stage goes on with something else
            amount = None
        line = Table.grid(padding=(0, 1))
        place = f"{self.ended + 1}/{len(self.stages)}" if self.name in self.stages else ""
        parts: list[Spinner | Text | ProgressBar] = [self.spinner, Text(place, style="dim"), Text(self.name)]
        share, left = _progress_of(amount, seconds, self.usual)
        if share is None:
            parts.append(ProgressBar(total=None, width=_BAR, pulse=True, animation_time=seconds))
        else:
            parts.append(ProgressBar(total=1.0, completed=share, width=_BAR))
        parts.append(Text(f"{seconds:.0f} s" + (f", about {left:.0f} s left" if left >= 1 else "")))
        done, tasks = self.tasks()
        if amount is not None and self.console.width >= _WIDE:
            parts.append(Text(str(amount), style="dim"))
        # until the amount tells a rate, the tasks show that something goes on
        if tasks and (amount is None or amount.share is None) and self.console.width >= _WIDE:
            parts.append(Text(f"Spark tasks {done:,} of {tasks:,}", style="dim"))
        for _ in parts:
            line.add_column(no_wrap=True)
        line.add_row(*parts)
        return line


def _progress_of(amount: Amount | None, seconds: float, usual: float | None) -> tuple[float | None, float]:
    """Share that is done, None where unknown, and seconds left, 0 where unknown: of what is counted, else of the time
    that the stage usually takes.
    """
    if amount is not None and amount.share is not None:
        return amount.share, amount.seconds_left or 0.0
    if usual:
        # past its usual time a bar says nothing any more
        return min(seconds / usual, 0.99), usual - seconds
    return None, 0.0


def _no_tasks() -> tuple[int, int]:
    return 0, 0
