"""The events of one bucket in the form the kernels compute on: texts as codes, one row a customer and day beside them.

Nothing here depends on as_of, so one bucket serves many dates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from profiling_spark.features.left_out import FLAGS, is_left_out
from profiling_spark.features.windows import NOT_ACTS, is_night, is_weekend, local_hour

# event_id is left out on purpose: it is the longest column of the table, and as the table's key it adds nothing to a
# count of rows (see value.orders_within).
EVENT_COLUMNS: tuple[str, ...] = (
    "event_time",
    "event_date",
    "user_id",
    "event_type",
    "item_id",
    "category",
    "brand",
    "session_id",
    "order_id",
    "discount",
    "amount",
    "duration_seconds",
    "channel",
    "flags",
)

EVENT_TYPES: tuple[str, ...] = (
    "login",
    "search",
    "view",
    "favorite",
    "cart",
    "purchase",
    "refund",
    "review",
    "ad_view",
    "ad_click",
    "service",
)

USER = "_user"  # the customer's code within the bucket
_CODED = ("user_id", "category", "brand", "session_id", "channel")
_AS_TEXT = ("item_id", "order_id")  # needed of few rows: coded there, it would cost a tenth of the load here
_CODE_BITS = 2**32


@dataclass(frozen=True)
class Bucket:
    """`events`: the rows, texts as categories. `days`: one row a customer and day. `users`: code and user_id."""

    events: pl.DataFrame
    days: pl.DataFrame
    users: pl.DataFrame


def load_bucket(
    events: pl.DataFrame | pl.LazyFrame,
    *,
    before: date,
    timezone: str,
    extra: Sequence[pl.Expr] = (),
    totals: Sequence[pl.Expr] = (),
    left_out: Sequence[str] = (),
) -> Bucket:
    """Encode the events dated before `before`. Columns beyond EVENT_COLUMNS and those of `extra` are not read.

    `extra` are further columns of `events`; `totals` aggregates of them, further columns of `days`. Events that one of
    the rules `left_out` flagged show that their customer exists: their days count nothing.
    """
    # Codes are handed out by Polars for as long as one column of them lives; this one outlives the scan's batches.
    keep_codes = pl.Series("keep", [""], dtype=pl.Categorical)
    coded = _collect(
        events.lazy()
        .filter(pl.col("event_date") < before)
        .select(
            *(pl.col(c).cast(pl.Categorical) for c in _CODED),
            *_AS_TEXT,
            *extra,
            "event_date",
            "amount",
            "discount",
            event_type=pl.col("event_type").cast(pl.Enum(EVENT_TYPES)),
            hour=local_hour("event_time", timezone),
            milliseconds=_milliseconds("duration_seconds"),
            is_flagged=pl.col(FLAGS).is_not_null(),
            **({"_left_out": is_left_out(left_out)} if left_out else {}),
        )
        .with_columns(pl.col("user_id").to_physical().alias(USER))
    )
    users = coded.select(pl.col("user_id").unique()).select(
        pl.col("user_id").to_physical().alias(USER), pl.col("user_id").cast(pl.String)
    )
    if not left_out:
        bucket = Bucket(coded, _days(coded, totals), users)
    else:
        kept, others = (coded.filter(is_so).drop("_left_out") for is_so in (~pl.col("_left_out"), "_left_out"))
        bucket = Bucket(kept, pl.concat([_days(kept, totals), _nothing(_days(others, totals))]), users)
    del keep_codes
    return bucket


def _nothing(days: pl.DataFrame) -> pl.DataFrame:
    """The same customers and days, with nothing on them."""
    zeros = [pl.lit(0).cast(kind).alias(name) for name, kind in days.schema.items() if name not in (USER, "event_date")]
    return days.with_columns(zeros)


def code(column: str) -> pl.Expr:
    """The 32 bits behind a category or date, for use in a packed key (dates before 1970 are negative: they wrap)."""
    return pl.col(column).to_physical().cast(pl.UInt32, wrap_numerical=True).cast(pl.UInt64)


def packed(user: str, column: str) -> pl.Expr:
    """Customer and `column` as one integer: grouping by one integer takes half the time of grouping by two columns."""
    return code(user) * _CODE_BITS + code(column)


def unpacked_user(key: str) -> pl.Expr:
    """The customer of a packed key."""
    return (pl.col(key) // _CODE_BITS).cast(pl.UInt32).alias(USER)


def unpacked_value(key: str) -> pl.Expr:
    """The other half of a packed key."""
    return (pl.col(key) % _CODE_BITS).cast(pl.UInt32)


def _milliseconds(seconds: str) -> pl.Expr:
    """Whole milliseconds, so that a sum does not depend on the order of rows; null where not a finite number."""
    return (pl.col(seconds) * 1000).round(0, mode="half_to_even").cast(pl.Int64, strict=False)


def _days(events: pl.DataFrame, totals: Sequence[pl.Expr]) -> pl.DataFrame:
    """One row a customer and day: events by type, of one's own (`acts`), at night, milliseconds, money, `totals`."""
    bought, returned = pl.col("event_type") == "purchase", pl.col("event_type") == "refund"
    rolled = (
        events.lazy()
        .with_columns(_key=packed(USER, "event_date"))
        .group_by("_key")
        .agg(
            *((pl.col("event_type") == t).sum().alias(t) for t in EVENT_TYPES),
            *totals,
            events=pl.len(),
            night=is_night("hour").sum(),
            milliseconds=pl.col("milliseconds").sum(),
            bought=pl.when(bought).then(pl.col("amount")).sum(),
            returned=pl.when(returned).then(pl.col("amount")).sum(),
            flagged=pl.when(bought & pl.col("is_flagged")).then(pl.col("amount")).sum(),
            discounted=pl.when(bought).then(pl.col("discount")).sum(),
        )
        .with_columns(
            unpacked_user("_key"), event_date=unpacked_value("_key").cast(pl.Int32, wrap_numerical=True).cast(pl.Date)
        )
        .with_columns(
            acts=pl.col("events") - pl.sum_horizontal(NOT_ACTS),
            # a day on which the customer was only shown something is no active one
            active=(pl.col("events") > pl.sum_horizontal(NOT_ACTS)).cast(pl.UInt32),
            weekend=pl.when(is_weekend("event_date")).then(pl.col("events")).otherwise(0),
        )
        .drop("_key")
    )
    return _collect(rolled)


def _collect(frame: pl.LazyFrame) -> pl.DataFrame:
    # The streaming engine adds to running totals; the in-memory one first gathers each group's rows (3 times slower).
    return frame.collect(engine="streaming")
