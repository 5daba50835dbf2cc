"""What the buckets' first pass found, added up: sums of items, most viewed items, and values of RFM measures.

A kernel: no Spark, no I/O. It is given all parts of an item, and all of one value of a measure; each task of a large
lake adds up a share of both.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl
from pyspark.sql import types as T

from profiling_spark.features.item_parts import FIRST, ONLY, ORDERS, PRICES, TOTALS, VIEWS

POPULAR_ITEMS = 10
RFM = "rfm"
ITEM, POPULAR = "item", "popular"
COUNTS = ("views", "carts", "purchases", "buyers", "_repeaters")
KEY = ("as_of", "item_id")
KIND = "_kind"
SCHEMA = T.StructType(
    [
        T.StructField(KIND, T.StringType()),
        T.StructField("as_of", T.DateType()),
        *(T.StructField(c, T.StringType()) for c in ("item_id", "_category", "_brand", "measure")),
        T.StructField("days", T.IntegerType()),
        T.StructField("value", T.DecimalType(28, 4)),
        T.StructField("_paid", T.DecimalType(18, 6)),
        *(T.StructField(c, T.LongType()) for c in (*COUNTS, "_rows")),
    ]
)


@dataclass(frozen=True)
class Sums:
    """From rows of `_FirstPass`: rows of three kinds, by column KIND, each with what of the columns it knows.

    - item: for as_of and item, COUNTS, the last known category and brand, and the median of the prices in its events,
      the lower of two middle ones;
    - popular: for as_of and `days` (a window), the POPULAR_ITEMS most viewed items of these parts;
    - RFM: for as_of, measure and value, the customers (`_rows`).

    Each date takes the sums of those that dates up to it saw first, and of those that count at it alone (ONLY).
    """

    dates: tuple[date, ...]
    windows: tuple[int, ...]

    def __call__(self, parts: pl.DataFrame) -> pl.DataFrame:
        kinds = [kind for day in self.dates for kind in self._at(parts, day)]
        rfm = parts.filter(pl.col("_part") == RFM).group_by(pl.col(FIRST).alias("as_of"), "measure", "value")
        kinds.append(rfm.agg(pl.col("_rows").sum(), pl.lit(RFM).alias(KIND)))
        found = pl.concat(kinds, how="diagonal_relaxed")
        return found.select(SCHEMA.names)

    def _at(self, parts: pl.DataFrame, day: date) -> list[pl.DataFrame]:
        counts_then = pl.col(ONLY).is_null() | (pl.col(ONLY) == day)
        seen = parts.filter(pl.col(FIRST) <= day)
        counted = seen.filter(pl.col("_part").is_in([TOTALS, ORDERS]), counts_then)
        totals = counted.group_by("item_id").agg(
            *(pl.col(c).sum() for c in COUNTS), _last_known("category"), _last_known("brand")
        )
        items = totals.join(_paid(seen), on="item_id", how="left").with_columns(pl.lit(ITEM).alias(KIND))
        views = seen.filter(pl.col("_part") == VIEWS, counts_then)
        until = (pl.lit(day) - pl.col(FIRST)).dt.total_days()
        viewed = (
            most_viewed(views.filter(until < w).group_by("item_id").agg(pl.col("views").sum())).with_columns(
                pl.lit(POPULAR).alias(KIND), pl.lit(w, pl.Int32).alias("days")
            )
            for w in self.windows
        )
        return [frame.with_columns(pl.lit(day).alias("as_of")) for frame in (items, *viewed)]


def most_viewed(views: pl.DataFrame) -> pl.DataFrame:
    """The first POPULAR_ITEMS of (item_id, views): most views first, of equal ones the smaller id."""
    return views.sort("views", "item_id", descending=[True, False]).head(POPULAR_ITEMS)


def _last_known(column: str) -> pl.Expr:
    """The value of the latest event that has one; of events at the same time, the smaller name."""
    is_known = pl.col(column).is_not_null()
    newest = pl.col("_last").filter(is_known), pl.col(column).filter(is_known)
    return newest[1].sort_by(*newest, descending=[True, False]).first().alias(f"_{column}")


def _paid(seen: pl.DataFrame) -> pl.DataFrame:
    prices = seen.filter(pl.col("_part") == PRICES).group_by("item_id", "unit_price").agg(pl.col("_rows").sum())
    ranked = prices.sort("item_id", "unit_price").with_columns(
        _up_to_it=pl.col("_rows").cum_sum().over("item_id"), _all=pl.col("_rows").sum().over("item_id")
    )
    upper = ranked.filter(2 * pl.col("_up_to_it") >= pl.col("_all"))
    return upper.group_by("item_id").agg(pl.col("unit_price").min().alias("_paid"))
