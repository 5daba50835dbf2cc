"""What a customer likes: breadth, price level, favourites, interest in what everyone looks at."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import polars as pl

from profiling_spark.errors import ContractError
from profiling_spark.feature_catalogue.forms import FAVORITE_DAYS
from profiling_spark.features.bucket import USER, packed, unpacked_user, unpacked_value
from profiling_spark.features.windows import windowed, within

# stem of the feature: column whose distinct values among purchases it counts
BREADTH: dict[str, str] = {"category_breadth": "category", "brand_breadth": "brand", "items_bought": "item_id"}
# feature: column whose most frequent value it is
FAVORITES: dict[str, str] = {
    "favorite_category": "category",
    "favorite_brand": "brand",
    "favorite_channel": "channel",
    "favorite_hour": "hour",
}
# A search or an advert may carry a category that the customer never chose; these four are the customer's own acts.
TASTE_EVENTS: tuple[str, ...] = ("view", "favorite", "cart", "purchase")
_OF_TASTE = ("category", "brand")

# of an item alone in its category: it is as much its dearest as its cheapest (items.py computes the others)
LONE_PRICE_PERCENTILE = 0.5
_PERCENTILE_STEPS = 1_000_000_000  # whole steps, so that a mean does not depend on the order of rows
_TOP = 2**32 - 1


def price_preference(bought: pl.LazyFrame, item_prices: pl.DataFrame) -> pl.LazyFrame:
    """Mean price percentile within category (0 cheapest, 1 dearest) over purchase events, whole history, to 1e-9.

    `item_prices`: item_id (unique) and price_percentile. Events of items without a percentile are left out.
    """
    steps = (pl.col("price_percentile") * _PERCENTILE_STEPS).round(0, mode="half_to_even").cast(pl.Int64)
    prices = item_prices.lazy().select("item_id", _steps=steps)
    known = bought.select(USER, "item_id").join(prices, on="item_id", how="inner").drop_nulls("_steps")
    # one division of whole numbers: over a literal Polars sometimes multiplies by its inverse, and a random bucket of
    # one customer has differed from the whole by the last digit
    mean = pl.col("_steps").sum() / (pl.len().cast(pl.Int64) * _PERCENTILE_STEPS)
    return known.group_by(USER).agg(mean.alias("price_preference"))


def favorite(events: pl.LazyFrame, name: str) -> pl.LazyFrame:
    """Most frequent known value over the last 90 days, ties by the smaller name; no row where none is known.

    Category and brand are looked for among views, favorites, carts and purchases, channel and hour among all events.
    """
    column = FAVORITES[name]
    recent = events.filter(within(FAVORITE_DAYS) & pl.col(column).is_not_null())
    if column in _OF_TASTE:
        recent = recent.filter(pl.col("event_type").is_in(TASTE_EVENTS))
    if column == "hour":
        return _most_frequent(_counted(recent, column)).select(USER, pl.col("_value").alias(name))
    # Codes follow the order of arrival; ranks follow the names, so that ties are settled by name.
    names = recent.select(_code=pl.col(column).to_physical(), _name=column).unique(subset="_code")
    names = names.with_columns(pl.col("_name").cast(pl.String)).sort("_name").with_row_index("_rank")
    counted = _counted(recent, column).rename({"_value": "_code"}).join(names, on="_code", how="inner")
    best = _most_frequent(counted.select(USER, "_n", _value="_rank"))
    return best.join(names, left_on="_value", right_on="_rank", how="inner").select(USER, pl.col("_name").alias(name))


def _counted(events: pl.LazyFrame, column: str) -> pl.LazyFrame:
    """Rows a customer and value, as `_value` (the code) and `_n`."""
    pairs = events.select(_key=packed(USER, column)).group_by("_key").agg(_n=pl.len())
    return pairs.select(unpacked_user("_key"), "_n", _value=unpacked_value("_key"))


def _most_frequent(counted: pl.LazyFrame) -> pl.LazyFrame:
    """The customer and the `_value` with the largest `_n`, the smaller of equals.

    Count and reversed value make one integer, whose maximum is the answer: no sort within customers.
    """
    best = pl.col("_n").cast(pl.UInt64) * (_TOP + 1) + (_TOP - pl.col("_value").cast(pl.UInt64))
    top = counted.group_by(USER).agg(_best=best.max())
    return top.select(USER, _value=(_TOP - pl.col("_best") % (_TOP + 1)).cast(pl.UInt32))


def popular_item_viewer(
    events: pl.LazyFrame, popular_items: Mapping[int, Collection[str]], windows: tuple[int, ...]
) -> pl.LazyFrame:
    """Whether the customer viewed, in the window, one of the items that `popular_items` names for that window."""
    missing = [w for w in windows if w not in popular_items]
    if missing:
        raise ContractError(f"popular_items: expected items for windows {list(windows)}; none for {missing}")
    anywhere = sorted({item for w in windows for item in popular_items[w]})
    views = events.filter((pl.col("event_type") == "view") & pl.col("item_id").is_in(anywhere))
    return views.group_by(USER).agg(
        (within(w) & pl.col("item_id").is_in(sorted(popular_items[w]))).any().alias(windowed("popular_item_viewer", w))
        for w in windows
    )
