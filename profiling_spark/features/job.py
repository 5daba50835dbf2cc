"""The features stage: items, then RFM cut points, then all customers, at as_of and where labels will look from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from functools import partial

import polars as pl
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql import types as T

from profiling_spark.buckets import Feed, Kernel, map_buckets
from profiling_spark.config import Settings
from profiling_spark.contracts.features import ITEM_FEATURES, RFM_CUTS, user_features_table
from profiling_spark.contracts.silver import ITEMS, REVIEWS, USERS
from profiling_spark.features import (
    REVIEW_COLUMNS,
    RFM_EVENT_COLUMNS,
    USER_COLUMNS,
    FeatureParams,
    RfmCuts,
    event_columns,
    many_dates,
    rfm_measures,
)
from profiling_spark.features.items import ItemSides, item_features, item_parts, item_sides
from profiling_spark.runner import Context, Outcome
from profiling_spark.storage import Tables, literal

_MEASURES = (("recency_days", "int"), ("frequency", "bigint"), ("monetary", "decimal(28,4)"))
_MEASURE_SCHEMA = T.StructType(
    [
        T.StructField("as_of", T.DateType()),
        T.StructField("user_id", T.StringType()),
        T.StructField("recency_days", T.IntegerType()),
        T.StructField("frequency", T.LongType()),
        T.StructField("monetary", T.DecimalType(28, 4)),
    ]
)


def build_features(ctx: Context) -> Outcome:
    """Compute user_features and item_features as of the run's date and as of the date that labels look from."""
    dates = feature_dates(ctx)
    listed = ", ".join(literal(d) for d in dates)
    read, windows = ctx.tables.read, ctx.settings.windows_days
    parts = item_parts(ctx.tables, dates=dates, windows=windows, buckets=ctx.settings.buckets).persist()
    try:
        ctx.tables.replace_where(ITEM_FEATURES, _items(ctx, parts, dates), f"as_of IN ({listed})")
        sides = item_sides(read(ITEM_FEATURES), parts, dates=dates, windows=windows)
    finally:
        parts.unpersist()
    cuts = fit_rfm_cuts(ctx.tables, ctx.settings, dates)
    ctx.tables.replace_where(RFM_CUTS, _cut_rows(ctx, cuts), f"as_of IN ({listed})")
    table = user_features_table(windows, ctx.settings.custom_features)
    features = user_feature_frame(ctx.tables, ctx.settings, dates, sides=sides, cuts=cuts)
    rows = ctx.tables.replace_where(table, features, f"as_of IN ({listed})")
    return Outcome(
        rows_out=rows,
        facts={"dates": [str(d) for d in dates], "features": len(table.columns) - 2},
        lines=(f"{len(table.columns) - 2} features of customers as of {_listed(dates)}",),
    )


def feature_dates(ctx: Context) -> list[date]:
    """Every date of --from to --to where given; else the run's, and the one that labels up to the run's look from."""
    if ctx.command.since is not None:
        days = (ctx.as_of - ctx.command.since).days
        return [ctx.as_of - timedelta(days=n) for n in range(days + 1)]
    return [ctx.as_of, ctx.as_of - timedelta(days=ctx.settings.scores.churn.horizon_days)]


def _listed(dates: Sequence[date]) -> str:
    ordered = [str(d) for d in sorted(dates)]
    return " and ".join(ordered) if len(ordered) < 3 else f"{len(ordered)} dates, {ordered[0]} to {ordered[-1]}"


def feature_params(settings: Settings, as_of: date) -> FeatureParams:
    """What a build of features depends on: windows, zone, and what the configured sources can give at all."""
    mapped = {column for s in settings.sources.values() if s.target == "events" for column in s.columns}
    return FeatureParams(
        as_of=as_of,
        windows=settings.windows_days,
        timezone=settings.business_timezone,
        supplied=settings.supplied,
        has_sessions="session_id" in mapped,
        has_durations="duration_seconds" in mapped,
        has_discounts="discount" in mapped,
        custom=settings.custom_features,
        columns=settings.columns_by_event_type,
        precedence=settings.precedence,
    )


