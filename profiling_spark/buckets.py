"""Run a kernel over user buckets: one Spark task a bucket, all of a customer's events in one Polars frame.

Two feeds give the same values. `files`: the task opens the bucket's Parquet files with Polars (no shuffle).
`spark`: for storage that Polars cannot open, Spark reads and shuffles by bucket. Rows that are not laid out in buckets
(attributes, reviews) come along as side frames, brought to the customer's bucket by Spark. A small lake's buckets
(`Tables.is_small`) go through the same task in this process: there Spark's own work takes longer than the kernel's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import polars as pl
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_schema

from profiling_spark.contracts.silver import EVENTS
from profiling_spark.contracts.table import Table
from profiling_spark.errors import ConfigError, StorageError
from profiling_spark.storage import SliceValue, Tables, local_path
from profiling_spark.storage.files import WRITTEN, FileWriter, report, reported, staged, written

Feed = Literal["files", "spark"]
Kernel = Callable[[pl.DataFrame, Mapping[str, pl.DataFrame]], pl.DataFrame]
"""(events of some customers, side frames by name) -> results. Pure: no Spark, no I/O."""

_SIDE = "_side"
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
    if local_path(tables.root) is None:
        if not tables.exists(EVENTS):
            return []
        rows = tables.read(EVENTS).select("user_bucket", "user_id").limit(_SAMPLE).distinct().limit(_USERS).collect()
        return [(row["user_bucket"], row["user_id"]) for row in rows]
    placed = [(b, f.path) for f in tables.files(EVENTS) if (b := f.add_action.get("partition.user_bucket")) is not None]
    # the last bucket: customers of bucket 0 of 4 are also in bucket 0 of 2
    for bucket, path in sorted(placed)[-1:]:
        users = pl.read_parquet(path, columns=["user_id"], n_rows=_SAMPLE, hive_partitioning=False)["user_id"]
        return [(bucket, user) for user in users.unique().sort().head(_USERS)]
    return []


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
    task = _Task(kernel, tuple(columns), before, since, to_arrow_schema(schema, timezone="UTC"))
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
    task = _Task(kernel, tuple(columns), before, None, to_arrow_schema(schemas[0], timezone="UTC"))
    summing = _Summing(add_up, to_arrow_schema(schemas[1], timezone="UTC"))
    if tables.is_small:
        return _frame(summing.summed(_run_here(tables, task, buckets, None)))
    rows = _run(tables, task, schemas[0], buckets, None).repartition(buckets, *by)
    return _frame(rows.mapInArrow(summing, schemas[1]).toArrow())


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
    kernel: Kernel,
    table: Table,
    partitions: Sequence[SliceValue],
    *,
    columns: Sequence[str],
    buckets: int,
    before: date,
    sides: Mapping[str, DataFrame] | None = None,
) -> int:
    """Replace these partitions of `table` by what a kernel makes of the buckets (see `map_buckets`), in one commit.

    On a local disk each task writes its rows as files of the table: to pass them through Spark takes longer than to
    find them. Returns the rows written.
    """
    root = local_path(tables.root)
    if root is None:
        frame = map_buckets(
            tables, kernel, schema=table.schema, columns=columns, buckets=buckets, before=before, sides=sides
        )
        return tables.replace_partitions(table, frame, partitions)
    with staged(root, table) as writer:
        task = _Task(kernel, tuple(columns), before, None, writer)
        # of many dates a task holds one bucket at a time
        if tables.is_small and len(partitions) <= _FEW_DATES:
            files = reported(_run_here(tables, task, buckets, sides))
        else:
            files = written(_run(tables, task, WRITTEN, buckets, sides))
        return tables.replace_files(table, files, partitions)


def _run(
    tables: Tables,
    task: _Task,
    schema: T.StructType,
    buckets: int,
    sides: Mapping[str, DataFrame] | None,
) -> DataFrame:
    check_layout(tables, buckets)
    task.feed = "files" if local_path(tables.root) is not None else "spark"
    if task.feed == "files":
        left = tables.spark.createDataFrame(_files(tables, task), "user_bucket int, file string")
    else:
        left = _event_rows(tables, task)
    right, task.side_schemas = _side_rows(tables, sides or {}, buckets)
    grouped = _by_bucket(left, buckets).cogroup(_by_bucket(right, buckets))
    result: DataFrame = grouped.applyInArrow(lambda events, side: task(events, side), schema)
    return result


def _run_here(tables: Tables, task: _Task, buckets: int, sides: Mapping[str, DataFrame] | None) -> pa.Table:
    """What the task gives for all buckets at once, in this process: a kernel's customers do not know their bucket."""
    check_layout(tables, buckets)
    side_rows = pa.table({})
    if sides:
        merged, task.side_schemas = _side_rows(tables, sides, buckets)
        side_rows = merged.toArrow()
    files = [path for _, path in _files(tables, task)]
    if not files and not side_rows.num_rows:
        return task.nothing
    return task(pa.table({"file": pa.array(files, pa.string())}), side_rows)


