"""The new rows of one target table: read, mapped, checked and deduplicated, held until they are written."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import date

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from profiling_spark.attributes import believed, versions
from profiling_spark.config.sources import mappable
from profiling_spark.contracts.silver import ATTRIBUTES, EVENTS, ITEMS, REVIEWS, USERS
from profiling_spark.contracts.table import Table
from profiling_spark.expressions import expression
from profiling_spark.ingest.deduplicate import (
    LOST_FILE,
    LOST_SOURCE,
    hits,
    mark_stored,
    repeatable,
)
from profiling_spark.ingest.files import FileKey, SourceFile
from profiling_spark.ingest.hold import Held, hold, tasks_per_bucket
from profiling_spark.ingest.ledger import Counts, of_files
from profiling_spark.ingest.resolve import ACCEPTED, DIFFERS, Ends, Group
from profiling_spark.ingest.rules import REJECTED
from profiling_spark.ingest.source_rows import POSITION
from profiling_spark.ingest.versions import STORED, Deliveries
from profiling_spark.runner import Context
from profiling_spark.storage import literal
from profiling_spark.storage.files import NewFile
from profiling_spark.storage.upkeep import size

# items first: events take category and brand from the catalogue
TARGETS = (ITEMS, USERS, REVIEWS, EVENTS)


@dataclass
class Batch:
    """What became of one target's new rows.

    `groups` count every row; `files` hold the accepted ones and `refused_files` the others, where they can be added as
    they are; `days`: first and last that accepted rows change; `old`: files whose stored rows they replace, from day
    `removed_from` on.
    """

    table: Table
    accepted: DataFrame
    refused: DataFrame
    groups: list[Group]
    files: list[NewFile] | None
    refused_files: list[NewFile] | None
    old: frozenset[FileKey]
    releases: list[Callable[[], object]]
    days: list[date] = field(default_factory=list)
    removed_from: date | None = None
    ends: list[Ends] = field(default_factory=list)

    def mark(self, marked: DataFrame, day: Column, *, without_id: Collection[str]) -> None:
        """Count again what `mark_stored` said of the accepted rows, and keep those that still are."""
        held = marked.persist(StorageLevel.MEMORY_AND_DISK)
        self.releases.append(lambda: held.unpersist())
        found = held.groupBy("source", "file_id", "_status", LOST_SOURCE, LOST_FILE, DIFFERS).agg(
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
        self.accepted = held.where(F.col("_status") == ACCEPTED).select(*self.table.names)
        self.files = None

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


def _day(table: Table, timezone: str) -> Column:
    """The day in the business timezone from which a row changes features."""
    if table is EVENTS:
        return F.col("event_date")
    return F.to_date(F.from_utc_timestamp("review_time" if table is REVIEWS else "valid_from", timezone))


def judge(
    ctx: Context,
    table: Table,
    rows: DataFrame,
    *,
    items: Batch | None,
    old: Collection[FileKey] = (),
    files: Collection[SourceFile] = (),
    deliveries: Deliveries | None = None,
) -> Batch:
    """Deduplicate the rows, among themselves and against what is stored. `items`: of the same run, for the category;
    `files`: where the rows come from; `deliveries`: of attributes.
    """
    if deliveries is not None:
        return _judge_versions(ctx, table, rows, old=old, files=files, deliveries=deliveries)
    if table is EVENTS:
        rows = _with_catalogue(ctx, rows, items)
    keep, buckets, day = _keep(ctx, table, rows), ctx.settings.buckets, _day(table, ctx.settings.business_timezone)
    has_catalogue = items is not None or ctx.tables.exists(ITEMS)
    text = ctx.settings.ingest.keep.get(table.name)  # type: ignore[call-overload]
    is_column = text in table.names
    held = hold(
        _with_helpers(ctx, rows, table, None if text is None or is_column else keep, day),
        table,
        ctx.tables,
        files=files,
        keep=text if is_column else None,
        absent=_absent(ctx, table) - ({"category", "brand"} if has_catalogue else set()),
        counted=[n for n, s in ctx.settings.sources.items() if s.repeats == "count"],
        buckets=buckets,
        tasks_per_bucket=tasks_per_bucket(files, table, buckets),
    )
    batch = _batch_of(table, held, old)
    if not ctx.tables.exists(table):
        return batch
    stored = ctx.tables.read(table)
    without_id = [name for name, made in ctx.identities.items() if not made.has_own_id]
    if old:
        goes = stored.where(of_files(old, table_column=False))
        first = goes.agg(F.min(day).alias("first")).first()
        batch.removed_from = None if first is None else first["first"]
        stored = stored.where(f"NOT ({of_files(old, table_column=False)})")
    if table is EVENTS:
        if not batch.days:
            return batch
        any_day = any(ctx.identities[g.source].has_own_id for g in batch.groups if g.status == ACCEPTED)
        stored = repeatable(
            stored,
            *batch.days,
            days=ctx.settings.ingest.redelivery_days,
            without_id=without_id if any_day else None,
        )
    new = sum(g.rows for g in batch.groups if g.status == ACCEPTED)
    found = hits(batch.accepted, stored, table, rows=new).persist(StorageLevel.MEMORY_AND_DISK)
    again = _again(stored, found, table)
    if again is not None:
        batch.mark(mark_stored(batch.accepted, again, table, keep=keep), day, without_id=without_id)
    found.unpersist()
    return batch


def _judge_versions(
    ctx: Context,
    table: Table,
    rows: DataFrame,
    *,
    old: Collection[FileKey],
    files: Collection[SourceFile],
    deliveries: Deliveries,
) -> Batch:
    """All versions of the table's keys, the stored ones among them: what is new depends on what was said before."""
    new = _with_helpers(ctx, rows, table, None, F.lit(None).cast("date"))
    stored_bytes = 0
    if ctx.tables.exists(table):
        stored_bytes = size(ctx.tables, table).bytes
        stored = versions(ctx.tables, table).where(f"NOT ({of_files(old, table_column=False)})")
        new = new.unionByName(stored.withColumn("_status", F.lit(STORED)), allowMissingColumns=True)
    texts = {name: F.lit(None).cast("bigint") for name in POSITION if name not in new.columns}
    absent = {c.name: F.lit(None).cast(c.data_type) for c in table.columns if c.name not in new.columns}
    held = hold(
        new.withColumns({**texts, **absent}),
        table,
        ctx.tables,
        files=files,
        keep=None,
        absent=(),
        buckets=ctx.settings.buckets,
        tasks_per_bucket=tasks_per_bucket(files, table, ctx.settings.buckets, stored_bytes=stored_bytes),
        deliveries=replace(deliveries, removed=frozenset((k.source, k.file_id) for k in old)),
    )
    return _batch_of(table, held, old)


