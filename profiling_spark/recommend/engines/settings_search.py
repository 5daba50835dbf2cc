"""The search for settings in a budget of trials: one after the other, each on a grid that widens where its edge wins.

A grid is geometric around the best value so far: it begins with one step to either side, and where the outermost value
wins it goes on that way. After a round in which anything moved comes another, from there. Nothing is tried twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Values = Mapping[str, float]
LEAST_GAIN = 0.005  # a step that gains less, as a share, is noise: the value before it stays


@dataclass(frozen=True)
class Axis:
    """A setting, the `factor` of a step, and the bounds of what is tried. `along`: settings that move by the same
    factor with it.
    """

    key: str
    factor: float
    least: float = 0.0
    most: float = float("inf")
    is_whole: bool = False
    along: tuple[str, ...] = ()

    def step(self, values: Values, *, is_up: bool) -> Values | None:
        """The next values that way; None beyond the bounds, and where the value is 0, which has no next one."""
        by = self.factor if is_up else 1 / self.factor
        there = values[self.key] * by
        there = round(there) if self.is_whole else _short(there)
        if not self.least <= there <= self.most or there == values[self.key]:
            return None
        return {**values, **{name: _short(values[name] * by) for name in self.along}, self.key: there}


@dataclass(frozen=True)
class Trial:
    """What was tried, and how good it was: the larger the better."""

    values: Values
    value: float


@dataclass(frozen=True)
class Found:
    """All trials in their order, the first with the settings from which it went; `best` of them the one chosen;
    `widened`: settings whose grid grew beyond its first edge; `is_cut`: the budget ended before the search did.
    """

    trials: tuple[Trial, ...]
    best: Trial
    widened: tuple[str, ...]
    is_cut: bool

    def in_words(self) -> str:
        """In words, without what the value is."""
        parts = [f"{len(self.trials)} trials"]
        if self.widened:
            parts.append("the edge of the grid won and it was widened: " + ", ".join(self.widened))
        if self.is_cut:
            parts.append("the budget ended first")
        return "; ".join(parts)


class _SpentError(Exception):
    """The budget is spent: what is best so far is chosen."""


class _Search:
    def __init__(self, start: Values, judge: Callable[[Values], float], budget: int, least_gain: float) -> None:
        self.judge, self.budget, self.least_gain = judge, budget, least_gain
        self.best = Trial(start, judge(start))
        self.trials = [self.best]
        self.widened: list[str] = []

    def rounds(self, axes: Sequence[Axis]) -> None:
        """One after the other, until a round in which nothing moved."""
        before = None
        while before is not self.best:
            before = self.best
            for axis in axes:
                if not self.line(axis, is_up=True):  # else the other side is downhill
                    self.line(axis, is_up=False)

    def line(self, axis: Axis, *, is_up: bool) -> int:
        """On that way as long as each step gains; how many did."""
        steps = 0
        while (there := axis.step(self.best.values, is_up=is_up)) is not None:
            found = self.trial(there)
            if found.value <= self.best.value + self.least_gain * abs(self.best.value):
                break
            self.best = found
            steps += 1
            if steps == 2:
                self.widened.append(axis.key)
        return steps

    def trial(self, values: Values) -> Trial:
        for earlier in self.trials:
            if earlier.values == values:
                return earlier
        if len(self.trials) >= self.budget:
            raise _SpentError
        self.trials.append(Trial(values, self.judge(values)))
        return self.trials[-1]


def search(
    start: Values,
    axes: Sequence[Axis],
    judge: Callable[[Values], float],
    *,
    budget: int,
    least_gain: float = LEAST_GAIN,
) -> Found:
    """The best values that at most `budget` trials (1 at least) find, going from `start`, by steps that gain more than
    the share `least_gain` each. Raises what `judge` does.
    """
    run = _Search(start, judge, budget, least_gain)
    is_cut = False
    try:
        run.rounds(axes)
    except _SpentError:
        is_cut = True
    return Found(tuple(run.trials), run.best, tuple(dict.fromkeys(run.widened)), is_cut)


def _short(value: float) -> float:
    """Six figures: steps up and down again come to the same value."""
    return float(f"{value:.6g}")
