"""Tables as they were before a run that died: restored, if nothing but its own commits came since."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from delta.tables import DeltaTable

from profiling_spark.contracts.table import Table
from profiling_spark.storage.file_writes import discard_files as discard_of
from profiling_spark.storage.log import committing, files_of, opened, signed
from profiling_spark.storage.stores import Store
from profiling_spark.storage.tables import Tables

Versions = Mapping[Table, int | None]
"""The version of each table before the run; None: there was no such table."""


@dataclass(frozen=True)
class _Commit:
    version: int
    run_id: str | None
    changes_rows: bool
    added: frozenset[str]


def why_not(tables: Tables, versions: Versions, runs: Collection[str]) -> str:
    """Why the tables cannot be brought back to their versions, empty where they can: a commit of another run came
    since, or a file of the version is there no more.
    """
    for table, version in versions.items():
        commits = _commits_after(tables, table, version)
        if commits is None:
            return f"the log of {table.name} no longer tells what came since version {version}"
        strange = [c for c in commits if c.changes_rows and c.run_id not in runs]
        if strange:
            by = strange[0].run_id or "a run that did not sign it"
            return f"version {strange[0].version} of {table.name} is of {by}"
        if any(c.changes_rows for c in commits) and (gone := _files_gone(tables, table, version)):
            return f"{gone} files of version {version} of {table.name} are there no more"
    return ""


def commits_of_rows(tables: Tables, table: Table, version: int | None) -> int:
    """How many commits after a version changed rows."""
    return sum(c.changes_rows for c in _commits_after(tables, table, version) or ())


def restore(tables: Tables, versions: Versions, run_id: str) -> None:
    """Bring the tables back, one commit a table, in their order. Can be repeated: a run that dies here leaves some
    tables restored, by commits in the name of the dead run (`run_id`), which the next one undoes as its own.
    """
    for table, version in versions.items():
        if commits_of_rows(tables, table, version):
            _restore(tables, table, version, run_id)


def discard_files(tables: Tables, versions: Versions, runs: Collection[str]) -> None:
    """Delete what dead runs wrote and did not commit; what a commit named stays, as readers may be at its version."""
    for table, version in versions.items():
        commits = _commits_after(tables, table, version)
        if commits is not None:
            discard_of(tables, list(runs), table, but={name for c in commits for name in c.added})


def _restore(tables: Tables, table: Table, version: int | None, run_id: str) -> None:
    # in the name of the dead run
    writer = Tables(tables.session, tables.root, run_id=run_id, check=tables.check)
    with writer.committing(table, by_spark=not tables.has_files):
        if not tables.has_files:
            target = DeltaTable.forPath(tables.spark, tables.path(table))
            _ = target.delete() if version is None else target.restoreToVersion(version)
        else:
            _restore_by_files(tables.folder_of(table), version, run_id)
    tables.forget(table)


def _restore_by_files(store: Store, version: int | None, run_id: str) -> None:
    target = opened(store)
    with committing(store, version=target.version(), run_id=run_id, problem="cannot be restored"):
        if version is None:
            target.delete(commit_properties=signed(run_id))
        else:
            target.restore(version, commit_properties=signed(run_id))


def _commits_after(tables: Tables, table: Table, version: int | None) -> list[_Commit] | None:
    """Commits after a version in their order; None where the log no longer has them all."""
    newest = tables.version(table)
    if newest is None:
        return [] if version is None else None
    store, first = tables.folder_of(table), 0 if version is None else version + 1
    logs = {n: store.get(f"_delta_log/{n:020d}.json") for n in range(first, newest + 1)}
    return None if None in logs.values() else [_of_log(n, log) for n, log in logs.items() if log is not None]


def _of_log(version: int, log: bytes) -> _Commit:
    actions = [json.loads(line) for line in log.decode().splitlines() if line]
    info: dict[str, str] = next((a["commitInfo"] for a in actions if "commitInfo" in a), {})
    moved = [a[kind] for a in actions for kind in ("add", "remove") if kind in a]
    added = frozenset(a["add"]["path"] for a in actions if "add" in a)
    return _Commit(version, info.get("userMetadata"), any(m.get("dataChange", True) for m in moved), added)


def _files_gone(tables: Tables, table: Table, version: int | None) -> int:
    """Files of a version that were deleted since; known where delta-rs can open the table."""
    if not tables.has_files or version is None:
        return 0
    store = tables.folder_of(table)
    return len({f.name for f in files_of(store, version)} - set(store.list("")))
