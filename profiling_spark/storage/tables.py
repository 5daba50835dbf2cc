"""The tables of a storage root as one run sees them: read pinned versions, replace a slice, upsert, append."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from profiling_spark import log
from profiling_spark.contracts.silver import EVENTS, ITEMS, REJECTED_ROWS, REVIEWS, USERS
from profiling_spark.contracts.table import Table
from profiling_spark.errors import ContractError, StorageError
from profiling_spark.storage import file_writes, outputs, points, spark_writes
from profiling_spark.storage.files import as_frame, read_files
from profiling_spark.storage.log import (
    File,
    files_of,
    others,
    replace_rows,
    rows_of,
    stored_schema,
)
from profiling_spark.storage.outputs import FileOutput, Part, RowOutput, Staged
from profiling_spark.storage.paths import SliceValue, literal
from profiling_spark.storage.stores import Store, store_for

Rows = DataFrame | pl.DataFrame | Part
"""Rows of a table: of Spark's, of this process, or such as tasks have made already (`Tables.staged`)."""
_LOG_FILE = re.compile(r"_delta_log/(\d{20})\.json")
SMALL_BYTES = 16 * 2**20
"""Up to so many bytes of Parquet (half a million events) this process does itself what tasks do of larger lakes."""
_GROWING = (EVENTS, USERS, ITEMS, REVIEWS, REJECTED_ROWS)
_SIGNATURE = "spark.databricks.delta.commitInfo.userMetadata"
# that Spark lists without a job of its own
_FEW_FILES = 32
_LONG = 20_000  # characters of a predicate


