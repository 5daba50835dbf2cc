"""What may be offered to each customer of a bucket: popularity, policy, what was seen, and what the rules took out."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from profiling_spark.recommend.item_side import Bools, Floats, Ints, Scored
from profiling_spark.recommend.policy import RULES, Policy, select_capped
from profiling_spark.recommend.popular import Popularity
from profiling_spark.recommend.top_n import NONE, select_top

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
class Shelf:
    """`seen`: (user, item) rows, sorted by user, that are not offered again; `habits` (users,): usual prices. `counts`
    by rule: each customer counts once, in the first step that ranked anything for it (`is_counted`).
    """

    popularity: Popularity
    policy: Policy
    seen: Ints
    habits: Floats
    is_counted: Bools
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RULES, 0))

    def best(self, scored: Scored, users: Ints, items: int, n: int) -> tuple[Ints, Floats]:
        """The engine's n best of its `items` for a block of customers, by the rules, with their scores."""
        scores = scored.block()
        scores[self._closed(users, items)] = -np.inf
        before, values = select_top(scores, n, scored.exact)
        if not self.policy.has_rules:
            return before, values
        outside = self.policy.outside(self.habits[users])
        scores[(outside | self.policy.is_barred)[:, :items]] = -np.inf
        listed, values = select_capped(scores, n, scored.exact, self.policy.caps)
        self._count(users, before, outside, listed)
        return listed, values

    def fill(self, users: Ints, listed: Ints, categories: Ints) -> tuple[Ints, Bools]:
        """What fills up the lists of these customers, in order, and whether it is of the favourite category."""
        n = listed.shape[1]
        closed = self._closed(users, len(self.policy.prices))
        row, place = np.nonzero(listed != NONE)
        closed[row, listed[row, place]] = True
        is_over = np.arange(n) >= (listed == NONE).sum(axis=1)[:, None]
        fill = self.popularity.fill(closed, categories, n)
        if self.policy.has_rules:
            before, outside = np.where(is_over, NONE, fill), self.policy.outside(self.habits[users])
            masked = closed | outside | self.policy.is_barred
            fill = self.popularity.fill(masked, categories, n, caps=self.policy.caps, listed=listed)
            self._count(users, before, outside, np.concatenate([listed, np.where(is_over, NONE, fill)], axis=1))
        fill = np.where(is_over, NONE, fill)
        return fill, self.popularity.is_own(fill, categories)

    def removed(self) -> pl.DataFrame:
        """A row of rank 0 for each rule that took something out."""
        rows = [("", 0, "", float(count), rule, "") for rule, count in self.counts.items() if count]
        return pl.DataFrame(rows, schema=LIST, orient="row")

    def _closed(self, users: Ints, items: int) -> Bools:
        """(users, items): True where nobody takes the item any more or the customer has seen it."""
        closed = np.tile(self.popularity.barred[:items], (len(users), 1))
        row_of = np.full(len(self.habits), NONE)
        row_of[users] = np.arange(len(users))
        row = row_of[self.seen[:, 0]]
        mine = (row != NONE) & (self.seen[:, 1] < items)
        closed[row[mine], self.seen[mine, 1]] = True
        return closed

    def _count(self, users: Ints, before: Ints, outside: Bools, listed: Ints) -> None:
        is_first = ~self.is_counted[users]
        for rule, count in self.policy.counted(before[is_first], outside[is_first], listed[is_first]).items():
            self.counts[rule] += count
        self.is_counted[users] |= (before != NONE).any(axis=1)
