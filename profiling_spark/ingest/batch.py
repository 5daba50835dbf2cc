"""The new rows of one target table: read, mapped, checked and deduplicated once, held until they are written."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import reduce

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, Row, Window
from pyspark.sql import functions as F

from profiling_spark.attributes import source_rank
from profiling_spark.config.sources import Source
from profiling_spark.contracts.silver import EVENTS, ITEMS, REVIEWS, USERS
from profiling_spark.contracts.table import Table
from profiling_spark.expressions import expression
from profiling_spark.ingest.deduplicate import (
    ACCEPTED,
    LOST_FILE,
    LOST_SOURCE,
    arranged,
    hits,
    losers,
    mark_repeats,
    mark_stored,
    near_in_time,
    with_identity,
)
from profiling_spark.ingest.files import FileKey, SourceFile
from profiling_spark.ingest.ledger import Counts, of_files
from profiling_spark.ingest.mapping import EPOCH, map_columns
from profiling_spark.ingest.readers import Reading, read_source
from profiling_spark.ingest.rules import REJECTED, check_rows
from profiling_spark.runner import Context
from profiling_spark.storage import literal

_ID_COLUMN = {"events": "event_id", "reviews": "review_id"}


# items first: events take category and brand from the catalogue
TARGETS = (ITEMS, USERS, REVIEWS, EVENTS)


@dataclass
class Batch:
    """What became of one target's new rows. `old`: files whose stored rows they replace, from day `removed_from` on;
    `held`: what Spark keeps until it is released.
    """

    table: Table
    frame: DataFrame
    held: list[DataFrame]
    old: frozenset[FileKey] = frozenset()
    rows: list[Row] = field(default_factory=list)
    removed_from: date | None = None

    def count(self, timezone: str) -> None:
        """Rows by source, file, outcome and rules that held: small, however many rows there are."""
        frame, absent = self.frame, F.lit(None).cast("string")
        named = {c: F.col(c) if c in frame.columns else absent for c in ("flags", LOST_SOURCE, LOST_FILE)}
        new = F.when(F.col("rescued").isNotNull(), F.concat_ws(",", F.json_object_keys("rescued")))
        day = _day(self.table, timezone)
        grouped = frame.groupBy(
            "source",
            "file_id",
            "_status",
            "_reasons",
            "_warned",
            new.alias("new"),
            *(c.alias(n) for n, c in named.items()),
        ).agg(F.count(F.lit(1)).alias("rows"), F.min(day).alias("first"), F.max(day).alias("last"))
        self.rows = grouped.collect()
        if any(row["file_id"] is None for row in self.rows):
            raise RuntimeError("rows came from a file that was not claimed: its path was not recognised")

    def release(self) -> None:
        """Let Spark forget the rows."""
        for frame in self.held:
            frame.unpersist()

    def counts(self) -> dict[FileKey, Counts]:
        """Rows by outcome of each file; of a file taken before, what it loses to a new row."""
        found: dict[FileKey, Counts] = {}
        for row in self.rows:
            key = FileKey(row["source"], row["file_id"], self.table.name)
            found[key] = found.get(key, Counts()) + Counts(**{row["_status"]: row["rows"]})
            if row[LOST_FILE] is not None:
                loser = FileKey(row[LOST_SOURCE], row[LOST_FILE], self.table.name)
                lost = Counts(accepted=-row["rows"], superseded=row["rows"])
                found[loser] = found.get(loser, Counts()) + lost
        return found

    @property
    def days(self) -> list[date]:
        """First and last day of the accepted rows; empty where there is none."""
        each = [r[c] for r in self.rows if r["_status"] == ACCEPTED for c in ("first", "last") if r[c] is not None]
        return [min(each), max(each)] if each else []

    @property
    def replaces(self) -> bool:
        """Whether a new row stands for a stored one of the same key."""
        return any(r[LOST_FILE] is not None for r in self.rows)

    def new_columns(self) -> dict[str, set[str]]:
        """By source, the columns that the settings do not know."""
        found: dict[str, set[str]] = {}
        for row in self.rows:
            if row["new"]:
                found.setdefault(row["source"], set()).update(row["new"].split(","))
        return found


def _day(table: Table, timezone: str) -> Column:
    """The day in the business timezone from which a row changes features."""
    if table is EVENTS:
        return F.col("event_date")
    return F.to_date(F.from_utc_timestamp("review_time" if table is REVIEWS else "valid_from", timezone))


def rows_of_files(ctx: Context, table: Table, files: Sequence[SourceFile]) -> DataFrame:
    """Mapped and checked rows of the files; nothing is read yet, but the settings' expressions are known to be good."""
    frames = []
    for name in sorted({f.source for f in files}):
        reading = Reading(ctx.settings.sources[name], ctx.settings.known_columns(name))
        mine = [f for f in files if f.source == name]
        frames += [checked(ctx, name, frame) for frame in read_source(ctx.spark, reading, mine)]
    return reduce(DataFrame.unionByName, frames)


