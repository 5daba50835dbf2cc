"""How far a stage is within work whose amount is known before it begins: rows, customers, bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

_MEGABYTE = 2**20
# what comes first may be slower than the rest: before this share is done no time left is worth showing
_TELLING_SHARE = 0.2


@dataclass(frozen=True)
class Work:
    """Work of `total` units, None where their number is not known. `done`: units behind by now; it is asked from other
    threads. `began`: seconds on the clock of who shows it.
    """

    done: Callable[[], int]
    total: int | None
    unit: str
    began: float

    def at(self, now: float) -> Amount:
        """How far it is at a time of that clock."""
        done = self.done()
        # a task that fails is counted again when it is repeated
        return Amount(done if self.total is None else min(done, self.total), self.total, self.unit, now - self.began)


@dataclass(frozen=True)
class Amount:
    """`done` of `total` units (None: not known) after so many seconds."""

    done: int
    total: int | None
    unit: str
    seconds: float

    @property
    def is_done(self) -> bool:
        """Whether nothing is left."""
        return self.done == self.total

    @property
    def share(self) -> float | None:
        """Of the work that is done; None where that is not known, or too little to tell how long the rest takes."""
        share = self.done / self.total if self.total else 0.0
        return share if share >= _TELLING_SHARE else None

    @property
    def seconds_left(self) -> float | None:
        """At the rate so far."""
        return None if self.share is None else self.seconds * (1 / self.share - 1)

    def __str__(self) -> str:
        """`120,000 of 500,000 rows, 10,000 rows/s`, bytes as MB; without a rate while too little is done to tell it."""
        done, total, unit = f"{self.done:,}", f"{self.total or 0:,}", self.unit
        tells_rate = self.seconds >= 1 and (self.share is not None or not self.total)
        rate = self.done / self.seconds if tells_rate else 0.0
        speed = f"{rate:,.0f}"
        if unit == "bytes":
            unit, done, speed = "MB", _megabytes(self.done), _megabytes(rate)
            total = _megabytes(self.total or 0)
        return f"{done}{f' of {total}' if self.total else ''} {unit}" + (f", {speed} {unit}/s" if rate else "")


def _megabytes(size: float) -> str:
    return f"{size / _MEGABYTE:,.1f}"
