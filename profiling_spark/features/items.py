"""Features of items: what the buckets' events say of them, added up by Spark, beside the catalogue and the reviews.

Customers' kernels take the prices and the popular items.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from profiling_spark.attributes import believed
from profiling_spark.features.item_parts import FIRST, ONLY, ORDERS, PRICES, TOTALS, VIEWS
from profiling_spark.features.preference import LONE_PRICE_PERCENTILE

POPULAR_ITEMS = 10
_KEY = ("as_of", "item_id")


@dataclass(frozen=True)
class ItemSides:
    """What a customer's kernel needs of the items at one date: it grows with the catalogue, not with customers."""

    prices: pl.DataFrame
    popular: dict[int, list[str]]


def catalogue(items: DataFrame, *, dates: Sequence[date], timezone: str, precedence: Sequence[str] = ()) -> DataFrame:
    """category, brand and list_price, of the last version before it, of each date and product that has one.

    `items`: versions (see attributes.versions). `precedence`: sources of the catalogue, the one that is believed first
    first.
    """
    return believed(
        items.withColumn("as_of", F.explode(F.array(*(F.lit(d) for d in dates)))),
        key=_KEY,
        values=["category", "brand", "list_price"],
        as_of=F.col("as_of"),
        timezone=timezone,
        precedence=precedence,
    )


def priced_items(listed: DataFrame, dates: Sequence[date]) -> pl.DataFrame:
    """item_id of those with a list price at every date: nothing is asked of the prices in their events."""
    priced = listed.where(F.col("list_price").isNotNull()).groupBy("item_id").agg(F.count(F.lit(1)).alias("_dates"))
    return pl.DataFrame(priced.where(F.col("_dates") == len(set(dates))).select("item_id").toArrow())


def item_features(
    parts: DataFrame,
    listed: DataFrame,
    reviews: DataFrame,
    *,
    dates: Sequence[date],
    supplied: Collection[str],
    timezone: str,
) -> DataFrame:
    """One row per date and product with an event or a catalogue row before it (columns: contracts ITEM_FEATURES).

    `parts`: see `ItemParts`; each date takes the sums of those that dates up to it saw first. `listed`: `catalogue`.
    """
    joined = (
        _totals(parts, dates)
        .join(_paid(parts, dates), [*_KEY], how="left")
        .join(listed, [*_KEY], how="full")
        .join(_ratings(reviews, dates, timezone), [*_KEY], how="left")
    )
    frame = joined.select(
        *_KEY,
        F.coalesce("category", "_category").alias("category"),
        F.coalesce("brand", "_brand").alias("brand"),
        F.coalesce("list_price", "_paid").cast("decimal(18,6)").alias("price"),
        *(_zero_if_supplied(c, t, supplied) for c, t in (("views", "view"), ("carts", "cart"))),
        *(_zero_if_supplied(c, "purchase", supplied) for c in ("purchases", "buyers")),
        "_repeaters",
        "rating",
    )
    return _ranked(frame, by="purchases" if "purchase" in supplied else "views")