def checked(ctx: Context, name: str, frame: DataFrame) -> DataFrame:
    """The canonical columns of a source's rows, judged by the rules."""
    settings, source = ctx.settings, ctx.settings.sources[name]
    mapped = map_columns(frame, name, source, timezone=source.timezone or settings.business_timezone)
    if "valid_from" in mapped.columns and "valid_from" not in source.columns:
        # a source without a time of its own is static: its rows hold from the beginning
        mapped = mapped.withColumn("valid_from", F.lit(EPOCH).cast("timestamp"))
    rows = check_rows(
        mapped,
        source,
        ingest=settings.ingest,
        started=ctx.started.date(),
        business_timezone=settings.business_timezone,
    )
    if source.target in _ID_COLUMN:
        rows = with_identity(rows, source=name, id_column=_ID_COLUMN[source.target])
    lineage = {
        "source": F.lit(name),
        "file_id": F.col("_file_id"),
        "run_id": F.lit(ctx.run_id),
        "rescued": F.col("_extra"),
        "_raw": F.when(_needs_raw(ctx, source), F.col("_raw")),
    }
    return rows.withColumns(lineage).drop("_file_id", "_identity", "_unreadable", "_extra")


def _needs_raw(ctx: Context, source: Source) -> Column:
    """A refused row, or an example of a rule with a limit, needs its text again; all would go through the shuffle."""
    needed = F.col("_status") == REJECTED
    if ctx.settings.ingest.limits:
        needed = needed | F.col("_warned").isNotNull()
        needed = needed | F.col("flags").isNotNull() if source.target == "events" else needed
    return needed


def judge(ctx: Context, table: Table, rows: DataFrame, *, items: Batch | None, old: Collection[FileKey]) -> Batch:
    """Deduplicate the rows, among themselves and against what is stored. `items`: of the same run, for the category."""
    if table is EVENTS:
        rows = _with_catalogue(ctx, rows, items)
    keep = _keep(ctx, table, rows)
    held = arranged(rows, table, buckets=ctx.settings.buckets).persist(StorageLevel.MEMORY_AND_DISK)
    lost = losers(held, table, keep=keep).persist(StorageLevel.MEMORY_AND_DISK)
    frame = mark_repeats(held, lost)
    batch = Batch(table, frame, [held, lost], frozenset(old))
    batch.count(ctx.settings.business_timezone)
    if not ctx.tables.exists(table):
        return batch
    stored = ctx.tables.read(table)
    if old:
        goes = stored.where(of_files(old, table_column=False))
        first = goes.agg(F.min(_day(table, ctx.settings.business_timezone)).alias("first")).first()
        batch.removed_from = None if first is None else first["first"]
        stored = stored.where(f"NOT ({of_files(old, table_column=False)})")
    if table is EVENTS:
        if not batch.days:
            return batch
        stored = near_in_time(stored, *batch.days, days=ctx.settings.ingest.redelivery_days)
    found = hits(frame, stored, table).persist(StorageLevel.MEMORY_AND_DISK)
    if not found.isEmpty():
        again = stored.join(found, list(table.key), how="left_semi")
        batch.frame = mark_stored(frame, again, table, keep=keep).persist(StorageLevel.MEMORY_AND_DISK)
        batch.count(ctx.settings.business_timezone)
        batch.release()
        batch.held = [batch.frame]
    found.unpersist()
    return batch


def _keep(ctx: Context, table: Table, rows: DataFrame) -> Column:
    """Of two rows with one key the one with the greater value survives; a column of both new and stored rows."""
    text = ctx.settings.ingest.keep.get(table.name, "1")  # type: ignore[call-overload]
    both = [name for name in table.names if name != "user_bucket"]  # new rows have no bucket yet
    return expression(rows.select(*both), f"ingest.keep.{table.name}", text)[0]


def _with_catalogue(ctx: Context, events: DataFrame, items: Batch | None) -> DataFrame:
    """Category and brand of the item's last version where the source gives none, so that kernels need no join."""
    columns = ["item_id", "valid_from", "source", "category", "brand"]
    parts = []
    if ctx.tables.exists(ITEMS):
        stored = ctx.tables.read(ITEMS)
        if items is not None and items.old:
            stored = stored.where(f"NOT ({of_files(items.old, table_column=False)})")
        parts.append(stored.select(*columns))
    if items is not None:
        parts.append(items.frame.where(F.col("_status") == ACCEPTED).select(*columns))
    if not parts:
        return events
    known = reduce(DataFrame.unionByName, parts)
    last = Window.partitionBy("item_id").orderBy(
        F.desc("valid_from"), source_rank(ctx.settings.precedence), "category", "brand"
    )
    latest = known.select("*", F.row_number().over(last).alias("_place")).where("_place = 1")
    lookup = latest.select("item_id", F.col("category").alias("_category"), F.col("brand").alias("_brand"))
    joined = events.join(lookup, "item_id", how="left")
    return joined.withColumns(
        {"category": F.coalesce("category", "_category"), "brand": F.coalesce("brand", "_brand")}
    ).drop("_category", "_brand")


def publish(ctx: Context, batch: Batch) -> None:
    """One commit, but for a batch that both conflicts with stored rows and replaces a file: it deletes first."""
    table, accepted = batch.table, batch.frame.where(F.col("_status") == ACCEPTED)
    if table is EVENTS:
        accepted = accepted.sortWithinPartitions("user_bucket", "event_time", "event_id")
    else:
        accepted = accepted.coalesce(1 if table in (USERS, ITEMS) else 2)
    old = of_files(batch.old, table_column=False)
    is_keyed = table in (USERS, ITEMS) and ctx.tables.exists(table)
    if is_keyed or batch.replaces:
        if batch.old:
            ctx.tables.delete(table, old)
        ctx.tables.upsert(table, accepted)
    elif batch.old:
        ctx.tables.replace_where(table, accepted, f"{old} OR run_id = {literal(ctx.run_id)}")
    else:
        ctx.tables.append(table, accepted)
