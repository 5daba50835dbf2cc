"""The audience of an item: the customers who score it highest, for campaigns. The serving pass the other way round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from profiling_spark.config.settings import Recommend
from profiling_spark.recommend.engines.graph_filter import scoring_all
from profiling_spark.recommend.engines.stored import StoredSide
from profiling_spark.recommend.history.histories import map_histories
from profiling_spark.recommend.history.interactions import HISTORY_COLUMNS, UNITS, HistoryParams, interactions
from profiling_spark.recommend.lists.catalogue import Catalogue
from profiling_spark.recommend.matrix.item_side import Ints, block_rows, padded_blocks
from profiling_spark.recommend.matrix.score_block import every
from profiling_spark.shared import SharedCall
from profiling_spark.storage import Tables

_DECIMALS = 9  # equal scores go by customer, not by the last bit
_MOST_ITEMS = 64  # at a time: bounds the engines' arrays of (customers, items, history)
_SCORED = pl.Schema({"item_id": pl.String, "user_id": pl.String, "score": pl.Float64})
_SPARK_SCORED = T.StructType(
    [
        T.StructField("item_id", T.StringType()),
        T.StructField("user_id", T.StringType()),
        T.StructField("score", T.DoubleType()),
    ]
)


def wanted_items(catalogue: Catalogue, settings: Recommend, known: int) -> Ints:
    """Numbers of the items that get an audience, among the first `known`: those named in the settings, and the most
    popular that the policy lets through. An item that nobody takes, or that the model does not know, has none.
    """
    asked = settings.audience
    weights = np.array(catalogue.weights)[:known]
    popular = np.where(catalogue.policy(settings.policy).is_barred[:known], 0.0, weights)
    order = np.lexsort((np.arange(known), -popular))[: asked.items]
    named = [n for n, item in enumerate(catalogue.item_ids[:known]) if item in asked.item_ids]
    wanted = np.unique(np.r_[order[popular[order] > 0], np.array(named, dtype=np.int64)])
    found: Ints = wanted[weights[wanted] > 0]
    return found


@dataclass(frozen=True)
class AudienceKernel:
    """Kernel over (events, sides["users"]: user_id, is_opted_out): the `customers` best of a bucket for each of the
    `wanted` items. Left out: who opted out, who bought the item, and whom the engine has no score for.
    """

    item_ids: tuple[str, ...]
    wanted: Ints
    side: StoredSide
    params: HistoryParams
    customers: int

    def __call__(self, events: pl.DataFrame, sides: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        users = sides["users"].filter(~pl.col("is_opted_out")).select("user_id").sort("user_id").with_row_index("user")
        items = pl.DataFrame({"item_id": self.item_ids}).with_row_index("item")
        known = (
            interactions(events, self.params)
            .filter("is_history")
            .join(users, on="user_id", how="inner")
            .join(items, on="item_id", how="inner")
            .cast({"user": pl.Int64, "item": pl.Int64})
            .sort("user", "item")
        )
        bought = events.filter(pl.col("event_type") == "purchase").select("user_id", "item_id").unique()
        side, found = scoring_all(self.side.load()), _SCORED.to_frame()
        columns = known["user"].to_numpy(), known["item"].to_numpy(), known["units"].to_numpy() / UNITS
        for block, histories in padded_blocks(*columns, rows=block_rows(side.items)):
            scored = side.score(histories)
            has_score = np.isfinite(every(scored.block())[:, self.wanted])
            for at in range(0, len(self.wanted), _MOST_ITEMS):
                part = self.wanted[at : at + _MOST_ITEMS]
                values = scored.exact(np.tile(part, (len(block), 1)))
                row, column = np.nonzero(has_score[:, at : at + _MOST_ITEMS])
                frame = pl.DataFrame(
                    {
                        "item_id": items["item_id"].gather(part[column]),
                        "user_id": users["user_id"].gather(block[row]),
                        "score": np.round(values[row, column], _DECIMALS),
                    }
                )
                found = self._best(pl.concat([found, frame.join(bought, on=["item_id", "user_id"], how="anti")]))
        return found

    def _best(self, found: pl.DataFrame) -> pl.DataFrame:
        ordered = found.sort("item_id", pl.col("score").neg(), "user_id")
        return ordered.group_by("item_id", maintain_order=True).head(self.customers).select(*_SCORED)


def audiences(tables: Tables, users: DataFrame, kernel: AudienceKernel, *, buckets: int) -> DataFrame:
    """The best customers of each item, by score; ties by user id."""
    params = kernel.params
    shared = SharedCall(tables.spark, kernel)
    best = map_histories(
        tables, shared, params, schema=_SPARK_SCORED, columns=HISTORY_COLUMNS, buckets=buckets,
        sides={"users": users.select("user_id", "is_opted_out")},
    )  # fmt: skip
    by_score = Window.partitionBy("item_id").orderBy(F.desc("score"), "user_id")
    ranked = best.withColumn("rank", F.row_number().over(by_score)).where(F.col("rank") <= kernel.customers)
    return ranked.withColumn("as_of", F.lit(params.as_of))
