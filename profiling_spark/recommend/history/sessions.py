"""A customer's last visit: what was looked at, searched for and browsed in it. A kernel: no Spark, no I/O."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from profiling_spark.features.windows import age_days
from profiling_spark.recommend.history.interactions import HistoryParams, weighted_acts
from profiling_spark.recommend.history.refunds import REFUND

LAST_SESSION = "last_session"
ITEM, SEARCH, CATEGORY = "item", "search", "category"


def last_session(events: pl.DataFrame, params: HistoryParams, *, gap: timedelta) -> pl.DataFrame:
    """(user_id, document, text, weight, kind): what each customer's last visit before as_of was about, once each.

    A visit is a run of events without a pause longer than `gap`; the last one counts in which anything was looked at or
    searched for. `document`: item (`text` is its id), search (the words) or category (browsed without an item). Items,
    refunds and decay are the history's (`weighted_acts`): an item that is none of it for what was given back is left
    out, and a refund says nothing by itself. `weight`: sum over the visit's events that speak for the item of their
    weights, a search or a browse 1 each, that halve in half_life_days up to the visit's last day: what lies between
    that day and as_of is the same for all of a visit, and changes no order. `kind`: place of the strongest event in
    `params.kinds`, -1 where it is not an item's.
    """
    acts = weighted_acts(events, params)
    items = _documents(acts, ITEM, "item_id").with_columns(weight=pl.col("own"))
    is_kept = pl.col("units").sum().over("user_id", "text") > 0
    spoken = acts.filter(pl.col("event_type") != REFUND)
    about = pl.concat(
        [
            items.filter(is_kept & (pl.col("weight") > 0)),
            _documents(spoken, SEARCH, "search_text"),
            _documents(spoken.filter(pl.col("item_id").is_null()), CATEGORY, "category"),
        ]
    )
    pause = pl.col("event_time") - pl.col("event_time").shift(1).over("user_id")
    visits = about.sort("user_id", "event_time").with_columns(
        visit=(pause > gap).fill_null(False).cum_sum().over("user_id")
    )
    last = visits.filter(pl.col("visit") == pl.col("visit").max().over("user_id"))
    age = age_days(params.as_of)
    decay = pl.lit(0.5).pow((age - age.min().over("user_id")) / params.half_life_days)
    place = {kind: n for n, kind in enumerate(params.kinds)}
    kind = pl.when(pl.col("document") == ITEM).then(
        pl.col("event_type").replace_strict(place, default=-1, return_dtype=pl.Int32)
    )
    return (
        last.with_columns(weight=pl.col("weight") * decay)
        .group_by("user_id", "document", "text")
        .agg(pl.col("weight").sum(), kind=kind.otherwise(-1).max())
        .sort("user_id", "document", "text")
    )


def _documents(acts: pl.DataFrame, document: str, column: str) -> pl.DataFrame:
    """A row an act with such a text, of weight 1; `own`: what the act itself weighs."""
    with_text = acts.filter(pl.col(column).is_not_null())
    return with_text.select(
        "user_id", "event_time", "event_date", "event_type", "units", own="weight", document=pl.lit(document),
        text=column, weight=pl.lit(1.0),
    )  # fmt: skip
