"""Features from the `reviews` table (the event type `review` is counted apart, in behaviour.py)."""

from __future__ import annotations

import polars as pl

from profiling_spark.features.windows import AGE, FeatureParams, age_days, local_date, ratio, windowed, within

REVIEW_COLUMNS: tuple[str, ...] = ("user_id", "rating", "review_time")
_RATING_STEPS = 10_000  # whole steps, so that a mean does not depend on the order of rows


def reviews(days: int) -> pl.Expr:
    """Reviews written in the window."""
    return within(days).sum().cast(pl.Int64).alias(windowed("reviews", days))


def mean_rating(days: int) -> pl.Expr:
    """Mean of the known ratings of the window's reviews, the source's stars, to 0.0001; null without one."""
    rated = within(days) & pl.col("_steps").is_not_null()
    total = pl.when(rated).then(pl.col("_steps")).sum() / _RATING_STEPS
    return ratio(total, rated.sum()).alias(windowed("mean_rating", days))


def review_features(table: pl.DataFrame | pl.LazyFrame, params: FeatureParams) -> pl.DataFrame:
    """One row for everyone with a dated review before as_of. Reviews without user or time belong to nobody's window."""
    steps = (pl.col("rating").cast(pl.Float64) * _RATING_STEPS).round(0, mode="half_to_even")
    dated = table.lazy().select(
        "user_id", _steps=steps.cast(pl.Int64, strict=False), _day=local_date("review_time", params.timezone)
    )
    past = dated.with_columns(age_days(params.as_of, "_day").alias(AGE)).filter(
        pl.col("user_id").is_not_null() & (pl.col(AGE) > 0)
    )
    return past.group_by("user_id").agg(f(w) for w in params.windows for f in (reviews, mean_rating)).collect()
