"""Deliveries of attributes: which files bring one, when, and which of them are a full snapshot.

Of users and items a file is a delivery, and a delivery is taken once: the same content under a new path, or modified
later, comes again and wins over what came in between (A, B, A ends at A).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from profiling_spark.config.sources import Source, path_time_pattern
from profiling_spark.ingest.files.ledger import Taken
from profiling_spark.ingest.files.source_files import EPOCH, SourceFile

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class Snapshot:
    """One delivery of a source whose files are the full list of its keys. `file_id`: that of its last file. `is_new`:
    false of one that an earlier run loaded, which ends what a late delivery brings.
    """

    source: str
    file_id: str
    first: datetime
    last: datetime
    is_new: bool = True


@dataclass
class Sorted:
    """`new`: files in the order of their deliveries, each with its time and an id of its own; `known`: were taken."""

    new: list[SourceFile] = field(default_factory=list)
    known: list[SourceFile] = field(default_factory=list)
    refused: list[SourceFile] = field(default_factory=list)


def deliveries(
    files: Iterable[SourceFile], ledger: Sequence[Taken], source: Source, *, started: datetime, timezone: str
) -> Sorted:
    """Sort out the files of one source of attributes. `timezone`: of times in paths, where the source has none."""
    files = list(files)
    of_source = [t for t in ledger if files and (t.key.source, t.key.target) == (files[0].source, files[0].target)]
    found, times = Sorted(), {}
    for file in files:
        if _is_taken(file, of_source):
            found.known.append(file)
            continue
        time = _time(file, source, started, timezone)
        problem = file.problem or ("" if time else _no_time(source))
        if time is None or problem:
            found.refused.append(replace(file, problem=problem, delivered_at=time))
        else:
            times[file.path] = time
            found.new.append(file)
    found.new.sort(key=lambda f: (times[f.path], f.modified_at or EPOCH, f.path))
    used = [t.delivered_at for t in of_source if t.delivered_at is not None]
    ids = {t.key.file_id for t in of_source}
    for n, file in enumerate(found.new):
        time = _next(times[file.path], used)
        used.append(time)
        found.new[n] = _delivered(file, time, ids)
        ids.add(found.new[n].file_id)
    return found


def _is_taken(file: SourceFile, taken: Iterable[Taken]) -> bool:
    before = [t.modified_at for t in taken if (t.content, t.path) == (file.file_id, file.path)]
    known = [time for time in before if time is not None]
    # of what the release before deliveries took no time is known
    return bool(before) and (len(known) < len(before) or file.modified_at is None or file.modified_at <= max(known))


def _time(file: SourceFile, source: Source, started: datetime, timezone: str) -> datetime | None:
    if source.delivered_at is None:
        return started.astimezone(UTC).replace(microsecond=0)
    pattern, form = path_time_pattern(source.delivered_at)
    matches = pattern.findall(file.path)
    if not matches:
        return None
    try:
        local = datetime.strptime(" ".join(matches[-1]), form)
    except ValueError:  # 2026-02-30
        return None
    return local.replace(tzinfo=ZoneInfo(source.timezone or timezone)).astimezone(UTC)


def _no_time(source: Source) -> str:
    return f"its path does not say when it was delivered: expected {source.delivered_at} (delivered_at) in it"


def _next(base: datetime, used: Collection[datetime]) -> datetime:
    """The first free microsecond of that second, after those that are taken."""
    same = [u for u in used if u.replace(microsecond=0) == base]
    return max(same) + _TICK if same else base


def _delivered(file: SourceFile, time: datetime, ids: Collection[str]) -> SourceFile:
    if file.file_id not in ids:
        return replace(file, delivered_at=time)
    text = f"{file.file_id} {file.path} {time.isoformat()}"
    own = hashlib.sha256(text.encode()).hexdigest()[:32]
    return replace(file, file_id=own, content_id=file.file_id, delivered_at=time)


def snapshots(
    files: Collection[SourceFile],
    refused: Collection[SourceFile],
    ledger: Iterable[Taken],
    sources: Mapping[str, Source],
) -> tuple[list[Snapshot], list[str]]:
    """(the full snapshots among the files, and those of the ledger that are later than one of them; notes on deliveries
    that end nothing since a file of theirs was refused).
    """
    by_delivery: dict[tuple[str, datetime], list[SourceFile]] = {}
    for file in files:
        if sources[file.source].snapshot and file.delivered_at is not None:
            by_delivery.setdefault((file.source, file.delivered_at.replace(microsecond=0)), []).append(file)
    found, notes = [], []
    for (source, base), parts in by_delivery.items():
        broken = [r.path for r in refused if r.source == source and r.delivered_at in (None, base)]
        if broken:
            notes.append(
                f"{source}: the snapshot of {base:%Y-%m-%d %H:%M:%S} UTC lacks {', '.join(broken)}: it ends nothing"
            )
            continue
        times = sorted((f.delivered_at, f.file_id) for f in parts if f.delivered_at is not None)
        found.append(Snapshot(source, times[-1][1], times[0][0], times[-1][0]))
    return [*found, *_later(found, files, ledger)], notes


def _later(new: Iterable[Snapshot], files: Iterable[SourceFile], ledger: Iterable[Taken]) -> list[Snapshot]:
    """Snapshots that earlier runs loaded and that follow a new one: these end what only the new one has."""
    first: dict[str, datetime] = {}
    for snapshot in new:
        first[snapshot.source] = min(snapshot.first, first.get(snapshot.source, snapshot.first))
    again = {f.key for f in files}
    by_delivery: dict[tuple[str, datetime], list[tuple[datetime, str]]] = {}
    for t in ledger:
        time, since = t.delivered_at, first.get(t.key.source)
        if time is not None and since is not None and time > since and t.key not in again:
            base = time.replace(microsecond=0)
            by_delivery.setdefault((t.key.source, base), []).append((time, t.key.file_id))
    return [
        Snapshot(source, max(parts)[1], min(parts)[0], max(parts)[0], is_new=False)
        for (source, _), parts in by_delivery.items()
    ]
