"""Prices that suit the customer: good candidates from the end of the price range that the customer buys from move up.

Among DEPTH times as many candidates as are wanted, the score of an item of the cheaper half of its category counts
1 + strength * (1 - 2 * percentile) times for a low-price customer, that of an item of the dearer half
1 + strength * (2 * percentile - 1) times for a quality-first one: from once in the middle of the prices to 1 + strength
times at their end. What is not known, of the customer or of the item, changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from profiling_spark.config.policy import PriceSteering
from profiling_spark.recommend.matrix.item_side import Floats, Ints

PRICE_STEERING = "price_steering"  # as rules are counted
LOW_PRICE, QUALITY_FIRST = -1, 1
DEPTH = 3


@dataclass(frozen=True)
class Steering:
    """`percentiles` (items,): places within the prices of the item's category, 0 cheapest, nan where not known."""

    settings: PriceSteering
    percentiles: Floats

    def ends(self, preferences: Floats) -> Ints:
        """(customers,): LOW_PRICE, QUALITY_FIRST, or 0: neither, not known (nan), or nobody is steered."""
        is_on = self.settings.strength > 0
        low, high = preferences <= self.settings.low, preferences >= self.settings.high
        found: Ints = np.where(is_on & low, LOW_PRICE, np.where(is_on & high, QUALITY_FIRST, 0))
        return found

    def depth(self, ends: Ints, n: int) -> int:
        """How many candidates these customers need for n places."""
        return DEPTH * n if ends.any() else n

    def gains(self, ends: Ints, items: Ints) -> Floats:
        """(customers, candidates): by which share of itself a score counts more; candidates are item numbers."""
        suits = ends[:, None] * (2 * self.percentiles[items] - 1)
        found: Floats = self.settings.strength * np.maximum(np.nan_to_num(suits, nan=0.0), 0.0)
        return found


def steered(scores: Floats, gains: Floats, n: int, *, steps: Ints | None = None) -> tuple[Floats, Ints]:
    """(customers, candidates): what ranks them, the scores with what the gains add; (customers, n): places of the n
    best.

    `scores` (customers, candidates), best first; nan closes a row. Equal ones stay in order. `steps` of the candidates,
    rising: nothing moves from one into another.
    """
    added = scores + gains * np.abs(scores)
    value = np.where(np.isnan(scores), -np.inf, added)
    place = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    keys = (place, -value) if steps is None else (place, -value, steps)
    order: Ints = np.where(gains.any(axis=1, keepdims=True), np.lexsort(keys, axis=1), place)[:, :n]
    return added, order
