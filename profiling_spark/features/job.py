"""The features stage: items and RFM cut points, then all customers, at as_of and where a fit will learn from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import partial

import polars as pl
from pyspark.sql import DataFrame

from profiling_spark.attributes import backfilled, versions
from profiling_spark.buckets import replace_from_buckets
from profiling_spark.config import Settings
from profiling_spark.config.supply import Supply
from profiling_spark.context import Context, Outcome
from profiling_spark.contracts.features import ITEM_FEATURES, RFM_CUTS, user_features_table
from profiling_spark.contracts.silver import EVENTS, ITEMS, REVIEWS, USERS
from profiling_spark.features import (
    REVIEW_COLUMNS,
    USER_COLUMNS,
    FeatureParams,
    RfmCuts,
    event_columns,
    many_dates,
)
from profiling_spark.features.first_pass import first_pass, rfm_cuts
from profiling_spark.features.items import ItemSides, catalogue, item_features, item_sides, priced_items, ratings
from profiling_spark.features.rfm import MONEY
from profiling_spark.features.stale import stale_dates
from profiling_spark.kernel_progress import counting, stored_rows
from profiling_spark.remembered import supply
from profiling_spark.scores.wanted import looks_back, training_date
from profiling_spark.shared import Shared


def build_features(ctx: Context, *, since: date | None = None) -> Outcome:
    """Compute user_features and item_features as of the run's date; also as of the earlier one where a fit is due.

    `since`: every date from that one to the run's, both included.
    """
    return _built(ctx, feature_dates(ctx) if since is None else days_between(since, ctx.as_of))


def build_stale_features(ctx: Context) -> Outcome:
    """Compute again the dates that rows which came later would change."""
    dates = stale_dates(ctx)
    if not dates:
        return Outcome(skipped="no date that was built would have other features with the rows that came since")
    return _built(ctx, dates)


def _built(ctx: Context, dates: Sequence[date]) -> Outcome:
    rows = build_dates(ctx, dates)
    table = user_features_table(ctx.settings.windows_days, ctx.settings.custom_features)
    zone = ctx.settings.business_timezone
    filled = {
        t.name: backfilled(versions(ctx.tables, t), key=t.key[0], as_of=ctx.as_of, timezone=zone)
        for t in (USERS, ITEMS)
        if ctx.tables.exists(t)
    }
    early = [f"{n:,} {name}" for name, n in filled.items() if n]
    return Outcome(
        rows_out=rows,
        features_built=tuple(dates),
        facts={"dates": [str(d) for d in dates], "features": len(table.columns) - 2, "backfilled": filled},
        lines=(
            f"{len(table.columns) - 2} features of customers as of {_listed(dates)}",
            *(
                [f"attributes of {' and '.join(early)} came later than {ctx.as_of}: the earliest were used"]
                if early
                else []
            ),
        ),
    )


def build_dates(ctx: Context, dates: Sequence[date]) -> int:
    """Replace user_features, item_features and rfm_cuts of the dates. Returns the rows of user_features."""
    given = supply(ctx.tables, ctx.settings)
    params = [feature_params(ctx.settings, d, given) for d in dates]
    sides, cuts = _of_all_customers(ctx, params)
    return write_user_features(ctx, params, targets=given.targets, sides=sides, cuts=cuts)


def _of_all_customers(
    ctx: Context, params: Sequence[FeatureParams]
) -> tuple[dict[date, ItemSides], dict[date, RfmCuts]]:
    """Write item_features and rfm_cuts; what the customers' kernels take of both, by date."""
    tables, settings, dates = ctx.tables, ctx.settings, [p.as_of for p in params]
    zone, supplied, reviews = settings.business_timezone, params[0].supplied, tables.read(REVIEWS)
    listed = catalogue(versions(tables, ITEMS), dates=dates, timezone=zone, precedence=settings.precedence)
    added = first_pass(tables, params, buckets=settings.buckets, priced=priced_items(listed, dates))
    items = item_features(added, listed, ratings(reviews, dates, zone), supplied=supplied)
    tables.replace_partitions(ITEM_FEATURES, items, dates)
    sides = item_sides(items, added, dates=dates, windows=settings.windows_days)
    cuts = rfm_cuts(added, dates)
    if not params[0].has("amounts"):  # cut points of nothing
        cuts = {d: replace(c, monetary=()) for d, c in cuts.items()}
    tables.replace_partitions(RFM_CUTS, _cut_rows(cuts), dates)
    return sides, cuts


