"""Exact distinct counts for all windows in one pass.

A value counts in a window exactly when its latest day lies in it, because every window ends at as_of. So each pair of
customer and value is reduced to its smallest age once, and all windows are sums over these few rows.
"""

from __future__ import annotations

import polars as pl

from profiling_spark.features.bucket import USER, packed, unpacked_user
from profiling_spark.features.windows import AGE, windowed, within


def latest(events: pl.LazyFrame, column: str) -> pl.LazyFrame:
    """One row a customer and known value of `column` (text or code): the customer and the age of its latest day."""
    return latest_code(events.with_columns(pl.col(column).cast(pl.Categorical)), column)


def latest_code(events: pl.LazyFrame, column: str) -> pl.LazyFrame:
    """The same for a category, a date or a small whole number."""
    known = events.filter(pl.col(column).is_not_null()).select(AGE, _key=packed(USER, column))
    return known.group_by("_key").agg(pl.col(AGE).min()).select(unpacked_user("_key"), AGE)


def latest_order(events: pl.LazyFrame) -> pl.LazyFrame:
    """The same for orders: an event without order_id is an order of its own (event_id is the table's key)."""
    loose = events.filter(pl.col("order_id").is_null()).select(USER, AGE)
    return pl.concat([latest(events, "order_id"), loose])


def count_within(values: pl.LazyFrame, stem: str, windows: tuple[int, ...]) -> pl.LazyFrame:
    """Distinct values a customer in each window, as columns `{stem}_{w}d`."""
    return values.group_by(USER).agg(within(w).sum().alias(windowed(stem, w)) for w in windows)
