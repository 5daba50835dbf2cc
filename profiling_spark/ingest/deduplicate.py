"""Repeats: in the incoming rows by one shuffle that also brings events to their bucket; against stored rows by key."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from profiling_spark.buckets import bucket_of
from profiling_spark.contracts.silver import EVENTS
from profiling_spark.contracts.table import Table
from profiling_spark.ingest.rules import OK, REJECTED

DUPLICATE, SUPERSEDED, ACCEPTED = "duplicate", "superseded", "accepted"
LOST_SOURCE, LOST_FILE = "_lost_source", "_lost_file"
_LINEAGE = ("source", "file_id", "run_id")


def with_identity(frame: DataFrame, *, source: str, id_column: str) -> DataFrame:
    """The row's id: hash of source, customer and the source's own id, else of source and the whole row.

    With the customer, since shops number the events of each customer, and since rows of one id must meet in one bucket
    whatever the number of buckets. The whole row rather than its mapped columns: two rows that differ in a column
    nobody mapped are two rows.
    """
    own = F.concat(F.coalesce("user_id", F.lit("")), F.lit("\u001f"), F.col(id_column).cast("string"))
    whole = F.concat(F.lit("\u0001"), F.col("_identity"))
    return frame.withColumn(id_column, F.md5(F.concat(F.lit(f"{source}\u001f"), F.coalesce(own, whole))))


def content_hash(table: Table) -> Column:
    """Hash of what a row says, without where it came from: decides between rows of the same key."""
    said = [c.name for c in table.columns if c.name not in (*_LINEAGE, *table.key, "user_bucket")]
    # xxhash64 skips nulls; the second half tells (null, a) from (a, null)
    return F.xxhash64(*said, *(F.col(c).isNull() for c in said))


def arranged(frame: DataFrame, table: Table, *, buckets: int) -> DataFrame:
    """The rows in their buckets, events in the order of time: the one shuffle of an ingest.

    Adds `user_bucket`, `_key` (hash of a good row's key, null for others) and `_row` (number of the row).
    """
    is_ok = F.col("_status") == OK
    owner = F.coalesce(*(F.col(c).cast("string") for c in ("user_id", *table.key) if c in frame.columns))
    # refused rows often lack a user: by their raw text they do not all fall into one bucket
    spread = F.pmod(F.xxhash64("_raw"), F.lit(buckets)).cast("int")
    placed = frame.withColumns(
        {
            "user_bucket": F.when(is_ok, bucket_of(owner, buckets)).otherwise(spread),
            "_key": F.when(is_ok, F.xxhash64(*table.key)),
        }
    )
    order = ["event_time", "event_id", "file_id"] if table is EVENTS else [*table.key, "file_id"]
    ordered = placed.repartition(buckets, "user_bucket").sortWithinPartitions("user_bucket", *order)
    return ordered.withColumn("_row", F.monotonically_increasing_id())


def losers(frame: DataFrame, table: Table, *, keep: Column) -> DataFrame:
    """(_row, _lost): rows that lose to another of the same key, and how: duplicate or superseded (see `arranged`).

    Of rows with one key the one with the greatest `keep` survives, then the greatest content, then the smallest
    file_id: never the order of arrival. Rows that say the same as the row before them are duplicates, others are
    superseded.
    """
    counted = frame.where(F.col("_key").isNotNull()).groupBy("user_bucket", "_key").count()
    repeated = counted.where("count > 1").select("user_bucket", "_key")
    # few rows share a key with another: only those are compared in full
    suspects = frame.join(F.broadcast(repeated), ["user_bucket", "_key"], how="left_semi").select(
        "_row", "user_bucket", "file_id", *table.key, keep.alias("_keep"), content_hash(table).alias("_content")
    )
    order = Window.partitionBy(*table.key).orderBy(F.desc("_keep"), F.desc("_content"), "file_id", "_row")
    compared = suspects.select("_row", "_content", F.lag("_content").over(order).alias("_before"))
    says_same = F.col("_content") == F.col("_before")
    how = F.when(says_same, F.lit(DUPLICATE)).otherwise(F.lit(SUPERSEDED))
    return compared.where(F.col("_before").isNotNull()).select("_row", how.alias("_lost"))


def mark_repeats(frame: DataFrame, lost: DataFrame) -> DataFrame:
    """Sets `_status` of good rows: accepted, or as `losers` says. Refused rows stay; `distinct_refused` folds them."""
    status = F.coalesce("_lost", F.when(F.col("_status") == OK, F.lit(ACCEPTED)).otherwise(F.col("_status")))
    return frame.join(F.broadcast(lost), "_row", how="left").withColumn("_status", status).drop("_lost")


def distinct_refused(frame: DataFrame, table: Table) -> DataFrame:
    """One row per distinct refused row of a file, with its occurrences (columns: contracts REJECTED_ROWS)."""
    refused = frame.where(F.col("_status") == REJECTED)
    return refused.groupBy("file_id", F.md5("_raw").alias("row_hash"), "source", "run_id").agg(
        F.lit(table.name).alias("target_table"),
        F.first("_raw").alias("raw"),
        F.first("_reasons").alias("reasons"),
        F.count(F.lit(1)).alias("occurrences"),
        F.lit(None).cast("bigint").alias("first_line"),
        F.lit(None).cast("string").alias("replayed_by"),
    )


def hits(frame: DataFrame, stored: DataFrame, table: Table) -> DataFrame:
    """Keys of accepted rows that are stored: reads only the keys of what is stored, and most nights finds none."""
    key = list(table.key)
    return stored.select(*key).join(frame.where(F.col("_status") == ACCEPTED).select(*key), key, how="left_semi")


def mark_stored(frame: DataFrame, stored: DataFrame, table: Table, *, keep: Column) -> DataFrame:
    """Sets `_status` of accepted rows whose key is stored, as in `mark_repeats`, whichever came first.

    Where the new row wins, LOST_SOURCE and LOST_FILE say whose row it replaces. A row that its own file brought
    before (a replay that died has left it) is accepted again.
    """
    key = list(table.key)
    keys = stored.select(
        *key,
        content_hash(table).alias("_old_content"),
        keep.alias("_old_keep"),
        F.col("source").alias("_old_source"),
        F.col("file_id").alias("_old_file"),
    )
    joined = frame.join(keys, key, how="left")
    content = content_hash(table)
    same = content == F.col("_old_content")
    own = same & (F.col("source") == F.col("_old_source")) & (F.col("file_id") == F.col("_old_file"))
    mine = F.struct(keep.alias("keep"), content.alias("content"))
    old = F.struct(F.col("_old_keep").alias("keep"), F.col("_old_content").alias("content"))
    is_new = F.col("_old_content").isNull() | (F.col("_status") != ACCEPTED)
    wins = ~is_new & ~same & (mine > old)
    status = F.when(is_new | own | wins, F.col("_status")).when(same, F.lit(DUPLICATE)).otherwise(F.lit(SUPERSEDED))
    columns = {
        "_status": status,
        LOST_SOURCE: F.when(wins, F.col("_old_source")),
        LOST_FILE: F.when(wins, F.col("_old_file")),
    }
    return joined.withColumns(columns).drop("_old_content", "_old_keep", "_old_source", "_old_file")


def near_in_time(stored: DataFrame, first: date, last: date, *, days: int) -> DataFrame:
    """Stored events that a redelivery of days `first` to `last` can repeat; file statistics prune the rest."""
    return stored.where(F.col("event_date").between(first - timedelta(days=days), last + timedelta(days=days)))