def _by_bucket(frame: DataFrame, buckets: int) -> Any:
    # a number of partitions given here is kept by adaptive execution, which would run all small buckets in one task
    return frame.repartition(buckets, "user_bucket").groupBy("user_bucket")


def _event_rows(tables: Tables, task: _Task) -> DataFrame:
    events = tables.read(EVENTS).where(F.col("event_date") < F.lit(task.before))
    if task.since is not None:
        events = events.where(F.col("event_date") >= F.lit(task.since))
    return events.select("user_bucket", *task.columns)


def _files(tables: Tables, task: _Task) -> list[tuple[int, str]]:
    """(user_bucket, file) of the snapshot's files that can hold such events."""
    rows = []
    for file in tables.files(EVENTS):
        bucket, first, last = (
            file.add_action.get(c) for c in ("partition.user_bucket", "min.event_date", "max.event_date")
        )
        if bucket is None:
            raise StorageError(f"{file.path}: expected a file in a folder user_bucket=N, as ingest writes it")
        is_later = first is not None and first >= task.before
        is_earlier = last is not None and task.since is not None and last < task.since
        if not (is_later or is_earlier):
            rows.append((int(bucket), file.path))
    return sorted(rows)


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


class _Task:
    """What a worker runs on one bucket. Holds only plain values, so that it travels to any cluster."""

    def __init__(
        self,
        kernel: Kernel,
        columns: tuple[str, ...],
        before: date,
        since: date | None,
        result: pa.Schema | FileWriter,
    ) -> None:
        self.kernel, self.columns, self.before, self.since, self.result = kernel, columns, before, since, result
        self.events = to_arrow_schema(T.StructType([f for f in EVENTS.schema if f.name in columns]), timezone="UTC")
        self.feed: Feed = "files"
        self.side_schemas: dict[str, tuple[str, ...]] = {}

    def __call__(self, left: pa.Table, right: pa.Table) -> pa.Table:
        events = self._from_files(left) if self.feed == "files" else self._from_rows(left)
        out = self.kernel(events, self._sides(right))
        if isinstance(self.result, FileWriter):
            return report(self.result.write_partitions(out))
        return out.to_arrow().select(self.result.names).cast(self.result)

    @property
    def nothing(self) -> pa.Table:
        """A result without rows."""
        return report([]) if isinstance(self.result, FileWriter) else self.result.empty_table()

    def _empty(self) -> pl.DataFrame:
        return _frame(self.events.empty_table())

    def _from_rows(self, table: pa.Table) -> pl.DataFrame:
        if table.num_columns == 0 or table.num_rows == 0:
            return self._empty()
        return _frame(table.select(list(self.columns)))

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
            side = _frame(table).filter(pl.col(_SIDE) == name)
            frames[name] = side.select(pl.col(f"{name}__{c}").alias(c) for c in columns)
        return frames
