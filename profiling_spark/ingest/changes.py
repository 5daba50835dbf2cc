"""Which of the files found are new, known, changed since they were taken, or to be taken again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from profiling_spark.config.sources import Source
from profiling_spark.ingest.files import FileKey, SourceFile, begins_with, distinct_files
from profiling_spark.ingest.ledger import Taken


@dataclass
class ToTake:
    """`files` are read; `again`: those of them that were taken before. The rows of `gone` are replaced."""

    files: list[SourceFile] = field(default_factory=list)
    refused: list[SourceFile] = field(default_factory=list)
    known: int = 0
    again: set[FileKey] = field(default_factory=set)
    gone: set[FileKey] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def old(self, target: str) -> frozenset[FileKey]:
        """Files whose stored rows of a target are replaced."""
        return frozenset(k for k in self.again | self.gone if k.target == target)


def sort_out(found: Sequence[SourceFile], ledger: Sequence[Taken], sources: Mapping[str, Source]) -> ToTake:
    """What to do with each file: of equal contents one is read, a known content is not read, a changed file is handled
    as its source says.
    """
    readable, repeated = distinct_files(f for f in found if not f.problem)
    refused, _ = distinct_files(f for f in found if f.problem)
    todo = ToTake(refused=refused, known=len(repeated))
    known, here = {t.key: t for t in ledger}, {f.key for f in found}
    for file in readable:
        if file.key in known:
            todo.known += 1
            continue
        # a file whose old content lies under another name now was rotated, not changed
        before = [t for t in ledger if _same_place(t, file) and t.key not in here]
        policy = sources[file.source].when_changed if before else "add"
        if policy == "refuse":
            todo.refused.append(replace(file, problem=_changed(file, before)))
            continue
        todo.files.append(file)
        if policy == "take_again":
            todo.gone.update(t.key for t in before)
            todo.notes.append(f"{file.path}: {_how(file, before)}, taken again")
    _add_those_with_repeats(todo, readable, ledger)
    return todo


def _same_place(taken: Taken, file: SourceFile) -> bool:
    return (taken.key.source, taken.key.target, taken.path) == (file.source, file.target, file.path)


def _add_those_with_repeats(todo: ToTake, readable: Iterable[SourceFile], ledger: Sequence[Taken]) -> None:
    """A row that another file repeated was dropped there; if it goes with its file, the other must bring it back."""
    feeds = {(k.source, k.target) for k in todo.gone}
    here = {f.key: f for f in readable}
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


def _how(file: SourceFile, before: Sequence[Taken]) -> str:
    last = before[-1]
    how = "grew" if begins_with(file.path, last.bytes, last.key.file_id) else "changed"
    return f"{how} since it was taken ({last.bytes:,} bytes then, {file.bytes:,} now)"


def _changed(file: SourceFile, before: Sequence[Taken]) -> str:
    return f"{_how(file, before)}; sources.{file.source}.changed_files says what to do: refuse, take_again or add"
