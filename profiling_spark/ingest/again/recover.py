"""What a run leaves behind that died between its claim and the end of its ledger: undone as if it had never begun.

Its claim names the version of every table before it; they are restored, so that rows which it had replaced come back,
whether its source files are still there or not. The ledger is restored last: until then the claim stands, and a
recovery that dies is done again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import polars as pl

from profiling_spark.context import Context
from profiling_spark.contracts.operations import QUALITY_METRICS, SOURCE_SETTINGS
from profiling_spark.contracts.silver import EVENTS, INGESTED_FILES, ITEMS, REJECTED_ROWS, REVIEWS, USERS
from profiling_spark.ingest.files.ledger import REPLAY, TAKING, of_files
from profiling_spark.ingest.files.source_files import FileKey
from profiling_spark.storage import Tables, literal
from profiling_spark.storage.undo import Versions, commits_of_rows, discard_files, restore, why_not

# every table that an ingest or a replay writes between its claim and its end; the ledger last
WRITTEN = (EVENTS, USERS, ITEMS, REVIEWS, REJECTED_ROWS, QUALITY_METRICS, SOURCE_SETTINGS, INGESTED_FILES)

# a commit whose rows are written takes less
_QUIET_SECONDS = 2


@dataclass(frozen=True)
class Cleared:
    """Runs that were undone; `loss`: why rows that they had replaced were not restored, empty where they were."""

    runs: tuple[str, ...] = ()
    loss: str = ""

    @property
    def text(self) -> str:
        """What a person should know."""
        done = f"cleared what unfinished runs had written: {', '.join(self.runs)}"
        if not self.loss:
            return done
        return f"{done}; rows that they had replaced could not be restored ({self.loss}): take their sources again"


def versions_before(tables: Tables) -> dict[str, int | None]:
    """The version of every table that the run will write, for its claim."""
    return {table.name: tables.version(table) for table in WRITTEN}


@contextmanager
def undone_on_failure(ctx: Context) -> Iterator[str]:
    """The versions for the claim. A run that fails in here is undone at once, since nobody else can have written; a
    process that is killed leaves it to the next run.
    """
    before = versions_before(ctx.tables)
    try:
        yield json.dumps(before)
    except BaseException as err:
        _undo_own(ctx, before, interrupted=not isinstance(err, Exception))
        raise


def _undo_own(ctx: Context, before: dict[str, int | None], *, interrupted: bool) -> None:
    versions = _by_table([before])
    try:
        if interrupted:
            # Spark goes on with what it was asked to do: no commit of its may come after the undoing
            ctx.spark.sparkContext.cancelAllJobs()
            time.sleep(_QUIET_SECONDS)
        # the claim is the first commit, the end the second: then the run is complete, whatever came after
        if commits_of_rows(ctx.tables, INGESTED_FILES, before[INGESTED_FILES.name]) > 1:
            return
        problem = why_not(ctx.tables, versions, [ctx.run_id])
        if not problem:
            restore(ctx.tables, versions, ctx.run_id)
            discard_files(ctx.tables, versions, [ctx.run_id])
    except Exception as err:  # what failed the run may fail this too; the error of the run is the one to report
        problem = type(err).__name__
    if problem:
        ctx.note(f"what this run had written stays until the next ingest clears it ({problem})")


def clear_unfinished(tables: Tables) -> Cleared:
    """Undo the runs that died between claiming and finishing: this one alone may write now, so a claim that stands is a
    dead one.
    """
    if not tables.exists(INGESTED_FILES):
        return Cleared()
    claims = tables.rows(INGESTED_FILES).filter(pl.col("status") == TAKING).to_dicts()
    dead = sorted({c["run_id"] for c in claims})
    if not dead:
        return Cleared()
    loss = "claimed by an earlier release"
    if all(c["versions"] for c in claims):
        versions = _by_table([json.loads(c["versions"]) for c in claims])
        loss = why_not(tables, versions, dead)
        if not loss:
            restore(tables, versions, dead[0])
            discard_files(tables, versions, dead)
    if loss:
        _delete_rows(tables, claims, dead)
    return Cleared(tuple(dead), loss)


def _by_table(before: Sequence[dict[str, int | None]]) -> Versions:
    """The version of each table before the first of the runs. A table that a claim does not name was not written."""
    found: dict[str, list[int | None]] = {}
    for versions in before:
        for name, version in versions.items():
            found.setdefault(name, []).append(version)
    return {
        table: None if None in found[table.name] else min(v for v in found[table.name] if v is not None)
        for table in WRITTEN
        if table.name in found
    }


def _delete_rows(tables: Tables, claims: Sequence[Mapping[str, Any]], dead: Collection[str]) -> None:
    """Where versions cannot be restored: delete by run and by file. Rows that the runs replaced do not come back."""
    replays = {c["run_id"] for c in claims if c["file_id"].startswith(REPLAY)}
    of_dead_runs = _of_runs(dead)
    tables.delete(QUALITY_METRICS, of_dead_runs)
    # by file too: of a file that was taken again the older rows may still be there
    keys = [FileKey(c["source"], c["file_id"], c["target_table"]) for c in claims]
    tables.delete(REJECTED_ROWS, f"{of_dead_runs} OR {of_files(keys)}")
    for table in (EVENTS, REVIEWS):
        files = of_files((k for k in keys if k.target == table.name), table_column=False)
        tables.delete(table, f"{of_dead_runs} OR {files}")
    # of a replay these stay: a row may stand for an older one that no file will bring again, and when the replay is
    # run again it knows them for its own
    for table in (USERS, ITEMS):
        tables.delete(table, _of_runs([r for r in dead if r not in replays]))
    if replays:
        tables.update(REJECTED_ROWS, _of_runs(sorted(replays), "replayed_by"), {"replayed_by": "null"})
    tables.delete(INGESTED_FILES, f"{of_dead_runs} AND status = {literal(TAKING)}")


def _of_runs(run_ids: Collection[str], column: str = "run_id") -> str:
    return f"{column} IN ({', '.join(literal(r) for r in run_ids)})" if run_ids else "false"
