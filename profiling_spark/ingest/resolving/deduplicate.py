"""Repeats of rows that are stored already (`resolve` finds those among the new rows)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from profiling_spark.contracts.silver import EVENTS
from profiling_spark.contracts.table import Table
from profiling_spark.ingest.resolving.resolve import ACCEPTED, DIFFERS, DUPLICATE, SUPERSEDED

LOST_SOURCE, LOST_FILE = "_lost_source", "_lost_file"
_NUMBER, _SHARED_ROWS = "_number", 1_000_000
_LINEAGE = ("source", "file_id", "run_id")
_DELIVERY = ("valid_from", "version_time", "delivered_at", "confirmed_at")


def content(table: Table) -> tuple[str, ...]:
    """Columns of a row's content, without where it came from: in this order, null least, they decide between rows of
    the same key.
    """
    other = (*_LINEAGE, *_DELIVERY, *table.key, "user_bucket")
    return tuple(c.name for c in table.columns if c.name not in other)


def hits(accepted: DataFrame, stored: DataFrame, table: Table, *, rows: int) -> DataFrame:
    """Keys (of events also day and bucket) of stored rows that have the key of one of the `rows` accepted ones.

    Reads only these columns of what is stored, and most nights finds none. Compared are numbers, of which a million
    reach every task: the stored ids are then read once and not moved.
    """
    number = F.xxhash64(*table.key).alias(_NUMBER)
    new = accepted.select(number)
    place = ["event_date", "user_bucket"] if table is EVENTS else []
    shared = F.broadcast(new) if rows <= _SHARED_ROWS else new
    return stored.select(*table.key, *place, number).join(shared, _NUMBER, how="left_semi").drop(_NUMBER)


def mark_stored(accepted: DataFrame, stored: DataFrame, table: Table, *, keep: Column) -> DataFrame:
    """Adds `_status` to accepted rows, by the order of `resolve`, whichever came first.

    Where the new row wins, LOST_SOURCE and LOST_FILE name whose row it replaces. A row that its own file brought
    before (a replay that died has left it) is accepted again. DIFFERS is true where only one of the two rows has
    something in a column that the settings do not know, or they have other values there.
    """
    key = list(table.key)
    # releases that looked for repeats in a window of days only have stored some keys twice
    each = stored.groupBy(*key).agg(
        F.max(F.struct(keep.alias("keep"), _content(table), "source", "file_id")).alias("_old")
    )
    keys = each.select(
        *key,
        F.col("_old.content").alias("_old_content"),
        F.col("_old.keep").alias("_old_keep"),
        F.col("_old.source").alias("_old_source"),
        F.col("_old.file_id").alias("_old_file"),
    )
    joined = accepted.join(keys, key, how="left")
    values = F.struct(*content(table))
    same = values == F.col("_old_content")
    own = same & (F.col("source") == F.col("_old_source")) & (F.col("file_id") == F.col("_old_file"))
    new = F.struct(keep.alias("keep"), values.alias("content"))
    old = F.struct(F.col("_old_keep").alias("keep"), F.col("_old_content").alias("content"))
    is_new = F.col("_old_content").isNull()
    wins = ~is_new & ~same & (new > old)
    status = F.when(is_new | own | wins, F.lit(ACCEPTED)).when(same, F.lit(DUPLICATE)).otherwise(F.lit(SUPERSEDED))
    columns = {
        "_status": status,
        LOST_SOURCE: F.when(wins, F.col("_old_source")),
        LOST_FILE: F.when(wins, F.col("_old_file")),
        DIFFERS: F.when(~is_new & ~own & ~F.col("rescued").eqNullSafe(F.col("_old_content.rescued")), F.lit(True)),
    }
    return joined.withColumns(columns).drop("_old_content", "_old_keep", "_old_source", "_old_file")


def _content(table: Table) -> Column:
    return F.struct(*content(table)).alias("content")


def repeatable(
    stored: DataFrame, first: date, last: date, *, days: int, without_id: Collection[str] | None
) -> DataFrame:
    """Stored events that events of days `first` to `last` can repeat; file statistics prune the rest.

    Rows with an id of their own can repeat one of any day. `without_id`: sources whose rows have none, which only
    repeat rows near in time; None: there are no others among the new rows.
    """
    near = F.col("event_date").between(first - timedelta(days=days), last + timedelta(days=days))
    if without_id is None:
        return stored.where(near)
    return stored.where(near | ~F.col("source").isin(*sorted(without_id))) if without_id else stored
