"""`ingest --reload SOURCE`: all files of a source that are there are read again, after its mapping was mended.

Their rows replace those that the same files gave before. Rows of files that are no longer there stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

from profiling_spark.config import Settings
from profiling_spark.config.sources import Source
from profiling_spark.errors import InputError
from profiling_spark.ingest.changes import ToTake
from profiling_spark.ingest.files import SourceFile
from profiling_spark.ingest.ledger import Taken

_SHOWN = 3


def source_of(settings: Settings, name: str) -> dict[str, Source]:
    """The one source that is reloaded. Raises InputError where the settings have none of that name."""
    if name not in settings.sources:
        raise InputError(f"--reload {name}: expected a source of the settings: {', '.join(settings.sources)}")
    return {name: settings.sources[name]}


def take_again(todo: ToTake, found: Sequence[SourceFile], ledger: Sequence[Taken], name: str) -> None:
    """Add the files that were taken before, with what a person should know of those that are gone."""
    mine = {t.key: t for t in ledger if t.key.source == name}
    for file in found:
        if not file.problem and file.key in mine and file.key not in todo.again:
            todo.files.append(file)
            todo.again.add(file.key)
            todo.known -= 1
    absent = [t for key, t in mine.items() if key not in todo.again | todo.gone]
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
