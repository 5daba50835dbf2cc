"""How a table that lies in buckets reaches the tasks: as files that they open, or as rows that Spark brings to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_schema

from profiling_spark.contracts.table import Table
from profiling_spark.errors import StorageError
from profiling_spark.storage.files import read_parquet
from profiling_spark.storage.tables import Tables


@dataclass(frozen=True)
class Slice:
    """What is read of a table: `columns` of the rows whose `day` is in [since, before)."""

    table: Table
    bucket: str
    day: str
    columns: tuple[str, ...]
    before: date
    since: date | None

    @property
    def schema(self) -> pa.Schema:
        """Of the columns, in the order of the table."""
        return to_arrow_schema(T.StructType([f for f in self.table.schema if f.name in self.columns]), timezone="UTC")

    def empty(self) -> pl.DataFrame:
        """No row."""
        frame = pl.from_arrow(self.schema.empty_table())
        assert isinstance(frame, pl.DataFrame)  # for mypy
        return frame


@dataclass(frozen=True)
class FileReader:
    """Opens a bucket's files in a task."""

    wanted: Slice
    options: Mapping[str, str | int]

    def __call__(self, given: pa.Table) -> pl.DataFrame:
        """The rows of the files that are named in the column `file`."""
        files = given.column("file").to_pylist() if given.num_columns else []
        if not files:
            return self.wanted.empty()
        is_wanted = pl.col(self.wanted.day) < self.wanted.before
        if self.wanted.since is not None:
            is_wanted &= pl.col(self.wanted.day) >= self.wanted.since
        # files written before a column was added to the contract lack it
        scan = pl.scan_parquet(
            files,
            glob=False,
            hive_partitioning=False,
            schema=self.wanted.empty().schema,
            missing_columns="insert",
            extra_columns="ignore",
            storage_options=dict(self.options) or None,
        )
        return scan.filter(is_wanted).select(self.wanted.columns).collect()


@dataclass(frozen=True)
class RowReader:
    """Takes a bucket's rows as Spark brings them."""

    wanted: Slice

    def __call__(self, given: pa.Table) -> pl.DataFrame:
        """The rows themselves."""
        if given.num_columns == 0 or given.num_rows == 0:
            return self.wanted.empty()
        frame = pl.from_arrow(given.select(list(self.wanted.columns)))
        assert isinstance(frame, pl.DataFrame)  # for mypy
        return frame


@dataclass(frozen=True)
class Feed:
    """`frame`: what is brought to a bucket's task, with the bucket's column; `read`: makes rows of it there. `here`: of
    all buckets, for one reader in this process; without rows where only Spark opens the storage.
    """

    read: FileReader | RowReader
    frame: Callable[[], DataFrame]
    here: pa.Table


def feed(
    tables: Tables, table: Table, *, bucket: str, day: str, columns: Sequence[str], before: date, since: date | None
) -> Feed:
    """The pinned version's rows, by the table's partition column `bucket`."""
    wanted = Slice(table, bucket, day, tuple(columns), before, since)
    if tables.has_files:
        files = _files(tables, wanted)
        paths = pa.table({"file": pa.array([path for _, path in files], pa.string())})
        return Feed(
            FileReader(wanted, tables.store.polars_options),
            lambda: tables.spark.createDataFrame(files, f"{bucket} int, file string"),
            paths,
        )
    return Feed(RowReader(wanted), lambda: _rows(tables, wanted), wanted.schema.empty_table())


def _rows(tables: Tables, wanted: Slice) -> DataFrame:
    rows = tables.read(wanted.table).where(F.col(wanted.day) < F.lit(wanted.before))
    if wanted.since is not None:
        rows = rows.where(F.col(wanted.day) >= F.lit(wanted.since))
    return rows.select(wanted.bucket, *wanted.columns)


def _files(tables: Tables, wanted: Slice) -> list[tuple[int, str]]:
    """(bucket, file) of the snapshot's files that can have such rows."""
    store, found = tables.folder_of(wanted.table), []
    names = (f"partition.{wanted.bucket}", f"min.{wanted.day}", f"max.{wanted.day}")
    for file in tables.files(wanted.table):
        bucket, first, last = (file.add_action.get(c) for c in names)
        if bucket is None:
            raise StorageError(f"{file.name}: expected a file in a folder {wanted.bucket}=N, as ingest writes it")
        is_later = first is not None and first >= wanted.before
        is_earlier = last is not None and wanted.since is not None and last < wanted.since
        if not (is_later or is_earlier):
            found.append((int(bucket), f"{store.delta_uri}/{file.name}"))
    return sorted(found)


def sample(tables: Tables, table: Table, columns: Sequence[str], *, rows: int) -> pl.DataFrame:
    """Some rows of the pinned version, those of one file of the last partition where files can be opened."""
    if not tables.has_files:
        if not tables.exists(table):
            return pl.DataFrame()
        found = pl.from_arrow(tables.read(table).select(*columns).limit(rows).toArrow())
        assert isinstance(found, pl.DataFrame)  # for mypy
        return found
    (partition,) = table.partition_by
    placed = [(v, f.name) for f in tables.files(table) if (v := f.add_action.get(f"partition.{partition}")) is not None]
    for value, name in sorted(placed)[-1:]:
        known = read_parquet(tables.folder_of(table), name, [c for c in columns if c != partition], rows)
        return known.with_columns(pl.lit(value).alias(partition)).select(columns)
    return pl.DataFrame()
