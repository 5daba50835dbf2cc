"""Identity of rows, and repeats of rows that are stored already (`resolve` finds those among the new rows)."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from profiling_spark.contracts.table import Table
from profiling_spark.ingest.resolve import ACCEPTED, DUPLICATE, SUPERSEDED

LOST_SOURCE, LOST_FILE = "_lost_source", "_lost_file"
_LINEAGE = ("source", "file_id", "run_id")
_DELIVERY = ("valid_from", "version_time", "delivered_at", "confirmed_at")


def with_identity(frame: DataFrame, whole: Column, *, source: str, id_column: str) -> DataFrame:
    """The row's id: hash of source, customer and the source's own id, else of source and the `whole` row as text.

    With the customer, since shops number the events of each customer, and since rows of one id must meet in one bucket
    whatever the number of buckets. The whole row rather than its mapped columns: two rows that differ in a column
    nobody mapped are two rows.
    """
    own = F.concat(F.coalesce("user_id", F.lit("")), F.lit("\u001f"), F.col(id_column).cast("string"))
    told = F.coalesce(own, F.concat(F.lit("\u0001"), whole))
    return frame.withColumn(id_column, F.md5(F.concat(F.lit(f"{source}\u001f"), told)))


def content(table: Table) -> tuple[str, ...]:
    """Columns of what a row says, without where it came from: in this order, null least, they decide between rows of
    the same key.
    """
    other = (*_LINEAGE, *_DELIVERY, *table.key, "user_bucket")
    return tuple(c.name for c in table.columns if c.name not in other)


def hits(accepted: DataFrame, stored: DataFrame, table: Table) -> DataFrame:
    """Keys of accepted rows that are stored: reads only the keys of what is stored, and most nights finds none."""
    key = list(table.key)
    return stored.select(*key).join(accepted.select(*key), key, how="left_semi")


def mark_stored(accepted: DataFrame, stored: DataFrame, table: Table, *, keep: Column) -> DataFrame:
    """Adds `_status` to accepted rows, by the order of `resolve`, whichever came first.

    Where the new row wins, LOST_SOURCE and LOST_FILE say whose row it replaces. A row that its own file brought
    before (a replay that died has left it) is accepted again.
    """
    key = list(table.key)
    keys = stored.select(
        *key,
        F.struct(*content(table)).alias("_old_content"),
        keep.alias("_old_keep"),
        F.col("source").alias("_old_source"),
        F.col("file_id").alias("_old_file"),
    )
    joined = accepted.join(keys, key, how="left")
    said = F.struct(*content(table))
    same = said == F.col("_old_content")
    own = same & (F.col("source") == F.col("_old_source")) & (F.col("file_id") == F.col("_old_file"))
    mine = F.struct(keep.alias("keep"), said.alias("content"))
    old = F.struct(F.col("_old_keep").alias("keep"), F.col("_old_content").alias("content"))
    is_new = F.col("_old_content").isNull()
    wins = ~is_new & ~same & (mine > old)
    status = F.when(is_new | own | wins, F.lit(ACCEPTED)).when(same, F.lit(DUPLICATE)).otherwise(F.lit(SUPERSEDED))
    columns = {
        "_status": status,
        LOST_SOURCE: F.when(wins, F.col("_old_source")),
        LOST_FILE: F.when(wins, F.col("_old_file")),
    }
    return joined.withColumns(columns).drop("_old_content", "_old_keep", "_old_source", "_old_file")


def near_in_time(stored: DataFrame, first: date, last: date, *, days: int) -> DataFrame:
    """Stored events that a redelivery of days `first` to `last` can repeat; file statistics prune the rest."""
    return stored.where(F.col("event_date").between(first - timedelta(days=days), last + timedelta(days=days)))
