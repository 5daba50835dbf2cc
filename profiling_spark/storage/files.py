"""Files of tables on a local disk that tasks or this process write themselves, and where they wait until published.

For `storage.Tables`, whose add_files, replace_files and files are the doors to this room; `log` commits them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_schema

from profiling_spark.contracts.table import Table
from profiling_spark.errors import ContractError
from profiling_spark.storage.paths import as_written

STAGING = "_staging"
"""Folder under the storage root for the files of a run that is not published yet."""
_STATISTIC_LENGTH = 32
_ROW_GROUP = 250_000
_FILE_ROWS = 2_000_000
_SMALL = 16 * 2**20
_FILE = "_file"
WRITTEN = T.StructType([T.StructField(_FILE, T.StringType())])


@dataclass(frozen=True)
class NewFile:
    """A Parquet file on a local disk that is to become part of a table. `partition`: value of its partition column."""

    path: str
    bytes: int
    rows: int
    statistics: str
    partition: str | None

    def check_slice(self, table: Table, values: Mapping[str, object]) -> None:
        """Raises ContractError where a row may lie outside of a slice."""
        known = json.loads(self.statistics)
        for name, value in values.items():
            ends = {known["minValues"].get(name), known["maxValues"].get(name)}
            found = {self.partition} if name in table.partition_by else ends
            # the log has no statistics of long texts
            if found not in ({str(value)}, {None}):
                raise ContractError(f"{table.name}: expected rows of {name} = {value}, found {sorted(map(str, found))}")


@dataclass(frozen=True)
class FileWriter:
    """Writes rows of a table as its files in `folder`. Has only plain values, so that it travels to any worker.

    `columns` are the table's; `schema` is what a file has, all of them but the partition column.
    """

    table: str
    folder: str
    schema: pa.Schema
    columns: tuple[str, ...]
    key: tuple[str, ...]
    statistics: tuple[str, ...]
    partition: str | None

    @classmethod
    def of(cls, table: Table, folder: Path) -> FileWriter:
        """The writer of a table that has one partition column at most."""
        in_file = T.StructType([f for f in table.schema if f.name not in table.partition_by])
        schema = to_arrow_schema(in_file, timezone="UTC")
        partition = next(iter(table.partition_by), None)
        return cls(table.name, str(folder), schema, table.names, table.key, table.statistics_columns, partition)

    def write(self, rows: pl.DataFrame) -> NewFile:
        """One file of rows of one partition; columns that the rows lack are null. A null key is refused."""
        for column in self.key:
            if rows[column].null_count():
                raise ContractError(f"{self.table}.{column}: the key must not be null")
        statistics = file_statistics(rows, [c for c in self.statistics if c in rows.columns])
        return self.written(rows, statistics, None if self.partition is None else str(rows[self.partition][0]))

    def written(self, rows: pl.DataFrame, statistics: str, partition: str | None) -> NewFile:
        """One file of rows, which need not name their partition."""
        # a task can run twice: only the files that it names at its end count
        path = f"{self.folder}/part-{uuid4()}.parquet"
        write_parquet(rows, self.schema, path)
        return NewFile(path, Path(path).stat().st_size, len(rows), statistics, partition)

    def write_partitions(self, rows: pl.DataFrame) -> list[NewFile]:
        """A file for each value of the table's partition column; the rows must have all columns of the table."""
        rows = rows.select(self.columns)
        if self.partition is None or not len(rows):
            return [self.write(rows)] if len(rows) else []
        values = rows[self.partition].unique(maintain_order=True)
        return [self.write(rows.filter(pl.col(self.partition).eq_missing(pl.lit(v)))) for v in values]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Write a task's rows; what comes back is of `WRITTEN`, see `written`."""
        pending: list[pa.RecordBatch] = []
        for batch in batches:
            pending.append(batch)
            if sum(b.num_rows for b in pending) >= _FILE_ROWS:
                yield from self._written(pending)
                pending = []
        yield from self._written(pending)

    def _written(self, batches: Sequence[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        if batches:
            rows = pl.from_arrow(pa.Table.from_batches(batches))
            assert isinstance(rows, pl.DataFrame)  # for mypy
            yield from report(self.write_partitions(rows)).to_batches()


def report(files: Sequence[NewFile]) -> pa.Table:
    """What a task reports of the files that it wrote: rows of `WRITTEN`."""
    return pa.table({_FILE: pa.array([json.dumps(asdict(f)) for f in files], pa.string())})


def written(done: DataFrame) -> list[NewFile]:
    """Run the tasks; the files that they wrote."""
    return reported(done.toArrow())


def reported(done: pa.Table) -> list[NewFile]:
    """The reverse of `report`."""
    return [NewFile(**json.loads(text)) for text in done.column(_FILE).to_pylist()]


@contextmanager
def staged(root: Path, table: Table) -> Iterator[FileWriter]:
    """A writer of a table's next files; what is still in its folder at the end is removed."""
    # not where ingest's rows wait, which may be what is written
    folder = staging_folder(root, f"{table.name}.write")
    try:
        yield FileWriter.of(table, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def staging_folder(root: Path, name: str) -> Path:
    """A folder where next files wait, made empty: what a dead run left there belongs to no table."""
    folder = root.absolute() / STAGING / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def write_parquet(rows: pl.DataFrame, schema: pa.Schema, path: str) -> None:
    """The rows as one Parquet file."""
    conformed(rows, schema).write_parquet(path, compression="snappy", row_group_size=_ROW_GROUP)


def conformed(rows: pl.DataFrame, schema: pa.Schema) -> pl.DataFrame:
    """The schema's columns, in order; what the rows lack is null. Raises ContractError where values would be cut."""
    wanted = pl.from_arrow(schema.empty_table())
    assert isinstance(wanted, pl.DataFrame)  # for mypy
    cut = {n: (t, found) for n, t in wanted.schema.items() if _loses(found := rows.schema.get(n, t), t)}
    if cut:
        raise ContractError(f"(expected, found) differs for {cut}")
    absent = [pl.lit(None, t).alias(n) for n, t in wanted.schema.items() if n not in rows.columns]
    return rows.with_columns(absent).select(pl.col(n).cast(t) for n, t in wanted.schema.items())


def _loses(found: pl.DataType, wanted: pl.DataType) -> bool:
    """Whether Polars would drop decimals in a cast without a word."""
    if isinstance(found, pl.Decimal) and isinstance(wanted, pl.Decimal):
        return found.scale > wanted.scale
    return wanted.is_integer() and (found.is_float() or isinstance(found, pl.Decimal))


def as_frame(table: Table, rows: Sequence[tuple[object, ...]]) -> pl.DataFrame:
    """Rows of a table, values in the order of its columns."""
    empty = pl.from_arrow(to_arrow_schema(table.schema, timezone="UTC").empty_table())
    assert isinstance(empty, pl.DataFrame)  # for mypy
    return pl.DataFrame(rows, schema=empty.schema, orient="row")


def joined(table: Table, files: Sequence[NewFile]) -> list[NewFile]:
    """The files, of each partition one of all rows where they are small."""
    groups: dict[str | None, list[NewFile]] = {}
    for file in files:
        groups.setdefault(file.partition, []).append(file)
    return [whole for group in groups.values() for whole in _joined(table, group)]


def _joined(table: Table, files: list[NewFile]) -> list[NewFile]:
    if len(files) == 1 or sum(f.bytes for f in files) > _SMALL:
        return files
    rows = pl.concat([read_parquet(f.path) for f in files])
    writer = FileWriter.of(table, Path(files[0].path).parent)
    statistics = file_statistics(rows, [c for c in writer.statistics if c in rows.columns])
    return [writer.written(rows, statistics, files[0].partition)]


def read_files(spark: SparkSession, paths: Sequence[str], schema: T.StructType, *, within: str = "") -> DataFrame:
    """The rows of finished files by Spark; `within`: folder of a table whose partitions are folders."""
    if not paths:
        return spark.createDataFrame([], schema)
    reader = spark.read.schema(schema)
    reader = reader.option("basePath", f"file://{within}") if within else reader
    # partitions come last otherwise
    return reader.parquet(*(as_written(f"file://{p}") for p in paths)).select(*schema.names)


def read_parquet(path: str) -> pl.DataFrame:
    """The rows of one file, whatever characters its path has."""
    return pl.read_parquet(path, glob=False, hive_partitioning=False)


def file_statistics(rows: pl.DataFrame, columns: Sequence[str]) -> str:
    """Delta's statistics of a file: rows, nulls, and least and greatest value of texts, dates and times."""
    found = {c: (rows[c].null_count(), rows[c].min(), rows[c].max()) for c in columns}
    ends = {c: (_statistic(low), _statistic(high)) for c, (_, low, high) in found.items()}
    known = [c for c, (low, high) in ends.items() if low is not None and high is not None]
    statistics = {
        "numRecords": len(rows),
        "minValues": {c: ends[c][0] for c in known},
        "maxValues": {c: ends[c][1] for c in known},
        "nullCount": {c: nulls for c, (nulls, _, _) in found.items()},
    }
    return json.dumps(statistics)


def _statistic(value: Any) -> str | None:
    if isinstance(value, datetime):
        # Delta cuts to milliseconds, also the greatest value, and readers know
        return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03d}Z"
    if isinstance(value, date):
        return value.isoformat()
    # a longer text would have to be cut, and the greatest value then raised
    return value if isinstance(value, str) and len(value) <= _STATISTIC_LENGTH else None
