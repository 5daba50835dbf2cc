"""The ledger of files: claimed (`taking`) before anything is written, `done` after everything is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime

import polars as pl

from profiling_spark.contracts.silver import INGESTED_FILES
from profiling_spark.errors import StorageError
from profiling_spark.ingest.files.source_files import FileKey, SourceFile
from profiling_spark.storage import Tables, as_frame, literal

TAKING, DONE, REFUSED = "taking", "done", "refused"
REPLAY, _AGAIN = "replay/", "taken again"


@dataclass(frozen=True)
class Counts:
    """Rows of one file for one target; `read` is the sum of them but `ended`, which no file brought."""

    accepted: int = 0
    rejected: int = 0
    duplicate: int = 0
    ignored: int = 0
    superseded: int = 0
    ended: int = 0

    @property
    def read(self) -> int:
        """All rows of the file."""
        return self.accepted + self.rejected + self.duplicate + self.ignored + self.superseded

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True)
class Taken:
    """What the ledger knows of a file that was taken."""

    key: FileKey
    path: str
    bytes: int
    counts: Counts
    run_id: str
    content_id: str = ""
    modified_at: datetime | None = None
    delivered_at: datetime | None = None
    etag: str = ""

    @property
    def content(self) -> str:
        """Fingerprint of its content."""
        return self.content_id or self.key.file_id


def of_files(keys: Iterable[FileKey], *, table_column: bool = True) -> str:
    """SQL that is true for rows of these files; without `table_column` for a table that holds one target only."""
    parts = []
    for key in sorted(set(keys)):
        part = f"source = {literal(key.source)} AND file_id = {literal(key.file_id)}"
        parts.append(f"({part} AND target_table = {literal(key.target)})" if table_column else f"({part})")
    return " OR ".join(parts) or "false"


def taken(tables: Tables) -> list[Taken]:
    """Every file that was taken to its end."""
    return [
        Taken(
            FileKey(r["source"], r["file_id"], r["target_table"]),
            r["path"],
            r["bytes"],
            Counts(*(r[f"rows_{f.name}"] or 0 for f in fields(Counts))),
            r["run_id"],
            r["content_id"] or "",
            r["modified_at"],
            r["delivered_at"],
            r["etag"] or "",
        )
        for r in tables.rows(INGESTED_FILES).filter(pl.col("status") == DONE).iter_rows(named=True)
    ]


def known_contents(taken: Iterable[Taken], source: str) -> dict[tuple[str, int, str], str]:
    """Of a source's files, those that need not be read to be known (see `source_files`)."""
    return {(t.path, t.bytes, t.etag): t.content for t in taken if t.etag and t.key.source == source}


def seen_again(taken: Iterable[Taken], found: Iterable[SourceFile]) -> dict[FileKey, str]:
    """Etags of files that were read though they had been taken, so that the next run need not read them."""
    here = {(f.source, f.target, f.path, f.file_id): f.etag for f in found if f.etag}
    etags = {t.key: here.get((t.key.source, t.key.target, t.path, t.content), "") for t in taken}
    return {t.key: etags[t.key] for t in taken if etags[t.key] not in ("", t.etag)}


def delivery_times(taken: Iterable[Taken], target: str) -> dict[tuple[str, str], datetime]:
    """delivered_at by (source, file_id) of a target's files; of the release before deliveries, the start of the run
    that took the file.
    """
    times = {}
    for t in taken:
        if t.key.target == target:
            time = t.delivered_at or run_start(t.run_id)
            if time is not None:
                times[t.key.source, t.key.file_id] = time
    return times


