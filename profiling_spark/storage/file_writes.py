"""Commits of files that tasks or this process have written, for `storage.Tables`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import polars as pl
from pyspark.sql import DataFrame

from profiling_spark.contracts.table import Table
from profiling_spark.errors import StorageError
from profiling_spark.storage.files import FileWriter, NewFile, discard, joined
from profiling_spark.storage.log import File, commit, create, lacking
from profiling_spark.storage.outputs import Part, Passed
from profiling_spark.storage.stores import Store

if TYPE_CHECKING:
    from profiling_spark.storage.tables import Rows, Tables

_DEFAULTS = "spark.databricks.delta.properties.defaults"
_PROPERTIES = ("enableDeletionVectors", "checkpointPolicy", "deletedFileRetentionDuration")


def writer(tables: Tables, table: Table) -> FileWriter:
    """Of the run's files of a table."""
    return FileWriter(table, tables.folder_of(table), tables.run_id)


def new_files(tables: Tables, table: Table, rows: Rows) -> Sequence[NewFile]:
    """The rows as files of the table that wait to be committed."""
    if isinstance(rows, Part):
        return rows.files or ()
    if isinstance(rows, DataFrame) and not tables.is_small:
        output = tables.output(rows=table)
        done = table.conform(rows).mapInArrow(Passed(output), output.schema)
        return joined(writer(tables, table), tables.staged(output, done).parts["rows"].files or ())
    frame = rows if isinstance(rows, pl.DataFrame) else pl.from_arrow(table.conform(rows).toArrow())
    assert isinstance(frame, pl.DataFrame)  # for mypy
    return writer(tables, table).write_partitions(frame)


def joined_files(tables: Tables, table: Table, rows: Rows) -> list[NewFile]:
    """`new_files`, of each partition one where they are small."""
    return joined(writer(tables, table), new_files(tables, table, rows))


def commit_files(tables: Tables, table: Table, files: Sequence[NewFile], gone: Sequence[File]) -> int:
    """One commit, none where it would change nothing. Returns the rows of the files."""
    is_new = tables.version(table) is None
    if not (is_new or files or gone):
        tables.moved(table)
        return 0
    store = tables.folder_of(table) if is_new else with_all_columns(tables, table)
    with tables.committing(table):
        if is_new:
            create(store, table, files, properties(table) | _defaults(tables), tables.run_id)
        else:
            commit(store, table, files, run_id=tables.run_id, gone=gone)
        tables.committed_files.update(f.name for f in files)
    return sum(f.rows for f in files)


def with_all_columns(tables: Tables, table: Table) -> Store:
    """The folder of a table that exists, which has all columns of its contract then. Raises ContractError where others
    differ.
    """
    store = tables.folder_of(table)
    if lacking(store, table):
        empty = tables.spark.createDataFrame([], table.schema)
        tables.write_by_spark(table, empty, mode="append", options={})
    return store


@contextmanager
def discarding(tables: Tables, *written: Table) -> Iterator[None]:
    """Where a write fails its new files go: no version names them."""
    try:
        yield
    except Exception:
        with suppress(StorageError):  # what failed the write may fail this too; its error is the one to report
            discard_files(tables, [tables.run_id], *written)
        raise


def discard_files(tables: Tables, run_ids: Sequence[str], *written: Table, but: Collection[str] = ()) -> None:
    """Delete the files of these runs that no version names: neither the newest nor one that this run has made, nor a
    commit that named those of `but`.
    """
    for table in written if tables.has_files else ():
        named = {f.name for f in tables.newest_files(table)} | tables.committed_files | set(but)
        discard(tables.folder_of(table), run_ids, but=named)


def properties(table: Table) -> dict[str, str]:
    """Delta properties of a new table. Minimum and maximum of personal columns would stay in the log after a delete."""
    return {"delta.dataSkippingStatsColumns": ",".join(table.statistics_columns)}


def _defaults(tables: Tables) -> dict[str, str]:
    """Properties that the session gives to every new table (session.py lists them)."""
    conf = tables.spark.conf
    return {f"delta.{name}": conf.get(f"{_DEFAULTS}.{name}") for name in _PROPERTIES}  # type: ignore[misc]
