"""Features that the settings describe: the same kernels, given as data what to count. No text of a setting is code.

What adds up by day (events, sums, the last match) becomes a column of the bucket's customer-day rows, so it costs one
expression for all windows and dates. What counts once (orders, distinct values) is reduced as in distinct.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl

from profiling_spark.feature_catalogue.event_columns import ALWAYS_THERE, CLOCK, NUMBERS, ORDER_TYPES, SUMS, TEXTS
from profiling_spark.features.bucket import EVENT_COLUMNS, USER
from profiling_spark.features.distinct import count_within, latest, latest_code, latest_order
from profiling_spark.features.windows import AGE, FeatureParams, ratio, total_within, windowed, within

if TYPE_CHECKING:  # a worker that runs the kernels needs no models of settings
    from profiling_spark.config.features import Condition, CustomFeature

_MILLISECONDS = 1000
# Wider than any column, so that a limit is compared with the value, not with a rounding of it.
_LIMIT = pl.Decimal(38, 6)


@dataclass(frozen=True)
class _Total:
    """A count, sum or number of distinct values of matching events, under a name that no column can have."""

    name: str
    column: str | None
    event_types: tuple[str, ...]
    where: Mapping[str, Condition]

    @property
    def sums(self) -> bool:
        return self.column in SUMS

    @property
    def single(self) -> tuple[str, ...]:
        """Event types of which each event counts by itself."""
        return tuple(t for t in self.event_types if self.column is None and t not in ORDER_TYPES)

    @property
    def orders(self) -> tuple[str, ...]:
        """Event types of which the orders count."""
        return tuple(t for t in self.event_types if self.column is None and t in ORDER_TYPES)

    @property
    def is_distinct(self) -> bool:
        """Whether orders or values count, each once."""
        return bool(self.orders) or (self.column is not None and not self.sums)

    def by_day(self) -> pl.Expr | None:
        """Its part that adds up by day: an aggregate of events; None where it has none."""
        if self.sums:
            summed = "milliseconds" if self.column == "duration_seconds" else self.column
            return pl.when(_matches(self.event_types, self.where)).then(pl.col(str(summed))).sum().alias(self.name)
        return _matches(self.single, self.where).sum().alias(self.name) if self.single else None

    def apart(self, events: pl.LazyFrame) -> pl.LazyFrame:
        """One row (customer, age of the latest match) for each order or value that counts once."""
        if self.column is None:
            return pl.concat([latest_order(events.filter(_matches((t,), self.where))) for t in self.orders])
        matching = events.filter(_matches(self.event_types, self.where))
        return latest_code(matching, self.column) if self.column in ALWAYS_THERE else latest(matching, self.column)

    def value(self, days: int | None) -> pl.Expr:
        """The finished total of a window from the columns that both parts left."""
        parts = [pl.col(_spanned(self.name, days))] if self.by_day() is not None else []
        parts += [pl.col(_spanned(f"{self.name}.apart", days))] if self.is_distinct else []
        total = pl.sum_horizontal(parts) if len(parts) > 1 else parts[0]
        return total / _MILLISECONDS if self.column == "duration_seconds" else total


def event_columns(custom: Sequence[CustomFeature]) -> tuple[str, ...]:
    """Columns of events that the kernel reads: EVENT_COLUMNS, and what the configured features need besides."""
    wanted = {c for f in custom for c in f.reads}
    return (*EVENT_COLUMNS, *sorted(wanted - {*EVENT_COLUMNS, *ALWAYS_THERE}))


def extra_columns(custom: Sequence[CustomFeature]) -> list[pl.Expr]:
    """What a bucket's events must have besides the columns of the built-in features."""
    extra = [pl.col(c) for c in event_columns(custom) if c not in EVENT_COLUMNS]
    coded = [e.cast(pl.Categorical) if e.meta.output_name() in TEXTS else e for e in extra]
    weekday = any("weekday" in f.reads for f in custom)
    return [*coded, pl.col("event_date").dt.weekday().alias("weekday")] if weekday else coded


def day_totals(custom: Sequence[CustomFeature]) -> list[pl.Expr]:
    """Aggregates of a customer's events of one day, for the bucket's customer-day rows."""
    found = [_matches(f.event_types, f.where).any().alias(_match_name(f)) for f in custom if f.measure == "recency"]
    return found + [e for f in custom for t in _totals(f) if (e := t.by_day()) is not None]


def day_metrics(params: FeatureParams) -> list[pl.Expr]:
    """Every metric of configured features that is an aggregate of customer-day rows."""
    metrics = [
        pl.when(pl.col(_match_name(f))).then(pl.col(AGE)).min().alias(f.name)
        for f in params.custom
        if f.measure == "recency"
    ]
    for feature in params.custom:
        by_day = [t.name for t in _totals(feature) if t.by_day() is not None]
        metrics += [_summed(n, days) for days in feature.spans(params.windows) for n in by_day]
    return metrics


