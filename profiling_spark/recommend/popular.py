"""Popularity: the decayed weights of all customers, summed by item. Baseline, fallback and non-personal list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from profiling_spark.recommend.item_side import Bools, Floats, Histories, Ints, Scores
from profiling_spark.recommend.policy import Cap, select_capped
from profiling_spark.recommend.top_n import NONE

POPULAR = "popular"
POPULAR_IN_CATEGORY = "popular_in_category"


@dataclass(frozen=True)
class Popularity:
    """`weights` by item number (0: nobody takes it now, so it is not offered); `categories` numbered, -1 unknown."""

    weights: Floats
    categories: Ints

    @property
    def barred(self) -> Bools:
        """Items that are not offered."""
        barred: Bools = self.weights <= 0
        return barred

    @property
    def places(self) -> Ints:
        """Place of each item in the order of popularity, 0 the most popular; ties by item number."""
        order = np.lexsort((np.arange(len(self.weights)), -self.weights))
        places = np.empty(len(order), dtype=np.int64)
        places[order] = np.arange(len(order))
        return places

    def fill(
        self, masked: Bools, category: Ints, n: int, *, caps: Sequence[Cap] = (), listed: Ints | None = None
    ) -> Ints:
        """For each row its n most popular items that are not masked; those of the row's category first.

        `category` -1: no favourite, the overall order. NONE where the catalogue ends. `caps` as the policy says, with
        the items that are `listed` already.
        """
        count = len(self.weights)
        own = (category[:, None] >= 0) & (self.categories == category[:, None])
        # whole numbers, exact in float32 below 16.7 million items: no two are equal
        scores = (np.where(own, 2 * count, count) - self.places).astype(np.float32)
        scores[masked | self.barred] = -np.inf
        values = scores.astype(np.float64) if caps else scores
        chosen, _ = select_capped(
            scores, n, lambda c: np.take_along_axis(values, c, axis=1).astype(np.float64), caps, listed=listed
        )
        return chosen

    def is_own(self, chosen: Ints, category: Ints) -> Bools:
        """True where the chosen item comes from the row's favourite category."""
        own: Bools = (chosen != NONE) & (category[:, None] >= 0) & (self.categories[chosen] == category[:, None])
        return own


@dataclass(frozen=True)
class _Same:
    weights: Floats
    histories: Histories

    def block(self) -> Scores:
        return np.tile(self.weights.astype(np.float32), (len(self.histories), 1))

    def exact(self, chosen: Ints) -> Floats:
        values: Floats = self.weights[chosen]
        return values

    def contributions(self, chosen: Ints) -> Floats:
        return np.zeros((*chosen.shape, self.histories.items.shape[1]))


@dataclass(frozen=True)
class PopularSide:
    """The same scores for everyone, as an engine beside the others."""

    weights: Floats
    engine: str = POPULAR

    @property
    def items(self) -> int:
        return len(self.weights)

    def score(self, histories: Histories) -> _Same:
        """The histories change nothing."""
        return _Same(self.weights, histories)
