"""The only place that says "delta": read pinned versions, replace a slice, upsert, append."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import IO, Any

import deltalake
import polars as pl
from delta.tables import DeltaTable
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, PostCommitHookProperties, RemoveAction
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from profiling_spark.contracts.table import Table
from profiling_spark.errors import ContractError, StorageError

_STATISTIC_LENGTH = 32
_LOG_FILE = re.compile(r"(\d{20})\.json")
SliceValue = date | str | int


@dataclass(frozen=True)
class Size:
    """How large a table is on its storage."""

    files: int
    bytes: int


@dataclass(frozen=True)
class NewFile:
    """A Parquet file on a local disk that is to become part of a table. `partition`: value of its partition column."""

    path: str
    bytes: int
    rows: int
    statistics: str
    partition: str | None


class Tables:
    """The Delta tables under one storage root, as one run sees them.

    The first read of a table pins its version for the whole run; a write of the run moves the pin to the version it
    made, so a run sees its own results and nothing that another run commits meanwhile.
    """

    def __init__(self, spark: SparkSession, root: str, *, run_id: str) -> None:
        self.spark = spark
        self.root = root.rstrip("/")
        self.run_id = run_id
        self.read_versions: dict[str, int] = {}
        self.written_versions: dict[str, int] = {}
        self.known_buckets: int | None = None

    def path(self, table: Table | str) -> str:
        """Where a table lies."""
        return f"{self.root}/{table if isinstance(table, str) else table.name}"

    def version(self, table: Table) -> int | None:
        """Newest version of the table, None where it does not exist."""
        log = local_path(self.path(table))
        if log is not None:
            # a listing takes microseconds where DESCRIBE HISTORY takes a Spark job
            names = (_LOG_FILE.fullmatch(f.name) for f in (log / "_delta_log").glob("*.json"))
            return max((int(m[1]) for m in names if m), default=None)
        try:
            history = DeltaTable.forPath(self.spark, self.path(table)).history(1)
        except AnalysisException as err:
            if "DELTA_MISSING_DELTA_TABLE" in str(err) or "PATH_NOT_FOUND" in str(err):
                return None
            raise StorageError(f"{self.path(table)}: cannot be read: {err}") from err
        return int(history.select("version").first()["version"])  # type: ignore[index]

    def exists(self, table: Table) -> bool:
        """True where the table has at least one version."""
        return table.name in self.read_versions or self.version(table) is not None

    def read(self, table: Table, **where: SliceValue) -> DataFrame:
        """The table at the run's pinned version, cut to `where`; an absent table reads as one without rows."""
        version = self.read_versions.get(table.name)
        if version is None:
            version = self.version(table)
            if version is None:
                return self.spark.createDataFrame([], table.schema)
            self.read_versions[table.name] = version
        frame = self.spark.read.format("delta").option("versionAsOf", version).load(self.path(table))
        # a table written before a column was added to the contract reads as null there
        absent = [c for c in table.columns if c.name not in frame.columns]
        if absent:
            frame = frame.withColumns({c.name: F.lit(None).cast(c.data_type) for c in absent})
        return frame.where(_predicate(where)) if where else frame

    def replace_slice(self, table: Table, frame: DataFrame, **values: SliceValue) -> int:
        """Replace the rows of one slice in one commit; an empty frame empties it. Returns the rows written."""
        if set(values) != set(table.slice):
            raise ContractError(f"{table.name}: a write names the slice {table.slice}, found {tuple(values)}")
        return self._write(table, frame, mode="overwrite", options={"replaceWhere": _predicate(values)})

    def replace_where(self, table: Table, frame: DataFrame, predicate: str) -> int:
        """Replace the rows for which the predicate holds, in one commit; all rows of the frame must satisfy it."""
        return self._write(table, frame, mode="overwrite", options={"replaceWhere": predicate})

    def replace_all(self, table: Table, frame: DataFrame) -> int:
        """Replace the whole table in one commit. Returns the rows written."""
        return self._write(table, frame, mode="overwrite", options={})

    def append(self, table: Table, frame: DataFrame) -> int:
        """Add rows in one commit. Returns the rows written."""
        return self._write(table, frame, mode="append", options={})

    def add_files(self, table: Table, files: Sequence[NewFile]) -> int:
        """Add the rows of finished files on this disk, which move into the table, in one commit; returns the rows.

        Files that were moved when the process dies belong to no version; `remove_old_files` deletes them.
        """
        place = local_path(self.path(table))
        if place is None:
            raise StorageError(f"{self.path(table)}: files can only be added on a local disk")
        if not self.exists(table) or set(table.names) - set(self.read(table).columns):
            self.append(table, self.spark.createDataFrame([], table.schema))
        if not files:
            return 0
        actions: list[AddAction | RemoveAction] = [_moved_into(place, table, file) for file in files]
        # Spark's own commits write the checkpoints
        hooks = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
        try:
            target = deltalake.DeltaTable(place)
            target.create_write_transaction(
                actions,
                mode="append",
                schema=target.schema(),
                partition_by=list(table.partition_by),
                post_commithook_properties=hooks,
            )
        except DeltaError as err:
            raise StorageError(f"{self.path(table)}: its new files cannot be committed: {err}") from err
        self._moved(table)
        return sum(f.rows for f in files)

    def upsert(self, table: Table, frame: DataFrame, *, update_where: str | None = None) -> None:
        """Merge on the table's key in one commit; the frame's key must be unique.

        Of matched rows only those are updated for which `update_where` (SQL over old.* and new.*) is true.
        """
        on = " AND ".join(f"old.{c} <=> new.{c}" for c in table.key)
        target = DeltaTable.forPath(self.spark, self.path(table)).alias("old")
        merge = target.merge(table.conform(frame).alias("new"), on)
        merge.whenMatchedUpdateAll(update_where).whenNotMatchedInsertAll().execute()
        self._moved(table)

    def update(self, table: Table, predicate: str, values: dict[str, str]) -> None:
        """Set columns to SQL expressions where the predicate holds, in one commit; an absent table has no such row."""
        if self.exists(table):
            DeltaTable.forPath(self.spark, self.path(table)).update(predicate, values)  # type: ignore[arg-type]
            self._moved(table)

    def delete(self, table: Table, predicate: str) -> None:
        """Delete rows in one commit; nothing happens where the table does not exist."""
        if self.exists(table):
            DeltaTable.forPath(self.spark, self.path(table)).delete(predicate)
            self._moved(table)

    def size(self, table: Table) -> Size:
        """Files and bytes of the table's newest version."""
        row = DeltaTable.forPath(self.spark, self.path(table)).detail().select("numFiles", "sizeInBytes").first()
        if row is None:
            raise StorageError(f"{self.path(table)}: has no version")
        return Size(int(row["numFiles"]), int(row["sizeInBytes"]))

    def compact(self, table: Table, *, file_bytes: int, order_by: str | None) -> None:
        """Rewrite small files as large ones, in one commit that changes no row; with `order_by`, all files, sorted."""
        self.spark.conf.set("spark.databricks.delta.optimize.maxFileSize", str(file_bytes))
        self.spark.conf.set("spark.databricks.delta.optimize.minFileSize", str(file_bytes))
        optimize = DeltaTable.forPath(self.spark, self.path(table)).optimize()
        if order_by is None:
            optimize.executeCompaction()
        else:
            optimize.executeZOrderBy(order_by)
        self._moved(table)

    def remove_old_files(self, table: Table, *, keep_days: int) -> None:
        """Delete files that only versions older than `keep_days` need: those versions can no longer be read."""
        DeltaTable.forPath(self.spark, self.path(table)).vacuum(keep_days * 24)

    def _write(self, table: Table, frame: DataFrame, *, mode: str, options: dict[str, str]) -> int:
        counted = Observation()
        conformed = table.conform(frame).observe(counted, F.count(F.lit(1)).alias("rows"))
        writer = conformed.write.format("delta").mode(mode).options(**options).option("mergeSchema", "true")
        if self.version(table) is None:
            writer = writer.options(**_properties(table))
            if table.partition_by:
                writer = writer.partitionBy(*table.partition_by)
        writer.save(self.path(table))
        self._moved(table)
        return int(counted.get["rows"])

    def _moved(self, table: Table) -> None:
        version = self.version(table)
        if version is None:
            raise StorageError(f"{self.path(table)}: written, but no version is found")
        self.read_versions[table.name] = self.written_versions[table.name] = version


