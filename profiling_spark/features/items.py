"""Features of items: the buckets' partial sums, added up, beside the catalogue and the reviews.

Customers' kernels take the prices and the popular items.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from profiling_spark.attributes import believed
from profiling_spark.features.item_parts import FIRST
from profiling_spark.features.preference import LONE_PRICE_PERCENTILE
from profiling_spark.features.sums import ITEM, KEY, KIND, POPULAR, most_viewed

_PRICE = pl.Decimal(18, 6)


@dataclass(frozen=True)
class ItemSides:
    """What a customer's kernel needs of the items at one date: it grows with the catalogue, not with customers."""

    prices: pl.DataFrame
    popular: dict[int, list[str]]


def catalogue(
    items: DataFrame, *, dates: Sequence[date], timezone: str, precedence: Sequence[str] = ()
) -> pl.DataFrame:
    """category, brand and list_price, of the last version before it, of each date and product that has one.

    `items`: versions (see attributes.versions). `precedence`: sources of the catalogue, the one that is believed first
    first.
    """
    last = believed(
        items.withColumn("as_of", F.explode(F.array(*(F.lit(d) for d in dates)))),
        key=KEY,
        values=["category", "brand", "list_price"],
        as_of=F.col("as_of"),
        timezone=timezone,
        precedence=precedence,
    )
    return pl.DataFrame(last.select(*KEY, "category", "brand", "list_price").toArrow())


def priced_items(listed: pl.DataFrame, dates: Sequence[date]) -> pl.DataFrame:
    """item_id of those with a list price at every date: nothing is asked of the prices in their events."""
    priced = listed.filter(pl.col("list_price").is_not_null()).group_by("item_id").agg(_dates=pl.len())
    return priced.filter(pl.col("_dates") == len(set(dates))).select("item_id")


def item_features(
    sums: pl.DataFrame, listed: pl.DataFrame, rated: pl.DataFrame, *, supplied: Collection[str]
) -> pl.DataFrame:
    """One row per date and product with an event or a catalogue row before it (columns: contracts ITEM_FEATURES).

    `sums`: see `Sums`; `listed`: `catalogue`; `rated`: `ratings`.
    """
    joined = (
        sums.filter(pl.col(KIND) == ITEM)
        .join(listed, on=KEY, how="full", coalesce=True)
        .join(rated, on=KEY, how="left")
    )
    counts = {"views": "view", "carts": "cart", "purchases": "purchase", "buyers": "purchase"}
    frame = joined.select(
        *KEY,
        pl.coalesce("category", "_category").alias("category"),
        pl.coalesce("brand", "_brand").alias("brand"),
        pl.coalesce(pl.col("list_price").cast(_PRICE), pl.col("_paid").cast(_PRICE)).alias("price"),
        *(_zero_if_supplied(column, kind, supplied) for column, kind in counts.items()),
        "_repeaters",
        "rating",
    )
    return _ranked(frame, by="purchases" if "purchase" in supplied else "views")


def item_sides(
    features: pl.DataFrame, sums: pl.DataFrame, *, dates: Sequence[date], windows: Sequence[int]
) -> dict[date, ItemSides]:
    """For each date, price percentiles and, for each window, the most viewed items."""
    priced = features.filter(pl.col("price_percentile").is_not_null())
    popular = sums.filter(pl.col(KIND) == POPULAR)

    def sides(day: date) -> ItemSides:
        of_day = pl.col("as_of") == day
        viewed = {w: popular.filter(of_day, pl.col("days") == w).select("item_id", "views") for w in windows}
        return ItemSides(
            priced.filter(of_day).select("item_id", "price_percentile"),
            {w: most_viewed(v)["item_id"].to_list() for w, v in viewed.items()},
        )

    return {day: sides(day) for day in dates}


def _local_day(column: str, timezone: str) -> Column:
    return F.to_date(F.from_utc_timestamp(column, timezone))


def _first_after(day: Column, dates: Collection[date]) -> Column:
    """The first of `dates` after a day; null where none is."""
    return F.coalesce(*(F.when(day < F.lit(d), F.lit(d)) for d in sorted(dates)))


def _at_each_date(rows: DataFrame, day: Column, dates: Sequence[date]) -> DataFrame:
    """The rows once for each of `dates` after their `day`, as column as_of."""
    later = F.filter(F.array(*(F.lit(d) for d in dates)), lambda d: d > day)
    return rows.withColumn("as_of", F.explode(later))


def ratings(reviews: DataFrame, dates: Sequence[date], timezone: str) -> pl.DataFrame:
    """Mean of the known ratings by date and item; added up as decimals, so that the order of rows does not matter."""
    stars = F.col("rating").try_cast("decimal(18,4)")
    dated = reviews.withColumn(FIRST, _first_after(_local_day("review_time", timezone), dates))
    new = dated.groupBy("item_id", FIRST).agg(F.sum(stars).alias("_stars"), F.count(stars).alias("_rated"))
    total, rated = F.sum("_stars").cast("double"), F.sum("_rated")
    so_far = _at_each_date(new, F.date_sub(FIRST, 1), dates).groupBy(*KEY)
    return pl.DataFrame(so_far.agg(F.when(rated > 0, total / rated).alias("rating")).toArrow())


def _zero_if_supplied(column: str, event_type: str, supplied: Collection[str]) -> pl.Expr:
    """An item of the catalogue that nobody touched has 0, unless no source supplies such events."""
    count = pl.col(column).fill_null(0) if event_type in supplied else pl.lit(None, pl.Int64)
    return count.alias(column)


def _ranked(frame: pl.DataFrame, *, by: str) -> pl.DataFrame:
    category = ("as_of", "category")
    number = pl.col("price").count().over(*category)
    # the only item of a category would have 0 of 0
    percentile = (
        pl.when(number == 1)
        .then(LONE_PRICE_PERCENTILE)
        .otherwise((pl.col("price").rank("min").over(*category) - 1) / (number - 1))
    )
    priced = pl.col("price").is_not_null() & pl.col("category").is_not_null()
    bought, seen = pl.col("purchases").cast(pl.Float64), pl.col("views").cast(pl.Float64)
    ordered = frame.sort("as_of", pl.col(by).fill_null(0), "item_id", descending=[False, True, False])
    return ordered.select(
        *("as_of", "item_id", "category", "brand", "price"),
        pl.when(priced).then(percentile).alias("price_percentile"),
        *("views", "carts", "purchases", "buyers"),
        pl.when(pl.col("views") > 0).then(bought / seen).alias("conversion"),
        pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("as_of").alias("popularity_rank"),
        pl.when(pl.col("buyers") > 0).then(pl.col("_repeaters") / pl.col("buyers")).alias("repeat_share"),
        "rating",
    )
