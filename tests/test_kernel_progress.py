"""What a run shows of a kernel while it runs: the rows that it has gone through, of all that are stored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime

import polars as pl
import pytest
from frames import event_frame
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from recording_progress import RecordingProgress

from profiling_spark.buckets import map_buckets
from profiling_spark.contracts.silver import EVENTS
from profiling_spark.kernel_progress import counting, stored_rows
from profiling_spark.storage import Tables

USERS = [f"u{n}" for n in range(12)]
SCHEMA = T.StructType([T.StructField("user_id", T.StringType())])


@pytest.mark.parametrize("small_bytes", [2**20, 0])
def test_rows_are_counted_in_this_process_and_in_tasks(
    spark: SparkSession, tables: Tables, monkeypatch: pytest.MonkeyPatch, small_bytes: int
) -> None:
    monkeypatch.setattr("profiling_spark.storage.tables.SMALL_BYTES", small_bytes)
    time = datetime(2026, 5, 1, 12, tzinfo=UTC)
    shared = {"event_time": time, "event_date": time.date(), "event_type": "view", "source": "s"}
    rows = [
        {"event_id": f"{n} {user}", "user_id": user, "file_id": "f", "run_id": "r"} | shared
        for n in range(2)
        for user in USERS
    ]
    assert stored_rows(tables, EVENTS) is None
    tables.append(EVENTS, event_frame(spark, rows, buckets=3).repartition(3, "user_bucket"))
    assert stored_rows(tables, EVENTS) == 24

    def customers(events: pl.DataFrame, sides: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        return events.select(pl.col("user_id").unique())

    of_events, of_side = RecordingProgress(), RecordingProgress()
    kernel = counting(customers, tables, of_events, total=24, unit="rows")
    kernel = counting(kernel, tables, of_side, total=12, unit="customers", side="people")
    assert (of_events.done_before, of_side.done_before) == (0, 0)
    found = map_buckets(
        tables, kernel, schema=SCHEMA, columns=("user_id", "event_date"), buckets=3, before=date(2026, 5, 2),
        sides={"people": spark.createDataFrame([(u,) for u in USERS], SCHEMA).withColumn("one", F.lit(1))},
    )  # fmt: skip
    assert sorted(row["user_id"] for row in found.collect()) == sorted(USERS)
    assert (of_events.done(), of_events.total, of_events.unit) == (24, 24, "rows")
    assert (of_side.done(), of_side.total, of_side.unit) == (12, 12, "customers")
