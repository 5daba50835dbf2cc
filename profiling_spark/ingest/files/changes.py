"""Which of the files found are new, known, changed since they were taken, or to be taken again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from pyspark.sql import SparkSession

from profiling_spark.config.sources import Source
from profiling_spark.ingest.files.contents import begins_with, content_of
from profiling_spark.ingest.files.deliveries import Snapshot, deliveries, snapshots
from profiling_spark.ingest.files.ledger import Taken
from profiling_spark.ingest.files.source_files import FileKey, SourceFile, distinct_files


@dataclass
class ToTake:
    """`files` are read; `again`: those of them that were taken before. The rows of `gone` are replaced."""

    files: list[SourceFile] = field(default_factory=list)
    refused: list[SourceFile] = field(default_factory=list)
    known: int = 0
    again: set[FileKey] = field(default_factory=set)
    gone: set[FileKey] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)

    def old(self, target: str) -> frozenset[FileKey]:
        """Files whose stored rows of a target are replaced."""
        return frozenset(k for k in self.again | self.gone if k.target == target)


def sort_out(
    found: Sequence[SourceFile],
    ledger: Sequence[Taken],
    sources: Mapping[str, Source],
    *,
    started: datetime,
    timezone: str = "UTC",
    spark: SparkSession | None = None,
) -> ToTake:
    """What to do with each file: of equal contents one is read, a known content is not read, a changed file is handled
    as its source says. Of attributes it is deliveries that are taken once (see `deliveries`). `spark`: reaches what is
    on no local disk.
    """
    plain = [f for f in found if not sources[f.source].has_versions]
    readable, repeated = distinct_files(f for f in plain if not f.problem)
    refused, _ = distinct_files(f for f in plain if f.problem)
    todo = ToTake(refused=refused, known=len(repeated))
    known, here = {t.key: t for t in ledger}, {f.key for f in plain}
    for file in readable:
        if file.key in known:
            todo.known += 1
            continue
        # a file whose old content lies under another name now was rotated, not changed
        before = [t for t in ledger if _same_place(t, file) and t.key not in here]
        _take(todo, file, before, sources[file.source], spark)
    _add_those_with_repeats(todo, {f.key: f for f in readable}, ledger, {f.source for f in plain})
    for name in dict.fromkeys(f.source for f in found if sources[f.source].has_versions):
        of_source = [f for f in found if f.source == name]
        _take_deliveries(todo, of_source, ledger, sources[name], started, timezone, spark)
    todo.snapshots, notes = snapshots(todo.files, todo.refused, ledger, sources)
    todo.notes += notes
    return todo


def _take(todo: ToTake, file: SourceFile, before: Sequence[Taken], source: Source, spark: SparkSession | None) -> None:
    policy = source.when_changed if before else "add"
    if policy == "refuse":
        todo.refused.append(replace(file, problem=_changed(file, before, spark)))
        return
    todo.files.append(file)
    if policy == "take_again":
        todo.gone.update(t.key for t in before)
        todo.notes.append(f"{file.path}: {_how(file, before, spark)}, taken again")


def _take_deliveries(
    todo: ToTake,
    files: Sequence[SourceFile],
    ledger: Sequence[Taken],
    source: Source,
    started: datetime,
    timezone: str,
    spark: SparkSession | None,
) -> None:
    found = deliveries(files, ledger, source, started=started, timezone=timezone)
    todo.known += len(found.known)
    todo.refused += found.refused
    for file in found.new:
        content = file.content_id or file.file_id
        before = [t for t in ledger if _same_place(t, file) and t.content != content]
        _take(todo, file, before, source, spark)
    stand = {(t.content, t.path): t for t in ledger if t.key.source == files[0].source}
    again = {t.key: as_taken(f, t) for f in found.known if (t := stand.get((f.file_id, f.path))) is not None}
    _add_those_with_repeats(todo, again, ledger, {files[0].source})


def as_taken(file: SourceFile, before: Taken) -> SourceFile:
    """A known file under the id and the time that the ledger has."""
    return replace(
        file,
        file_id=before.key.file_id,
        content_id=before.content_id or None,
        delivered_at=before.delivered_at,
    )


def _same_place(taken: Taken, file: SourceFile) -> bool:
    return (taken.key.source, taken.key.target, taken.path) == (file.source, file.target, file.path)


def _add_those_with_repeats(
    todo: ToTake, here: Mapping[FileKey, SourceFile], ledger: Sequence[Taken], sources: Collection[str]
) -> None:
    """A row that another file repeated was dropped there; if it goes with its file, the other must bring it back.

    `here`: files of the sources as the ledger knows them.
    """
    feeds = {(k.source, k.target) for k in todo.gone if k.source in sources}
    for taken in ledger:
        repeats = taken.counts.duplicate + taken.counts.superseded
        if (taken.key.source, taken.key.target) not in feeds or taken.key in todo.gone or not repeats:
            continue
        if taken.key in here:
            todo.files.append(here[taken.key])
            todo.again.add(taken.key)
            todo.known -= 1
        else:
            todo.notes.append(
                f"{taken.path}: {repeats:,} of its rows were repeats, some perhaps of the file that changed; it is no "
                "longer here to be read again"
            )


def _how(file: SourceFile, before: Sequence[Taken], spark: SparkSession | None) -> str:
    last = before[-1]
    how = "grew" if begins_with(content_of(spark, file.path), last.bytes, last.key.file_id) else "changed"
    return f"{how} since it was taken ({last.bytes:,} bytes then, {file.bytes:,} now)"


def _changed(file: SourceFile, before: Sequence[Taken], spark: SparkSession | None) -> str:
    how = _how(file, before, spark)
    return f"{how}; sources.{file.source}.changed_files says what to do: refuse, take_again or add"
