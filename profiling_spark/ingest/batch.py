"""What became of the new rows of one target table, until they are written: counts, days, files; and the writing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from profiling_spark.context import Context
from profiling_spark.contracts.silver import ATTRIBUTES, EVENTS, ITEMS, REVIEWS, USERS
from profiling_spark.contracts.table import Table
from profiling_spark.ingest.files.ledger import Counts, of_files
from profiling_spark.ingest.files.source_files import FileKey
from profiling_spark.ingest.resolving.deduplicate import (
    LOST_FILE,
    LOST_SOURCE,
)
from profiling_spark.ingest.resolving.resolve import ACCEPTED, DIFFERS, Ends, Group
from profiling_spark.storage import Part, literal

# items first: events take category and brand from the catalogue
TARGETS = (ITEMS, USERS, REVIEWS, EVENTS)


@dataclass
class Batch:
    """What became of one target's new rows.

    `groups` count every row; `part`: the accepted ones as they wait, None where some of them are left out since, and
    `refused` the others; `days`: first and last that accepted rows change; `old`: files whose stored rows they replace,
    from day `removed_from` on; `near`: conditions, each of which begins with a column, that hold for the stored rows
    which accepted ones replace; none where they are not known.
    """

    table: Table
    accepted: DataFrame
    part: Part | None
    refused: Part
    groups: list[Group]
    old: frozenset[FileKey]
    releases: list[Callable[[], object]]
    days: list[date] = field(default_factory=list)
    removed_from: date | None = None
    near: Sequence[str] = ()
    ends: list[Ends] = field(default_factory=list)

    def mark(self, marked: DataFrame, day: Column, *, without_id: Collection[str]) -> None:
        """Count again what `mark_stored` decided about the accepted rows, and keep those that still are."""
        cached = marked.persist(StorageLevel.MEMORY_AND_DISK)
        self.releases.append(lambda: cached.unpersist())
        found = cached.groupBy("source", "file_id", "_status", LOST_SOURCE, LOST_FILE, DIFFERS).agg(
            F.count(F.lit(1)).alias("rows"), F.min(day).alias("first"), F.max(day).alias("last")
        )
        self.days = []
        for r in found.collect():
            if r["_status"] == ACCEPTED:
                self._add_days(r["first"], r["last"])
            if r["_status"] != ACCEPTED or r[LOST_FILE] is not None:
                moved = Group(r["source"], r["file_id"], ACCEPTED, -r["rows"])
                now = replace(
                    moved,
                    status=r["_status"],
                    rows=r["rows"],
                    lost_source=r[LOST_SOURCE],
                    lost_file=r[LOST_FILE],
                    differs=r[DIFFERS] if r["source"] in without_id else None,
                )
                self.groups += [moved, now]
        self.accepted = cached.where(F.col("_status") == ACCEPTED).select(*self.table.names)
        self.part = None

    def _add_days(self, *days: date | None) -> None:
        each = [*self.days, *(d for d in days if d is not None)]
        self.days = [min(each), max(each)] if each else []

    def __post_init__(self) -> None:
        if any(g.file_id is None for g in self.groups):
            raise RuntimeError("rows came from a file that was not claimed: its path was not recognised")
        for g in self.groups:
            if g.status == ACCEPTED:
                self._add_days(g.first, g.last)

    def release(self) -> None:
        """Let go of the rows."""
        for release in self.releases:
            release()

    def counts(self) -> dict[FileKey, Counts]:
        """Rows by outcome of each file; of a file taken before, what it loses to a new row."""
        found: dict[FileKey, Counts] = {}
        for group in self.groups:
            key = FileKey(group.source, group.file_id, self.table.name)
            found[key] = found.get(key, Counts()) + Counts(**{group.status: group.rows})
            if group.lost_source is not None and group.lost_file is not None:
                loser = FileKey(group.lost_source, group.lost_file, self.table.name)
                lost = Counts(accepted=-group.rows, superseded=group.rows)
                found[loser] = found.get(loser, Counts()) + lost
        for end in self.ends:
            key = FileKey(end.source, end.file_id, self.table.name)
            found[key] = found.get(key, Counts()) + Counts(ended=end.rows)
        return found

    @property
    def replaces(self) -> bool:
        """Whether a new row stands for a stored one of the same key."""
        return any(g.lost_file is not None for g in self.groups)

    def new_columns(self) -> dict[str, set[str]]:
        """By source, the columns that the settings do not know."""
        found: dict[str, set[str]] = {}
        for group in self.groups:
            if group.new:
                found.setdefault(group.source, set()).update(group.new.split(","))
        return found

    def equal_elsewhere(self) -> dict[str, int]:
        """By source, rows that lost to one with the same mapped columns, of which their id is made, and differ from it
        elsewhere."""
        found: dict[str, int] = {}
        for group in self.groups:
            if group.differs:
                found[group.source] = found.get(group.source, 0) + group.rows
        return found


def publish(ctx: Context, batch: Batch) -> None:
    """Write the accepted rows in the place of those that they or their files replace, in one commit.

    Attributes are written whole, since a delivery also says which versions still hold.
    """
    table, accepted = batch.table, batch.accepted
    old = of_files(batch.old, table_column=False)
    if table in ATTRIBUTES:
        ctx.tables.replace_all(table, batch.part or accepted.coalesce(1))
        return
    if not (batch.replaces or batch.old) and batch.part is not None:
        ctx.tables.append(table, batch.part)
        return
    if table is EVENTS:
        accepted = accepted.sortWithinPartitions("user_bucket", "event_time", "event_id")
    else:
        accepted = accepted.coalesce(2)
    if batch.replaces:
        if batch.old:
            ctx.tables.upsert(table, accepted, gone=ctx.tables.read(table).where(old))
        else:
            ctx.tables.upsert(table, accepted, near=batch.near)
    elif batch.old:
        ctx.tables.replace_where(table, accepted, f"{old} OR run_id = {literal(ctx.run_id)}")
    else:
        ctx.tables.append(table, accepted)
