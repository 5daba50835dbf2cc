"""Features of items: totals over all customers, so plain Spark. Customers' kernels take prices and popular items."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import reduce

import polars as pl
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from profiling_spark.attributes import believed
from profiling_spark.features.preference import LONE_PRICE_PERCENTILE

POPULAR_ITEMS = 10


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
    as_of: date,
    supplied: Collection[str],
    timezone: str,
    precedence: Sequence[str] = (),
) -> DataFrame:
    """One row per product with an event or a catalogue row before as_of (columns: contracts ITEM_FEATURES).

    `precedence`: sources of the catalogue, the one that is believed first first.
    """
    past = events.where((F.col("event_date") < F.lit(as_of)) & F.col("item_id").isNotNull())
    totals = past.groupBy("item_id").agg(
        _count_of("view", supplied).alias("views"),
        _count_of("cart", supplied).alias("carts"),
        _last_known("category"),
        _last_known("brand"),
        # where the catalogue has no price: what customers paid for a piece, as a value that occurs
        F.expr("percentile_disc(0.5) within group (order by unit_price)").alias("_paid"),
    )
    known = believed(
        items,
        key="item_id",
        values=["category", "brand", "list_price"],
        as_of=as_of,
        timezone=timezone,
        precedence=precedence,
    )
    rated = _ratings(reviews, as_of, timezone)
    merged = reduce(lambda a, b: a.join(b, "item_id", how="full"), (totals, _orders(past, supplied), known))
    joined = merged.join(rated, "item_id", how="left")
    frame = joined.select(
        F.lit(as_of).alias("as_of"),
        "item_id",
        F.coalesce("category", "_category").alias("category"),
        F.coalesce("brand", "_brand").alias("brand"),
        F.coalesce("list_price", "_paid").cast("decimal(18,6)").alias("price"),
        *(_zero_if_supplied(c, t, supplied) for c, t in (("views", "view"), ("carts", "cart"))),
        *(_zero_if_supplied(c, "purchase", supplied) for c in ("purchases", "buyers")),
        "_repeaters",
        "rating",
    )
    return _ranked(frame, by="purchases" if "purchase" in supplied else "views")


def item_sides(features: DataFrame, views: DataFrame, *, as_of: date, windows: Sequence[int]) -> ItemSides:
    """Price percentiles and, for each window, the most viewed items (ties by the smaller id) at one date."""
    priced = features.where("price_percentile is not null").select("item_id", "price_percentile")
    prices = pl.from_arrow(priced.toArrow())
    assert isinstance(prices, pl.DataFrame)
    age = F.date_diff(F.lit(as_of), "event_date")
    recent = views.where(
        (F.col("event_type") == "view")
        & F.col("item_id").isNotNull()
        & (F.col("event_date") < F.lit(as_of))
        & (F.col("event_date") >= F.lit(as_of - timedelta(days=max(windows))))
    )
    counted = recent.groupBy("item_id").agg(*(F.count_if(age <= w).alias(f"_{w}") for w in windows))
    viewed = pl.from_arrow(counted.toArrow())
    assert isinstance(viewed, pl.DataFrame)
    popular = {}
    for w in windows:
        seen = viewed.filter(pl.col(f"_{w}") > 0).sort(f"_{w}", "item_id", descending=[True, False])
        popular[w] = seen.head(POPULAR_ITEMS)["item_id"].to_list()
    return ItemSides(prices.cast({"item_id": pl.String}), popular)


def _count_of(event_type: str, supplied: Collection[str]) -> Column:
    return F.count_if(F.col("event_type") == event_type) if event_type in supplied else F.lit(None).cast("bigint")


def _last_known(column: str) -> Column:
    order = "struct(event_time, event_id)"
    return F.expr(f"max_by({column}, {order}) filter (where {column} is not null)").alias(f"_{column}")


def _zero_if_supplied(column: str, event_type: str, supplied: Collection[str]) -> Column:
    """An item of the catalogue that nobody touched has 0, unless no source could have told."""
    return (F.coalesce(column, F.lit(0).cast("bigint")) if event_type in supplied else F.col(column)).alias(column)


def _orders(past: DataFrame, supplied: Collection[str]) -> DataFrame:
    """purchases, buyers and repeaters of each item. An order has one customer, so customers' counts add up."""
    order = F.coalesce("order_id", "event_id")
    bought = past.where(F.col("event_type") == "purchase")
    by_user = bought.groupBy("item_id", "user_id").agg(F.count_distinct(order).alias("orders"))
    return by_user.groupBy("item_id").agg(
        F.sum("orders").alias("purchases"),
        F.count(F.lit(1)).alias("buyers"),
        F.count_if(F.col("orders") > 1).alias("_repeaters"),
    )


def _ratings(reviews: DataFrame, as_of: date, timezone: str) -> DataFrame:
    day = F.to_date(F.from_utc_timestamp("review_time", timezone))
    return reviews.where(day < F.lit(as_of)).groupBy("item_id").agg(F.avg("rating").alias("rating"))


def _ranked(frame: DataFrame, *, by: str) -> DataFrame:
    category = Window.partitionBy("category", F.col("price").isNotNull())
    priced = F.col("price").isNotNull() & F.col("category").isNotNull()
    alone = F.count(F.lit(1)).over(category) == 1
    # percent_rank calls the only item of a category its cheapest
    percentile = F.when(alone, F.lit(LONE_PRICE_PERCENTILE)).otherwise(F.percent_rank().over(category.orderBy("price")))
    popularity = Window.partitionBy(F.lit(0)).orderBy(F.coalesce(by, F.lit(0)).desc(), "item_id")
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
        # one partition on purpose: a catalogue is small beside its events
        F.row_number().over(popularity).alias("popularity_rank"),
        F.when(F.col("buyers") > 0, F.col("_repeaters") / F.col("buyers")).alias("repeat_share"),
        "rating",
    )
