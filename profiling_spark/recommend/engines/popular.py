"""Popularity: the decayed weights of all customers, summed by item. Baseline, fallback and non-personal list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from profiling_spark.recommend.lists.policy import Cap, select_capped
from profiling_spark.recommend.matrix.item_side import Bools, Floats, Histories, Ints, Scores
from profiling_spark.recommend.matrix.top_n import NONE

POPULAR = "popular"
POPULAR_IN_CATEGORY = "popular_in_category"
POPULAR_IN_SEGMENT = "popular_in_segment"
POPULAR_IN_GROUP = "popular_in_group"
POPULAR_IN_REGION = "popular_in_region"
_WHOLE_IN_FLOAT32 = 2**24
"""Every whole number up to here is a float32; of those beyond, the odd ones are not."""


@dataclass(frozen=True)
class GroupPopularity:
    """What is popular in each group of one kind, such as regions: a step of the ladder, written as `engine`.

    Group g, named `names[g]`, has `items[ends[g]:ends[g + 1]]`, most popular first, with the group's own `weights`.
    """

    engine: str
    names: tuple[str, ...]
    ends: Ints
    items: Ints
    weights: Floats


@dataclass(frozen=True)
class Fill:
    """Items for (customers, places), NONE where the catalogue ends; the step that gave each and its weight there; to
    which end of the prices steering moved it up, 0: it did not."""

    items: Ints
    steps: Ints
    weights: Floats
    lifts: Ints


@dataclass(frozen=True)
class Popularity:
    """`weights` by item number (0: nobody takes it now, so it is not offered); `categories` numbered, -1 unknown;
    `groups`: the steps between the favourite category and everyone, the nearest to the customer first.
    """

    weights: Floats
    categories: Ints
    groups: tuple[GroupPopularity, ...] = ()

    @property
    def steps(self) -> tuple[str, ...]:
        """Names of the steps, the first one fills first."""
        return (POPULAR_IN_CATEGORY, *(g.engine for g in self.groups), POPULAR)

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

    def fill(self, masked: Bools, codes: Ints, n: int, *, caps: Sequence[Cap] = (), listed: Ints | None = None) -> Fill:
        """For each row its n best items that are not masked, by the first step that knows them.

        `codes` (rows, steps - 1): the row's favourite category and its group of each kind, -1 where it has none.
        `caps` as the policy says, with the items that are `listed` already.
        """
        values = self._scores(codes)
        # float32 picks the candidates, the whole numbers decide: beyond what float32 holds, or where caps close items
        scores = values.astype(np.float32, copy=bool(caps))
        scores[masked | self.barred] = -np.inf
        chosen, found = select_capped(
            scores, n, lambda c: np.take_along_axis(values, c, axis=1).astype(np.float64), caps, listed=listed
        )
        return self._decoded(chosen, found, codes)

    def _scores(self, codes: Ints) -> Scores | Floats:
        """Whole numbers, no two of a row equal: a step's are larger than those of all steps after it. In float32 while
        steps * items stay within what it holds, in float64 for larger catalogues.
        """
        count, places = len(self.weights), self.places
        kind = np.float32 if len(self.steps) * count <= _WHOLE_IN_FLOAT32 else np.float64
        scores = np.tile((count - places).astype(kind), (len(codes), 1))
        for number in reversed(range(len(self.groups))):
            group, tier = self.groups[number], len(self.groups) + 1 - number
            for code in np.unique(codes[codes[:, number + 1] != NONE, number + 1]):
                group_items = group.items[group.ends[code] : group.ends[code + 1]]
                rows = np.flatnonzero(codes[:, number + 1] == code)
                scores[np.ix_(rows, group_items)] = tier * count - np.arange(len(group_items))
        own = (codes[:, :1] != NONE) & (self.categories == codes[:, :1])
        ahead = (len(self.steps) * count - places).astype(kind)
        filled: Scores | Floats = np.where(own, ahead, scores)
        return filled

    def _decoded(self, chosen: Ints, values: Floats, codes: Ints) -> Fill:
        """Read step and place back from the scores."""
        count = len(self.weights)
        whole = np.where(chosen != NONE, values, 1.0).astype(np.int64)
        tiers = -(-whole // count)
        weights = np.where(chosen != NONE, self.weights[chosen], 0.0)
        for number, group in enumerate(self.groups):
            tier = len(self.groups) + 1 - number
            row, place = np.nonzero((tiers == tier) & (chosen != NONE))
            within = tier * count - whole[row, place]
            weights[row, place] = group.weights[group.ends[codes[row, number + 1]] + within]
        return Fill(chosen, len(self.groups) + 2 - tiers, weights, np.zeros_like(chosen))


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
