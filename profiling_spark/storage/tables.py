"""The tables of a storage root as one run sees them: read pinned versions, replace a slice, upsert, append."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
from delta.tables import DeltaTable
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from profiling_spark import log
from profiling_spark.contracts.silver import EVENTS, ITEMS, REJECTED_ROWS, REVIEWS, USERS
from profiling_spark.contracts.table import Table
from profiling_spark.errors import ContractError, StorageError
from profiling_spark.storage.files import WRITTEN, FileWriter, NewFile, as_frame, joined, read_files, staged, written
from profiling_spark.storage.log import (
    File,
    commit,
    create,
    files_of,
    lacking,
    others,
    replace_rows,
    rows_of,
    stored_schema,
)
from profiling_spark.storage.paths import SliceValue, literal, local_path

_LOG_FILE = re.compile(r"(\d{20})\.json")
SMALL_BYTES = 16 * 2**20
"""Up to so many bytes of Parquet (half a million events) this process does itself what tasks do of larger lakes."""
_GROWING = (EVENTS, USERS, ITEMS, REVIEWS, REJECTED_ROWS)
_DEFAULTS = "spark.databricks.delta.properties.defaults"
_SIGNATURE = "spark.databricks.delta.commitInfo.userMetadata"
# that Spark lists without a job of its own
_FEW_FILES = 32
_LONG = 20_000  # characters of a predicate
_PROPERTIES = ("enableDeletionVectors", "checkpointPolicy", "deletedFileRetentionDuration")


class Tables:
    """The Delta tables under one storage root, as one run sees them.

    The first read of a table pins its version for the whole run; a write of the run moves the pin to the version it
    made, so a run sees its own results and nothing that another run commits meanwhile.
    """

    def __init__(self, spark: SparkSession | None, root: str, *, run_id: str) -> None:
        self.session = spark
        self.root = root.rstrip("/")
        self.run_id = run_id
        self.read_versions: dict[str, int] = {}
        self.written_versions: dict[str, int] = {}
        self.known_buckets: int | None = None
        self.incoming_bytes = 0
        self._bytes: int | None = None

    @property
    def spark(self) -> SparkSession:
        """The run's session. Who only looks at small tables on a local disk needs none: raises StorageError then."""
        if self.session is None:
            raise StorageError(f"storage {self.root}: cannot be looked at without Spark")
        return self.session

    def path(self, table: Table | str) -> str:
        """Where a table lies."""
        return f"{self.root}/{table if isinstance(table, str) else table.name}"

    def version(self, table: Table) -> int | None:
        """Newest version of the table, None where it does not exist."""
        place = local_path(self.path(table))
        if place is not None:
            # a listing takes microseconds where DESCRIBE HISTORY takes a Spark job
            names = (_LOG_FILE.fullmatch(f.name) for f in (place / "_delta_log").glob("*.json"))
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
        version = self._pinned(table)
        if version is None:
            return self.spark.createDataFrame([], table.schema)
        place, files = local_path(self.path(table)), self.files(table, **where)
        if place is None or len(files) > _FEW_FILES:
            frame = self.spark.read.format("delta").option("versionAsOf", version).load(self.path(table))
        else:
            # Delta takes half a second of Spark jobs to list a version's files
            paths, stored = [f.path for f in files], stored_schema(place, version)
            frame = read_files(self.spark, paths, stored, within=str(place.absolute()))
        # a table written before a column was added to the contract reads as null there
        absent = [c for c in table.columns if c.name not in frame.columns]
        if absent:
            frame = frame.withColumns({c.name: F.lit(None).cast(c.data_type) for c in absent})
        return frame.where(_predicate(where)) if where else frame

    @property
    def is_small(self) -> bool:
        """Whether what is stored, and what is on its way there (`incoming_bytes`), lies on a local disk and is so
        little that one process is quicker than tasks.
        """
        if local_path(self.root) is None:
            return False
        if self._bytes is None:  # of the newest versions: to look pins none
            self._bytes = sum(int(f.add_action["size_bytes"]) for t in _GROWING for f in self.newest_files(t))
        return self._bytes + self.incoming_bytes <= SMALL_BYTES

    def files(self, table: Table, **where: SliceValue) -> list[File]:
        """The files of the table's pinned version, which lies on a local disk, that may hold rows of `where`."""
        version, place = self._pinned(table), local_path(self.path(table))
        if version is None or place is None:
            return []
        return [f for f in files_of(place, version) if f.in_slice(where) is not False]

    def rows(self, table: Table, **where: SliceValue) -> pl.DataFrame:
        """What `read` gives, in this process: for tables that do not grow with customers or events."""
        if local_path(self.root) is None:
            found = pl.from_arrow(self.read(table, **where).select(*table.names).toArrow())
            assert isinstance(found, pl.DataFrame)  # for mypy
            return found
        is_wanted = pl.all_horizontal(pl.lit(True), *(pl.col(name) == pl.lit(value) for name, value in where.items()))
        return rows_of(self.files(table, **where), table).filter(is_wanted)

    def replace_slice(self, table: Table, frame: DataFrame | pl.DataFrame, **values: SliceValue) -> int:
        """Replace the rows of one slice in one commit; an empty frame empties it. Returns the rows written."""
        if set(values) != set(table.slice):
            raise ContractError(f"{table.name}: a write names the slice {table.slice}, found {tuple(values)}")
        root = self._written_here(frame)
        if root is None:
            return self.replace_where(table, self._as_spark(frame), _predicate(values))
        with staged(root, table) as writer:
            files = self._staged(table, frame, writer)
            for file in files:
                file.check_slice(table, values)
            meets = [(f, f.in_slice(values)) for f in self.newest_files(table)]
            rest = others([f for f, is_in in meets if is_in is None], table, values, writer)
            self._commit_files(table, [*files, *rest], [f for f, is_in in meets if is_in is not False])
            return sum(f.rows for f in files)

    def replace_where(self, table: Table, frame: DataFrame, predicate: str) -> int:
        """Replace the rows for which the predicate holds, in one commit; all rows of the frame must satisfy it."""
        return self._write(table, frame, mode="overwrite", options={"replaceWhere": predicate})

    def replace_all(self, table: Table, frame: DataFrame) -> int:
        """Replace the whole table in one commit. Returns the rows written."""
        root = self._written_here(frame)
        if root is None:
            return self._write(table, frame, mode="overwrite", options={})
        with staged(root, table) as writer:
            return self.replace_all_files(table, self._staged(table, frame, writer))

    def append(self, table: Table, frame: DataFrame | pl.DataFrame) -> int:
        """Add rows in one commit. Returns the rows written."""
        root = self._written_here(frame)
        if root is None:
            return self._write(table, self._as_spark(frame), mode="append", options={})
        with staged(root, table) as writer:
            return self.add_files(table, self._staged(table, frame, writer))

    def append_rows(self, table: Table, rows: Sequence[tuple[object, ...]]) -> int:
        """Add a few rows that this process holds, values in the order of the columns, in one commit."""
        return self.append(table, as_frame(table, rows))

    def replace_rows(self, table: Table, rows: Sequence[tuple[object, ...]], predicate: str) -> int:
        """Put a few rows (see `append_rows`) in the place of those for which the predicate holds, in one commit.

        The predicate, of names and texts without quotes, means the same to Spark and to DataFusion. A long one goes to
        Spark: DataFusion takes a chain of thousands of conditions as deep as it is long, and dies of it.
        """
        if local_path(self.root) is None or not self.exists(table) or len(predicate) > _LONG:
            return self.replace_where(table, self._as_spark(as_frame(table, rows)), predicate)
        replace_rows(self._with_all_columns(table), table, as_frame(table, rows), predicate, self.run_id)
        self.moved(table)
        return len(rows)

    def add_files(self, table: Table, files: Sequence[NewFile]) -> int:
        """Add the rows of finished files on this disk, which move into the table, in one commit; returns the rows.

        Files that were moved when the process dies belong to no version; `remove_old_files` deletes them.
        """
        return self._commit_files(table, joined(table, files), [])

    def replace_partitions(self, table: Table, frame: DataFrame | pl.DataFrame, values: Sequence[SliceValue]) -> int:
        """Replace all rows of these values of the table's partition column, in one commit. Returns the rows written."""
        root = local_path(self.root)
        if root is None:
            listed = ", ".join(literal(v) for v in values)
            return self.replace_where(table, self._as_spark(frame), f"{table.partition_by[0]} IN ({listed})")
        with staged(root, table) as writer:
            return self.replace_files(table, self._staged(table, frame, writer), values)

    def replace_files(self, table: Table, files: Sequence[NewFile], values: Sequence[SliceValue]) -> int:
        """Put finished files (see `add_files`) in the place of all rows of these partitions, in one commit."""
        (column,) = table.partition_by
        strange = sorted({str(f.partition) for f in files} - {str(v) for v in values})
        if strange:
            raise ContractError(f"{table.name}: expected files of {column} {list(map(str, values))}, found {strange}")
        gone = [f for f in self.newest_files(table) if any(f.in_slice({column: v}) for v in values)]
        return self._commit_files(table, files, gone)

    def replace_all_files(self, table: Table, files: Sequence[NewFile]) -> int:
        """Replace the whole table by finished files (see `add_files`), in one commit."""
        return self._commit_files(table, joined(table, files), self.newest_files(table))

    def upsert(
        self, table: Table, frame: DataFrame, *, update_where: str | None = None, gone: DataFrame | None = None
    ) -> None:
        """Merge on the table's key in one commit; the frame's key must be unique.

        Of matched rows only those are updated for which `update_where` (SQL over old.* and new.*) is true. `gone`:
        stored rows that are deleted, unless the frame has their key.
        """
        on = " AND ".join(f"old.{c} <=> new.{c}" for c in table.key)
        if gone is not None:
            same = [gone[c].eqNullSafe(frame[c]) for c in table.key]
            left = gone.join(frame, same, how="left_anti")
            # every row of these tables names its run: null is free to mark those that go
            frame = frame.unionByName(left.withColumn("run_id", F.lit(None).cast("string")))
        target = DeltaTable.forPath(self.spark, self.path(table)).alias("old")
        self.sign()
        # a table written before a column was added to the contract gets it
        merge = target.merge(table.conform(frame).alias("new"), on).withSchemaEvolution()
        merge = merge if gone is None else merge.whenMatchedDelete("new.run_id IS NULL")
        merge.whenMatchedUpdateAll(update_where).whenNotMatchedInsertAll().execute()
        self.moved(table)

    def update(self, table: Table, predicate: str, values: dict[str, str]) -> None:
        """Set columns to SQL expressions where the predicate holds, in one commit; an absent table has no such row."""
        if self.exists(table):
            self.sign()
            DeltaTable.forPath(self.spark, self.path(table)).update(predicate, values)  # type: ignore[arg-type]
            self.moved(table)

    def delete(self, table: Table, predicate: str) -> None:
        """Delete rows in one commit; nothing happens where the table does not exist."""
        if self.exists(table):
            self.sign()
            DeltaTable.forPath(self.spark, self.path(table)).delete(predicate)
            self.moved(table)

    def _pinned(self, table: Table) -> int | None:
        """The version that this run reads; None where the table does not exist."""
        version = self.read_versions.get(table.name)
        if version is None:
            version = self.version(table)
            if version is not None:
                self.read_versions[table.name] = version
        return version

    def _write(self, table: Table, frame: DataFrame, *, mode: str, options: dict[str, str]) -> int:
        counted = Observation()
        conformed = table.conform(frame).observe(counted, F.count(F.lit(1)).alias("rows"))
        writer = conformed.write.format("delta").mode(mode).options(**options).option("mergeSchema", "true")
        if self.version(table) is None:
            writer = writer.options(**_properties(table))
            if table.partition_by:
                writer = writer.partitionBy(*table.partition_by)
        self.sign()
        writer.save(self.path(table))
        self.moved(table)
        return int(counted.get["rows"])

    def _written_here(self, frame: DataFrame | pl.DataFrame) -> Path | None:
        """The storage root where this process writes the rows: those of a large lake's frames Spark writes."""
        return local_path(self.root) if self.is_small or isinstance(frame, pl.DataFrame) else None

    def _as_spark(self, frame: DataFrame | pl.DataFrame) -> DataFrame:
        return self.spark.createDataFrame(frame.to_arrow()) if isinstance(frame, pl.DataFrame) else frame

    def _staged(self, table: Table, frame: DataFrame | pl.DataFrame, writer: FileWriter) -> list[NewFile]:
        """The rows as files of the table that wait to be committed."""
        if isinstance(frame, pl.DataFrame):
            return writer.write_partitions(frame)
        if self.is_small:
            rows = pl.from_arrow(table.conform(frame).toArrow())
            assert isinstance(rows, pl.DataFrame)  # for mypy
            return writer.write_partitions(rows)
        return joined(table, written(table.conform(frame).mapInArrow(writer, WRITTEN)))

    def newest_files(self, table: Table) -> list[File]:
        """The files of the newest version, on a local disk: what a write changes."""
        version, place = self.version(table), local_path(self.path(table))
        return [] if version is None or place is None else files_of(place, version)

    def _with_all_columns(self, table: Table) -> Path:
        """The folder of a table that exists, which has all columns of its contract then. Raises ContractError where
        others differ.
        """
        place = local_path(self.path(table))
        if place is None:
            raise StorageError(f"{self.path(table)}: files can only be added on a local disk")
        if lacking(place, table):
            self._write(table, self.spark.createDataFrame([], table.schema), mode="append", options={})
        return place

    def _defaults(self) -> dict[str, str]:
        """Properties that the session gives to every new table (session.py lists them)."""
        return {f"delta.{name}": self.spark.conf.get(f"{_DEFAULTS}.{name}") for name in _PROPERTIES}  # type: ignore[misc]

    def _commit_files(self, table: Table, files: Sequence[NewFile], gone: Sequence[File]) -> int:
        """One commit, none where it would change nothing. Returns the rows of the files."""
        place = local_path(self.path(table))
        if self.version(table) is None and place is not None:
            create(place, table, files, _properties(table) | self._defaults(), self.run_id)
        elif files or gone:
            commit(self._with_all_columns(table), table, files, run_id=self.run_id, gone=gone)
        self.moved(table)
        return sum(f.rows for f in files)

    def forget(self, table: Table) -> None:
        """The next read takes the table's newest version."""
        self.read_versions.pop(table.name, None)

    def sign(self) -> None:
        """The next commit of Spark's names its run: what a dead run wrote can be undone (undo.py)."""
        self.spark.conf.set(_SIGNATURE, self.run_id)

    def moved(self, table: Table) -> None:
        """After a commit of this run: its next reads see the version that it made."""
        version = self.version(table)
        if version is None:
            raise StorageError(f"{self.path(table)}: written, but no version is found")
        self.read_versions[table.name] = self.written_versions[table.name] = version
        log.event("table written", run_id=self.run_id, table=table.name, version=version)
        if table in _GROWING:
            self._bytes = None


def _properties(table: Table) -> dict[str, str]:
    """Delta properties of a new table. Minimum and maximum of personal columns would stay in the log after a delete."""
    return {"delta.dataSkippingStatsColumns": ",".join(table.statistics_columns)}


def _predicate(values: Mapping[str, SliceValue]) -> str:
    return " AND ".join(f"{name} = {literal(value)}" for name, value in values.items())
