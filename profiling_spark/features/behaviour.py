"""How often, when and in what order of steps a customer acts. Metrics over the bucket's customer-day rows."""

from __future__ import annotations

import polars as pl

from profiling_spark.feature_catalogue.entries import COUNTED
from profiling_spark.features.windows import AGE, FeatureParams, ratio, total_within, windowed

ACTIVITY: dict[str, str] = {"login": "logins", "view": "views", "purchase": "purchases"}


def events_of_type(stem: str, days: int) -> pl.Expr:
    """Events of one type in the window."""
    return total_within(COUNTED[stem], days).alias(windowed(stem, days))


def active_days(days: int) -> pl.Expr:
    """Days of the window with at least one event of one's own (no ad impressions)."""
    return total_within("active", days).alias(windowed("active_days", days))


def session_seconds(days: int) -> pl.Expr:
    """Sum of duration_seconds over the window's events, seconds, exact to the millisecond."""
    return (total_within("milliseconds", days) / 1000).alias(windowed("session_seconds", days))


def night_share(days: int) -> pl.Expr:
    """Share of the window's events from 22:00 to 05:59, business timezone; null without events."""
    return ratio(total_within("night", days), total_within("events", days)).alias(windowed("night_share", days))


def weekend_share(days: int) -> pl.Expr:
    """Share of the window's events on Saturday or Sunday; null without events."""
    return ratio(total_within("weekend", days), total_within("events", days)).alias(windowed("weekend_share", days))


def days_since_last_event() -> pl.Expr:
    """Days from the last event's date to as_of; null without events. Impressions are none of the customer's."""
    return pl.when(pl.col("active") > 0).then(pl.col(AGE)).min().alias("days_since_last_event")


def tenure_days() -> pl.Expr:
    """Days from the first event's date to as_of; null without events. Impressions are none of the customer's."""
    return pl.when(pl.col("active") > 0).then(pl.col(AGE)).max().alias("tenure_days")


def day_metrics(params: FeatureParams) -> list[pl.Expr]:
    """Every metric of this family that is an aggregate of customer-day rows."""
    metrics = [days_since_last_event(), tenure_days()]
    for w in params.windows:
        metrics += [events_of_type(stem, w) for stem in COUNTED]
        metrics += [active_days(w), session_seconds(w), night_share(w), weekend_share(w)]
    return metrics


def activity(days: int, supplied: frozenset[str]) -> pl.Expr:
    """logins + views + purchases, of those supplied; null where none is."""
    parts = [pl.col(windowed(stem, days)) for kind, stem in ACTIVITY.items() if kind in supplied]
    total = pl.sum_horizontal(parts) if parts else pl.lit(None, pl.Int64)
    return total.alias(windowed("activity", days))


def purchase_frequency(days: int) -> pl.Expr:
    """purchases / logins; null without logins."""
    return _rate("purchase_frequency", "purchases", "logins", days)


def purchases_per_session(days: int) -> pl.Expr:
    """purchases / sessions; null without sessions."""
    return _rate("purchases_per_session", "purchases", "sessions", days)


def view_to_cart(days: int) -> pl.Expr:
    """carts / views: events against events, so it may pass 1; null without views."""
    return _rate("view_to_cart", "carts", "views", days)


def cart_to_purchase(days: int) -> pl.Expr:
    """purchases / carts; null without carts."""
    return _rate("cart_to_purchase", "purchases", "carts", days)


def view_to_purchase(days: int) -> pl.Expr:
    """purchases / views; null without views."""
    return _rate("view_to_purchase", "purchases", "views", days)


def derived(params: FeatureParams) -> list[pl.Expr]:
    """Every metric of this family that is computed from a customer's finished counts."""
    rates = (purchase_frequency, purchases_per_session, view_to_cart, cart_to_purchase, view_to_purchase)
    return [activity(w, params.supplied) for w in params.windows] + [f(w) for w in params.windows for f in rates]


def _rate(stem: str, numerator: str, denominator: str, days: int) -> pl.Expr:
    return ratio(windowed(numerator, days), windowed(denominator, days)).alias(windowed(stem, days))
