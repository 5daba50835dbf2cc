"""Customers who do more on a day than a person can: nothing is learned from them, and they get the general list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from profiling_spark.buckets import map_buckets
from profiling_spark.config import Settings
from profiling_spark.recommend.interactions import NOT_ACTS, HistoryParams
from profiling_spark.storage import Tables

_USER = T.StructType([T.StructField("user_id", T.StringType())])


@dataclass(frozen=True)
class Bots:
    """`ids`: (user_id), each once; `count` of them."""

    ids: DataFrame
    count: int

    def left_out(self, rows: DataFrame) -> DataFrame:
        """`rows` without theirs."""
        return rows.join(F.broadcast(self.ids), on="user_id", how="left_anti") if self.count else rows

    def told(self, users: DataFrame) -> DataFrame:
        """`users` with the column is_bot."""
        mine = F.broadcast(self.ids.select("user_id", F.lit(True).alias("_is_bot")))
        joined = users.join(mine, on="user_id", how="left")
        return joined.select(*users.columns, F.coalesce("_is_bot", F.lit(False)).alias("is_bot"))


@dataclass(frozen=True)
class _Bots:
    most: int

    def __call__(self, events: pl.DataFrame, _: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        return bots(events, most=self.most)


def bots(events: pl.DataFrame, *, most: int) -> pl.DataFrame:
    """(user_id), sorted: who has more than `most` events of one's own (no impressions) on any one day."""
    days = events.filter(~pl.col("event_type").is_in(NOT_ACTS)).group_by("user_id", "event_date").len()
    return days.filter(pl.col("len") > most).select("user_id").unique().sort("user_id")


def bots_of(tables: Tables, settings: Settings, params: HistoryParams) -> Bots:
    """The bots of the histories' window. They come to the driver: one for `bot_events_per_day` events at the most."""
    most = settings.recommend.bot_events_per_day
    if most is None:
        return Bots(tables.spark.createDataFrame([], _USER), 0)
    found = map_buckets(
        tables, _Bots(most), schema=_USER, columns=("user_id", "event_type", "event_date"), buckets=settings.buckets,
        before=params.as_of, since=params.since,
    )  # fmt: skip
    ids = found.toArrow().sort_by("user_id")
    return Bots(tables.spark.createDataFrame(ids), ids.num_rows)
