"""The groups that customers belong to, and the steps of the ladder that what these take makes (`history/sums.py`):
popular items by segment, gender and age, region.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from profiling_spark.contracts.gold import USER_SEGMENTS
from profiling_spark.recommend.engines.popular import (
    POPULAR_IN_GROUP,
    POPULAR_IN_REGION,
    POPULAR_IN_SEGMENT,
    GroupPopularity,
)
from profiling_spark.recommend.history.interactions import UNITS
from profiling_spark.storage import Tables

# column of the served customers and the step that its groups make, the nearest to the customer first
GROUP_STEPS = {"segment": POPULAR_IN_SEGMENT, "attributes": POPULAR_IN_GROUP, "region": POPULAR_IN_REGION}


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


def group_steps(top: pl.DataFrame, item_ids: Sequence[str]) -> dict[str, GroupPopularity]:
    """The steps of the ladder over numbered items, by the column of the served customers, from `Sums.top`."""
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
