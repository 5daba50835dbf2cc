"""What may be offered to each customer of a bucket: popularity, policy, what was seen, and what the rules took out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from profiling_spark.recommend.engines.popular import Fill, Popularity
from profiling_spark.recommend.history.seen import Ranking, take_known
from profiling_spark.recommend.lists.policy import RULES, Cap, Policy, select_capped, within_caps
from profiling_spark.recommend.lists.steering import PRICE_STEERING, steered
from profiling_spark.recommend.matrix.item_side import Bools, Floats, Ints, ScoreBlock, Scored, SparseScores, rows_of
from profiling_spark.recommend.matrix.score_block import close_items, close_pairs, columns_of, scores_of
from profiling_spark.recommend.matrix.top_n import NONE

LIST = pl.Schema(
    {
        "user_id": pl.String,
        "rank": pl.Int32,
        "item_id": pl.String,
        "title": pl.String,
        "score": pl.Float64,
        "engine": pl.String,
        "again": pl.Boolean,
        "reason": pl.String,
    }
)


@dataclass(frozen=True)
class SeenItems:
    """(pairs,) each, sorted by user and item: what customers have seen; `is_known`: may be offered again all the
    same."""

    users: Ints
    items: Ints
    is_known: Bools

    def of(self, users: Ints) -> tuple[Ints, Ints, Bools]:
        """(row, item, is_known) of the pairs of these users; a user's row is its place among them."""
        row, at = rows_of(self.users, users)
        return row, self.items[at], self.is_known[at]


