"""What the engines are fitted on: a row per customer and item, and the sums by item."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from profiling_spark.config import Settings
from profiling_spark.config.settings import Recommend
from profiling_spark.recommend.history.bots import Bots
from profiling_spark.recommend.history.histories import map_histories
from profiling_spark.recommend.history.interactions import SPLIT_COLUMNS, UNITS, HistoryParams, split_interactions
from profiling_spark.recommend.matrix.item_side import Floats, Ints
from profiling_spark.storage import Tables

_PAIR = T.StructType(
    [
        T.StructField("user_id", T.StringType()),
        T.StructField("item_id", T.StringType()),
        T.StructField("category", T.StringType()),
        T.StructField("units", T.LongType()),
        T.StructField("buys", T.LongType()),
        T.StructField("is_history", T.BooleanType()),
        T.StructField("is_learned", T.BooleanType()),
        T.StructField("train_units", T.LongType()),
        T.StructField("train_buys", T.LongType()),
        T.StructField("is_masked", T.BooleanType()),
        T.StructField("is_bought", T.BooleanType()),
        T.StructField("is_train", T.BooleanType()),
        T.StructField("is_train_learned", T.BooleanType()),
        T.StructField("is_truth", T.BooleanType()),
        T.StructField("is_test", T.BooleanType()),
    ]
)

# sums of `item_totals` by the days on which a customer has bought the item, at least so many
_BOUGHT = {
    "bought": ("buys", 1),
    "bought_again": ("buys", 2),
    "train_bought": ("train_buys", 1),
    "train_again": ("train_buys", 2),
}


@dataclass(frozen=True)
class _Pairs:
    params: HistoryParams
    cutoff: datetime | None
    timezone: str

    def __call__(self, events: pl.DataFrame, sides: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        people = events.join(sides["bots"], on="user_id", how="anti")
        return split_interactions(people, self.params, cutoff=self.cutoff, timezone=self.timezone)


def pairs_of(tables: Tables, settings: Settings, *, as_of: date, cutoff: datetime | None, bots: Bots) -> DataFrame:
    """One row per customer, but for the bots, and touched item (see `split_interactions`), a customer's rows in one
    partition.
    """
    params = HistoryParams.of(settings, as_of)
    kernel = _Pairs(params, cutoff, settings.business_timezone)
    return map_histories(
        tables, kernel, params, schema=_PAIR, columns=SPLIT_COLUMNS, buckets=settings.buckets, sides={"bots": bots.ids}
    )


@dataclass(frozen=True)
class Bought:
    """(items,) each: how many customers bought an item, and how many of these on two days or more."""

    customers: Ints
    again: Ints


@dataclass(frozen=True)
class Totals:
    """All customers together, by item, in the order of ids. `weights` as of the run; `bought`: by how many an item was
    bought; `pairs` counts the pairs of customer and item that can be learned from.
    """

    items: tuple[str, ...]
    categories: tuple[str | None, ...]
    weights: Floats
    bought: Bought
    pairs: int

    def has_enough(self, settings: Recommend) -> bool:
        """Whether an engine can be fitted at all."""
        return self.pairs >= settings.min_pairs and int((self.weights > 0).sum()) >= 2


@dataclass(frozen=True)
class SplitTotals(Totals):
    """With those of the part before the cutoff: `train_weights` at the cutoff, `train_customers`: how many have taken
    an item by then, `train_bought`: by how many it was bought by then. `fingerprint` changes with any row.
    """

    train_weights: Floats
    train_customers: Ints
    train_bought: Bought
    fingerprint: str


def item_totals(pairs: DataFrame) -> SplitTotals:
    """Sums of the positive weights (whole numbers, so exact) and the number of positive pairs."""
    row_hash = F.xxhash64("user_id", "item_id", "units", "train_units")
    halves = F.shiftright(row_hash, 32), row_hash.bitwiseAND(F.lit(2**32 - 1))  # whose sums cannot overflow
    summed = pairs.groupBy("item_id").agg(
        F.concat_ws(" ", *(F.sum(half) for half in halves)).alias("row_hash"),
        F.sum(F.greatest("units", F.lit(0))).alias("units"),
        F.sum(F.greatest(F.coalesce("train_units", F.lit(0)), F.lit(0))).alias("train_units"),
        F.count_if("is_train").alias("train_customers"),
        *(F.count_if(F.col(days) >= least).alias(name) for name, (days, least) in _BOUGHT.items()),
        F.count_if("is_learned").alias("pairs"),
        F.min("category").alias("category"),
    )
    table = summed.toArrow().sort_by("item_id")
    hashes = "\n".join(table.column("row_hash").to_pylist())
    return SplitTotals(
        tuple(table.column("item_id").to_pylist()),
        tuple(table.column("category").to_pylist()),
        table.column("units").to_numpy() / UNITS,
        Bought(table.column("bought").to_numpy(), table.column("bought_again").to_numpy()),
        int(table.column("pairs").to_numpy().sum()),
        table.column("train_units").to_numpy() / UNITS,
        table.column("train_customers").to_numpy(),
        Bought(table.column("train_bought").to_numpy(), table.column("train_again").to_numpy()),
        hashlib.sha256(hashes.encode()).hexdigest(),
    )