def feature_dates(ctx: Context) -> list[date]:
    """The run's date, and the training date where score_users looks there.

    On most nights a stored model serves, and one date takes about half the time of two.
    """
    return [ctx.as_of, training_date(ctx)] if looks_back(ctx) else [ctx.as_of]


def days_between(first: date, last: date) -> list[date]:
    """The last one first, both included."""
    return [last - timedelta(days=n) for n in range((last - first).days + 1)]


def _listed(dates: Sequence[date]) -> str:
    ordered = [str(d) for d in sorted(dates)]
    return " and ".join(ordered) if len(ordered) < 3 else f"{len(ordered)} dates, {ordered[0]} to {ordered[-1]}"


def feature_params(settings: Settings, as_of: date, given: Supply) -> FeatureParams:
    """What a build of features depends on: windows, zone, and what the sources of the stored rows can give at all."""
    mapped = given.event_columns
    return FeatureParams(
        as_of=as_of,
        windows=settings.windows_days,
        timezone=settings.business_timezone,
        supplied=given.event_types,
        has_sessions="session_id" in mapped,
        has_durations="duration_seconds" in mapped,
        has_discounts="discount" in mapped,
        custom=settings.custom_features,
        columns=given.columns_by_event_type,
        precedence=settings.precedence,
        bot_events_per_day=settings.recommend.bot_events_per_day,
        bot_days=settings.recommend.history_days,
        left_out=settings.left_out,
    )


def write_user_features(
    ctx: Context,
    params: Sequence[FeatureParams],
    *,
    targets: Collection[str],
    sides: Mapping[date, ItemSides],
    cuts: Mapping[date, RfmCuts],
) -> int:
    """Replace user_features of all dates in one commit: each bucket's events are read once. Returns the rows.

    `targets`: tables that any source feeds.
    """
    tables, settings, dates = ctx.tables, ctx.settings, [p.as_of for p in params]
    side_frames: dict[str, DataFrame] = {}
    if "users" in targets:
        side_frames["users"] = versions(tables, USERS).select(*USER_COLUMNS)
    if "reviews" in targets:
        side_frames["reviews"] = tables.read(REVIEWS).where("user_id is not null").select(*REVIEW_COLUMNS)
    kernel = partial(
        _features_of_bucket,
        params=params,
        items=Shared(tables.spark, dict(sides)),
        cuts=dict(cuts),
    )
    return replace_from_buckets(
        tables,
        counting(kernel, tables, ctx.progress, total=stored_rows(tables, EVENTS), unit="rows"),
        user_features_table(settings.windows_days, settings.custom_features),
        dates,
        columns=event_columns(settings.custom_features),
        buckets=settings.buckets,
        before=max(dates),
        sides=side_frames,
    ).rows


def _features_of_bucket(
    events: pl.DataFrame,
    sides: Mapping[str, pl.DataFrame],
    *,
    params: Sequence[FeatureParams],
    items: Shared[Mapping[date, ItemSides]],
    cuts: Mapping[date, RfmCuts],
) -> pl.DataFrame:
    return many_dates(
        events,
        params,
        users=sides.get("users"),
        reviews=sides.get("reviews"),
        item_prices={d: side.prices for d, side in items.value.items()},
        popular_items={d: side.popular for d, side in items.value.items()},
        rfm_cuts=cuts,
    )


def _cut_rows(cuts: Mapping[date, RfmCuts]) -> pl.DataFrame:
    rows = [{"as_of": d, **row} for d, c in cuts.items() for row in c.rows()]
    columns = pl.Schema(
        {"as_of": pl.Date(), "measure": pl.String(), "cut": pl.Int32(), "value": MONEY, "customers": pl.Int64()}
    )
    return pl.DataFrame(rows, schema=columns)
