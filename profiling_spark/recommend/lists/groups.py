"""What groups of customers take: popular items by segment, gender and age, region; and since when items are taken.

One pass over the buckets adds up each bucket's customers in whole numbers; Spark adds up the buckets and cuts the
result to what a list can use, so that it fits every task: at most GROUPS groups of a kind with DEPTH items each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from profiling_spark.config import Settings
from profiling_spark.contracts.gold import USER_SEGMENTS
from profiling_spark.recommend.engines.popular import (
    POPULAR_IN_GROUP,
    POPULAR_IN_REGION,
    POPULAR_IN_SEGMENT,
    GroupPopularity,
)
from profiling_spark.recommend.history.histories import map_histories
from profiling_spark.recommend.history.interactions import HISTORY_COLUMNS, UNITS, HistoryParams, interactions
from profiling_spark.storage import Tables

# column of the served customers and the step that its groups make, the nearest to the customer first
GROUP_STEPS = {"segment": POPULAR_IN_SEGMENT, "attributes": POPULAR_IN_GROUP, "region": POPULAR_IN_REGION}
GROUPS, DEPTH = 200, 300
# what one or two people of a group took is neither popular there nor anonymous
LEAST_TAKERS = 3
_EVERYONE = "everyone"
_SUMS = pl.Schema(
    {
        "kind": pl.String,
        "name": pl.String,
        "item_id": pl.String,
        "units": pl.Int64,
        "customers": pl.Int64,
        "first_date": pl.Date,
    }
)
_SPARK_SUMS = T.StructType(
    [
        T.StructField("kind", T.StringType()),
        T.StructField("name", T.StringType()),
        T.StructField("item_id", T.StringType()),
        T.StructField("units", T.LongType()),
        T.StructField("customers", T.LongType()),
        T.StructField("first_date", T.DateType()),
    ]
)


def with_groups(users: DataFrame, features: DataFrame, tables: Tables, *, as_of: date) -> DataFrame:
    """`users` with a column for each of GROUP_STEPS, null where not known: the newest KMeans segment by as_of, gender
    and age band as "female/26-35" (what is not known is empty), province.
    """
    gender = F.when(F.col("gender_code") == 0, F.lit("male")).when(F.col("gender_code") == 1, F.lit("female"))
    attributes = F.concat_ws("/", F.coalesce(gender, F.lit("")), F.coalesce("age_band", F.lit("")))
    known = features.select(
        "user_id",
        F.when(attributes != "/", attributes).alias("attributes"),
        F.col("province").alias("region"),
    )
    assigned = tables.read(USER_SEGMENTS).where((F.col("method") == "kmeans") & (F.col("as_of") <= F.lit(as_of)))
    newest = assigned.agg(F.max("as_of").alias("as_of"))
    segments = assigned.join(F.broadcast(newest), on="as_of", how="left_semi").select(
        "user_id", F.col("segment_id").cast("string").alias("segment")
    )
    with_known = users.join(known, on="user_id", how="left").join(segments, on="user_id", how="left")
    return with_known.select(*users.columns, *GROUP_STEPS)


@dataclass(frozen=True)
class _GroupSums:
    """Kernel over (events, sides["users"]): sums of a bucket, a row per group and item, and one per group."""

    params: HistoryParams

    def __call__(self, events: pl.DataFrame, sides: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        pairs = interactions(events, self.params)
        taken = pairs.filter(pl.col("units") > 0).join(sides["users"], on="user_id", how="inner")
        count = pl.len().cast(pl.Int64)
        found = [_SUMS.to_frame()]
        for kind in GROUP_STEPS:
            of_kind = taken.filter(pl.col(kind).is_not_null()).with_columns(name=kind)
            by_item = of_kind.group_by("name", "item_id").agg(pl.col("units").sum(), customers=count)
            by_group = of_kind.group_by("name").agg(customers=pl.col("user_id").n_unique().cast(pl.Int64))
            found += [by_item.with_columns(kind=pl.lit(kind)), by_group.with_columns(kind=pl.lit(kind))]
        is_taken = pl.col("item_id").is_not_null() & (pl.col("event_date") < self.params.as_of)
        theirs = events.filter(is_taken).join(sides["users"], on="user_id", how="semi")
        first = theirs.group_by("item_id").agg(first_date=pl.col("event_date").min())
        found.append(first.with_columns(kind=pl.lit(_EVERYONE), name=pl.lit("")))
        return pl.concat(found, how="diagonal").select(*_SUMS)


@dataclass(frozen=True)
class GroupSums:
    """`top`: (kind, name, item_id, units), the most popular items of each group, sorted by kind, name and place.
    `first_dates`: (item_id, first_date) of every item with an event of a customer in the histories' window."""

    top: pl.DataFrame
    first_dates: pl.DataFrame