def parts(events: pl.LazyFrame, params: FeatureParams) -> list[pl.LazyFrame]:
    """Counts of distinct orders and values, a frame a total. `events`: all events of the date, with their age."""
    frames = []
    for feature in params.custom:
        spans = feature.spans(params.windows)
        windows = tuple(w for w in spans if w is not None)
        for total in (t for t in _totals(feature) if t.is_distinct):
            values, name = total.apart(events.filter(within(windows[-1])) if windows else events), f"{total.name}.apart"
            ever = values.group_by(USER).agg(pl.len().alias(name))
            frames.append(count_within(values, name, windows) if windows else ever)
    return frames


def finished(params: FeatureParams) -> list[pl.Expr]:
    """Counts, sums, distinct counts and shares from a customer's parts (which are 0 where nothing matched)."""
    columns = []
    for feature in params.custom:
        totals = _totals(feature)
        for days in feature.spans(params.windows) if totals else ():
            values = [t.value(days) for t in totals]
            value = ratio(*values) if feature.measure == "share" else values[0]
            columns.append(value.alias(_spanned(feature.name, days)))
    return columns


def ratios(params: FeatureParams, columns: Collection[str]) -> dict[str, pl.Expr]:
    """Configured ratios by name, over finished `columns`: null where either is null or the denominator is 0."""
    found = {}
    for f in params.custom:
        if f.measure != "ratio":
            continue
        for days in f.spans(params.windows):
            top, below = (_operand(str(name), days, columns) for name in (f.numerator, f.denominator))
            found[_spanned(f.name, days)] = ratio(top, below).alias(_spanned(f.name, days))
    return found


def unsupplied(params: FeatureParams) -> set[str]:
    """Columns of configured features that read events which no source gives, or not with what they read of them."""
    silent = [
        f
        for f in params.custom
        if f.event_types and not any(params.gives(t, {*f.reads} - {*ALWAYS_THERE}) for t in f.event_types)
    ]
    return {_spanned(f.name, days) for f in silent for days in f.spans(params.windows)}


def _totals(feature: CustomFeature) -> list[_Total]:
    """What the feature is made of; a share divides the first by the second."""
    if feature.measure in ("ratio", "recency"):
        return []
    total = _Total(f"_total.{feature.name}", feature.column, feature.event_types, feature.where)
    if feature.measure != "share":
        return [total]
    return [total, _Total(f"_whole.{feature.name}", feature.column, feature.event_types, {})]


def _match_name(feature: CustomFeature) -> str:
    return f"_match.{feature.name}"


def _spanned(name: str, days: int | None) -> str:
    return name if days is None else windowed(name, days)


def _summed(name: str, days: int | None) -> pl.Expr:
    total = pl.col(name).sum() if days is None else total_within(name, days)
    return total.alias(_spanned(name, days))


def _operand(name: str, days: int | None, columns: Collection[str]) -> str:
    """The operand's column of this window, or its only one."""
    return name if name in columns else _spanned(name, days)


def _matches(event_types: Sequence[str], where: Mapping[str, Condition]) -> pl.Expr:
    """Whether an event is of one of the types and meets every condition; null counts as no."""
    return pl.all_horizontal(
        pl.col("event_type").is_in(event_types), *(_meets(column, asked) for column, asked in where.items())
    )


def _meets(column: str, asked: Condition) -> pl.Expr:
    if column in TEXTS:
        return pl.col(column).is_in([str(v) for v in asked.any_of])
    value = pl.col("milliseconds" if column == "duration_seconds" else column)
    if asked.any_of:
        return pl.any_horizontal(value == _limit(column, v) for v in asked.any_of)
    from_low = pl.lit(True) if asked.min is None else value >= _limit(column, asked.min)
    to_high = pl.lit(True) if asked.max is None else value <= _limit(column, asked.max)
    over_the_end = column in CLOCK and asked.min is not None and asked.max is not None and asked.min > asked.max
    return from_low | to_high if over_the_end else from_low & to_high


def _limit(column: str, value: bool | int | float | str) -> pl.Expr:
    """A value of the settings in the column's own type."""
    if column not in NUMBERS:
        return pl.lit(value)
    if column == "duration_seconds":
        return pl.lit(round(float(value) * _MILLISECONDS))
    # as text: inside Spark's workers Polars takes no Decimal as a literal
    return pl.lit(format(Decimal(str(value)), "f")).cast(_LIMIT)
