"""Customers who do more on a day than a person can: found once, here; no other customer's figures rest on theirs."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from profiling_spark.features.windows import NOT_ACTS, within

BOT_EVENT_COLUMNS: tuple[str, ...] = ("user_id", "event_type", "event_date")
_DAYS = pl.Schema({"user_id": pl.String, "event_date": pl.Date})


def heavy_days(events: pl.DataFrame, most: int | None) -> pl.DataFrame:
    """(user_id, event_date): days on which a customer has more than `most` events of one's own; None: no day is one."""
    if most is None:
        return _DAYS.to_frame()
    acts = events.lazy().filter(~pl.col("event_type").is_in(NOT_ACTS)).select("user_id", "event_date")
    # few have so many events in all, and to group by the customer alone takes half the time
    busy = acts.group_by("user_id").len().filter(pl.col("len") > most).select("user_id").collect(engine="streaming")
    if busy.is_empty():
        return _DAYS.to_frame()
    days = acts.join(busy.lazy(), on="user_id", how="semi").group_by("user_id", "event_date").len()
    return days.filter(pl.col("len") > most).select(*_DAYS).collect()


def bots_at(heavy: pl.DataFrame, as_of: date, days: int) -> pl.DataFrame:
    """(user_id), each once: who has one of the `heavy` days in the `days` before as_of."""
    inside = pl.col("event_date").is_between(as_of - timedelta(days=days), as_of, closed="left")
    return heavy.filter(inside).select("user_id").unique()


def is_bot(most: int | None, days: int) -> pl.Expr:
    """The same of a customer-day frame (column acts: events of one's own), as an aggregate over the customer's days."""
    if most is None:
        return (pl.len() == 0).alias("is_bot")  # nobody: a group has rows
    return (pl.when(within(days)).then(pl.col("acts")).max().fill_null(0) > most).alias("is_bot")