def user_feature_frame(
    tables: Tables,
    settings: Settings,
    dates: Sequence[date],
    *,
    sides: Mapping[date, ItemSides],
    cuts: Mapping[date, RfmCuts],
    feed: Feed | None = None,
) -> DataFrame:
    """user_features at all dates: each bucket's events are read once."""
    targets = {s.target for s in settings.sources.values()}
    side_frames: dict[str, DataFrame] = {}
    if "users" in targets:
        side_frames["users"] = tables.read(USERS).select(*USER_COLUMNS)
    if "reviews" in targets:
        side_frames["reviews"] = tables.read(REVIEWS).where("user_id is not null").select(*REVIEW_COLUMNS)
    kernel = partial(
        _features_of_bucket,
        params=[feature_params(settings, d) for d in dates],
        prices={d: s.prices for d, s in sides.items()},
        popular={d: s.popular for d, s in sides.items()},
        cuts=dict(cuts),
    )
    return map_buckets(
        tables,
        kernel,
        schema=user_features_table(settings.windows_days, settings.custom_features).schema,
        columns=event_columns(settings.custom_features),
        buckets=settings.buckets,
        before=max(dates),
        sides=side_frames,
        feed=feed,
    )


def _features_of_bucket(
    events: pl.DataFrame,
    sides: Mapping[str, pl.DataFrame],
    *,
    params: Sequence[FeatureParams],
    prices: Mapping[date, pl.DataFrame],
    popular: Mapping[date, dict[int, list[str]]],
    cuts: Mapping[date, RfmCuts],
) -> pl.DataFrame:
    return many_dates(
        events,
        params,
        users=sides.get("users"),
        reviews=sides.get("reviews"),
        item_prices=prices,
        popular_items=popular,
        rfm_cuts=cuts,
    )


def fit_rfm_cuts(tables: Tables, settings: Settings, dates: Sequence[date]) -> dict[date, RfmCuts]:
    """For each date, cut points over all customers with a purchase before it: values that occur (nearest rank).

    Each bucket's events are read once for all dates.
    """
    kernel: Kernel = partial(_measures_of_bucket, params=[feature_params(settings, d) for d in dates])
    measures = map_buckets(
        tables,
        kernel,
        schema=_MEASURE_SCHEMA,
        columns=RFM_EVENT_COLUMNS,
        buckets=settings.buckets,
        before=max(dates),
    )
    quantiles = [
        F.expr(f"percentile_disc({share}) within group (order by {name})").alias(f"{name}_{i}")
        for name, _ in _MEASURES
        for i, share in enumerate((0.2, 0.4, 0.6, 0.8))
    ]
    rows = measures.groupBy("as_of").agg(F.count(F.lit(1)).alias("customers"), *quantiles).collect()
    found = {
        row["as_of"]: RfmCuts(
            recency_days=tuple(int(row[f"recency_days_{i}"]) for i in range(4)),
            frequency=tuple(int(row[f"frequency_{i}"]) for i in range(4)),
            monetary=tuple(Decimal(row[f"monetary_{i}"]) for i in range(4)),
            customers=int(row["customers"]),
        )
        for row in rows
    }
    return {d: found.get(d, RfmCuts((), (), (), 0)) for d in dates}


def _measures_of_bucket(
    events: pl.DataFrame, sides: Mapping[str, pl.DataFrame], *, params: Sequence[FeatureParams]
) -> pl.DataFrame:
    parts = [
        rfm_measures(events.filter(pl.col("event_date") < p.as_of), params=p).select(
            pl.lit(p.as_of).alias("as_of"), *(name for name in ("user_id", *(m for m, _ in _MEASURES)))
        )
        for p in params
    ]
    return pl.concat(parts)


def _cut_rows(ctx: Context, cuts: Mapping[date, RfmCuts]) -> DataFrame:
    rows = [Row(as_of=d, **r) for d, c in cuts.items() for r in c.rows()]
    schema = ", ".join(f"{c.name} {c.type}" for c in RFM_CUTS.columns)
    ordered = [tuple(r[c] for c in RFM_CUTS.names) for r in rows]
    return ctx.spark.createDataFrame(ordered, schema).coalesce(1)


def _items(ctx: Context, parts: DataFrame, dates: Sequence[date]) -> DataFrame:
    read = ctx.tables.read
    return item_features(
        parts,
        read(ITEMS),
        read(REVIEWS),
        dates=dates,
        supplied=ctx.settings.supplied,
        timezone=ctx.settings.business_timezone,
        precedence=ctx.settings.precedence,
    )
