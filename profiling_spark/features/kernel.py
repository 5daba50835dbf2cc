"""All features of the customers of one bucket, from their events and a few small side tables (no Spark, no I/O)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from profiling_spark.errors import ConfigError
from profiling_spark.feature_catalogue.forms import FAVORITE_DAYS
from profiling_spark.feature_catalogue.user_features import Feature, user_feature_list
from profiling_spark.features import behaviour, custom, preference, rfm, value
from profiling_spark.features.bots import is_bot
from profiling_spark.features.bucket import USER, Bucket, load_bucket
from profiling_spark.features.demographics import demographics
from profiling_spark.features.distinct import count_within, latest, latest_order
from profiling_spark.features.reviews import review_features
from profiling_spark.features.windows import AGE, FeatureParams, age_days, within

PopularItems = Mapping[int, Collection[str]]  # window in days: its 10 most viewed items

_POLARS: dict[str, pl.DataType] = {
    "bigint": pl.Int64(),
    "int": pl.Int32(),
    "double": pl.Float64(),
    "string": pl.String(),
    "boolean": pl.Boolean(),
    "decimal(28,4)": pl.Decimal(28, 4),
    "decimal(18,4)": pl.Decimal(18, 4),
}


@dataclass(frozen=True)
class _Side:
    """What reaches a bucket besides its events; None where it does not exist: the features that need it are null."""

    users: pl.DataFrame | pl.LazyFrame | None
    reviews: pl.DataFrame | pl.LazyFrame | None
    item_prices: pl.DataFrame | None
    popular_items: PopularItems | None
    rfm_cuts: rfm.RfmCuts | None

    def has(self, need: str) -> bool:
        return getattr(self, need, None) is not None


def user_features(
    events: pl.DataFrame | pl.LazyFrame,
    *,
    params: FeatureParams,
    users: pl.DataFrame | pl.LazyFrame | None = None,
    reviews: pl.DataFrame | pl.LazyFrame | None = None,
    item_prices: pl.DataFrame | None = None,
    popular_items: PopularItems | None = None,
    rfm_cuts: rfm.RfmCuts | None = None,
) -> pl.DataFrame:
    """One row, by user_id, for everyone with an event or a version of attributes before as_of.

    Columns and types are those of the contract: as_of, user_id, the catalogue, then what the settings configure.
    `events` are all events of some customers (columns: `event_columns`), `users` and `reviews` all rows of the same
    customers; `item_prices` has item_id (unique) and price_percentile; `popular_items` the items of every window.
    Without `rfm_cuts` the scores are null.
    Raises ContractError where `popular_items` lacks a window.
    """
    bucket = _load(events, params, before=params.as_of)
    return _build(bucket, params, _Side(users, reviews, item_prices, popular_items, rfm_cuts))


def many_dates(
    events: pl.DataFrame | pl.LazyFrame,
    params: Sequence[FeatureParams],
    *,
    users: pl.DataFrame | pl.LazyFrame | None = None,
    reviews: pl.DataFrame | pl.LazyFrame | None = None,
    item_prices: Mapping[date, pl.DataFrame] | None = None,
    popular_items: Mapping[date, PopularItems] | None = None,
    rfm_cuts: Mapping[date, rfm.RfmCuts] | None = None,
) -> pl.DataFrame:
    """`user_features` at several dates, one below the other, in the order of `params`; the events are read once.

    What depends on the date is given by as_of; a date without an entry is built without it.
    Raises ConfigError where the builds differ in timezone, windows or configured features: they would not be one table.
    """
    if len({(p.timezone, p.windows) for p in params}) != 1:
        found = sorted({f"{p.timezone} {p.windows}" for p in params})
        raise ConfigError(f"many_dates: expected one timezone and one tuple of windows for all dates; found {found}")
    if any(p.custom != params[0].custom for p in params):
        raise ConfigError("many_dates: expected the same configured features for all dates")
    bucket = _load(events, params[0], before=max(p.as_of for p in params))
    prices, popular, cuts = item_prices or {}, popular_items or {}, rfm_cuts or {}
    builds = (
        _build(bucket, p, _Side(users, reviews, prices.get(p.as_of), popular.get(p.as_of), cuts.get(p.as_of)))
        for p in params
    )
    return pl.concat(builds)


def _load(events: pl.DataFrame | pl.LazyFrame, params: FeatureParams, *, before: date) -> Bucket:
    """The bucket for all dates up to `before`; of `params` only what all dates share is used."""
    return load_bucket(
        events,
        before=before,
        timezone=params.timezone,
        extra=custom.extra_columns(params.custom),
        totals=custom.day_totals(params.custom),
        left_out=params.left_out,
    )


def _build(bucket: Bucket, params: FeatureParams, side: _Side) -> pl.DataFrame:
    features = user_feature_list(params.windows, params.custom)
    supplied = {f.name for f in features if all(params.has(n) or side.has(n) for n in f.entry.needs)}
    supplied -= custom.unsupplied(params)
    customers = _join_all(bucket, _parts(bucket, params, side)).join(bucket.users.lazy(), on=USER, how="left").collect()
    if side.users is not None:
        customers = customers.join(demographics(side.users, params), on="user_id", how="full", coalesce=True)
    if side.reviews is not None:
        customers = customers.join(review_features(side.reviews, params), on="user_id", how="left")
    # A customer whom a part does not know has none of what it counts; what is unknown rather than none stays null.
    zeros = [pl.col(c).fill_null(0) for c in customers.columns if c.startswith("_") and c != USER]
    known = [f for f in features if f.name in customers.columns and f.entry.empty is not None]
    customers = customers.with_columns(*zeros, *(pl.col(f.name).fill_null(f.entry.empty) for f in known))
    customers = customers.with_columns(*behaviour.derived(params), *value.derived(params), *custom.finished(params))
    if side.rfm_cuts is not None:
        customers = rfm.with_rfm(customers, side.rfm_cuts)
    key = (pl.lit(params.as_of, pl.Date).alias("as_of"), "user_id")
    ratios = custom.ratios(params, [f.name for f in features])
    finished = customers.select(*key, *(_column(f, supplied) for f in features if f.name not in ratios))
    return finished.select("as_of", "user_id", *(ratios.get(f.name, f.name) for f in features)).sort("user_id")


def _column(feature: Feature, supplied: set[str]) -> pl.Expr:
    kind = _POLARS[feature.type]
    value_or_null = pl.col(feature.name).cast(kind) if feature.name in supplied else pl.lit(None, kind)
    return value_or_null.alias(feature.name)


def _join_all(bucket: Bucket, parts: list[pl.LazyFrame]) -> pl.LazyFrame:
    """The first part has every customer of the date; the others have some."""
    # Each part is computed by itself: as one plan, the streaming engine would hold all of their hash tables at once.
    customers, *others = (part.collect(engine="streaming") for part in parts)
    wide = customers.lazy()
    for part in others:
        wide = wide.join(part.lazy(), on=USER, how="left")
    return wide


def _parts(bucket: Bucket, params: FeatureParams, side: _Side) -> list[pl.LazyFrame]:
    windows = params.windows
    age, past = age_days(params.as_of).alias(AGE), pl.col(AGE) > 0
    days = bucket.days.lazy().with_columns(age).filter(past)
    events = bucket.events.lazy().with_columns(age).filter(past)
    in_windows = events.filter(within(windows[-1]))
    bought = events.filter(pl.col("event_type") == "purchase").collect().lazy()
    orders = latest_order(bought).collect().lazy()
    metrics = [*behaviour.day_metrics(params), *value.day_metrics(params), *rfm.day_metrics()]
    metrics += [is_bot(params.bot_events_per_day, params.bot_days), *custom.day_metrics(params)]
    parts = [
        days.group_by(USER).agg(metrics),
        count_within(orders, "purchases", windows),
        orders.group_by(USER).agg(pl.len().alias("frequency")),
        count_within(latest_order(in_windows.filter(pl.col("event_type") == "refund")), "refunds", windows),
        *(count_within(latest(bought, c), stem, windows) for stem, c in preference.BREADTH.items()),
        count_within(latest(in_windows, "session_id"), "sessions", windows),
        *(preference.favorite(events.filter(within(FAVORITE_DAYS)), name) for name in preference.FAVORITES),
        *custom.parts(events, params),
    ]
    if side.item_prices is not None:
        parts.append(preference.price_preference(bought, side.item_prices))
    if side.popular_items is not None:
        parts.append(preference.popular_item_viewer(in_windows, side.popular_items, windows))
    return parts