def group_sums(tables: Tables, users: DataFrame, settings: Settings, params: HistoryParams) -> GroupSums:
    """Of these `users`, groups with at least `min_group_customers` customers who took something, the largest GROUPS of
    each kind; of each the DEPTH items of the greatest decayed weight that at least LEAST_TAKERS took; ties by item id.
    """
    sums = map_histories(
        tables, _GroupSums(params), params, schema=_SPARK_SUMS, columns=HISTORY_COLUMNS, buckets=settings.buckets,
        sides={"users": users.select("user_id", *GROUP_STEPS)},
    )  # fmt: skip
    added = sums.groupBy("kind", "name", "item_id").agg(
        F.sum("units").alias("units"), F.sum("customers").alias("customers"), F.min("first_date").alias("first_date")
    )
    by_size = Window.partitionBy("kind").orderBy(F.desc("customers"), "name")
    by_weight = Window.partitionBy("kind", "name").orderBy(F.desc("units"), "item_id")
    is_group = (F.col("kind") != _EVERYONE) & F.col("item_id").isNull()
    added = added.persist()
    try:
        large = (
            added.where(is_group & (F.col("customers") >= settings.recommend.min_group_customers))
            .withColumn("_place", F.row_number().over(by_size))
            .where(F.col("_place") <= GROUPS)
            .select("kind", "name")
        )
        top = (
            added.where(F.col("item_id").isNotNull() & (F.col("customers") >= LEAST_TAKERS))
            .join(F.broadcast(large), on=["kind", "name"], how="left_semi")
            .withColumn("place", F.row_number().over(by_weight))
            .where(F.col("place") <= DEPTH)
            .select("kind", "name", "place", "item_id", "units")
            .toArrow()
        )
        first = added.where(F.col("kind") == _EVERYONE).select("item_id", "first_date").toArrow()
    finally:
        added.unpersist()
    ranked = pl.DataFrame(top).sort("kind", "name", "place").drop("place")
    return GroupSums(ranked, pl.DataFrame(first))


def group_steps(top: pl.DataFrame, item_ids: Sequence[str]) -> dict[str, GroupPopularity]:
    """The steps of the ladder over numbered items, by the column of the served customers, from `GroupSums.top`."""
    numbers = pl.DataFrame({"item_id": item_ids}, schema={"item_id": pl.String}).with_row_index("item")
    numbered = top.join(numbers, on="item_id", how="inner", maintain_order="left")
    steps = {}
    for kind, engine in GROUP_STEPS.items():
        of_kind = numbered.filter(pl.col("kind") == kind)
        sizes = of_kind.group_by("name", maintain_order=True).len()
        ends = np.r_[0, np.cumsum(sizes["len"].to_numpy())].astype(np.int64)
        items, weights = of_kind["item"].to_numpy().astype(np.int64), of_kind["units"].to_numpy() / UNITS
        steps[kind] = GroupPopularity(engine, tuple(sizes["name"]), ends, items, weights)
    return steps
