"""Run a kernel over user buckets: one Spark task a bucket, all of a customer's events in one Polars frame.

Two feeds give the same values. `files`: the task opens the bucket's Parquet files with Polars (no shuffle).
`spark`: for storage that Polars cannot open, Spark reads and shuffles by bucket. Rows that are not laid out in buckets
(attributes, reviews) come along as side frames, brought to the customer's bucket by Spark.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Literal
from urllib.parse import unquote, urlparse

import polars as pl
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_schema

from profiling_spark.contracts.silver import EVENTS
from profiling_spark.errors import ConfigError, StorageError
from profiling_spark.storage import Tables, local_path

Feed = Literal["files", "spark"]
Kernel = Callable[[pl.DataFrame, Mapping[str, pl.DataFrame]], pl.DataFrame]
"""(events of some customers, side frames by name) -> results. Pure: no Spark, no I/O."""

_BUCKET = re.compile(r"/user_bucket=(\d+)/")
_SIDE = "_side"
_SAMPLE = 1000


def bucket_of(user_id: Column | str, buckets: int) -> Column:
    """The customer's bucket: pmod(xxhash64(user_id), buckets)."""
    return F.pmod(F.xxhash64(user_id), F.lit(buckets)).cast("int")


def check_layout(tables: Tables, buckets: int) -> None:
    """Raises ConfigError where the stored events lie in another number of buckets than the settings say."""
    if tables.known_buckets == buckets:  # once a run: every feature and history asks
        return
    sample = tables.read(EVENTS).select("user_bucket", "user_id").limit(_SAMPLE)
    if not sample.where(F.col("user_bucket") != bucket_of("user_id", buckets)).isEmpty():
        raise ConfigError(
            f"buckets = {buckets}: {tables.path(EVENTS)} was written with another number of buckets; "
            "set that number, or ingest the source files into a new storage.root"
        )
    tables.known_buckets = buckets


def map_buckets(
    tables: Tables,
    kernel: Kernel,
    *,
    schema: T.StructType,
    columns: Sequence[str],
    buckets: int,
    before: date,
    since: date | None = None,
    sides: Mapping[str, DataFrame] | None = None,
    feed: Feed | None = None,
) -> DataFrame:
    """Apply a kernel to each bucket's events with event_date in [since, before); rows of `schema` come back.

    A bucket without events still runs when a side frame (each has user_id) has rows in it. `feed` is chosen by the
    storage unless given.
    """
    check_layout(tables, buckets)
    events = tables.read(EVENTS).where(F.col("event_date") < F.lit(before))
    if since is not None:
        events = events.where(F.col("event_date") >= F.lit(since))
    if feed is None:
        feed = "files" if local_path(tables.root) is not None else "spark"
    event_schema = EVENTS.schema
    empty = T.StructType([f for f in event_schema if f.name in columns])
    task = _Task(
        kernel,
        tuple(columns),
        to_arrow_schema(empty, timezone="UTC"),
        to_arrow_schema(schema, timezone="UTC"),
        before,
        since,
        feed,
    )
    left = _file_rows(tables, events) if feed == "files" else events.select("user_bucket", *columns)
    right, task.side_schemas = _side_rows(tables, sides or {}, buckets)
    grouped = _by_bucket(left, buckets).cogroup(_by_bucket(right, buckets))
    result: DataFrame = grouped.applyInArrow(lambda events, side: task(events, side), schema)
    return result


def _by_bucket(frame: DataFrame, buckets: int) -> Any:
    # a number of partitions given here is kept by adaptive execution, which would run all small buckets in one task
    return frame.repartition(buckets, "user_bucket").groupBy("user_bucket")


def _file_rows(tables: Tables, events: DataFrame) -> DataFrame:
    """(user_bucket, file) of the snapshot's files that can hold such events."""
    rows = []
    for uri in events.inputFiles():
        match = _BUCKET.search(uri)
        if match is None:
            raise StorageError(f"{uri}: expected a file in a folder user_bucket=N, as ingest writes it")
        rows.append((int(match[1]), unquote(urlparse(uri).path)))
    return tables.spark.createDataFrame(sorted(rows), "user_bucket int, file string")


def _side_rows(
    tables: Tables, sides: Mapping[str, DataFrame], buckets: int
) -> tuple[DataFrame, dict[str, tuple[str, ...]]]:
    """All side frames in one, since a cogroup takes two: their columns, told apart by name."""
    columns = {name: tuple(frame.columns) for name, frame in sides.items()}
    if not sides:
        return tables.spark.createDataFrame([], f"user_bucket int, {_SIDE} string"), columns
    merged: DataFrame | None = None
    for name, frame in sides.items():
        named = frame.select(
            bucket_of("user_id", buckets).alias("user_bucket"),
            F.lit(name).alias(_SIDE),
            *(F.col(c).alias(f"{name}__{c}") for c in frame.columns),
        )
        merged = named if merged is None else merged.unionByName(named, allowMissingColumns=True)
    assert merged is not None  # for mypy: sides is not empty
    return merged, columns


class _Task:
    """What a worker runs on one bucket. Holds only plain values, so that it travels to any cluster."""

    def __init__(
        self,
        kernel: Kernel,
        columns: tuple[str, ...],
        events: pa.Schema,
        result: pa.Schema,
        before: date,
        since: date | None,
        feed: Feed,
    ) -> None:
        self.kernel, self.columns, self.events, self.result = kernel, columns, events, result
        self.before, self.since, self.feed = before, since, feed
        self.side_schemas: dict[str, tuple[str, ...]] = {}

    def __call__(self, left: pa.Table, right: pa.Table) -> pa.Table:
        events = self._from_files(left) if self.feed == "files" else self._from_rows(left)
        out = self.kernel(events, self._sides(right)).to_arrow()
        return out.select(self.result.names).cast(self.result)

    def _empty(self) -> pl.DataFrame:
        frame = pl.from_arrow(self.events.empty_table())
        assert isinstance(frame, pl.DataFrame)
        return frame

    def _from_rows(self, table: pa.Table) -> pl.DataFrame:
        if table.num_columns == 0 or table.num_rows == 0:
            return self._empty()
        frame = pl.from_arrow(table.select(list(self.columns)))
        assert isinstance(frame, pl.DataFrame)
        return frame

    def _from_files(self, table: pa.Table) -> pl.DataFrame:
        files = table.column("file").to_pylist() if table.num_columns else []
        if not files:
            return self._empty()
        wanted = pl.col("event_date") < self.before
        if self.since is not None:
            wanted &= pl.col("event_date") >= self.since
        # files written before a column was added to the contract lack it
        scan = pl.scan_parquet(
            files,
            hive_partitioning=False,
            schema=self._empty().schema,
            missing_columns="insert",
            extra_columns="ignore",
        )
        return scan.filter(wanted).select(self.columns).collect()

    def _sides(self, table: pa.Table) -> dict[str, pl.DataFrame]:
        frames = {}
        for name, columns in self.side_schemas.items():
            frame = pl.from_arrow(table)
            assert isinstance(frame, pl.DataFrame)
            mine = frame.filter(pl.col(_SIDE) == name)
            frames[name] = mine.select(pl.col(f"{name}__{c}").alias(c) for c in columns)
        return frames
