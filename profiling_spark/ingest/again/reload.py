"""Reload: all files of a source that are there are read again, after its mapping was mended.

Their rows replace those that the same files gave before. Rows of files that are no longer there stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from profiling_spark.config import Settings
from profiling_spark.config.sources import Source
from profiling_spark.errors import InputError
from profiling_spark.ingest.files.changes import ToTake, as_taken
from profiling_spark.ingest.files.deliveries import snapshots
from profiling_spark.ingest.files.ledger import Taken
from profiling_spark.ingest.files.source_files import EPOCH, SourceFile

_SHOWN = 3


def source_of(settings: Settings, name: str) -> dict[str, Source]:
    """The one source that is reloaded. Raises InputError where the settings have none of that name."""
    if name not in settings.sources:
        raise InputError(f"reload of {name}: expected a source of the settings: {', '.join(settings.sources)}")
    return {name: settings.sources[name]}


def take_again(
    todo: ToTake, found: Sequence[SourceFile], ledger: Sequence[Taken], sources: Mapping[str, Source], name: str
) -> None:
    """Add the files that were taken before, with what a person should know of those that are gone."""
    of_source = {t.key: t for t in ledger if t.key.source == name}
    # deliveries of attributes are known by their path too; of several of one file the last is read again
    by_place = {(t.content, t.path): t for t in sorted(of_source.values(), key=lambda t: t.delivered_at or EPOCH)}
    for file in found:
        before = by_place.get((file.file_id, file.path)) if sources[name].has_versions else of_source.get(file.key)
        if not file.problem and before is not None and before.key not in todo.again:
            todo.files.append(as_taken(file, before))
            todo.again.add(before.key)
            todo.known -= 1
    todo.snapshots, _ = snapshots(todo.files, todo.refused, ledger, sources)
    absent = [t for key, t in of_source.items() if key not in todo.again | todo.gone]
    rows = sum(t.counts.accepted for t in absent)
    for taken in absent[:_SHOWN]:
        todo.notes.append(f"{taken.path}: no longer there as it was taken, its {taken.counts.accepted:,} rows stay")
    if len(absent) > _SHOWN:
        todo.notes.append(f"{name}: {len(absent):,} files are no longer there, their {rows:,} rows stay")
    repeats = sum(t.counts.duplicate + t.counts.superseded for t in absent)
    if repeats:
        todo.notes.append(
            f"{name}: {repeats:,} rows of files that are no longer there were repeats, some perhaps of rows that are "
            "mapped differently now; they cannot be brought back"
        )