def _batch_of(table: Table, held: Held, old: Collection[FileKey]) -> Batch:
    return Batch(
        table,
        held.accepted,
        held.refused,
        held.groups,
        held.files,
        held.refused_files,
        frozenset(old),
        [held.release],
        ends=held.ends,
    )


def _again(stored: DataFrame, found: DataFrame, table: Table) -> DataFrame | None:
    """The stored rows with these keys; None where there are none."""
    if table is not EVENTS:
        return None if found.isEmpty() else stored.join(found, list(table.key), how="left_semi")
    span = found.agg(F.min("event_date").alias("first"), F.max("event_date").alias("last")).first()
    if span is None or span["first"] is None:
        return None
    # whole rows are read of these days only
    near = stored.where(F.col("event_date").between(span["first"], span["last"]))
    return near.join(found.drop("event_date"), list(table.key), how="left_semi")


def _absent(ctx: Context, table: Table) -> set[str]:
    """Columns that are null in all new rows, where the catalogue fills none."""
    mapped = {column for s in ctx.settings.sources.values() if s.target == table.name for column in s.given_columns}
    return set(mappable(table.name)) - mapped - {*table.key, "amount", "unit_price"}


def _with_helpers(ctx: Context, rows: DataFrame, table: Table, keep: Column | None, day: Column) -> DataFrame:
    """What `resolve` needs beside the rows themselves; what it can tell from them is left out (see `hold`)."""
    is_refused = F.col("_status") == REJECTED
    stored_by = F.col("_row_hash") if "_row_hash" in rows.columns else F.when(is_refused, F.md5("_raw"))
    helpers = {
        "_hash": stored_by,
        "_new": F.when(F.col("rescued").isNotNull(), F.concat_ws(",", F.json_object_keys("rescued"))),
    }
    if keep is not None:
        helpers["_keep"] = keep
    if table is not EVENTS:
        helpers["_day"] = day
    return rows.withColumns(helpers)


def _keep(ctx: Context, table: Table, rows: DataFrame) -> Column:
    """Of two rows with one key the one with the greater value survives; a column of both new and stored rows."""
    text = ctx.settings.ingest.keep.get(table.name, "1")  # type: ignore[call-overload]
    both = [name for name in table.names if name != "user_bucket"]  # new rows have no bucket yet
    return expression(rows.select(*both), f"ingest.keep.{table.name}", text)[0]


def _with_catalogue(ctx: Context, events: DataFrame, items: Batch | None) -> DataFrame:
    """Category and brand of the item's newest version where the source gives none, so that kernels need no join."""
    if items is None and not ctx.tables.exists(ITEMS):
        return events
    # those of this run hold what was stored before
    known = versions(ctx.tables, ITEMS) if items is None else items.accepted
    last = believed(
        known, key=("item_id",), values=["category", "brand"], as_of=None,
        timezone=ctx.settings.business_timezone, precedence=ctx.settings.precedence,
    )  # fmt: skip
    lookup = last.select("item_id", F.col("category").alias("_category"), F.col("brand").alias("_brand"))
    joined = events.join(lookup, "item_id", how="left")
    return joined.withColumns(
        {"category": F.coalesce("category", "_category"), "brand": F.coalesce("brand", "_brand")}
    ).drop("_category", "_brand")


def publish(ctx: Context, batch: Batch) -> None:
    """Write the accepted rows in the place of those that they or their files replace, in one commit.

    Attributes are written whole, since a delivery also says which versions still hold.
    """
    table, accepted = batch.table, batch.accepted
    old = of_files(batch.old, table_column=False)
    if table in ATTRIBUTES:
        if batch.files is not None:
            ctx.tables.replace_all_files(table, batch.files)
        else:
            ctx.tables.replace_all(table, accepted.coalesce(1))
        return
    if not (batch.replaces or batch.old) and batch.files is not None:
        ctx.tables.add_files(table, batch.files)
        return
    if table is EVENTS:
        accepted = accepted.sortWithinPartitions("user_bucket", "event_time", "event_id")
    else:
        accepted = accepted.coalesce(2)
    if batch.replaces:
        ctx.tables.upsert(table, accepted, gone=ctx.tables.read(table).where(old) if batch.old else None)
    elif batch.old:
        ctx.tables.replace_where(table, accepted, f"{old} OR run_id = {literal(ctx.run_id)}")
    else:
        ctx.tables.append(table, accepted)
