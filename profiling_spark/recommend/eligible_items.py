"""What may be offered to each customer of a bucket: popularity, policy, what was seen, and what the rules took out."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from profiling_spark.recommend.item_side import Bools, Floats, Ints, Scored, rows_of
from profiling_spark.recommend.policy import RULES, Cap, Policy, select_capped
from profiling_spark.recommend.popular import Fill, Popularity
from profiling_spark.recommend.score_block import best, close_items, close_pairs, columns_of, scores_of
from profiling_spark.recommend.steering import PRICE_STEERING, steered
from profiling_spark.recommend.top_n import NONE

LIST = pl.Schema(
    {
        "user_id": pl.String,
        "rank": pl.Int32,
        "item_id": pl.String,
        "score": pl.Float64,
        "engine": pl.String,
        "reason": pl.String,
    }
)


@dataclass(frozen=True)
class EligibleItems:
    """`seen`: (user, item) rows, sorted by user, that are not offered again; `habits` (users,): usual prices; `ends`
    (users,): which end of the prices steering favours. `counts` by rule: each customer counts once, in the first step
    that ranked anything for it (`is_counted`). `is_offered` (items,): by engines; popular items are those that are
    taken now.
    """

    popularity: Popularity
    policy: Policy
    is_offered: Bools
    seen: Ints
    habits: Floats
    ends: Ints
    is_counted: Bools
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RULES, 0))

    def best(
        self, scored: Scored, users: Ints, numbers: Ints, n: int, *, listed: Ints, counts: bool = True
    ) -> tuple[Ints, Floats, Ints]:
        """The engine's n best for a block of customers, by the rules: columns of its scores, the scores, and to which
        end of the prices steering moved each up (0: it did not). Column j is item `numbers[j]`.

        `listed` (customers, any): items that each list has already. `counts`: whether this is a customer's first step.
        """
        block = scored.block()
        close_items(block, ~self.is_offered[numbers])
        close_pairs(block, *self._taken(users, numbers, listed))
        wide = self.policy.steering.depth(self.ends[users], n)
        before, values = best(block, wide, scored.exact)
        columns = before
        if self.policy.has_rules:
            close_items(block, self.policy.is_barred[numbers])
            if self.policy.price_range is not None:
                outside = self.policy.outside(self.habits[users], numbers[columns_of(block)])
                scores_of(block)[outside] = -np.inf
            # what is listed may be no column here: all items stand once more after the columns
            caps = [Cap(c.rule, np.r_[c.groups[numbers], c.groups], c.most) for c in self.policy.caps]
            shifted = np.where(listed != NONE, listed + len(numbers), NONE)
            columns, values = select_capped(block, wide, scored.exact, caps, listed=shifted)
        order, lifts = self._steered(users, named(columns, numbers), values, n)
        if counts:
            kept = np.concatenate([listed, named(columns[:, :n], numbers)], axis=1)
            self._count(users, named(before[:, :n], numbers), kept, order)
        return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1), lifts

    def fill(self, users: Ints, listed: Ints, codes: Ints, room: Ints, length: int) -> Fill:
        """What fills up the lists, of so many places, of these customers, in order: `room` (customers,) places beside
        what is `listed`."""
        n = int(room.max(initial=0))
        every = np.arange(len(self.policy.prices))
        closed = np.tile(self.popularity.barred, (len(users), 1))
        closed[self._taken(users, every, listed)] = True
        # not a multiple of n, which is another in another block
        wide = max(n, self.policy.steering.depth(self.ends[users], length))
        is_over = np.arange(n) >= room[:, None]
        fill = self.popularity.fill(closed, codes, wide)
        before = np.where(is_over, NONE, fill.items[:, :n])
        if self.policy.has_rules:
            masked = closed | self.policy.outside(self.habits[users], every[None, :]) | self.policy.is_barred
            fill = self.popularity.fill(masked, codes, wide, caps=self.policy.caps, listed=listed)
        weights = np.where(fill.items != NONE, fill.weights, np.nan)
        order, lifts = self._steered(users, fill.items, weights, n, steps=fill.steps)
        filled = np.where(is_over, NONE, fill.items[:, :n])
        moved = np.where(is_over, np.arange(n), order)
        self._count(users, before, np.concatenate([listed, filled], axis=1), moved)
        items = np.where(is_over, NONE, np.take_along_axis(fill.items, order, axis=1))
        steps, found = np.take_along_axis(fill.steps, order, axis=1), np.take_along_axis(fill.weights, order, axis=1)
        return Fill(items, steps, found, lifts)

    def removed(self) -> pl.DataFrame:
        """A row of rank 0 for each rule that took something out."""
        rows = [("", 0, "", float(count), rule, "") for rule, count in self.counts.items() if count]
        return pl.DataFrame(rows, schema=LIST, orient="row")

    def _taken(self, users: Ints, numbers: Ints, listed: Ints) -> tuple[Ints, Ints]:
        """(row, column): what each customer has seen, and what its list has already. Column j is item `numbers[j]`."""
        column_of = np.full(len(self.is_offered), NONE)
        column_of[numbers] = np.arange(len(numbers))
        row, at = rows_of(self.seen[:, 0], users)
        more, place = np.nonzero(listed != NONE)
        rows = np.r_[row, more]
        columns = column_of[np.r_[self.seen[at, 1], listed[more, place]]]
        return rows[columns != NONE], columns[columns != NONE]

    def _steered(
        self, users: Ints, items: Ints, scores: Floats, n: int, *, steps: Ints | None = None
    ) -> tuple[Ints, Ints]:
        """Places of the n that are listed among the candidates, and to which end of the prices each was moved up."""
        ends = self.ends[users]
        order, is_lifted = steered(scores, self.policy.steering.gains(ends, items), n, steps=steps)
        return order, np.where(is_lifted, ends[:, None], 0)

    def _count(self, users: Ints, before: Ints, listed: Ints, order: Ints) -> None:
        """`order`: which candidate steering put into each place."""
        is_first = ~self.is_counted[users]
        if self.policy.has_rules:
            found = self.policy.counted(before[is_first], self.habits[users][is_first], listed[is_first])
            for rule, count in found.items():
                self.counts[rule] += count
        # of every step: where rules close all that the engine has, it is the step after it that is steered
        self.counts[PRICE_STEERING] += int((order != np.arange(order.shape[1])).sum())
        self.is_counted[users] |= (before != NONE).any(axis=1)


def named(columns: Ints, numbers: Ints) -> Ints:
    """Item numbers of chosen columns; NONE stays."""
    found: Ints = np.where(columns != NONE, numbers[columns], NONE)
    return found