def run_start(run_id: str) -> datetime | None:
    """When a run started, with which its run_id begins; None where it does not."""
    try:
        return datetime.strptime(run_id[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def claim(tables: Tables, files: Iterable[SourceFile], *, versions: str, again: Collection[FileKey] = ()) -> None:
    """Record which files this run takes, before anything is written. `again`: those of them that were taken before;
    `versions`: what `recover.undo` needs should the run die.

    Raises StorageError where another run has one of the others.
    """
    # a file that an earlier run refused gets one row again, with what this run makes of it
    reasons = ((f, _AGAIN if f.key in again else f.problem) for f in files)
    _claim(tables, [_row(tables.run_id, f, TAKING, None, reason, versions) for f, reason in reasons])


def claim_replay(tables: Tables, keys: Iterable[FileKey], run_id: str, *, versions: str) -> None:
    """Record that this run replays another's refused rows."""
    targets = sorted({(k.source, k.target) for k in keys})
    files = [SourceFile(source, target, run_id, run_id, f"{REPLAY}{run_id}", 0) for source, target in targets]
    _claim(tables, [_row(tables.run_id, f, TAKING, None, "", versions) for f in files])


def _claim(tables: Tables, rows: list[tuple[object, ...]]) -> None:
    """One run writes at a time: between the look and the commit no other one claims."""
    if not tables.exists(INGESTED_FILES):
        tables.append_rows(INGESTED_FILES, rows)
        return
    new = as_frame(INGESTED_FILES, rows)
    both = tables.rows(INGESTED_FILES).join(new, on=list(INGESTED_FILES.key), suffix="_new")
    is_again = (pl.col("status") == DONE) & (pl.col("reason_new") == _AGAIN)
    is_free = (pl.col("status") == REFUSED) | is_again.fill_null(value=False)
    busy = both.filter(~is_free).height
    if busy:
        raise StorageError(f"storage {tables.root}: another run has taken {busy} of the same files")
    keys = [FileKey(*key) for key in both.select("source", "file_id", "target_table").rows()]
    tables.replace_rows(INGESTED_FILES, rows, f"run_id = {literal(tables.run_id)} OR {of_files(keys)}")


def finish(
    tables: Tables,
    files: Iterable[SourceFile],
    refused: Iterable[SourceFile],
    counts: Mapping[FileKey, Counts],
    *,
    gone: Collection[FileKey] = (),
    etags: Mapping[FileKey, str] | None = None,
) -> None:
    """One commit that records what became of them, and forgets the files that are `gone`.

    `counts` of files that earlier runs took are added to what the ledger has of them; `etags` are new ones of such.
    """
    files = list(files)
    rows = [_row(tables.run_id, f, DONE, counts.get(f.key, Counts()), f.problem) for f in files]
    rows += [_row(tables.run_id, f, REFUSED, None, f.problem) for f in refused]
    finished = {f.key for f in files} | set(gone)
    etags = etags or {}
    changed = {*counts, *etags} - finished
    for before in taken(tables) if changed else ():
        if before.key in changed:
            file = SourceFile(
                before.key.source,
                before.key.target,
                before.path,
                "",
                before.key.file_id,
                before.bytes,
                content_id=before.content_id or None,
                modified_at=before.modified_at,
                delivered_at=before.delivered_at,
                etag=etags.get(before.key, before.etag),
            )
            added = counts.get(before.key, Counts())
            rows.append(_row(before.run_id, file, DONE, before.counts + added, ""))
    tables.replace_rows(INGESTED_FILES, rows, f"run_id = {literal(tables.run_id)} OR {of_files({*changed, *gone})}")


def _row(
    run_id: str, file: SourceFile, status: str, counts: Counts | None, reason: str, versions: str | None = None
) -> tuple[object, ...]:
    figures: tuple[int | None, ...] = (None,) * 7
    if counts is not None:
        figures = (
            counts.read,
            counts.accepted,
            counts.rejected,
            counts.duplicate,
            counts.ignored,
            counts.superseded,
            counts.ended,
        )
    modified = file.modified_at if file.delivered_at is not None else None  # of others only the content counts
    delivery = (file.content_id, modified, file.delivered_at, file.etag or None)
    known = (file.source, file.file_id, file.target, file.path, file.bytes, status, reason or None)
    return (*known, *figures, *delivery, versions, run_id)
