"""Customers who are asked, in this process: trials of settings and of blends ask the same few thousand many times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from profiling_spark.recommend.history.interactions import UNITS
from profiling_spark.recommend.judge import metrics
from profiling_spark.recommend.judge.evaluate import K
from profiling_spark.recommend.judge.protocols import SEEN, Judged, Protocol
from profiling_spark.recommend.matrix.item_side import (
    Bools,
    Floats,
    Histories,
    Ints,
    ItemSide,
    Scored,
    block_rows,
    padded_blocks,
)
from profiling_spark.recommend.matrix.score_block import close_items


@dataclass(frozen=True)
class Judge:
    """`past` (user, item, weight): their histories, one entry a pair, sorted by both numbers; `truths` (customers,):
    how many items they took next; `is_offered` (items,): what may be offered at all.
    """

    protocol: Protocol
    past: tuple[Ints, Ints, Floats]
    judged: Judged
    truths: Ints
    is_offered: Bools

    @property
    def customers(self) -> int:
        return len(self.truths)

    def blocks(self) -> Iterator[tuple[Ints, Histories]]:
        """Customers and their histories."""
        yield from padded_blocks(*self.past, rows=block_rows(len(self.is_offered)))

    def gains(self, users: Ints, scored: Scored) -> Floats:
        """(users,): NDCG@20 of each, as `evaluate` has it."""
        scores = scored.block()
        close_items(scores, ~self.is_offered)
        found = self.judged.lists(self.protocol, users, scores, scored, K)
        hits, _ = self.judged.hits(self.protocol, users, found)
        return metrics.ndcg(hits, self.truths[users])

    def ndcg(self, side: ItemSide) -> float:
        """The mean over all."""
        total = sum(float(self.gains(users, side.score(past)).sum()) for users, past in self.blocks())
        return total / self.customers


def judge_of(
    pairs: DataFrame, asked: pl.Series, items: tuple[str, ...], is_offered: Bools, protocol: Protocol
) -> Judge:
    """Of the customers with these ids; who has no history or nothing to be found by the protocol is not asked. `pairs`
    as of `with_masks`.
    """
    ids = pairs.sparkSession.createDataFrame(asked.rename("user_id").to_frame().to_arrow())
    columns = sorted({c for c in (protocol.truth, protocol.masks, SEEN) if c is not None})
    rows = pairs.join(F.broadcast(ids), on="user_id", how="left_semi")
    frame = pl.DataFrame(rows.select("user_id", "item_id", "train_units", "is_train", *columns).toArrow())
    is_able = (pl.col("is_train").any() & pl.col(protocol.truth).any()).over("user_id")
    numbers = pl.DataFrame({"item_id": items}, schema={"item_id": pl.String}).with_row_index("item")
    able = (
        frame.filter(is_able)
        .join(numbers, on="item_id", how="inner")
        .with_columns(user=pl.col("user_id").rank("dense").cast(pl.Int64) - 1, item=pl.col("item").cast(pl.Int64))
        .sort("user", "item")
    )
    past, count = able.filter("is_train"), able["user"].n_unique()
    return Judge(
        protocol,
        (past["user"].to_numpy(), past["item"].to_numpy(), past["train_units"].to_numpy() / UNITS),
        Judged.of(able, (protocol,)),
        np.bincount(able.filter(protocol.truth)["user"].to_numpy(), minlength=count),
        is_offered,
    )
