"""Run a kernel over user buckets: one Spark task a bucket, all of a customer's events in one Polars frame.

Two feeds give the same values (`storage/feed.py`): the task opens the bucket's Parquet files with Polars (no shuffle),
or, of storage that only Spark opens, Spark reads and shuffles by bucket. Rows that are not laid out in buckets
(attributes, reviews) come along as side frames, brought to the customer's bucket by Spark. A small lake's buckets
(`Tables.is_small`) go through the same task in this process: there Spark's own work takes longer than the kernel's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import Any

import polars as pl
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_schema

from profiling_spark.contracts.silver import EVENTS
from profiling_spark.contracts.table import Table
from profiling_spark.errors import ConfigError
from profiling_spark.storage import SliceValue, Tables
from profiling_spark.storage.feed import Feed, FileReader, RowReader, feed, sample
from profiling_spark.storage.outputs import FileOutput, RowOutput

Kernel = Callable[[pl.DataFrame, Mapping[str, pl.DataFrame]], pl.DataFrame]
"""(events of some customers, side frames by name) -> results. Pure: no Spark, no I/O."""
Report = Mapping[str, Any]
ReportingKernel = Callable[[pl.DataFrame, Mapping[str, pl.DataFrame]], tuple[pl.DataFrame, Report]]
"""The same, which also gives what the driver should know, in plain values."""

_SIDE, _TASK = "_side", "_task"
_WORD = 0xFFFFFFFF
_SAMPLE = 1000
_USERS = 32
_FEW_DATES = 10


def bucket_of(user_id: Column | str, buckets: int) -> Column:
    """The customer's bucket: pmod(xxhash64(user_id), buckets)."""
    return F.pmod(F.xxhash64(user_id), F.lit(buckets)).cast("int")


def check_layout(tables: Tables, buckets: int) -> None:
    """Raises ConfigError where the stored events lie in another number of buckets than the settings say."""
    if tables.known_buckets == buckets:  # once a run: every feature and history asks
        return
    placed = _sample(tables)
    if placed:
        # of literals over values, which Spark computes while it plans: no job, and no customer in a query's text
        one_row = tables.spark.sql("SELECT * FROM VALUES (0)")
        found = one_row.select(F.array(*(bucket_of(F.lit(user), buckets) for _, user in placed))).collect()[0][0]
        if found != [bucket for bucket, _ in placed]:
            raise ConfigError(
                f"buckets = {buckets}: {tables.path(EVENTS)} was written with another number of buckets; "
                "set that number, or ingest the source files into a new storage.root"
            )
    tables.known_buckets = buckets


def _sample(tables: Tables) -> list[tuple[int, str]]:
    """user_bucket and user_id of some customers."""
    # of the last bucket: customers of bucket 0 of 4 are also in bucket 0 of 2
    rows = sample(tables, EVENTS, ("user_bucket", "user_id"), rows=_SAMPLE)
    return [] if rows.is_empty() else sorted(rows.unique().rows())[-_USERS:]


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
) -> DataFrame:
    """Apply a kernel to each bucket's events with event_date in [since, before); rows of `schema` come back, those of
    one call of the kernel in one partition.

    A bucket without events still runs when a side frame (each has user_id) has rows in it.
    """
    task = _task(tables, kernel, columns, before, since, to_arrow_schema(schema, timezone="UTC"))
    if tables.is_small:
        # in one partition: who goes through a customer's rows finds them together
        return tables.spark.createDataFrame(_run_here(tables, task, buckets, sides), schema).coalesce(1)
    return _run(tables, task, schema, buckets, sides)


def summed_buckets(
    tables: Tables,
    kernel: Kernel,
    add_up: Callable[[pl.DataFrame], pl.DataFrame],
    *,
    schemas: tuple[T.StructType, T.StructType],
    by: Sequence[str],
    columns: Sequence[str],
    buckets: int,
    before: date,
) -> pl.DataFrame:
    """What `add_up` makes of the rows that a kernel makes of the buckets (see `map_buckets`), on the driver.

    `schemas`: of the kernel's rows and of the sums. All rows that are equal in `by` are added up together; a large
    lake's are spread by them over the tasks, so sums that ask for more than that are to be finished by the caller.
    """
    task = _task(tables, kernel, columns, before, None, to_arrow_schema(schemas[0], timezone="UTC"))
    summing = _Summing(add_up, to_arrow_schema(schemas[1], timezone="UTC"))
    if tables.is_small:
        return _frame(summing.summed(_run_here(tables, task, buckets, None)))
    rows = _run(tables, task, schemas[0], buckets, None).repartition(buckets, *by)
    return _frame(rows.mapInArrow(summing, schemas[1]).toArrow())


@dataclass(frozen=True)
class Replaced:
    """How many rows are in the place of others, and what the kernel reported of each part of them."""

    rows: int
    reports: Sequence[Report]


@dataclass(frozen=True)
class _Summing:
    """What a worker runs on its share of the kernels' rows."""

    add_up: Callable[[pl.DataFrame], pl.DataFrame]
    sums: pa.Schema

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        filled = [b for b in batches if b.num_rows]
        if filled:
            yield from self.summed(pa.Table.from_batches(filled)).to_batches()

    def summed(self, rows: pa.Table) -> pa.Table:
        """Rows of the kernel added up."""
        return self.add_up(_frame(rows)).to_arrow().select(self.sums.names).cast(self.sums)


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)  # for mypy
    return frame