@dataclass(frozen=True)
class EligibleItems:
    """`seen`: of whom what is not offered again, or only `most_known` items in a list; `habits` (users,): usual prices;
    `ends` (users,): which end of the prices steering favours. `counts` by rule: each customer counts once, in the first
    step that ranked anything for it (`is_counted`). `is_offered` (items,): by engines; popular items are those that are
    taken now.
    """

    popularity: Popularity
    policy: Policy
    is_offered: Bools
    seen: SeenItems
    most_known: int
    habits: Floats
    ends: Ints
    is_counted: Bools
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RULES, 0))

    def best(
        self, scored: Scored, users: Ints, numbers: Ints, n: int, *, listed: Ints, is_first: bool = True
    ) -> tuple[Ints, Floats, Ints]:
        """The engine's n best for a block of customers, by the rules: columns of its scores; what ranks them, the
        scores with what steering added; and which end of the prices that was (0: nothing added). Column j is item
        `numbers[j]`.

        `listed` (customers, any): items that each list has already. `is_first`: whether this is a customer's first
        step; any other offers nothing that is known.
        """
        block, exact = scored.block(), scored.exact
        close_items(block, ~self.is_offered[numbers])
        column_of = _columns(numbers, len(self.is_offered))
        close_pairs(block, *_found(*_listed_pairs(listed), column_of))
        row, item, is_known = self.seen.of(users)
        is_known &= is_first and self.most_known > 0
        close_pairs(block, *_found(row[~is_known], item[~is_known], column_of))
        known = take_known(block, *_found(row[is_known], item[is_known], column_of))
        plain = self._ranking(block, known, users, numbers, n, exact)
        kept = plain
        if self.policy.has_rules:
            for part in (block, known):
                close_items(part, self.policy.is_barred[numbers])
                if self.policy.price_range is not None:
                    outside = self.policy.outside(self.habits[users], numbers[columns_of(part)])
                    scores_of(part)[outside] = -np.inf
            kept = self._ranking(block, known, users, numbers, n, exact, caps=self.policy.caps, listed=listed)
        if is_first:
            unsteered, steered_items = (named(r.columns, numbers) for r in (plain[1], kept[0]))
            whole = np.concatenate([listed, named(kept[1].columns, numbers)], axis=1)
            self._count(users, unsteered, whole, steered_items, named(kept[1].columns, numbers))
        return kept[0].columns, kept[0].values, kept[0].lifts

    def _ranking(
        self,
        block: ScoreBlock,
        known: SparseScores,
        users: Ints,
        numbers: Ints,
        n: int,
        exact: Callable[[Ints], Floats],
        *,
        caps: Sequence[Cap] = (),
        listed: Ints | None = None,
    ) -> tuple[Ranking, Ranking]:
        """The n best, steered and as they were: of the known items at most so many."""
        steering, ends = self.policy.steering, self.ends[users]
        found: list[tuple[Ranking, Ranking]] = []
        for part, most in ((block, n), (known, min(n, self.most_known))):
            wide = steering.depth(ends, most)
            # what is listed may be no column here: all items stand once more after the columns
            both = [Cap(c.rule, np.r_[c.groups[numbers], c.groups], c.most) for c in caps]
            shifted = None if listed is None else np.where(listed != NONE, listed + len(numbers), NONE)
            columns, values = select_capped(part, wide, exact, both, listed=shifted)
            gains = np.where(columns != NONE, steering.gains(ends, numbers[columns]), 0.0)
            value, order = steered(values, gains, most)
            lifts = np.where(gains > 0, ends[:, None], 0)
            plain = Ranking(columns[:, :most], values[:, :most], np.zeros_like(columns[:, :most]))
            found.append((Ranking(columns, value, lifts).at(order), plain))
        both_ways = (fresh.with_known(again) for fresh, again in zip(*found, strict=True))
        first, second = (self._capped(r, numbers, n, caps, listed) for r in both_ways)
        return first, second

    def _capped(self, ranking: Ranking, numbers: Ints, n: int, caps: Sequence[Cap], listed: Ints | None) -> Ranking:
        """The first n places that the caps let through: fresh and known items were within them each by themselves."""
        if not caps:
            return ranking.at(np.broadcast_to(np.arange(n), (len(ranking.columns), n)))
        items = named(ranking.columns, numbers)
        return ranking.at(within_caps(items, n, caps, listed=listed))

    def fill(
        self, users: Ints, listed: Ints, codes: Ints, room: Ints, length: int, *, is_counted: bool = False
    ) -> Fill:
        """What fills up the lists, of so many places, of these customers, in order: `room` (customers,) places beside
        what is `listed`. `is_counted`: what rules do to these lists is in the counts already.
        """
        n = int(room.max(initial=0))
        every = np.arange(len(self.policy.prices))
        closed = np.tile(self.popularity.barred, (len(users), 1))
        row, item, _ = self.seen.of(users)
        closed[row, item] = True
        closed[_listed_pairs(listed)] = True
        # not a multiple of n, which is another in another block
        wide = max(n, self.policy.steering.depth(self.ends[users], length))
        is_over = np.arange(n) >= room[:, None]
        fill = self.popularity.fill(closed, codes, wide)
        before = np.where(is_over, NONE, fill.items[:, :n])
        if self.policy.has_rules:
            masked = closed | self.policy.outside(self.habits[users], every[None, :]) | self.policy.is_barred
            fill = self.popularity.fill(masked, codes, wide, caps=self.policy.caps, listed=listed)
        weights = np.where(fill.items != NONE, fill.weights, np.nan)
        gains = np.where(fill.items != NONE, self.policy.steering.gains(self.ends[users], fill.items), 0.0)
        value, order = steered(weights, gains, n, steps=fill.steps)
        filled = np.where(is_over, NONE, fill.items[:, :n])
        items, steps, found, gain = (
            np.take_along_axis(a, order, axis=1) for a in (fill.items, fill.steps, value, gains)
        )
        items = np.where(is_over, NONE, items)
        if not is_counted:
            self._count(users, before, np.concatenate([listed, filled], axis=1), items, filled)
        return Fill(items, steps, found, np.where(gain > 0, self.ends[users][:, None], 0))

    def removed(self) -> pl.DataFrame:
        """A row of rank 0 for each rule that took something out."""
        rows = [("", 0, "", None, float(count), rule, False, "") for rule, count in self.counts.items() if count]
        return pl.DataFrame(rows, schema=LIST, orient="row")

    def _count(self, users: Ints, before: Ints, listed: Ints, steered_items: Ints, unsteered: Ints) -> None:
        """`before`: lists without the rules, `listed`: with them; the last two: with and without steering."""
        is_first = ~self.is_counted[users]
        if self.policy.has_rules:
            found = self.policy.counted(before[is_first], self.habits[users][is_first], listed[is_first])
            for rule, count in found.items():
                self.counts[rule] += count
        # of every step: where rules close all that the engine has, it is the step after it that is steered
        self.counts[PRICE_STEERING] += int((steered_items != unsteered).sum())
        self.is_counted[users] |= (before != NONE).any(axis=1)


def _columns(numbers: Ints, items: int) -> Ints:
    """(items,): the column of each item, NONE where it has none. Column j is item `numbers[j]`."""
    column_of = np.full(items, NONE)
    column_of[numbers] = np.arange(len(numbers))
    return column_of


def _found(row: Ints, item: Ints, column_of: Ints) -> tuple[Ints, Ints]:
    """(row, column) of the pairs whose item has a column."""
    column = column_of[item]
    return row[column != NONE], column[column != NONE]


def _listed_pairs(listed: Ints) -> tuple[Ints, Ints]:
    """(row, item) of what stands in lists."""
    row, place = np.nonzero(listed != NONE)
    return row, listed[row, place]


def named(columns: Ints, numbers: Ints) -> Ints:
    """Item numbers of chosen columns; NONE stays."""
    found: Ints = np.where(columns != NONE, numbers[columns], NONE)
    return found
