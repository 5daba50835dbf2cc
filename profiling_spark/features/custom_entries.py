"""What the documentation and the contract say of a configured feature, in words made from what is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from profiling_spark.features.catalogue_forms import COUNT, DAYS, REAL, Entry
from profiling_spark.features.custom_columns import ALWAYS_THERE, ORDER_TYPES, SUMS

if TYPE_CHECKING:  # the settings are checked against the built-in features, so at run time they import this room
    from profiling_spark.config.features import Condition, CustomFeature

FAMILY = "Configured"
_TYPES = {"count": COUNT, "distinct": COUNT, "ratio": REAL, "share": REAL, "recency": DAYS}

_WRAPS = {"hour": "midnight", "weekday": "Sunday"}


def custom_entry(feature: CustomFeature) -> Entry:
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


def _definition(feature: CustomFeature) -> str:
    if feature.measure == "ratio":
        return f"{feature.numerator} / {feature.denominator}" + (" of the same window" if feature.windowed else "")
    where = _where(feature)
    if feature.measure == "recency":
        return f"days from the date of the last {_events(feature.event_types)}{where} to as_of"
    if feature.measure == "share":
        return f"share{where}, of {_total(feature)}{_period(feature)}{_remark(feature)}"
    return f"{_total(feature)}{_period(feature)}{where}{_remark(feature)}"


def _total(feature: CustomFeature) -> str:
    if feature.column in SUMS:
        return f"sum of {feature.column} over {_events(feature.event_types)}s"
    if feature.column:
        return f"distinct known {feature.column} among {_events(feature.event_types)}s"
    single = tuple(t for t in feature.event_types if t not in ORDER_TYPES)
    orders = tuple(t for t in feature.event_types if t in ORDER_TYPES)
    parts = [f"{_events(single)}s"] if single else []
    parts += [f"distinct {t} orders with a line" for t in orders]
    return " plus ".join(parts)


def _counts_orders(feature: CustomFeature) -> bool:
    counts = feature.measure in ("count", "share") and feature.column is None
    return counts and bool({*feature.event_types} & {*ORDER_TYPES})


def _remark(feature: CustomFeature) -> str:
    if feature.column == "duration_seconds":
        return "; each rounded to a millisecond"
    return "; an event without order_id is its own order" if _counts_orders(feature) else ""


def _period(feature: CustomFeature) -> str:
    return " in the last {w} days" if feature.windowed else " in the whole history"


def _events(types: Sequence[str]) -> str:
    return f"{' or '.join(types)} event"


def _where(feature: CustomFeature) -> str:
    met = [_condition(column, asked) for column, asked in feature.where.items()]
    return f" where {' and '.join(met)}" if met else ""


def _condition(column: str, asked: Condition) -> str:
    if asked.any_of:
        shown = [str(v).lower() if isinstance(v, bool) else " ".join(str(v).split()) for v in asked.any_of]
        return f"{column} is {' or '.join(shown)}"
    if asked.min is not None and asked.max is not None:
        over = f" over {_WRAPS[column]}" if asked.min > asked.max else ""
        return f"{column} is {asked.min} to {asked.max}{over}"
    return f"{column} is at least {asked.min}" if asked.max is None else f"{column} is at most {asked.max}"


def _null(feature: CustomFeature) -> str:
    if feature.measure == "ratio":
        return f"{feature.denominator} is 0 or null, or {feature.numerator} is null"
    read = [c for c in feature.reads if c not in ALWAYS_THERE]
    unsupplied = f"no source gives {_events(feature.event_types)}s" + (f" with {' and '.join(read)}" if read else "")
    reasons = {
        "share": "nothing to share in the last {w} days" if feature.windowed else "nothing to share",
        "recency": "no such event yet",
    }
    return "; ".join(r for r in (reasons.get(feature.measure), unsupplied) if r)


def _sources(feature: CustomFeature) -> str:
    if feature.measure == "ratio":
        return "finished features" + (" of the same window" if feature.windowed else "")
    derived = {"hour": "event_time", "weekday": "event_date"}
    read = [derived.get(c, c) for c in feature.reads]
    orders = ["order_id"] if _counts_orders(feature) else []
    return ", ".join(dict.fromkeys(["event_type", "event_date", *orders, *read]))


def _span(feature: CustomFeature) -> str:
    days = feature.windows_days
    return ", ".join(map(str, days)) if isinstance(days, tuple) else ""
