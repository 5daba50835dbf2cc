"""Bots, as the features found them: nothing is learned from them, and they get the general list."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


@dataclass(frozen=True)
class Bots:
    """`ids`: (user_id), each once; `count` of them."""

    ids: DataFrame
    count: int

    def left_out(self, rows: DataFrame) -> DataFrame:
        """`rows` without theirs."""
        return rows.join(F.broadcast(self.ids), on="user_id", how="left_anti") if self.count else rows

    def flagged(self, users: DataFrame) -> DataFrame:
        """`users` with the column is_bot."""
        bot_ids = F.broadcast(self.ids.select("user_id", F.lit(True).alias("_is_bot")))
        joined = users.join(bot_ids, on="user_id", how="left")
        return joined.select(*users.columns, F.coalesce("_is_bot", F.lit(False)).alias("is_bot"))


def bots_of(features: DataFrame) -> Bots:
    """The bots of the date's user_features. They come to the driver: one for `bot_events_per_day` events at the most.

    A null (of a release that did not know them) is no bot.
    """
    ids = features.where("is_bot").select("user_id").toArrow().sort_by("user_id")
    return Bots(features.sparkSession.createDataFrame(ids), ids.num_rows)
