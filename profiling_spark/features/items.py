"""Features of items: totals over all customers, so plain Spark. Customers' kernels take prices and popular items."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from profiling_spark.attributes import believed
from profiling_spark.features.preference import LONE_PRICE_PERCENTILE

POPULAR_ITEMS = 10
_KEY = ("as_of", "item_id")
_FIRST = "_first"  # the first of the dates that sees a row


@dataclass(frozen=True)
class ItemSides:
    """What a customer's kernel needs of the items at one date: it grows with the catalogue, not with customers."""

    prices: pl.DataFrame
    popular: dict[int, list[str]]


def item_features(
    events: DataFrame,
    items: DataFrame,
    reviews: DataFrame,
    *,
    dates: Sequence[date],
    supplied: Collection[str],
    timezone: str,
    precedence: Sequence[str] = (),
) -> DataFrame:
    """One row per date and product with an event or a catalogue row before it (columns: contracts ITEM_FEATURES).

    Events are read no more often for many `dates` than for one: they are added up by the first date that sees them,
    and each date takes the sums of those up to it. `precedence`: sources of the catalogue, the one that is believed
    first first.
    """
    past = events.where((F.col("event_date") < F.lit(max(dates))) & F.col("item_id").isNotNull())
    past = past.withColumn(_FIRST, _first_after(F.col("event_date"), dates))
    versions = _at_each_date(items, _local_day("valid_from", timezone), dates)
    known = believed(
        versions,
        key=_KEY,
        values=["category", "brand", "list_price"],
        as_of=max(dates),  # of the versions of the last date; those of the others are older already
        timezone=timezone,
        precedence=precedence,
    )
    joined = (
        _totals(past, dates)
        .join(_orders(past, dates), [*_KEY], how="left")
        .join(_paid(past, dates), [*_KEY], how="left")
        .join(known, [*_KEY], how="full")
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
    features: DataFrame, events: DataFrame, *, dates: Sequence[date], windows: Sequence[int]
) -> dict[date, ItemSides]:
    """For each date, price percentiles and, for each window, the most viewed items (ties by the smaller id)."""
    priced = features.where(F.col("as_of").isin(*dates) & F.col("price_percentile").isNotNull())
    prices = pl.DataFrame(priced.select(*_KEY, "price_percentile").toArrow())
    popular = pl.DataFrame(_most_viewed(events, dates, windows).toArrow()).sort("place")

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
    return _at_each_date(partial, F.date_sub(_FIRST, 1), dates)


def _totals(past: DataFrame, dates: Sequence[date]) -> DataFrame:
    """views, carts and the last known category and brand of every item with an event."""
    # all that is kept of a group is a number, so Spark adds up in place: a text in it would make it sort the events
    new = past.groupBy("item_id", _FIRST, "category", "brand").agg(
        F.count_if(F.col("event_type") == "view").alias("views"),
        F.count_if(F.col("event_type") == "cart").alias("carts"),
        F.max("event_time").alias("_last"),
    )
    counts = (F.sum(c).alias(c) for c in ("views", "carts"))
    return _so_far(new, dates).groupBy(*_KEY).agg(*counts, _last_known("category"), _last_known("brand"))


def _last_known(column: str) -> Column:
    """The value of the latest event that has one; of events at the same time, the smaller name."""
    newest = F.struct((-F.unix_micros("_last")).alias("_ago"), column)
    return F.min(F.when(F.col(column).isNotNull(), newest))[column].alias(f"_{column}")


def _paid(past: DataFrame, dates: Sequence[date]) -> DataFrame:
    """Where the catalogue has no price: the median of the prices in the item's events, the lower of two middle ones."""
    new = past.where(F.col("unit_price").isNotNull()).groupBy("item_id", "unit_price", _FIRST).count()
    counted = _so_far(new, dates).groupBy(*_KEY, "unit_price").agg(F.sum("count").alias("_rows"))
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


def _orders(past: DataFrame, dates: Sequence[date]) -> DataFrame:
    """purchases, buyers and repeaters of each item. An order has one customer, so customers' counts add up."""
    bought = past.where(F.col("event_type") == "purchase")
    orders = bought.groupBy("item_id", "user_id", F.coalesce("order_id", "event_id")).agg(F.min(_FIRST).alias(_FIRST))
    # a customer is a buyer from the first order on and a repeater from the second; orders of one date are alike
    number = F.row_number().over(Window.partitionBy("item_id", "user_id").orderBy(_FIRST))
    numbered = orders.select("item_id", _FIRST, number.alias("_number"))
    new = numbered.groupBy("item_id", _FIRST).agg(
        F.count(F.lit(1)).alias("purchases"),
        F.count_if(F.col("_number") == 1).alias("buyers"),
        F.count_if(F.col("_number") == 2).alias("_repeaters"),
    )
    counts = ("purchases", "buyers", "_repeaters")
    return _so_far(new, dates).groupBy(*_KEY).agg(*(F.sum(c).alias(c) for c in counts))


def _ratings(reviews: DataFrame, dates: Sequence[date], timezone: str) -> DataFrame:
    """Mean of the known ratings; added up as decimals, so that the order of rows does not matter."""
    stars = F.col("rating").try_cast("decimal(18,4)")
    dated = reviews.withColumn(_FIRST, _first_after(_local_day("review_time", timezone), dates))
    new = dated.groupBy("item_id", _FIRST).agg(F.sum(stars).alias("_stars"), F.count(stars).alias("_rated"))
    total, rated = F.sum("_stars").cast("double"), F.sum("_rated")
    return _so_far(new, dates).groupBy(*_KEY).agg(F.when(rated > 0, total / rated).alias("rating"))


def _most_viewed(events: DataFrame, dates: Sequence[date], windows: Sequence[int]) -> DataFrame:
    """The POPULAR_ITEMS most viewed items of each date and window: as_of, days (the window), place, item_id."""
    begins = {d - timedelta(days=w) for d in dates for w in windows}
    day, until = F.col("event_date"), F.col("_until")
    recent = events.where(
        (F.col("event_type") == "view")
        & F.col("item_id").isNotNull()
        & (day >= F.lit(min(begins)))
        & (day < F.lit(max(dates)))
    )
    # between two neighbours of these days no window begins or ends, so the views between them are counted once
    counted = recent.groupBy("item_id", _first_after(day, begins.union(dates)).alias("_until")).count()
    spans = F.array(*(F.struct(F.lit(d).alias("as_of"), F.lit(w).alias("days")) for d in dates for w in windows))
    inside = F.filter(spans, lambda s: (until <= s["as_of"]) & (F.date_diff(s["as_of"], until) < s["days"]))
    viewed = (
        counted.select("item_id", "count", F.explode(inside).alias("_span"))
        .groupBy("_span.as_of", "_span.days", "item_id")
        .agg(F.sum("count").alias("_views"))
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