def replace_from_buckets(
    tables: Tables,
    kernel: Kernel | ReportingKernel,
    table: Table,
    partitions: Sequence[SliceValue],
    *,
    columns: Sequence[str],
    buckets: int,
    before: date,
    since: date | None = None,
    sides: Mapping[str, DataFrame] | None = None,
    has_reports: bool = False,
) -> Replaced:
    """Replace these partitions of `table` by what a kernel makes of the buckets (see `map_buckets`), in one commit.

    Where tasks can open the storage each writes its rows as files of the table: to pass them through Spark takes longer
    than to find them.
    """
    output = tables.output(rows=table)
    task = _task(tables, kernel, columns, before, since, output)
    # of many dates a task has one bucket at a time
    if tables.is_small and len(partitions) <= _FEW_DATES:
        made = tables.staged(output, _run_here(tables, task, buckets, sides))
    else:
        made = tables.staged(output, _run(tables, task, output.schema, buckets, sides), has_reports=has_reports)
    try:
        rows = tables.replace_partitions(table, made.parts["rows"], partitions)
        return Replaced(rows, [report for report in made.reports if report is not None])
    finally:
        made.release()


def _run(
    tables: Tables,
    task: _Task,
    schema: T.StructType,
    buckets: int,
    sides: Mapping[str, DataFrame] | None,
) -> DataFrame:
    check_layout(tables, buckets)
    right, task.side_schemas = _side_rows(tables, sides or {}, buckets)
    keys = task_keys(buckets)
    grouped = _by_task(task.feed.frame(), keys).cogroup(_by_task(right, keys))
    run = task.run()
    result: DataFrame = grouped.applyInArrow(lambda events, side: run(events, side), schema)
    return result


def _run_here(tables: Tables, task: _Task, buckets: int, sides: Mapping[str, DataFrame] | None) -> pa.Table:
    """What the task gives for all buckets at once, in this process: a kernel's customers do not know their bucket."""
    check_layout(tables, buckets)
    side_rows = pa.table({})
    if sides:
        merged, task.side_schemas = _side_rows(tables, sides, buckets)
        side_rows = merged.toArrow()
    files = task.feed.here
    if not files.num_rows and not side_rows.num_rows:
        return task.run().nothing
    return task.run()(files, side_rows)


def _by_task(frame: DataFrame, keys: Sequence[int]) -> Any:
    key = F.element_at(F.array(*map(F.lit, keys)), F.col("user_bucket") + 1)
    # a number of partitions given here is kept by adaptive execution, which would run all small buckets in one task
    return frame.withColumn(_TASK, key).repartition(len(keys), _TASK).groupBy(_TASK)


@cache
def task_keys(buckets: int) -> tuple[int, ...]:
    """For each bucket an integer that Spark's hash partitioning brings to a partition of its own: of the buckets' own
    numbers it brings several to one task and none to others (64 buckets ran as 37 tasks).
    """
    keys: dict[int, int] = {}
    number = 0
    while len(keys) < buckets:
        keys.setdefault(spark_hash(number) % buckets, number)
        number += 1
    return tuple(keys[b] for b in range(buckets))


def spark_hash(number: int) -> int:
    """Spark's hash() of an int that is not negative: Murmur3 (Austin Appleby's x86_32) of its 4 bytes, seed 42."""
    mixed = _rotated(number * 0xCC9E2D51 & _WORD, 15) * 0x1B873593 & _WORD
    hashed = (_rotated(42 ^ mixed, 13) * 5 + 0xE6546B64) & _WORD ^ 4
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        hashed = (hashed ^ hashed >> shift) * factor & _WORD
    hashed ^= hashed >> 16
    return hashed - (1 << 32) if hashed >> 31 else hashed


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> 32 - bits) & _WORD


def _side_rows(
    tables: Tables, sides: Mapping[str, DataFrame], buckets: int
) -> tuple[DataFrame, dict[str, tuple[str, ...]]]:
    """All side frames in one, since a cogroup takes two: their columns, distinguished by name."""
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


@dataclass
class _Task:
    """A kernel's work, as it is prepared here."""

    kernel: Kernel | ReportingKernel
    feed: Feed
    result: pa.Schema | FileOutput | RowOutput
    side_schemas: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def run(self) -> _Run:
        """What travels."""
        return _Run(self.kernel, self.feed.read, self.result, dict(self.side_schemas))


def _task(
    tables: Tables,
    kernel: Kernel | ReportingKernel,
    columns: Sequence[str],
    before: date,
    since: date | None,
    result: pa.Schema | FileOutput | RowOutput,
) -> _Task:
    fed = feed(tables, EVENTS, bucket="user_bucket", day="event_date", columns=columns, before=before, since=since)
    return _Task(kernel, fed, result)


@dataclass(frozen=True)
class _Run:
    """What a worker runs on one bucket. Has only plain values, so that it travels to any cluster."""

    kernel: Kernel | ReportingKernel
    read: FileReader | RowReader
    result: pa.Schema | FileOutput | RowOutput
    side_schemas: dict[str, tuple[str, ...]]

    def __call__(self, left: pa.Table, right: pa.Table) -> pa.Table:
        made = self.kernel(self.read(left), self._sides(right))
        out, report = made if isinstance(made, tuple) else (made, None)
        if isinstance(self.result, pa.Schema):
            return out.to_arrow().select(self.result.names).cast(self.result)
        return self.result({"rows": out}, report)

    @property
    def nothing(self) -> pa.Table:
        """A result without rows."""
        return self.result.empty_table() if isinstance(self.result, pa.Schema) else self.result({})

    def _sides(self, table: pa.Table) -> dict[str, pl.DataFrame]:
        frames = {}
        for name, columns in self.side_schemas.items():
            side = _frame(table).filter(pl.col(_SIDE) == name)
            frames[name] = side.select(pl.col(f"{name}__{c}").alias(c) for c in columns)
        return frames