class Tables:
    """The Delta tables under one storage root, as one run sees them.

    The first read of a table pins its version for the whole run; a write of the run moves the pin to the version it
    made, so a run sees its own results and nothing that another run commits meanwhile.
    """

    def __init__(
        self, spark: SparkSession | None, root: str, *, run_id: str, check: Callable[[], None] = lambda: None
    ) -> None:
        """`check`: raises StorageError where this run may not write any more; called before each commit."""
        self.session = spark
        self.root = root.rstrip("/")
        self.run_id = run_id
        self.check = check
        self.store = store_for(self.root, spark)
        self.read_versions: dict[str, int] = {}
        self.written_versions: dict[str, int] = {}
        self.known_buckets: int | None = None
        self.incoming_bytes = 0
        self._bytes: int | None = None
        self.committed_files: set[str] = set()
        self._folders: dict[str, Store] = {}

    @property
    def spark(self) -> SparkSession:
        """The run's session. Who only looks at small tables needs none where delta-rs can open the storage: raises
        StorageError elsewhere.
        """
        if self.session is None:
            raise StorageError(f"storage {self.root}: cannot be looked at without Spark")
        return self.session

    @property
    def has_files(self) -> bool:
        """Whether tasks and this process open the files of tables themselves; else Spark alone reads and writes."""
        return self.store.kind != "spark"

    def path(self, table: Table | str) -> str:
        """Where a table lies."""
        return f"{self.root}/{table if isinstance(table, str) else table.name}"

    def folder_of(self, table: Table) -> Store:
        """The files of a table, its log among them."""
        if table.name not in self._folders:
            self._folders[table.name] = store_for(self.path(table), self.session)
        return self._folders[table.name]

    def shared_folder(self, name: str) -> Path | None:
        """A folder under the root that tasks open as files, None where the storage is no disk."""
        return Path(self.store.delta_uri, name) if self.store.kind == "disk" else None

    def version(self, table: Table) -> int | None:
        """Newest version of the table, None where it does not exist."""
        # a listing takes microseconds where DESCRIBE HISTORY takes a Spark job
        names = (_LOG_FILE.fullmatch(name) for name in self.folder_of(table).list("_delta_log"))
        return max((int(m[1]) for m in names if m), default=None)

    def exists(self, table: Table) -> bool:
        """True where the table has at least one version."""
        return table.name in self.read_versions or self.version(table) is not None

    def read(self, table: Table, **where: SliceValue) -> DataFrame:
        """The table at the run's pinned version, cut to `where`; an absent table reads as one without rows."""
        version = self._pinned(table)
        if version is None:
            return self.spark.createDataFrame([], table.schema)
        files = self.files(table, **where)
        if not self.has_files or len(files) > _FEW_FILES:
            frame = self.spark.read.format("delta").option("versionAsOf", version).load(self.path(table))
        else:
            # Delta takes half a second of Spark jobs to list a version's files
            store = self.folder_of(table)
            frame = read_files(self.spark, store, [f.name for f in files], stored_schema(store, version))
        # a table written before a column was added to the contract reads as null there
        absent = [c for c in table.columns if c.name not in frame.columns]
        if absent:
            frame = frame.withColumns({c.name: F.lit(None).cast(c.data_type) for c in absent})
        return frame.where(_predicate(where)) if where else frame

    @property
    def is_small(self) -> bool:
        """Whether what is stored, and what is on its way there (`incoming_bytes`), is so little that one process, where
        it can open the files, is quicker than tasks.
        """
        if not self.has_files:
            return False
        if self._bytes is None:  # of the newest versions: to look pins none
            self._bytes = sum(int(f.add_action["size_bytes"]) for t in _GROWING for f in self.newest_files(t))
        return self._bytes + self.incoming_bytes <= SMALL_BYTES

    def files(self, table: Table, **where: SliceValue) -> list[File]:
        """The files of the table's pinned version that may have rows of `where`; none where only Spark opens them."""
        version = self._pinned(table) if self.has_files else None
        if version is None:
            return []
        return [f for f in files_of(self.folder_of(table), version) if f.in_slice(where) is not False]

    def newest_files(self, table: Table) -> list[File]:
        """The files of the newest version, where not only Spark opens them: what a write changes."""
        version = self.version(table) if self.has_files else None
        return [] if version is None else files_of(self.folder_of(table), version)

    def rows(self, table: Table, **where: SliceValue) -> pl.DataFrame:
        """What `read` gives, in this process: for tables that do not grow with customers or events."""
        if not self.has_files:
            found = pl.from_arrow(self.read(table, **where).select(*table.names).toArrow())
            assert isinstance(found, pl.DataFrame)  # for mypy
            return found
        is_wanted = pl.all_horizontal(pl.lit(True), *(pl.col(name) == pl.lit(value) for name, value in where.items()))
        return rows_of(self.folder_of(table), self.files(table, **where), table).filter(is_wanted)

    def output(self, **tables: Table) -> FileOutput | RowOutput:
        """What tasks hand their rows of these tables to, by kind (see `staged`)."""
        if not self.has_files:
            return RowOutput(tables)
        return FileOutput({kind: file_writes.writer(self, table) for kind, table in tables.items()})

    def staged(self, output: FileOutput | RowOutput, done: DataFrame | pa.Table, *, has_reports: bool = True) -> Staged:
        """Run the tasks whose results are `done`, a frame of the output's schema, or take what they have given in this
        process. No reader sees their rows before a commit names them. Without reports to wait for, tasks whose rows
        Spark brings run when these are written.
        """
        tables = output.tables.values()
        if isinstance(done, DataFrame):
            with file_writes.discarding(self, *tables):
                made = outputs.staged(self.spark, output, done, has_reports=has_reports)
        else:
            assert isinstance(output, FileOutput)  # where nothing opens files no task runs in this process
            made = outputs.staged_here(self.spark, output, done)

        points.at(f"rows of {' and '.join(t.name for t in tables)} staged")

        def release() -> None:
            made.release()
            # to list a folder takes as long as it is large: only where files were written that no commit names
            left = [p.table for p in made.parts.values() if {f.name for f in p.files or ()} - self.committed_files]
            file_writes.discard_files(self, [self.run_id], *left)

        return replace(made, release=release)

    def replace_slice(self, table: Table, rows: Rows, **values: SliceValue) -> int:
        """Replace the rows of one slice in one commit; an empty frame empties it. Returns the rows written."""
        if set(values) != set(table.slice):
            raise ContractError(f"{table.name}: a write names the slice {table.slice}, found {tuple(values)}")
        if self._by_spark(rows):
            return self.replace_where(table, self._as_spark(rows), _predicate(values))
        with file_writes.discarding(self, table):
            files = file_writes.new_files(self, table, rows)
            for file in files:
                file.check_slice(table, values)
            meets = [(f, f.in_slice(values)) for f in self.newest_files(table)]
            rest = others([f for f, is_in in meets if is_in is None], values, file_writes.writer(self, table))
            file_writes.commit_files(self, table, [*files, *rest], [f for f, is_in in meets if is_in is not False])
            return sum(f.rows for f in files)

    def replace_where(self, table: Table, frame: DataFrame, predicate: str) -> int:
        """Replace the rows for which the predicate holds, in one commit; all rows of the frame must satisfy it."""
        return self.write_by_spark(table, frame, mode="overwrite", options={"replaceWhere": predicate})

    def replace_all(self, table: Table, rows: Rows) -> int:
        """Replace the whole table in one commit. Returns the rows written."""
        if self._by_spark(rows):
            return self.write_by_spark(table, self._as_spark(rows), mode="overwrite", options={})
        with file_writes.discarding(self, table):
            return file_writes.commit_files(
                self, table, file_writes.joined_files(self, table, rows), self.newest_files(table)
            )

    def append(self, table: Table, rows: Rows) -> int:
        """Add rows in one commit. Returns the rows written."""
        if self._by_spark(rows):
            return self.write_by_spark(table, self._as_spark(rows), mode="append", options={})
        with file_writes.discarding(self, table):
            return file_writes.commit_files(self, table, file_writes.joined_files(self, table, rows), [])

    def append_rows(self, table: Table, rows: Sequence[tuple[object, ...]]) -> int:
        """Add a few rows that this process holds, values in the order of the columns, in one commit."""
        return self.append(table, as_frame(table, rows))

    def replace_rows(self, table: Table, rows: Sequence[tuple[object, ...]], predicate: str) -> int:
        """Put a few rows (see `append_rows`) in the place of those for which the predicate holds, in one commit.

        The predicate, of names and texts without quotes, means the same to Spark and to DataFusion. A long one goes to
        Spark: DataFusion takes a chain of thousands of conditions as deep as it is long, and dies of it.
        """
        if not self.has_files or not self.exists(table) or len(predicate) > _LONG:
            return self.replace_where(table, self._as_spark(as_frame(table, rows)), predicate)
        store = file_writes.with_all_columns(self, table)
        with self.committing(table):
            replace_rows(store, table, as_frame(table, rows), predicate, self.run_id)
        return len(rows)

    def replace_partitions(self, table: Table, rows: Rows, values: Sequence[SliceValue]) -> int:
        """Replace all rows of these values of the table's partition column, in one commit. Returns the rows written."""
        (column,) = table.partition_by
        if not self.has_files:
            listed = ", ".join(literal(v) for v in values)
            return self.replace_where(table, self._as_spark(rows), f"{column} IN ({listed})")
        with file_writes.discarding(self, table):
            files = file_writes.new_files(self, table, rows)
            strange = sorted({str(f.partition) for f in files} - {str(v) for v in values})
            if strange:
                named = list(map(str, values))
                raise ContractError(f"{table.name}: expected files of {column} {named}, found {strange}")
            gone = [f for f in self.newest_files(table) if any(f.in_slice({column: v}) for v in values)]
            return file_writes.commit_files(self, table, files, gone)

    def upsert(
        self, table: Table, frame: DataFrame, *, near: Sequence[str] = (), gone: DataFrame | None = None
    ) -> None:
        """Merge on the table's key in one commit; the frame's key must be unique.

        `near`: conditions in SQL, each of which begins with a column of the table, that hold for every stored row which
        the frame updates: files elsewhere are not read. `gone`: stored rows that are deleted, unless the frame has
        their key.
        """
        with self.committing(table, by_spark=True):
            spark_writes.merge(self.spark, self.path(table), table, frame, near=near, gone=gone)

    def update(self, table: Table, predicate: str, values: dict[str, str]) -> None:
        """Set columns to SQL expressions where the predicate holds, in one commit; an absent table has no such row."""
        if self.exists(table):
            with self.committing(table, by_spark=True):
                DeltaTable.forPath(self.spark, self.path(table)).update(predicate, values)  # type: ignore[arg-type]

    def delete(self, table: Table, predicate: str) -> None:
        """Delete rows in one commit; nothing happens where the table does not exist."""
        if self.exists(table):
            with self.committing(table, by_spark=True):
                DeltaTable.forPath(self.spark, self.path(table)).delete(predicate)

    def _pinned(self, table: Table) -> int | None:
        """The version that this run reads; None where the table does not exist."""
        version = self.read_versions.get(table.name)
        if version is None:
            version = self.version(table)
            if version is not None:
                self.read_versions[table.name] = version
        return version

    def write_by_spark(self, table: Table, frame: DataFrame, *, mode: str, options: dict[str, str]) -> int:
        """A commit of Spark's. Returns the rows written."""
        new = None if self.version(table) is not None else file_writes.properties(table)
        with self.committing(table, by_spark=True):
            return spark_writes.write(table, frame, self.path(table), mode=mode, options=options, properties=new)

    def _by_spark(self, rows: Rows) -> bool:
        """Whether Spark writes the rows: a large lake's frames, and all where nothing else opens files."""
        if isinstance(rows, Part):
            return rows.files is None
        return not self.has_files or (isinstance(rows, DataFrame) and not self.is_small)

    def _as_spark(self, rows: Rows) -> DataFrame:
        if isinstance(rows, Part):
            return rows.frame()
        return self.spark.createDataFrame(rows.to_arrow()) if isinstance(rows, pl.DataFrame) else rows

    def forget(self, table: Table) -> None:
        """The next read takes the table's newest version."""
        self.read_versions.pop(table.name, None)

    @contextmanager
    def committing(self, table: Table, *, by_spark: bool = False) -> Iterator[None]:
        """Around each commit: this run must still be the one that may write; its next reads see the version made here.

        A commit of Spark's (`by_spark`) names its run too: what a dead run wrote can be undone (undo.py).
        """
        self.check()
        if by_spark:
            self.spark.conf.set(_SIGNATURE, self.run_id)
        points.at(f"before commit of {table.name}")
        yield
        self.moved(table)
        points.at(f"after commit of {table.name}")

    def moved(self, table: Table) -> None:
        """The next reads of this run see the table's newest version, which it has made."""
        version = self.version(table)
        if version is None:
            raise StorageError(f"{self.path(table)}: written, but no version is found")
        self.read_versions[table.name] = self.written_versions[table.name] = version
        log.event("table written", run_id=self.run_id, table=table.name, version=version)
        if table in _GROWING:
            self._bytes = None


def _predicate(values: Mapping[str, SliceValue]) -> str:
    return " AND ".join(f"{name} = {literal(value)}" for name, value in values.items())
