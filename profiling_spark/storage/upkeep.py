"""How large tables are, and what they reach to; fewer and larger files, and none that nothing needs."""

from __future__ import annotations

from dataclasses import dataclass

from delta.tables import DeltaTable
from pyspark.sql import functions as F

from profiling_spark.contracts.table import Table
from profiling_spark.errors import StorageError
from profiling_spark.storage.log import not_needed
from profiling_spark.storage.tables import Tables


@dataclass(frozen=True)
class Size:
    """How large a table is on its storage."""

    files: int
    bytes: int


def size(tables: Tables, table: Table) -> Size:
    """Of the table's newest version."""
    files = tables.newest_files(table)
    if files or tables.has_files:
        return Size(len(files), sum(int(f.add_action["size_bytes"]) for f in files))
    row = DeltaTable.forPath(tables.spark, tables.path(table)).detail().select("numFiles", "sizeInBytes").first()
    if row is None:
        raise StorageError(f"{tables.path(table)}: has no version")
    return Size(int(row["numFiles"]), int(row["sizeInBytes"]))


def greatest(tables: Tables, table: Table, column: str) -> object:
    """The greatest value of a column that has statistics, at the pinned version; None where there is no row.

    Without Spark where delta-rs can open the table: the log has it by file.
    """
    files = [f for f in tables.files(table) if f.add_action["num_records"]]
    found = [f.add_action.get(f"max.{column}") for f in files]
    if found and None not in found:
        return max(found)  # type: ignore[type-var]
    row = tables.read(table).agg(F.max(column).alias("greatest")).first()
    return None if row is None else row["greatest"]


def remove_staged(tables: Tables) -> None:
    """Delete what a run of an earlier release left that died: it staged rows in a folder beside the tables."""
    tables.check()
    tables.store.delete(tables.store.list("_staging"))


def compact(tables: Tables, table: Table, *, file_bytes: int, order_by: str | None) -> None:
    """Rewrite small files as large ones, in one commit that changes no row; with `order_by`, all files, sorted."""
    spark = tables.spark
    spark.conf.set("spark.databricks.delta.optimize.maxFileSize", str(file_bytes))
    spark.conf.set("spark.databricks.delta.optimize.minFileSize", str(file_bytes))
    with tables.committing(table, by_spark=True):
        optimize = DeltaTable.forPath(spark, tables.path(table)).optimize()
        if order_by is None:
            optimize.executeCompaction()
        else:
            optimize.executeZOrderBy(order_by)


def remove_old_files(tables: Tables, table: Table, *, keep_days: int) -> None:
    """Delete files that only versions older than `keep_days` need: those versions can no longer be read."""
    tables.check()
    if not tables.has_files:
        DeltaTable.forPath(tables.spark, tables.path(table)).vacuum(keep_days * 24)
        return
    store = tables.folder_of(table)
    store.delete(not_needed(store, keep_days=keep_days))
