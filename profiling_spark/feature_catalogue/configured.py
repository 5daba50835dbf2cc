"""The documentation's and the contract's text on a configured feature, made from what is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from profiling_spark.feature_catalogue.event_columns import ALWAYS_THERE, ORDER_TYPES, SUMS
from profiling_spark.feature_catalogue.forms import COUNT, DAYS, REAL, Entry


class Asked(Protocol):
    """What a filter asks of one column (see config.features.Condition, which is one)."""

    @property
    def any_of(self) -> tuple[bool | int | float | str, ...]: ...
    @property
    def min(self) -> int | float | None: ...
    @property
    def max(self) -> int | float | None: ...


class Configured(Protocol):
    """A feature that the settings describe (see config.features.CustomFeature, which is one)."""

    @property
    def name(self) -> str: ...
    @property
    def measure(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def event_types(self) -> tuple[str, ...]: ...
    @property
    def where(self) -> Mapping[str, Asked]: ...
    @property
    def column(self) -> str | None: ...
    @property
    def windows_days(self) -> str | tuple[int, ...] | None: ...
    @property
    def numerator(self) -> str | None: ...
    @property
    def denominator(self) -> str | None: ...
    @property
    def windowed(self) -> bool: ...
    @property
    def reads(self) -> tuple[str, ...]: ...
    def spans(self, windows: tuple[int, ...]) -> tuple[int | None, ...]: ...


FAMILY = "Configured"
_TYPES = {"count": COUNT, "distinct": COUNT, "ratio": REAL, "share": REAL, "recency": DAYS}

_WRAPS = {"hour": "midnight", "weekday": "Sunday"}


def custom_entry(feature: Configured) -> Entry:
    """The catalogue's row: the user's description, then what exactly is computed."""
    countable = feature.measure in ("count", "sum", "distinct")
    return Entry(
        feature.name,
        FAMILY,
        SUMS[str(feature.column)] if feature.measure == "sum" else _TYPES[feature.measure],
        f"{feature.description}: {_definition(feature)}",
        feature.unit,
        _sources(feature),
        null=_null(feature),
        empty=0 if countable else None,
        windowed=feature.windowed,
        span=_span(feature),
    )


def _definition(feature: Configured) -> str:
    if feature.measure == "ratio":
        return f"{feature.numerator} / {feature.denominator}" + (" of the same window" if feature.windowed else "")
    where = _where(feature)
    if feature.measure == "recency":
        return f"days from the date of the last {_events(feature.event_types)}{where} to as_of"
    if feature.measure == "share":
        return f"share{where}, of {_total(feature)}{_period(feature)}{_remark(feature)}"
    return f"{_total(feature)}{_period(feature)}{where}{_remark(feature)}"


def _total(feature: Configured) -> str:
    if feature.column in SUMS:
        return f"sum of {feature.column} over {_events(feature.event_types)}s"
    if feature.column:
        return f"distinct known {feature.column} among {_events(feature.event_types)}s"
    single = tuple(t for t in feature.event_types if t not in ORDER_TYPES)
    orders = tuple(t for t in feature.event_types if t in ORDER_TYPES)
    parts = [f"{_events(single)}s"] if single else []
    parts += [f"distinct {t} orders with a line" for t in orders]
    return " plus ".join(parts)


def _counts_orders(feature: Configured) -> bool:
    counts = feature.measure in ("count", "share") and feature.column is None
    return counts and bool({*feature.event_types} & {*ORDER_TYPES})


def _remark(feature: Configured) -> str:
    if feature.column == "duration_seconds":
        return "; each rounded to a millisecond"
    return "; an event without order_id is its own order" if _counts_orders(feature) else ""


def _period(feature: Configured) -> str:
    return " in the last {w} days" if feature.windowed else " in the whole history"


def _events(types: Sequence[str]) -> str:
    return f"{' or '.join(types)} event"


def _where(feature: Configured) -> str:
    met = [_condition(column, asked) for column, asked in feature.where.items()]
    return f" where {' and '.join(met)}" if met else ""


def _condition(column: str, asked: Asked) -> str:
    if asked.any_of:
        shown = [str(v).lower() if isinstance(v, bool) else " ".join(str(v).split()) for v in asked.any_of]
        return f"{column} is {' or '.join(shown)}"
    if asked.min is not None and asked.max is not None:
        over = f" over {_WRAPS[column]}" if asked.min > asked.max else ""
        return f"{column} is {asked.min} to {asked.max}{over}"
    return f"{column} is at least {asked.min}" if asked.max is None else f"{column} is at most {asked.max}"


def _null(feature: Configured) -> str:
    if feature.measure == "ratio":
        return f"{feature.denominator} is 0 or null, or {feature.numerator} is null"
    read = [c for c in feature.reads if c not in ALWAYS_THERE]
    unsupplied = f"no source gives {_events(feature.event_types)}s" + (f" with {' and '.join(read)}" if read else "")
    reasons = {
        "share": "nothing to share in the last {w} days" if feature.windowed else "nothing to share",
        "recency": "no such event yet",
    }
    return "; ".join(r for r in (reasons.get(feature.measure), unsupplied) if r)


def _sources(feature: Configured) -> str:
    if feature.measure == "ratio":
        return "finished features" + (" of the same window" if feature.windowed else "")
    derived = {"hour": "event_time", "weekday": "event_date"}
    read = [derived.get(c, c) for c in feature.reads]
    orders = ["order_id"] if _counts_orders(feature) else []
    return ", ".join(dict.fromkeys(["event_type", "event_date", *orders, *read]))


def _span(feature: Configured) -> str:
    days = feature.windows_days
    return ", ".join(map(str, days)) if isinstance(days, tuple) else ""
