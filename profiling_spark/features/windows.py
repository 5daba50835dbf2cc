"""What a date and its windows mean: the only place that turns dates into ages and ages into windows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from profiling_spark.errors import ConfigError

if TYPE_CHECKING:  # a worker that runs the kernels needs no models of settings
    from profiling_spark.config.features import CustomFeature

NIGHT_STARTS_HOUR = 22
NIGHT_ENDS_HOUR = 6
SATURDAY = 6  # ISO number of the weekday
# an impression is the shop's act, not the customer's
NOT_ACTS = ("ad_view",)

AGE = "_age"  # whole days from the event's date to as_of; 1 is the day before


@dataclass(frozen=True)
class FeatureParams:
    """What a build of features depends on besides the rows.

    `as_of` is exclusive. `windows` are days, rising. `supplied` names the event types that any configured source
    supplies: a feature that needs another type is null, not 0. The flags mean the same for optional columns.
    `custom` are the features that the settings describe; `columns`, for them, the event columns that are supplied with
    each event type (None: all of them). `precedence`: sources of attributes, the one that is believed first first.
    Events that one of the rules `left_out` flagged count in nothing. Who has more than `bot_events_per_day` events on
    one of the `bot_days` before as_of is a bot (None: nobody).
    """

    as_of: date
    windows: tuple[int, ...]
    timezone: str
    supplied: frozenset[str]
    has_sessions: bool = True
    has_durations: bool = True
    has_discounts: bool = True
    custom: tuple[CustomFeature, ...] = ()
    columns: Mapping[str, frozenset[str]] | None = None
    precedence: tuple[str, ...] = ()
    bot_events_per_day: int | None = None
    bot_days: int = 365
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rising = self.windows == tuple(sorted(set(self.windows)))
        if not self.windows or not rising or self.windows[0] < 1:
            raise ConfigError(
                f"windows: expected rising numbers of days, each once and at least 1; found {self.windows}"
            )
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError) as err:
            raise ConfigError(
                f"timezone: expected an IANA name such as Asia/Shanghai; found {self.timezone!r}"
            ) from err

    def has(self, need: str) -> bool:
        """Whether an event type, or one of the optional columns `sessions`, `durations`, `discounts`, is supplied;
        `amounts`: of purchases."""
        flags = {"sessions": self.has_sessions, "durations": self.has_durations, "discounts": self.has_discounts}
        if need == "amounts":
            return self.gives("purchase", ("amount",))
        return flags.get(need, need in self.supplied)

    def gives(self, event_type: str, columns: Iterable[str]) -> bool:
        """Whether the event type is supplied, and all of `columns` with it."""
        given = None if self.columns is None else self.columns.get(event_type, frozenset())
        return event_type in self.supplied and (given is None or given.issuperset(columns))


def age_days(as_of: date, column: str = "event_date") -> pl.Expr:
    """Whole days from the date `column` to `as_of`; 1 is the day before, 0 or less is not yet known at `as_of`."""
    return (pl.lit(as_of) - pl.col(column)).dt.total_days().cast(pl.Int32)


def local_date(column: str, timezone: str) -> pl.Expr:
    """Calendar date of a UTC time in `timezone`."""
    return pl.col(column).dt.convert_time_zone(timezone).dt.date()


def local_hour(column: str, timezone: str) -> pl.Expr:
    """Hour 0-23 on the wall clock of `timezone`; a repeated hour of a clock change counts as the same hour."""
    return pl.col(column).dt.convert_time_zone(timezone).dt.hour()


def is_night(hour: str) -> pl.Expr:
    """From 22:00 to 05:59."""
    return (pl.col(hour) >= NIGHT_STARTS_HOUR) | (pl.col(hour) < NIGHT_ENDS_HOUR)


def is_weekend(day: str) -> pl.Expr:
    """Saturday or Sunday."""
    return pl.col(day).dt.weekday() >= SATURDAY


def within(days: int) -> pl.Expr:
    """Rows of the window [as_of - days, as_of); the frame holds no row dated on or after as_of."""
    return pl.col(AGE) <= days


def total_within(column: str, days: int) -> pl.Expr:
    """Sum of `column` over the window. Masked, because `filter` inside an aggregate is several times slower."""
    return pl.when(within(days)).then(pl.col(column)).sum()


def windowed(stem: str, days: int) -> str:
    """Name of a windowed feature."""
    return f"{stem}_{days}d"


def ratio(numerator: str | pl.Expr, denominator: str | pl.Expr) -> pl.Expr:
    """numerator / denominator as a double; null where the denominator is 0 or null."""
    top, below = (pl.col(e) if isinstance(e, str) else e for e in (numerator, denominator))
    return pl.when(below != 0).then(top.cast(pl.Float64) / below.cast(pl.Float64))