def _moved_into(place: Path, table: Table, file: NewFile) -> AddAction:
    name, values = Path(file.path).name, {}
    if table.partition_by:
        values = {table.partition_by[0]: file.partition}
        name = f"{table.partition_by[0]}={file.partition}/{name}"
    (place / name).parent.mkdir(parents=True, exist_ok=True)
    Path(file.path).rename(place / name)
    return AddAction(name, file.bytes, values, time.time_ns() // 1_000_000, True, file.statistics)


def file_statistics(rows: pl.DataFrame, columns: Sequence[str]) -> str:
    """Delta's statistics of a file: rows, nulls, and least and greatest value of texts, dates and times."""
    found = {c: (rows[c].null_count(), rows[c].min(), rows[c].max()) for c in columns}
    ends = {c: (_statistic(low), _statistic(high)) for c, (_, low, high) in found.items()}
    known = [c for c, (low, high) in ends.items() if low is not None and high is not None]
    told = {
        "numRecords": len(rows),
        "minValues": {c: ends[c][0] for c in known},
        "maxValues": {c: ends[c][1] for c in known},
        "nullCount": {c: nulls for c, (nulls, _, _) in found.items()},
    }
    return json.dumps(told)


def _statistic(value: Any) -> str | None:
    if isinstance(value, datetime):
        # Delta cuts to milliseconds, also the greatest value, and readers know
        return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03d}Z"
    if isinstance(value, date):
        return value.isoformat()
    # a longer text would have to be cut, and the greatest value then raised
    return value if isinstance(value, str) and len(value) <= _STATISTIC_LENGTH else None


def _properties(table: Table) -> dict[str, str]:
    """Delta properties of a new table. Minimum and maximum of personal columns would stay in the log after a delete."""
    return {"delta.dataSkippingStatsColumns": ",".join(table.statistics_columns)}


def _predicate(values: dict[str, SliceValue]) -> str:
    return " AND ".join(f"{name} = {literal(value)}" for name, value in values.items())


def literal(value: SliceValue) -> str:
    """SQL literal of a slice's value."""
    if isinstance(value, date):
        return f"DATE'{value.isoformat()}'"
    if isinstance(value, int):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def local_path(path: str) -> Path | None:
    """The path on this machine's disk, None for any other storage."""
    if path.startswith("file:"):
        return Path("/" + path.removeprefix("file:").lstrip("/"))
    return None if re.match(r"^[a-z][a-z0-9+.-]*:", path) else Path(path)


@contextmanager
def locked(root: str) -> Iterator[None]:
    """One writing process per storage root on a local disk, where two could overwrite each other's commit.

    Raises StorageError at once when another run holds the lock. The lock dies with its process, also after kill -9.
    """
    folder = local_path(root)
    if folder is None:
        yield
        return
    import fcntl  # only where there is a local disk to lock

    folder.mkdir(parents=True, exist_ok=True)
    handle: IO[str]
    with (folder / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            raise StorageError(f"storage {root}: another run is writing here; wait for it to end") from err
        yield
