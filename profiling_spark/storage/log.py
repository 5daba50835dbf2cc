"""The log of Delta tables, read and written in this process by delta-rs: a commit of Spark's takes a second.

For `storage.Tables`, where delta-rs can open the storage; `store` is a table's folder. One process writes to a storage
root at a time (`storage.locked`), so that no commit here can meet another one.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from profiling_spark.storage.stores import Store

# without checkpoints each reader would go through all commits that a table ever had
_HOOKS = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)
_COLOURS = re.compile(r"\x1b\[\d*m")
# a text of this length or more may have been cut where it stands among a file's statistics
_CUT = 32


@dataclass(frozen=True)
class File:
    """A file of a stored table and its add action in the log, flat (`min.event_date`, `partition.user_bucket`, ...).

    `name`: within the table's folder.
    """

    name: str
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
    """What names the run of a commit in the log, under the name that Spark's commits have it under.

    No second attempt: nobody else writes, so that what a commit would meet is itself, of which the answer was lost.
    """
    return CommitProperties(custom_metadata={"userMetadata": run_id}, max_commit_retries=0)


@contextmanager
def committing(store: Store, *, version: int | None, run_id: str, problem: str) -> Iterator[None]:
    """Around a commit by delta-rs to a table at this version (None: that is made by it). Raises StorageError with the
    problem, unless what failed was only the answer: then the next version is there and of this run.
    """
    try:
        yield
    except (DeltaError, OSError) as err:  # OSError: the storage refused it, or has no room
        if not _is_of(store, 0 if version is None else version + 1, run_id):
            raise StorageError(f"{store.root}: {problem}: {_described(err)}") from err


def _is_of(store: Store, version: int, run_id: str) -> bool:
    log = store.get(f"_delta_log/{version:020d}.json")
    actions = [json.loads(line) for line in (log or b"").decode().splitlines() if line]
    return any(a.get("commitInfo", {}).get("userMetadata") == run_id for a in actions)


def opened(store: Store, version: int | None = None) -> deltalake.DeltaTable:
    """A table of this store; a version of it, None for the newest."""
    return deltalake.DeltaTable(store.delta_uri, version=version, storage_options=dict(store.options) or None)


def create(store: Store, table: Table, files: Sequence[NewFile], properties: Mapping[str, str], run_id: str) -> None:
    """A table of these files, as Spark would make it."""
    if store.kind == "disk":
        Path(store.delta_uri).mkdir(parents=True, exist_ok=True)
    with committing(store, version=None, run_id=run_id, problem="cannot be made"):
        create_table_with_add_actions(
            store.delta_uri,
            deltalake.Schema.from_json(table.schema.json()),
            [_added(table, file) for file in files],
            partition_by=list(table.partition_by),
            configuration=dict(properties),
            storage_options=dict(store.options) or None,
            commit_properties=signed(run_id),
        )


def lacking(store: Store, table: Table) -> set[str]:
    """Columns of the contract that the stored table lacks; raises ContractError where it has another type."""
    want, have = (_types(text) for text in (table.schema.json(), opened(store).schema().to_json()))
    wrong = {c: (t, have[c]) for c, t in want.items() if have.get(c, t) != t}
    if wrong:
        raise ContractError(f"{table.name}: (expected, stored) differs for {wrong}")
    return want.keys() - have.keys()


def _types(schema: str) -> dict[str, str]:
    """Type of each column of a schema's JSON, which Spark and Delta write alike."""
    return {f["name"]: f["type"] for f in json.loads(schema)["fields"]}


def stored_schema(store: Store, version: int) -> T.StructType:
    """The columns that a version has, whatever its contract says today."""
    return T.StructType.fromJson(json.loads(opened(store, version).schema().to_json()))


def files_of(store: Store, version: int) -> list[File]:
    """The files of one version of a table."""
    actions = pl.DataFrame(opened(store, version).get_add_actions(flatten=True))
    return [File(row["path"], row) for row in actions.rows(named=True)]


def not_needed(store: Store, *, keep_days: int) -> list[str]:
    """Files that only versions older than `keep_days` (at least 7) need, and those of so old runs that died: what
    Delta's VACUUM would delete, found in milliseconds. A dry run, since a real one makes versions without any change.
    """
    # a table made while keep_days was larger would refuse
    found = opened(store).vacuum(
        retention_hours=keep_days * 24, dry_run=True, enforce_retention_duration=False, full=True
    )
    there = set(store.list(""))
    return [name for name in found if name in there]


def commit(store: Store, table: Table, files: Sequence[NewFile], *, gone: Sequence[File], run_id: str) -> None:
    """Add files to their table and take the others out of it, in one commit."""
    now = time.time_ns() // 1_000_000
    actions: list[AddAction | RemoveAction] = [_added(table, file) for file in files]
    for file in gone:
        parts = {c: _as_text(file.add_action[f"partition.{c}"]) for c in table.partition_by}
        actions.append(RemoveAction(file.add_action["path"], True, now, file.add_action["size_bytes"], parts))
    target = opened(store)
    problem = "its new files cannot be committed"
    with committing(store, version=target.version(), run_id=run_id, problem=problem):
        target.create_write_transaction(
            actions,
            mode="append",
            schema=target.schema(),
            partition_by=list(table.partition_by),
            commit_properties=signed(run_id),
            post_commithook_properties=_HOOKS,
        )


def _as_text(value: object) -> str | None:
    return None if value is None else str(value)


def rows_of(store: Store, files: Sequence[File], table: Table) -> pl.DataFrame:
    """All rows of the files, the table's columns in order; null where a file is older than a column."""
    schema = to_arrow_schema(table.schema, timezone="UTC")
    parts = [
        read_parquet(store, f.name).with_columns(
            pl.lit(f.add_action[f"partition.{c}"]).alias(c) for c in table.partition_by
        )
        for f in files
    ]
    empty = pl.from_arrow(schema.empty_table())
    assert isinstance(empty, pl.DataFrame)  # for mypy
    return pl.concat([empty, *(conformed(part, schema) for part in parts)])


def others(files: Sequence[File], values: Mapping[str, SliceValue], writer: FileWriter) -> list[NewFile]:
    """Of files that hold rows of a slice and others, the others, written anew."""
    outside = pl.any_horizontal(~pl.col(name).eq_missing(pl.lit(value)) for name, value in values.items())
    found = (rows_of(writer.store, [file], writer.contract).filter(outside) for file in files)
    return [new for rows in found for new in writer.write_partitions(rows)]


def replace_rows(store: Store, table: Table, rows: pl.DataFrame, predicate: str, run_id: str) -> None:
    """Put rows in the place of those for which the predicate holds, in one commit; files with others are rewritten."""
    schema = to_arrow_schema(table.schema, timezone="UTC")
    target = opened(store)
    with committing(store, version=target.version(), run_id=run_id, problem="its rows cannot be replaced"):
        deltalake.write_deltalake(
            target,
            rows.to_arrow().cast(schema),
            mode="overwrite",
            predicate=predicate,
            commit_properties=signed(run_id),
            post_commithook_properties=_HOOKS,
        )


def _described(err: Exception) -> str:
    """Of Delta's errors the first line: those after it can show rows. Of the storage's all, whose cause comes last."""
    if isinstance(err, OSError):
        return " ".join(_COLOURS.sub("", str(err)).split())
    return str(err).partition("\n")[0]


def _added(table: Table, file: NewFile) -> AddAction:
    values = {table.partition_by[0]: file.partition} if table.partition_by else {}
    return AddAction(file.name, file.bytes, values, time.time_ns() // 1_000_000, True, file.statistics)
