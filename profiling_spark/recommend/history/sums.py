"""What customers take, all of them and by group: one pass over the buckets.

Each bucket's customers are added up in whole numbers; Spark adds up the buckets and cuts the groups to what a list can
use, so that they fit every task: at most GROUPS groups of a kind with DEPTH items each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from profiling_spark.config import Settings
from profiling_spark.config.settings import Recommend
from profiling_spark.recommend.history.histories import map_histories
from profiling_spark.recommend.history.interactions import HISTORY_COLUMNS, UNITS, HistoryParams, interactions
from profiling_spark.recommend.history.pairs import Bought, Totals
from profiling_spark.storage import Tables

GROUPS, DEPTH = 200, 300
# what one or two people of a group took is neither popular there nor anonymous
LEAST_TAKERS = 3
_EVERYONE, _FIRST, _FEW = "everyone", "first", "few"
_COUNTS = ("units", "customers", "bought", "again", "learned")
_SUMS = pl.Schema(
    {
        "kind": pl.String,
        "name": pl.String,
        "item_id": pl.String,
        **dict.fromkeys(_COUNTS, pl.Int64),
        "category": pl.String,
        "first_date": pl.Date,
    }
)
_SPARK_SUMS = T.StructType(
    [
        *(T.StructField(name, T.StringType()) for name in ("kind", "name", "item_id")),
        *(T.StructField(name, T.LongType()) for name in _COUNTS),
        T.StructField("category", T.StringType()),
        T.StructField("first_date", T.DateType()),
    ]
)


@dataclass(frozen=True)
class _Sums:
    """Kernel over (events, sides["users"]: user_id, is_bot, a column per kind of group): sums of a bucket, a row per
    item, one per group and item, one per group, and one for the customers with too few items.
    """

    params: HistoryParams
    kinds: tuple[str, ...]

    def __call__(self, events: pl.DataFrame, sides: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        users = sides["users"].filter(~pl.col("is_bot"))
        people = events.join(sides["users"].filter("is_bot"), on="user_id", how="anti")
        pairs = interactions(people, self.params)
        found = [_SUMS.to_frame(), *self._everyone(pairs), self._first(people.join(users, on="user_id", how="semi"))]
        taken = pairs.filter(pl.col("units") > 0).select("user_id", "item_id", "units")
        taken = taken.join(users, on="user_id", how="inner")
        for kind in self.kinds:
            of_kind = taken.filter(pl.col(kind).is_not_null()).with_columns(name=kind)
            by_item = of_kind.group_by("name", "item_id").agg(pl.col("units").sum(), customers=_count(pl.len()))
            by_group = of_kind.group_by("name").agg(customers=_count(pl.col("user_id").n_unique()))
            found += [by_item.with_columns(kind=pl.lit(kind)), by_group.with_columns(kind=pl.lit(kind))]
        return pl.concat(found, how="diagonal").select(*_SUMS)

    def _everyone(self, pairs: pl.DataFrame) -> list[pl.DataFrame]:
        own = pl.col("is_history").sum().over("user_id")
        marked = pairs.with_columns(is_learned=pl.col("is_history") & (own >= self.params.min_items))
        by_item = marked.group_by("item_id").agg(
            pl.col("units").clip(0).sum(),
            pl.col("category").min(),
            bought=_count((pl.col("buys") >= 1).sum()),
            again=_count((pl.col("buys") >= 2).sum()),
            learned=_count(pl.col("is_learned").sum()),
        )
        short = marked.filter(pl.col("is_history") & ~pl.col("is_learned"))["user_id"].n_unique()
        few = pl.DataFrame({"kind": _FEW, "name": "", "customers": short}, schema_overrides={"customers": pl.Int64})
        return [by_item.with_columns(kind=pl.lit(_EVERYONE), name=pl.lit("")), few]

    def _first(self, events: pl.DataFrame) -> pl.DataFrame:
        is_taken = pl.col("item_id").is_not_null() & (pl.col("event_date") < self.params.as_of)
        first = events.filter(is_taken).group_by("item_id").agg(first_date=pl.col("event_date").min())
        return first.with_columns(kind=pl.lit(_FIRST), name=pl.lit(""))


def _count(number: pl.Expr) -> pl.Expr:
    return number.cast(pl.Int64)


@dataclass(frozen=True)
class Sums:
    """`totals`: of everyone but the bots. `few_items`: how many customers have a history that is too short to learn
    from. `first_dates`: (item_id, first_date) of every item with an event of a user in the histories' window. `top`:
    (kind, name, item_id, units), the most popular items of each group, sorted by kind, name and place.
    """

    totals: Totals
    few_items: int
    first_dates: pl.DataFrame
    top: pl.DataFrame


def history_sums(
    tables: Tables, users: DataFrame, settings: Settings, params: HistoryParams, *, kinds: Sequence[str]
) -> Sums:
    """`users`: (user_id, is_bot, a column for each of `kinds` with the group that the customer belongs to).

    Groups: with at least `min_group_customers` customers who took something, the largest GROUPS of each kind; of each
    the DEPTH items of the greatest decayed weight that at least LEAST_TAKERS took; ties by item id.
    """
    rows = map_histories(
        tables, _Sums(params, tuple(kinds)), params, schema=_SPARK_SUMS, columns=HISTORY_COLUMNS,
        buckets=settings.buckets, sides={"users": users.select("user_id", "is_bot", *kinds)},
    )  # fmt: skip
    added = rows.groupBy("kind", "name", "item_id").agg(
        *(F.sum(name).alias(name) for name in _COUNTS),
        F.min("category").alias("category"),
        F.min("first_date").alias("first_date"),
    )
    added = added.persist()
    try:
        ranked = pl.DataFrame(_top(added, settings.recommend).toArrow())
        of_all = pl.DataFrame(added.where(F.col("kind").isin(_EVERYONE, _FIRST, _FEW)).toArrow())
    finally:
        added.unpersist()
    of_kind = {kind: of_all.filter(pl.col("kind") == kind) for kind in (_EVERYONE, _FIRST, _FEW)}
    return Sums(
        _totals(of_kind[_EVERYONE].sort("item_id")),
        int(of_kind[_FEW]["customers"].sum()),
        of_kind[_FIRST].select("item_id", "first_date"),
        ranked.sort("kind", "name", "place").drop("place"),
    )


def _totals(by_item: pl.DataFrame) -> Totals:
    return Totals(
        tuple(by_item["item_id"]),
        tuple(by_item["category"]),
        by_item["units"].to_numpy().astype(np.float64) / UNITS,
        Bought(by_item["bought"].to_numpy(), by_item["again"].to_numpy()),
        int(by_item["learned"].sum()),
    )


def _top(added: DataFrame, settings: Recommend) -> DataFrame:
    """(kind, name, place, item_id, units)."""
    by_size = Window.partitionBy("kind").orderBy(F.desc("customers"), "name")
    by_weight = Window.partitionBy("kind", "name").orderBy(F.desc("units"), "item_id")
    of_groups = added.where(~F.col("kind").isin(_EVERYONE, _FIRST, _FEW))
    large = (
        of_groups.where(F.col("item_id").isNull() & (F.col("customers") >= settings.min_group_customers))
        .withColumn("_place", F.row_number().over(by_size))
        .where(F.col("_place") <= GROUPS)
        .select("kind", "name")
    )
    return (
        of_groups.where(F.col("item_id").isNotNull() & (F.col("customers") >= LEAST_TAKERS))
        .join(F.broadcast(large), on=["kind", "name"], how="left_semi")
        .withColumn("place", F.row_number().over(by_weight))
        .where(F.col("place") <= DEPTH)
        .select("kind", "name", "place", "item_id", "units")
    )
