"""How a run shows itself: to a person on a terminal, line by line in a file or a scheduler's log, or to nobody."""

from profiling_spark.progress.base import Progress
from profiling_spark.progress.lines import Lines

__all__ = ["Lines", "Progress"]
