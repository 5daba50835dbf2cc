"""How a source's events and reviews get their ids, and which name a source's stored rows go by.

A row's id is a hash of the source's namespace, the customer and the source's own id; of a row without one, of the
namespace and the columns that the source maps. A source goes on as its stored rows began: those of a release that
hashed the whole line keep that, and a column that is mapped later is no part of the id (else every row that is
delivered again would count twice).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pyspark.sql import SparkSession

from profiling_spark.config import Settings
from profiling_spark.contracts.operations import ALL_SOURCES
from profiling_spark.errors import ConfigError
from profiling_spark.ingest.files.changes import ToTake, sort_out
from profiling_spark.ingest.files.ledger import Taken
from profiling_spark.ingest.files.source_files import FileKey, SourceFile
from profiling_spark.remembered import ZONE, Remembered, supplied_as_text, supplier_of

ID_COLUMN = {"events": "event_id", "reviews": "review_id"}
OWN_ID, ID_COLUMNS, WHOLE_LINE = "own_id", "id_columns", "line"
_RELOAD = "load its files again into a new storage.root"


@dataclass(frozen=True)
class Identity:
    """What the ids of a source's rows are made of. `columns`: of rows without an id of their own; None: the whole line.

    `is_stored`: rows of the source are stored with such ids.
    """

    namespace: str
    has_own_id: bool
    columns: tuple[str, ...] | None
    is_stored: bool = False


def identities(
    settings: Settings, taken: Sequence[Taken], known: Remembered, going: Collection[FileKey] = ()
) -> dict[str, Identity]:
    """By source of events or reviews. `going`: files whose stored rows this run replaces.

    Raises ConfigError where the settings would give other ids to rows that are stored.
    """
    stored = {t.key.source for t in taken if t.key not in going}
    found = {}
    for name, source in settings.sources.items():
        if source.target in ID_COLUMN:
            of_settings = Identity(source.namespace(name), source.has_own_id, source.id_columns)
            # a source that was renamed goes on with the ids of its rows
            before = next((n for n in (name, source.namespace(name)) if n in stored), None)
            found[name] = of_settings if before is None else _as_stored(name, of_settings, known.get(before, {}))
    return found


def _as_stored(name: str, wanted: Identity, known: Mapping[str, str]) -> Identity:
    if known.get(OWN_ID, str(wanted.has_own_id)) != str(wanted.has_own_id):
        now, then = ("maps", "none") if wanted.has_own_id else ("does not map", "one")
        raise ConfigError(
            f"sources.{name}.columns {now} an id of the row; its stored rows have {then}, so that rows which are "
            f"delivered again would count twice. Leave that as it was, or {_RELOAD}"
        )
    text = known.get(ID_COLUMNS, WHOLE_LINE)
    if text == WHOLE_LINE:
        return replace(wanted, columns=None, is_stored=True)
    columns = tuple(text.split(","))
    absent = sorted(set(columns) - set(wanted.columns or ()))
    if absent and not wanted.has_own_id:
        raise ConfigError(
            f"sources.{name}.columns lacks {absent}, of which the ids of its stored rows are made: rows that are "
            f"delivered again would count twice. Map them again (where the files lack them now, as "
            f"'cast(null as string)'), or {_RELOAD}"
        )
    return replace(wanted, columns=columns, is_stored=True)


def to_remember(
    settings: Settings, identities: Mapping[str, Identity], known: Remembered, names: Collection[str]
) -> dict[str, dict[str, str]]:
    """What the storage is to remember of these sources, and of all."""
    values: dict[str, dict[str, str]] = {ALL_SOURCES: {ZONE: settings.business_timezone}} if names else {}
    for name in sorted(names):
        made = identities.get(name)
        earlier = supplier_of(known.get(name, {})) if made is None or made.is_stored else None
        values[name] = supplied_as_text(settings.suppliers[name].with_earlier(earlier))
        if made is not None:
            columns = WHOLE_LINE if made.columns is None else ",".join(made.columns)
            values[name] |= {OWN_ID: str(made.has_own_id), ID_COLUMNS: columns}
    return values


def check_renamed(found: Sequence[SourceFile], taken: Sequence[Taken], settings: Settings) -> None:
    """Raises ConfigError where a new source brings a file that was taken as one that the settings no longer have."""
    stored = {t.key.source for t in taken}
    gone = [t for t in taken if t.key.source not in settings.sources]
    contents = {(t.key.file_id, t.key.target): t.key.source for t in gone}
    paths = {(t.path, t.key.target): t.key.source for t in gone}
    for file in found:
        name = contents.get((file.file_id, file.target)) or paths.get((file.path, file.target))
        is_new = file.source not in stored and settings.sources[file.source].id_namespace is None
        if name is not None and is_new:
            raise ConfigError(
                f"source {file.source}: {file.path} was taken as source {name}, which the settings no longer have. If "
                f"{file.source} is {name} under a new name, set sources.{file.source}.id_namespace: {name}, and its "
                f"rows stay as they are; if it is another source, set sources.{file.source}.id_namespace: {file.source}"
            )


def sort_out_renamed(
    found: Sequence[SourceFile],
    taken: Sequence[Taken],
    settings: Settings,
    *,
    started: datetime,
    spark: SparkSession | None = None,
) -> ToTake:
    """`sort_out`, where a source that was renamed knows the files that it took under its former name."""
    today = {
        s.id_namespace: name
        for name, s in settings.sources.items()
        if s.id_namespace is not None and s.id_namespace not in settings.sources
    }
    former: dict[FileKey, FileKey] = {}
    ledger = []
    for t in taken:
        key = replace(t.key, source=today.get(t.key.source, t.key.source))
        if key != t.key:
            former[key] = t.key
        ledger.append(replace(t, key=key))
    todo = sort_out(found, ledger, settings.sources, started=started, timezone=settings.business_timezone, spark=spark)
    renamed = todo.again & former.keys()
    todo.again -= renamed
    todo.gone = {former.get(k, k) for k in todo.gone | renamed}
    return todo
