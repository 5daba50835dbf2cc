"""The ledger of files: claimed (`taking`) before anything is written, `done` after everything is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pyspark.sql import functions as F

from profiling_spark.contracts.silver import EVENTS, INGESTED_FILES, ITEMS, REJECTED_ROWS, REVIEWS, USERS
from profiling_spark.ingest.files import SourceFile
from profiling_spark.storage import Tables, literal

TAKING, DONE, REFUSED = "taking", "done", "refused"


@dataclass(frozen=True)
class Counts:
    """Rows of one file for one target; `read` is the sum of the others."""

    accepted: int = 0
    rejected: int = 0
    duplicate: int = 0
    ignored: int = 0
    superseded: int = 0

    @property
    def read(self) -> int:
        """All rows of the file."""
        return self.accepted + self.rejected + self.duplicate + self.ignored + self.superseded

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.accepted + other.accepted,
            self.rejected + other.rejected,
            self.duplicate + other.duplicate,
            self.ignored + other.ignored,
            self.superseded + other.superseded,
        )


def clear_unfinished(tables: Tables) -> list[str]:
    """Delete what runs wrote that died between claiming and finishing; returns their run_ids.

    The storage's lock is held, so a claim that stands is a dead one.
    """
    if not tables.exists(INGESTED_FILES):
        return []
    claims = tables.read(INGESTED_FILES).where(F.col("status") == TAKING).select("run_id").distinct().collect()
    dead = sorted(r["run_id"] for r in claims)
    if dead:
        mine = f"run_id IN ({', '.join(literal(r) for r in dead)})"
        for table in (EVENTS, USERS, ITEMS, REVIEWS, REJECTED_ROWS):
            tables.delete(table, mine)
        tables.delete(INGESTED_FILES, f"{mine} AND status = {literal(TAKING)}")
    return dead


def new_files(tables: Tables, files: Iterable[SourceFile]) -> tuple[list[SourceFile], int]:
    """(files whose content the ledger does not know as taken, how many it knows)."""
    rows = tables.read(INGESTED_FILES).where(F.col("status") == DONE).select("source", "file_id", "target_table")
    known = {(r["source"], r["file_id"], r["target_table"]) for r in rows.collect()}
    every = list(files)
    fresh = [f for f in every if (f.source, f.file_id, f.target) not in known]
    return fresh, len(every) - len(fresh)


def claim(tables: Tables, files: Iterable[SourceFile]) -> None:
    """Say which files this run takes, before anything is written."""
    files = list(files)
    if tables.exists(INGESTED_FILES):
        # a file that an earlier run refused gets one row again, with what this run makes of it
        old = tables.read(INGESTED_FILES).where(F.col("status") == REFUSED).select("file_id").distinct()
        again = {r["file_id"] for r in old.collect()} & {f.file_id for f in files}
        if again:
            listed = ", ".join(literal(i) for i in sorted(again))
            tables.delete(INGESTED_FILES, f"status = {literal(REFUSED)} AND file_id IN ({listed})")
    _append(tables, [_row(tables.run_id, f, TAKING, None) for f in files])


def finish(
    tables: Tables, files: Iterable[SourceFile], refused: Iterable[SourceFile], counts: Mapping[str, Counts]
) -> None:
    """One commit that says what became of them. `counts` by file_id and target, as in `count_key`."""
    rows = [_row(tables.run_id, f, DONE, counts.get(count_key(f), Counts())) for f in files]
    rows += [_row(tables.run_id, f, REFUSED, None) for f in refused]
    frame = tables.spark.createDataFrame(rows, INGESTED_FILES.schema).coalesce(1)
    tables.replace_where(INGESTED_FILES, frame, f"run_id = {literal(tables.run_id)}")


def count_key(file: SourceFile) -> str:
    """Key of a file's counts."""
    return f"{file.source}/{file.file_id}/{file.target}"


def _append(tables: Tables, rows: list[tuple[object, ...]]) -> None:
    tables.append(INGESTED_FILES, tables.spark.createDataFrame(rows, INGESTED_FILES.schema).coalesce(1))


def _row(run_id: str, file: SourceFile, status: str, counts: Counts | None) -> tuple[object, ...]:
    figures: tuple[int | None, ...] = (None,) * 6
    if counts is not None:
        figures = (
            counts.read,
            counts.accepted,
            counts.rejected,
            counts.duplicate,
            counts.ignored,
            counts.superseded,
        )
    reason = file.problem or None
    return (file.source, file.file_id, file.target, file.path, file.bytes, status, reason, *figures, run_id)
