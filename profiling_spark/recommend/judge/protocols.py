"""What lists are judged on: which items a list leaves out, and what is then to be found in it.

Three protocols stand beside each other. New items: nothing that a customer had dealt with is offered or looked for.
As served: what the shop's policy masks (by default what was bought) is neither offered nor looked for, what was only
looked at is both, and at most a share of a list is known to the customer. All items: nothing is left out, so that
repeat purchases count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from profiling_spark.recommend.history.seen import take_known
from profiling_spark.recommend.matrix.item_side import Bools, Floats, Ints, ScoreBlock, Scored, rows_of
from profiling_spark.recommend.matrix.score_block import best, close_pairs
from profiling_spark.recommend.matrix.top_n import NONE

SEEN, MASKED, OPEN = "is_seen", "is_masked", "is_open"
_ORDER = (None, MASKED, SEEN)  # each masks what those before it mask, and more


@dataclass(frozen=True)
class Protocol:
    """`truth`: the column of the pairs that are to be found; `masks`: of those that lists leave out, None: nothing.
    `most_seen_share`: of a list at most so much had the customer seen. `candidates`: the column of the pairs among
    which alone is ranked, beside the truth; None: the catalogue.
    """

    name: str
    truth: str
    masks: str | None
    most_seen_share: float = 1.0
    candidates: str | None = None

    @property
    def has_cap(self) -> bool:
        """Whether the cap on what was seen can take anything out."""
        return self.most_seen_share < 1 and self.masks != SEEN


NEW_ITEMS = Protocol("new_items", "is_truth", SEEN)
AS_SERVED = Protocol("as_served", OPEN, MASKED)
ALL_ITEMS = Protocol("all_items", "is_test", None)


def as_served(most_seen_share: float) -> Protocol:
    """With the policy's cap."""
    return Protocol(AS_SERVED.name, AS_SERVED.truth, AS_SERVED.masks, most_seen_share)


def in_order(protocols: Sequence[Protocol]) -> list[Protocol]:
    """As they are judged one after the other on the same scores, from which each takes out what it masks."""
    return sorted(protocols, key=lambda protocol: _ORDER.index(protocol.masks))


def with_masks(pairs: DataFrame, repeats: Sequence[str] = ()) -> DataFrame:
    """Pairs as of `split_interactions` with `is_seen`, had been dealt with before the split; `is_masked` without what
    was bought of the items `repeats`; and `is_open`: in the test part, and not masked.
    """
    seen = pairs.withColumn(SEEN, F.col("train_units").isNotNull())
    if repeats:
        ids = pa.table({"item_id": pa.array(repeats, pa.string()), "_again": np.ones(len(repeats), dtype=bool)})
        named = seen.join(F.broadcast(pairs.sparkSession.createDataFrame(ids)), on="item_id", how="left")
        again = F.col("is_bought") & F.coalesce("_again", F.lit(False))
        seen = named.withColumn(MASKED, F.col(MASKED) & ~again).drop("_again")
    return seen.withColumn(OPEN, F.col("is_test") & ~F.col(MASKED))


@dataclass(frozen=True)
class Marks:
    """Pairs of a user and an item, by number, sorted by both, each once."""

    users: Ints
    items: Ints

    @classmethod
    def of(cls, pairs: pl.DataFrame) -> Marks:
        """Of sorted rows."""
        return cls(pairs["user"].to_numpy(), pairs["item"].to_numpy())

    def of_block(self, users: Ints) -> tuple[Ints, Ints]:
        """(row, item) of the pairs of these users; a user's row is its place among them."""
        row, at = rows_of(self.users, users)
        return row, self.items[at]

    def hits(self, users: Ints, found: Ints) -> tuple[Bools, Ints]:
        """Which items of the lists (users, any) are marked, and (users,) how many marks each user has."""
        row, item = self.of_block(users)
        width = max(int(item.max(initial=0)), int(found.max(initial=0))) + 1
        marked = np.isin(found + np.arange(len(users))[:, None] * width, item + row * width) & (found != NONE)
        return marked, np.bincount(row, minlength=len(users))


@dataclass(frozen=True)
class Judged:
    """The pairs of customers, numbered, by the columns of protocols (`is_seen` too)."""

    marks: dict[str, Marks]

    @classmethod
    def of(cls, pairs: pl.DataFrame, protocols: Sequence[Protocol]) -> Judged:
        """Of rows sorted by user and item."""
        columns = {c for p in protocols for c in (p.truth, p.masks, p.candidates) if c is not None}
        return cls({column: Marks.of(pairs.filter(column)) for column in sorted({*columns, SEEN})})

    def lists(self, protocol: Protocol, users: Ints, block: ScoreBlock, scored: Scored, k: int) -> Ints:
        """(users, k): the lists by this protocol. `block`, which protocols `in_order` share, loses what it masks."""
        if protocol.masks is not None:
            close_pairs(block, *self.marks[protocol.masks].of_block(users))
        if protocol.candidates is not None:
            found, _ = best(take_known(block, *self._candidates(protocol, users)), k, scored.exact)
            return found
        if not protocol.has_cap:
            found, _ = best(block, k, scored.exact)
            return found
        known = take_known(block, *self.marks[SEEN].of_block(users))
        most = int(k * protocol.most_seen_share + 1e-9)
        both = best(block, k, scored.exact), best(known, most, scored.exact)
        return _merged(*both, share=protocol.most_seen_share)

    def hits(self, protocol: Protocol, users: Ints, found: Ints) -> tuple[Bools, Ints]:
        """Which items of the lists are in the truth, and how large each user's truth is."""
        return self.marks[protocol.truth].hits(users, found)

    def _candidates(self, protocol: Protocol, users: Ints) -> tuple[Ints, Ints]:
        assert protocol.candidates is not None  # for mypy
        both = [self.marks[column].of_block(users) for column in (protocol.candidates, protocol.truth)]
        row, item = (np.concatenate(part) for part in zip(*both, strict=True))
        order = np.lexsort((item, row))
        row, item = row[order], item[order]
        is_first = np.r_[True, (row[1:] != row[:-1]) | (item[1:] != item[:-1])][: len(row)]
        return row[is_first], item[is_first]


def _merged(fresh: tuple[Ints, Floats], known: tuple[Ints, Floats], *, share: float) -> Ints:
    """Lists of fresh and known items as one ranking, as long as the fresh ones: of each at most `share` known."""
    items, values = (np.concatenate(part, axis=1) for part in zip(fresh, known, strict=True))
    is_known = np.arange(items.shape[1]) >= fresh[0].shape[1]
    order = np.lexsort((items, -np.where(np.isnan(values), -np.inf, values)), axis=1)[:, : fresh[0].shape[1]]
    items, is_known = np.take_along_axis(items, order, axis=1), is_known[order]
    is_known &= items != NONE
    others = ((items != NONE) & ~is_known).sum(axis=1)
    most = np.floor(others * share / (1 - share) + 1e-9)
    items[is_known & (is_known.cumsum(axis=1) > most[:, None])] = NONE
    return np.take_along_axis(items, np.argsort(items == NONE, axis=1, kind="stable"), axis=1)
