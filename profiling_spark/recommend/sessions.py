"""A customer's last visit: what was looked at, searched for and browsed in it. A kernel: no Spark, no I/O."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from profiling_spark.features.windows import NOT_ACTS
from profiling_spark.recommend.interactions import HistoryParams
from profiling_spark.recommend.refunds import event_weight, with_taken

LAST_SESSION = "last_session"
ITEM, SEARCH, CATEGORY = "item", "search", "category"


def last_session(events: pl.DataFrame, params: HistoryParams, *, gap: timedelta) -> pl.DataFrame:
    """(user_id, document, text, weight, kind): what each customer's last visit before as_of was about, once each.

    A visit is a run of events without a pause longer than `gap`; the last one counts in which anything was looked at or
    searched for. `document`: item (`text` is its id), search (the words) or category (browsed without an item).
    `weight`: sum of the settings' weights of the visit's events that speak for the item, not decayed; a search or a
    browse weighs 1 each. An item whose weights in the whole window add up to nothing (refunded) is left out. `kind`:
    place of the strongest event in `params.kinds`, -1 where it is not an item's.
    """
    in_window = (pl.col("event_date") >= params.since) & (pl.col("event_date") < params.as_of)
    acts = with_taken(events.filter(in_window & ~pl.col("event_type").is_in(NOT_ACTS)))
    items = _documents(acts, ITEM, "item_id").with_columns(weight=event_weight(params.weights))
    # what was given back does not speak for anything
    is_kept = pl.col("weight").sum().over("user_id", "text") > 0
    about = pl.concat(
        [
            items.filter(is_kept & (pl.col("weight") > 0)),
            _documents(acts, SEARCH, "search_text"),
            _documents(acts.filter(pl.col("item_id").is_null()), CATEGORY, "category"),
        ]
    )
    pause = pl.col("event_time") - pl.col("event_time").shift(1).over("user_id")
    visits = about.sort("user_id", "event_time").with_columns(
        visit=(pause > gap).fill_null(False).cum_sum().over("user_id")
    )
    place = {kind: n for n, kind in enumerate(params.kinds)}
    kind = pl.when(pl.col("document") == ITEM).then(
        pl.col("event_type").replace_strict(place, default=-1, return_dtype=pl.Int32)
    )
    return (
        visits.filter(pl.col("visit") == pl.col("visit").max().over("user_id"))
        .group_by("user_id", "document", "text")
        .agg(pl.col("weight").sum(), kind=kind.otherwise(-1).max())
        .sort("user_id", "document", "text")
    )


def _documents(events: pl.DataFrame, document: str, column: str) -> pl.DataFrame:
    with_text = events.filter(pl.col(column).is_not_null())
    return with_text.select(
        "user_id", "event_time", "event_type", "taken", pl.lit(document).alias("document"),
        pl.col(column).alias("text"), pl.lit(1.0).alias("weight"),
    )  # fmt: skip
