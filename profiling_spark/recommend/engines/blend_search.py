"""The search for a blend: engines' weights in quarters, each step to a neighbour that ranks better."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from profiling_spark.recommend.engines.als_tuning import LEAST_CUSTOMERS
from profiling_spark.recommend.engines.blend import Scaled, blended, scaled
from profiling_spark.recommend.engines.graph_filter import scoring_all
from profiling_spark.recommend.engines.settings_search import LEAST_GAIN
from profiling_spark.recommend.judge.in_process import Judge
from profiling_spark.recommend.matrix.item_side import Ints, ItemSide

Weights = tuple[int, ...]
"""Of each engine, in quarters."""
QUARTERS = 4
MOST_SCORES = 2**24  # of customers and items, of each engine: they stay in memory for all trials (64 MB each)
_MOST_TRIALS = 24


@dataclass(frozen=True)
class FoundBlend:
    """`weights` by engine, above 0, which add up to 1; `ndcg` of the customers asked, and of the best engine alone."""

    weights: Mapping[str, float]
    ndcg: float
    alone: float

    @property
    def is_blend(self) -> bool:
        """Whether more than one engine takes part."""
        return len(self.weights) > 1


def customers_for(items: int, wanted: int) -> int:
    """How many customers trials ask, of so many wanted: 0 where a catalogue is so large that they would be too few."""
    most = min(wanted, MOST_SCORES // max(items, 1))
    return most if most >= LEAST_CUSTOMERS else 0


def search_blend(sides: Mapping[str, ItemSide], judge: Judge) -> FoundBlend:
    """`search_weights` by NDCG@20 of the customers whom `judge` asks, each engine scoring them once."""
    return search_weights(list(sides), _Trials(list(sides.values()), judge).value)


def search_weights(engines: Sequence[str], value: Callable[[Weights], float]) -> FoundBlend:
    """The weights with the greatest `value` that a walk finds: from the best engine alone, quarter by quarter to
    whichever neighbour gains most, as long as one gains more than LEAST_GAIN of the value: an engine that adds next to
    nothing costs as much time as one that adds much. No weights are tried twice, and no more than _MOST_TRIALS in all.
    """
    found: dict[Weights, float] = {}

    def best_of(weights: Sequence[Weights]) -> Weights | None:
        for one in weights:
            if one not in found and len(found) < _MOST_TRIALS:
                found[one] = value(one)
        return max((one for one in weights if one in found), key=lambda one: found[one], default=None)

    count = len(engines)
    best = best_of([tuple(QUARTERS * (n == own) for n in range(count)) for own in range(count)])
    if best is None:
        raise ValueError("expected engines to blend, found none")
    alone = found[best]
    while True:
        there = best_of(_neighbours(best))
        if there is None or found[there] <= found[best] * (1 + LEAST_GAIN):
            break
        best = there
    weights = {name: quarters / QUARTERS for name, quarters in zip(engines, best, strict=True) if quarters}
    return FoundBlend(weights, found[best], alone)


def _neighbours(weights: Weights) -> list[Weights]:
    """One quarter from any engine to any other."""
    found = []
    for giver, given in enumerate(weights):
        for taker in range(len(weights)):
            if given and taker != giver:
                found.append(tuple(w - (n == giver) + (n == taker) for n, w in enumerate(weights)))
    return found


class _Trials:
    """Every engine scores the customers once; a trial adds up."""

    def __init__(self, sides: Sequence[ItemSide], judge: Judge) -> None:
        self.judge = judge
        self.blocks: list[tuple[Ints, list[Scaled]]] = [
            (users, [scaled(scoring_all(side).score(past)) for side in sides]) for users, past in judge.blocks()
        ]

    def value(self, weights: Weights) -> float:
        """NDCG@20 of a blend."""
        used = [n for n, quarters in enumerate(weights) if quarters]
        shares = [weights[n] / QUARTERS for n in used]
        total = sum(
            float(self.judge.gains(users, blended([parts[n] for n in used], shares)).sum())
            for users, parts in self.blocks
        )
        return total / self.judge.customers
