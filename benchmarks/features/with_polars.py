"""The features in Polars on all events at once, no buckets: items in expressions, customers by the project's kernel.

What the kernel takes from the outside (price percentiles, popular items, RFM cuts) is made here as a plain script
would make it.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
from feature_shop import AS_OF, BOT_EVENTS, KINDS, TIMEZONE, WINDOWS, Shop

from profiling_spark.features import EVENT_COLUMNS, FeatureParams, fit_cuts, rfm_measures, user_features

PARAMS = FeatureParams(
    as_of=AS_OF, windows=WINDOWS, timezone=TIMEZONE, supplied=frozenset(KINDS), bot_events_per_day=BOT_EVENTS
)


def build(shop: Shop, out: Path) -> None:
    """Every feature of every customer at AS_OF as one Parquet file in `out`."""
    events, users, items, reviews = (_scan(shop, t) for t in ("events", "users", "items", "reviews"))
    past = events.filter(pl.col("event_date") < AS_OF)
    features = user_features(
        events.select(EVENT_COLUMNS),
        params=PARAMS,
        users=users,
        reviews=reviews,
        item_prices=price_percentiles(past, items),
        popular_items=popular_items(past),
        rfm_cuts=fit_cuts(rfm_measures(events, params=PARAMS)),
    )
    out.mkdir()
    features.write_parquet(out / "0.parquet")


def price_percentiles(past: pl.LazyFrame, items: pl.LazyFrame) -> pl.DataFrame:
    """item_id and price_percentile (0 cheapest to 1 dearest of its category; 0.5 where alone)."""
    day = pl.col("valid_from").dt.convert_time_zone(TIMEZONE).dt.date()
    catalogue = (
        items.filter(day < AS_OF).sort("valid_from").group_by("item_id").agg(pl.col("category", "list_price").last())
    )
    sold = past.filter(pl.col("item_id").is_not_null())
    paid = sold.filter(pl.col("unit_price").is_not_null()).group_by("item_id")
    usual = paid.agg(_price=pl.col("unit_price").sort().get((pl.len() - 1) // 2))
    named = sold.filter(pl.col("category").is_not_null()).group_by("item_id")
    last = named.agg(_category=pl.col("category").sort_by("event_time").last())
    item = catalogue.join(usual, on="item_id", how="full", coalesce=True)
    item = item.join(last, on="item_id", how="full", coalesce=True)
    priced = item.select(
        "item_id", category=pl.coalesce("category", "_category"), price=pl.coalesce("list_price", "_price")
    ).drop_nulls()
    place = (pl.col("price").rank("min").over("category") - 1) / (pl.len().over("category") - 1)
    alone = pl.len().over("category") == 1
    percentile = pl.when(alone).then(0.5).otherwise(place)
    return priced.select("item_id", price_percentile=percentile).collect(engine="streaming")


def popular_items(past: pl.LazyFrame) -> dict[int, list[str]]:
    """The 10 items most viewed in each window, ties by the smaller id."""
    age = (pl.lit(AS_OF) - pl.col("event_date")).dt.total_days()
    views = past.filter((pl.col("event_type") == "view") & pl.col("item_id").is_not_null() & (age <= max(WINDOWS)))
    counted = views.group_by("item_id").agg((age <= w).sum().alias(str(w)) for w in WINDOWS).collect(engine="streaming")
    return {
        w: counted.filter(pl.col(str(w)) > 0)
        .sort(str(w), "item_id", descending=[True, False])["item_id"][:10]
        .to_list()
        for w in WINDOWS
    }


def _scan(shop: Shop, table: str) -> pl.LazyFrame:
    return pl.scan_parquet(shop.files(table), hive_partitioning=False)
