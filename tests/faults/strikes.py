"""What befalls a run at one of its points: it is recorded, it fails there, or its process is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from product import run_python

from profiling_spark.storage import points


class InjectedError(Exception):
    """Raised at a point."""


class Recorder:
    """Every point that a run passes, as its text and how often that has come by then.

    Tasks of threads pass points in any order: a number among all points would not name one.
    """

    def __init__(self) -> None:
        self.points: list[tuple[str, int]] = []
        self._counts: Counter[str] = Counter()
        self._alone = threading.Lock()

    def __call__(self, point: str) -> None:
        """Count it."""
        with self._alone:
            self._counts[point] += 1
            self.points.append((point, self._counts[point]))


class Failing(Recorder):
    """Fails at one point, once."""

    def __init__(self, point: tuple[str, int]) -> None:
        super().__init__()
        self.point = point

    def __call__(self, point: str) -> None:
        """Raises InjectedError at the point."""
        with self._alone:
            self._counts[point] += 1
            passed = (point, self._counts[point])
            self.points.append(passed)
        if passed == self.point:
            raise InjectedError(f"at {point}")


@contextmanager
def struck(at: Callable[[str], None]) -> Iterator[None]:
    """`at` in the place of points.at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "at", at)
        yield


# a process of its own: no hook of the product, a function in the place of its own before the command begins
_KILLED = """
import json, os, signal, sys
from profiling_spark.storage import points

text, nth, command = json.loads(sys.argv[1])
passed = 0

def at(point):
    global passed
    passed += point == text
    if point == text and passed == nth:
        os.kill(os.getpid(), signal.SIGKILL)

points.at = at
from profiling_spark.cli.main import main

sys.exit(main(command))
"""
KILLED = 128 + signal.SIGKILL


def run_killed(command: Sequence[str], point: tuple[str, int], folder: Path) -> subprocess.CompletedProcess[str]:
    """A command that is killed at a point as by kill -9; the folder has its log."""
    return run_python(["-c", _KILLED, json.dumps([*point, [*command, "--quiet"]])], folder)
