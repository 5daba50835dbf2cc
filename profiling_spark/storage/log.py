"""The log of Delta tables on a local disk, read and written in this process: a commit of Spark's takes a second.

For `storage.Tables`. One process writes to a storage root at a time (`storage.locked`), so that no commit here can meet
another one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import deltalake
import polars as pl
from deltalake.exceptions import DeltaError
from deltalake.transaction import (
    AddAction,
    CommitProperties,
    PostCommitHookProperties,
    RemoveAction,
    create_table_with_add_actions,
)
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_schema

from profiling_spark.contracts.table import Table
from profiling_spark.errors import ContractError, StorageError
from profiling_spark.storage.files import FileWriter, NewFile, conformed, read_parquet
from profiling_spark.storage.paths import SliceValue

# without checkpoints each reader would go through all commits that a table ever had
_HOOKS = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)
# a text of this length or more may have been cut where it stands among a file's statistics
_CUT = 32


@dataclass(frozen=True)
class File:
    """A file of a stored table and its add action in the log, flat (`min.event_date`, `partition.user_bucket`, ...)."""

    path: str
    add_action: Mapping[str, Any]

    def in_slice(self, values: Mapping[str, SliceValue]) -> bool | None:
        """Whether its rows have these values: all of them, none of them, or (null) some or not known."""
        found = [self._has(name, value) for name, value in values.items()]
        return False if False in found else None if None in found else True

    def _has(self, name: str, value: SliceValue) -> bool | None:
        if f"partition.{name}" in self.add_action:
            return bool(self.add_action[f"partition.{name}"] == value)
        low, high = self.add_action.get(f"min.{name}"), self.add_action.get(f"max.{name}")
        if low is None or high is None or (isinstance(value, str) and max(len(low), len(high)) >= _CUT):
            return None
        if not low <= value <= high:
            return False
        return True if low == high and self.add_action.get(f"null_count.{name}") == 0 else None


def signed(run_id: str) -> CommitProperties:
    """What names the run of a commit in the log, under the name that Spark's commits have it under."""
    return CommitProperties(custom_metadata={"userMetadata": run_id})


def create(place: Path, table: Table, files: Sequence[NewFile], properties: Mapping[str, str], run_id: str) -> None:
    """A table of these files, which move into it, as Spark would make it."""
    adds = [_moved_into(place, table, file) for file in files]
    place.mkdir(parents=True, exist_ok=True)
    schema, parts = deltalake.Schema.from_json(table.schema.json()), list(table.partition_by)
    try:
        create_table_with_add_actions(
            str(place),
            schema,
            adds,
            partition_by=parts,
            configuration=dict(properties),
            commit_properties=signed(run_id),
        )
    except DeltaError as err:
        raise StorageError(f"{place}: cannot be made: {_first_line(err)}") from err


def lacking(place: Path, table: Table) -> set[str]:
    """Columns of the contract that the stored table lacks; raises ContractError where it holds another type."""
    want, have = (_types(text) for text in (table.schema.json(), deltalake.DeltaTable(place).schema().to_json()))
    wrong = {c: (t, have[c]) for c, t in want.items() if have.get(c, t) != t}
    if wrong:
        raise ContractError(f"{table.name}: (expected, stored) differs for {wrong}")
    return want.keys() - have.keys()


def _types(schema: str) -> dict[str, str]:
    """Type of each column of a schema's JSON, which Spark and Delta write alike."""
    return {f["name"]: f["type"] for f in json.loads(schema)["fields"]}


def stored_schema(place: Path, version: int) -> T.StructType:
    """The columns that a version has, whatever its contract says today."""
    return T.StructType.fromJson(json.loads(deltalake.DeltaTable(place, version=version).schema().to_json()))


def files_of(place: Path, version: int) -> list[File]:
    """The files of one version of a table."""
    actions = pl.DataFrame(deltalake.DeltaTable(place, version=version).get_add_actions(flatten=True))
    return [File(str(place.absolute() / row["path"]), row) for row in actions.rows(named=True)]


