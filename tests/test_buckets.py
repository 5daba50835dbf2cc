"""Which events reach a kernel: those of its days, from the files that can hold them, in the buckets of the settings."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from frames import event_frame
from pyspark import TaskContext
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from spark_only import by_spark_only

from profiling_spark.buckets import bucket_of, check_layout, map_buckets, spark_hash
from profiling_spark.contracts.silver import EVENTS
from profiling_spark.errors import ConfigError
from profiling_spark.storage import Tables

USERS = [f"u{n}" for n in range(12)]


def of_day(day: int) -> list[dict[str, Any]]:
    time = datetime(2026, 5, day, 12, tzinfo=UTC)
    shared = {"event_time": time, "event_date": time.date(), "event_type": "view", "source": "s"}
    return [{"event_id": f"{day} {user}", "user_id": user, "file_id": "f", "run_id": "r"} | shared for user in USERS]


def test_a_kernel_sees_its_days_whatever_files_they_lie_in(
    spark: SparkSession, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    for days in ((1, 2), (3,), (4, 6), (5,)):  # a file a bucket each
        rows = [row for day in days for row in of_day(day)]
        tables.append(EVENTS, event_frame(spark, rows, buckets=3).repartition(3, "user_bucket"))

    def days_seen(events: pl.DataFrame, sides: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        return events.group_by("user_id").agg(days=pl.col("event_date").dt.day().sort().cast(pl.String).str.join(" "))

    schema = T.StructType([T.StructField("user_id", T.StringType()), T.StructField("days", T.StringType())])

    def seen(since: date | None, before: date) -> dict[str, str]:
        found = map_buckets(
            tables,
            days_seen,
            schema=schema,
            columns=("user_id", "event_date"),
            buckets=3,
            before=before,
            since=since,
        )
        rows = [tuple(row) for row in found.collect()]
        assert len(rows) == len(dict(rows))  # a customer comes from one bucket
        return dict(rows)

    for way in ("this process", "tasks", "Spark's reader"):
        if way == "tasks":
            monkeypatch.setattr("profiling_spark.storage.tables.SMALL_BYTES", 0)
        if way == "Spark's reader":
            tables = Tables(spark, by_spark_only(tables.root), run_id="r")
        assert seen(None, date(2026, 5, 7)) == dict.fromkeys(USERS, "1 2 3 4 5 6"), way
        assert seen(date(2026, 5, 2), date(2026, 5, 6)) == dict.fromkeys(USERS, "2 3 4 5"), way
        assert seen(None, date(2026, 5, 1)) == {}, way


def test_events_in_other_buckets_than_the_settings_say_are_refused(spark: SparkSession, tables: Tables) -> None:
    tables.append(EVENTS, event_frame(spark, of_day(1), buckets=3))
    check_layout(tables, 3)
    for buckets in (4, 1):  # pmod(hash, 1) is right for bucket 0 of any number
        with pytest.raises(ConfigError, match=rf"buckets = {buckets}: .* was written with another number of buckets"):
            check_layout(tables, buckets)


def test_each_bucket_has_a_task_of_its_own(
    spark: SparkSession, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [0, 1, 42, 2**31 - 1]
    theirs = spark.range(1).select(F.array(*(F.hash(F.lit(n)) for n in numbers))).collect()[0][0]
    assert [spark_hash(n) for n in numbers] == theirs
    buckets = 16
    users = [{**row, "user_id": f"u{n}", "event_id": f"e{n}"} for n, row in enumerate(of_day(1) * 40)]
    tables.append(EVENTS, event_frame(spark, users, buckets=buckets))
    monkeypatch.setattr("profiling_spark.storage.tables.SMALL_BYTES", 0)

    def kernel(events: pl.DataFrame, sides: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        context = TaskContext.get()
        assert context is not None
        return events.select("user_id", task=pl.lit(context.partitionId(), pl.Int32))

    schema = T.StructType([T.StructField("user_id", T.StringType()), T.StructField("task", T.IntegerType())])
    found = map_buckets(
        tables, kernel, schema=schema, columns=["user_id", "event_date"], buckets=buckets, before=date(2026, 5, 7)
    )
    by_task = found.withColumn("bucket", bucket_of("user_id", buckets)).groupBy("bucket").agg(F.collect_set("task"))
    tasks = {row[0]: row[1] for row in by_task.collect()}
    assert len(tasks) == buckets  # the customers are enough for every bucket
    assert sorted(task for (task,) in tasks.values()) == list(range(buckets))