def item_sides(
    features: DataFrame, parts: DataFrame, *, dates: Sequence[date], windows: Sequence[int]
) -> dict[date, ItemSides]:
    """For each date, price percentiles and, for each window, the most viewed items (ties by the smaller id)."""
    priced = features.where(F.col("price_percentile").isNotNull())
    prices = pl.DataFrame(priced.select(*_KEY, "price_percentile").toArrow())
    popular = pl.DataFrame(_most_viewed(parts, dates, windows).toArrow()).sort("place")

    def sides(day: date) -> ItemSides:
        at_day = popular.filter(pl.col("as_of") == day)
        return ItemSides(
            prices.filter(pl.col("as_of") == day).drop("as_of"),
            {w: at_day.filter(pl.col("days") == w)["item_id"].to_list() for w in windows},
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


def _so_far(partial: DataFrame, dates: Sequence[date]) -> DataFrame:
    """Rows by the first date that saw them, once for each date that has seen them."""
    return _at_each_date(partial, F.date_sub(FIRST, 1), dates)


def _taken_at(as_of: Column) -> Column:
    return F.col(ONLY).isNull() | (F.col(ONLY) == as_of)


def _totals(parts: DataFrame, dates: Sequence[date]) -> DataFrame:
    """views, carts, purchases, buyers, repeaters and the last known category and brand of every item with an event."""
    counts = ("views", "carts", "purchases", "buyers", "_repeaters")
    rows = _so_far(parts.where(F.col("_part").isin(TOTALS, ORDERS)), dates).where(_taken_at(F.col("as_of")))
    return rows.groupBy(*_KEY).agg(*(F.sum(c).alias(c) for c in counts), _last_known("category"), _last_known("brand"))


def _last_known(column: str) -> Column:
    """The value of the latest event that has one; of events at the same time, the smaller name."""
    newest = F.struct((-F.unix_micros("_last")).alias("_ago"), column)
    return F.min(F.when(F.col(column).isNotNull(), newest))[column].alias(f"_{column}")


def _paid(parts: DataFrame, dates: Sequence[date]) -> DataFrame:
    """Where the catalogue has no price: the median of the prices in the item's events, the lower of two middle ones."""
    prices = _so_far(parts.where(F.col("_part") == PRICES), dates)
    counted = prices.groupBy(*_KEY, "unit_price").agg(F.sum("_rows").alias("_rows"))
    item = Window.partitionBy(*_KEY)
    up_to_it = item.orderBy("unit_price").rowsBetween(Window.unboundedPreceding, Window.currentRow)
    ranked = counted.select(
        *_KEY,
        "unit_price",
        F.sum("_rows").over(up_to_it).alias("_up_to_it"),
        F.sum("_rows").over(item).alias("_all"),
    )
    upper = ranked.where(2 * F.col("_up_to_it") >= F.col("_all"))
    return upper.groupBy(*_KEY).agg(F.min("unit_price").alias("_paid"))


def _zero_if_supplied(column: str, event_type: str, supplied: Collection[str]) -> Column:
    """An item of the catalogue that nobody touched has 0, unless no source could have told."""
    count = F.coalesce(column, F.lit(0)) if event_type in supplied else F.lit(None)
    return count.cast("bigint").alias(column)


def _ratings(reviews: DataFrame, dates: Sequence[date], timezone: str) -> DataFrame:
    """Mean of the known ratings; added up as decimals, so that the order of rows does not matter."""
    stars = F.col("rating").try_cast("decimal(18,4)")
    dated = reviews.withColumn(FIRST, _first_after(_local_day("review_time", timezone), dates))
    new = dated.groupBy("item_id", FIRST).agg(F.sum(stars).alias("_stars"), F.count(stars).alias("_rated"))
    total, rated = F.sum("_stars").cast("double"), F.sum("_rated")
    return _so_far(new, dates).groupBy(*_KEY).agg(F.when(rated > 0, total / rated).alias("rating"))


def _most_viewed(parts: DataFrame, dates: Sequence[date], windows: Sequence[int]) -> DataFrame:
    """The POPULAR_ITEMS most viewed items of each date and window: as_of, days (the window), place, item_id."""
    until, counted = F.col(FIRST), parts.where(F.col("_part") == VIEWS)
    spans = F.array(*(F.struct(F.lit(d).alias("as_of"), F.lit(w).alias("days")) for d in dates for w in windows))
    inside = F.filter(
        spans,
        lambda s: (until <= s["as_of"]) & (F.date_diff(s["as_of"], until) < s["days"]) & _taken_at(s["as_of"]),
    )
    viewed = (
        counted.select("item_id", "views", F.explode(inside).alias("_span"))
        .groupBy("_span.as_of", "_span.days", "item_id")
        .agg(F.sum("views").alias("_views"))
    )
    place = F.row_number().over(Window.partitionBy("as_of", "days").orderBy(F.desc("_views"), "item_id"))
    return viewed.select("as_of", "days", place.alias("place"), "item_id").where(F.col("place") <= POPULAR_ITEMS)


def _ranked(frame: DataFrame, *, by: str) -> DataFrame:
    category = Window.partitionBy("as_of", "category", F.col("price").isNotNull())
    priced = F.col("price").isNotNull() & F.col("category").isNotNull()
    alone = F.count(F.lit(1)).over(category) == 1
    # percent_rank calls the only item of a category its cheapest
    percentile = F.when(alone, F.lit(LONE_PRICE_PERCENTILE)).otherwise(F.percent_rank().over(category.orderBy("price")))
    popularity = Window.partitionBy("as_of").orderBy(F.coalesce(by, F.lit(0)).desc(), "item_id")
    bought, seen = F.col("purchases").cast("double"), F.col("views").cast("double")
    return frame.select(
        "as_of",
        "item_id",
        "category",
        "brand",
        "price",
        F.when(priced, percentile).alias("price_percentile"),
        "views",
        "carts",
        "purchases",
        "buyers",
        F.when(F.col("views") > 0, bought / seen).alias("conversion"),
        # one partition a date: a catalogue is small beside its events
        F.row_number().over(popularity).alias("popularity_rank"),
        F.when(F.col("buyers") > 0, F.col("_repeaters") / F.col("buyers")).alias("repeat_share"),
        "rating",
    )