def not_needed(place: Path, *, keep_days: int) -> list[Path]:
    """Files that only versions older than `keep_days` (at least 7) need, and those of so old runs that died: what
    Delta's VACUUM would delete, found in milliseconds. A dry run, since a real one makes versions without any change.
    """
    table = deltalake.DeltaTable(place)
    # a table made while keep_days was larger would refuse
    found = table.vacuum(retention_hours=keep_days * 24, dry_run=True, enforce_retention_duration=False, full=True)
    return [file for name in found if (file := place / name).exists()]


def commit(place: Path, table: Table, files: Sequence[NewFile], *, gone: Sequence[File], run_id: str) -> None:
    """Move files into their table, add them to it and take the others out of it, in one commit."""
    now = time.time_ns() // 1_000_000
    actions: list[AddAction | RemoveAction] = [_moved_into(place, table, file) for file in files]
    for file in gone:
        parts = {c: _as_text(file.add_action[f"partition.{c}"]) for c in table.partition_by}
        actions.append(RemoveAction(file.add_action["path"], True, now, file.add_action["size_bytes"], parts))
    try:
        target = deltalake.DeltaTable(place)
        target.create_write_transaction(
            actions,
            mode="append",
            schema=target.schema(),
            partition_by=list(table.partition_by),
            commit_properties=signed(run_id),
            post_commithook_properties=_HOOKS,
        )
    except DeltaError as err:
        raise StorageError(f"{place}: its new files cannot be committed: {_first_line(err)}") from err


def _as_text(value: object) -> str | None:
    return None if value is None else str(value)


def rows_of(files: Sequence[File], table: Table) -> pl.DataFrame:
    """All rows of the files, the table's columns in order; null where a file is older than a column."""
    schema = to_arrow_schema(table.schema, timezone="UTC")
    parts = [
        read_parquet(f.path).with_columns(pl.lit(f.add_action[f"partition.{c}"]).alias(c) for c in table.partition_by)
        for f in files
    ]
    empty = pl.from_arrow(schema.empty_table())
    assert isinstance(empty, pl.DataFrame)  # for mypy
    return pl.concat([empty, *(conformed(part, schema) for part in parts)])


def others(files: Sequence[File], table: Table, values: Mapping[str, SliceValue], writer: FileWriter) -> list[NewFile]:
    """Of files that hold rows of a slice and others, the others, written anew."""
    outside = pl.any_horizontal(~pl.col(name).eq_missing(pl.lit(value)) for name, value in values.items())
    found = (rows_of([file], table).filter(outside) for file in files)
    return [new for rows in found for new in writer.write_partitions(rows)]


def replace_rows(place: Path, table: Table, rows: pl.DataFrame, predicate: str, run_id: str) -> None:
    """Put rows in the place of those for which the predicate holds, in one commit; files with others are rewritten."""
    schema = to_arrow_schema(table.schema, timezone="UTC")
    try:
        deltalake.write_deltalake(
            place,
            rows.to_arrow().cast(schema),
            mode="overwrite",
            predicate=predicate,
            commit_properties=signed(run_id),
            post_commithook_properties=_HOOKS,
        )
    except DeltaError as err:
        raise StorageError(f"{place}: its rows cannot be replaced: {_first_line(err)}") from err


def _first_line(err: DeltaError) -> str:
    """The lines after it can show rows."""
    return str(err).partition("\n")[0]


def _moved_into(place: Path, table: Table, file: NewFile) -> AddAction:
    name, values = Path(file.path).name, {}
    if table.partition_by:
        values = {table.partition_by[0]: file.partition}
        name = f"{table.partition_by[0]}={file.partition}/{name}"
    (place / name).parent.mkdir(parents=True, exist_ok=True)
    Path(file.path).rename(place / name)
    return AddAction(name, file.bytes, values, time.time_ns() // 1_000_000, True, file.statistics)
