"""What tasks make of the next rows of tables, and how these wait until they are committed.

Where tasks can open the storage they write Parquet files of the table, and a commit is all that is left to do; through
Spark alone the rows come back and wait in its cache. A stage that writes through an `Output` is the same on both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import polars as pl
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_schema

from profiling_spark.contracts.table import Table
from profiling_spark.errors import ContractError
from profiling_spark.storage.files import FileWriter, NewFile, conformed, read_files, read_parquet

_KIND, _DONE = "_kind", "_done"
_FILE_ROWS = 2_000_000
_FEW = 2  # partitions, and so files, of rows that only Spark writes


class Output(Protocol):
    """Travels to the tasks. `schema`: of what a task gives back to Spark."""

    @property
    def schema(self) -> T.StructType: ...

    def __call__(self, frames: Mapping[str, pl.DataFrame], report: Mapping[str, Any] | None = None) -> pa.Table:
        """A task's rows by kind, and whatever else the driver should know. With a report columns may be absent, which
        are null then; a kernel, which gives none, must give them all.
        """


@dataclass(frozen=True)
class FileOutput:
    """A task writes its rows as files; their names come back."""

    writers: Mapping[str, FileWriter]

    @property
    def tables(self) -> Mapping[str, Table]:
        """By kind."""
        return {kind: writer.contract for kind, writer in self.writers.items()}

    @property
    def schema(self) -> T.StructType:
        """One text a task."""
        return T.StructType([T.StructField(_DONE, T.StringType())])

    def __call__(self, frames: Mapping[str, pl.DataFrame], report: Mapping[str, Any] | None = None) -> pa.Table:
        """See `Output`."""
        files = {
            kind: [asdict(f) for f in self.writers[kind].write_partitions(rows, lacks_columns=report is not None)]
            for kind, rows in frames.items()
        }
        return pa.table({_DONE: pa.array([json.dumps({"report": report, "files": files})], pa.string())})


@dataclass(frozen=True)
class RowOutput:
    """A task gives its rows to Spark, those of all kinds in one frame; the report is a row of its own."""

    tables: Mapping[str, Table]

    @property
    def schema(self) -> T.StructType:
        """The columns of all tables, and the kind."""
        columns = {f.name: f for table in self.tables.values() for f in table.schema}
        texts = [T.StructField(c, T.StringType()) for c in (_KIND, _DONE)]
        return T.StructType([*(T.StructField(f.name, f.dataType) for f in columns.values()), *texts])

    def __call__(self, frames: Mapping[str, pl.DataFrame], report: Mapping[str, Any] | None = None) -> pa.Table:
        """See `Output`."""
        schema = to_arrow_schema(self.schema, timezone="UTC")
        parts = [pl.DataFrame({_DONE: [json.dumps({"report": report})]})]
        for kind, rows in frames.items():
            absent = sorted(set(self.tables[kind].names) - set(rows.columns)) if report is None else []
            if absent:
                raise ContractError(f"{self.tables[kind].name}: expected columns {absent}, found none")
            known = [c for c in rows.columns if c in self.tables[kind].names]
            parts.append(rows.select(*known, pl.lit(kind).alias(_KIND)))
        return pa.concat_tables([conformed(part, schema).to_arrow().cast(schema) for part in parts])


@dataclass(frozen=True)
class Passed:
    """The task of a frame whose rows are a table's as they are: kind `rows`."""

    output: FileOutput | RowOutput

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Hand the rows on, so many at a time as a file should have."""
        pending: list[pa.RecordBatch] = []
        for batch in batches:
            pending.append(batch)
            if sum(b.num_rows for b in pending) >= _FILE_ROWS:
                yield from self._made(pending)
                pending = []
        yield from self._made(pending)

    def _made(self, batches: Sequence[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        if batches:
            rows = pl.from_arrow(pa.Table.from_batches(batches))
            assert isinstance(rows, pl.DataFrame)  # for mypy
            yield from self.output({"rows": rows}).to_batches()


@dataclass(frozen=True)
class Part:
    """Rows of one table that wait to be committed. `files`: None where Spark has them."""

    table: Table
    frame: Callable[[], DataFrame]
    files: Sequence[NewFile] | None = None
    writer: FileWriter | None = None

    def rows(self, columns: Sequence[str], *, most: int) -> pl.DataFrame | None:
        """These columns in this process; None where there are more rows than `most`."""
        if self.files is None or self.writer is None:
            found = pl.from_arrow(self.frame().select(*columns).limit(most + 1).toArrow())
            assert isinstance(found, pl.DataFrame)  # for mypy
            return None if len(found) > most else found
        if sum(f.rows for f in self.files) > most:
            return None
        empty = pl.from_arrow(self.writer.schema.empty_table())
        assert isinstance(empty, pl.DataFrame)  # for mypy
        store = self.writer.store
        return pl.concat([empty.select(columns), *(read_parquet(store, f.name).select(columns) for f in self.files)])

    def union(self, other: Part) -> Part:
        """The rows of both, which are of the same table and made by the same run."""
        frames = (self.frame, other.frame)
        if self.files is None or other.files is None:
            return Part(self.table, lambda: frames[0]().unionByName(frames[1]()).coalesce(_FEW))
        return replace(self, frame=lambda: frames[0]().unionByName(frames[1]()), files=(*self.files, *other.files))

    def updated(self, values: pl.DataFrame, *, on: Sequence[str], spark: SparkSession) -> Part:
        """With other values of some columns: those of `values`, by the columns `on`; null where it has no row."""
        changed = [c for c in values.columns if c not in on]
        if self.files is None or self.writer is None:
            joined = self.frame().drop(*changed).join(spark.createDataFrame(values.to_arrow()), list(on), how="left")
            frame = joined.select(*self.table.names)
            return replace(self, frame=lambda: frame)
        files = []
        for file in self.files:
            rows = read_parquet(self.writer.store, file.name).drop(changed).join(values, on=on, how="left")
            files.append(self.writer.write(rows))
        self.writer.store.delete([f.name for f in self.files])
        return of_files(spark, self.table, self.writer, files)


@dataclass
class Staged:
    """What the tasks of a stage have made: rows by kind, and their reports. To be released when they are committed."""

    parts: dict[str, Part]
    reports: list[Any]
    release: Callable[[], None] = field(default=lambda: None)


def of_files(spark: SparkSession | None, table: Table, writer: FileWriter, files: Sequence[NewFile]) -> Part:
    """A part whose rows are in files."""

    def frame() -> DataFrame:
        assert spark is not None  # who has no session does not stage
        return read_files(spark, writer.store, [f.name for f in files], table.schema)

    return Part(table, frame, tuple(files), writer)


def staged(spark: SparkSession, output: FileOutput | RowOutput, done: DataFrame, *, has_reports: bool = True) -> Staged:
    """See `Tables.staged`."""
    if isinstance(output, FileOutput):
        return staged_here(spark, output, done.toArrow())
    if not has_reports:
        return Staged(_parts(output, done), [])
    cached = done.persist(StorageLevel.MEMORY_AND_DISK)
    texts = cached.where(F.col(_DONE).isNotNull()).select(_DONE).collect()

    def release() -> None:
        cached.unpersist()

    return Staged(_parts(output, cached), [json.loads(r[_DONE])["report"] for r in texts], release)


def _parts(output: RowOutput, done: DataFrame) -> dict[str, Part]:
    def part(kind: str, table: Table) -> Part:
        return Part(table, lambda: done.where(F.col(_KIND) == kind).select(*table.names))

    return {kind: part(kind, table) for kind, table in output.tables.items()}


def staged_here(spark: SparkSession, output: FileOutput, done: pa.Table) -> Staged:
    """What tasks have given back that wrote files."""
    found = [json.loads(text) for text in done.column(_DONE).to_pylist()]
    parts = {}
    for kind, writer in output.writers.items():
        files = [NewFile(**f) for d in found for f in d["files"].get(kind, ())]
        parts[kind] = of_files(spark, writer.contract, writer, files)
    return Staged(parts, [d["report"] for d in found])
