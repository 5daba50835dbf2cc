"""The ingest stage: claim files, judge every row once, check thresholds, publish, mark the files done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import reduce

from pyspark import StorageLevel
from pyspark.sql import DataFrame, Row, Window
from pyspark.sql import functions as F

from profiling_spark.buckets import check_layout
from profiling_spark.config.sources import Source
from profiling_spark.contracts.silver import EVENTS, ITEMS, REJECTED_ROWS, REVIEWS, USERS
from profiling_spark.contracts.table import Table
from profiling_spark.errors import InputError
from profiling_spark.ingest import ledger
from profiling_spark.ingest.deduplicate import (
    ACCEPTED,
    distinct_refused,
    mark_repeats,
    mark_stored,
    near_in_time,
    with_identity,
)
from profiling_spark.ingest.files import SourceFile, distinct_files, find_files
from profiling_spark.ingest.ledger import Counts
from profiling_spark.ingest.mapping import EPOCH, map_columns
from profiling_spark.ingest.readers import read_source
from profiling_spark.ingest.rules import REJECTED, check_rows
from profiling_spark.ingest.thresholds import check_thresholds
from profiling_spark.runner import Context, Outcome

# items first: events take category and brand from the catalogue
_ORDER = (ITEMS, USERS, REVIEWS, EVENTS)
_ID_COLUMN = {"events": "event_id", "reviews": "review_id"}


@dataclass
class _Batch:
    """What became of one target's new rows."""

    table: Table
    frame: DataFrame
    rows: list[Row] = field(default_factory=list)

    def counts(self) -> dict[str, Counts]:
        """Rows by outcome, by source, file and target."""
        found: dict[str, Counts] = {}
        for row in self.rows:
            key = f"{row['source']}/{row['file_id']}/{self.table.name}"
            found[key] = found.get(key, Counts()) + Counts(**{row["_status"]: row["rows"]})
        return found


def ingest(ctx: Context) -> Outcome:
    """Read new source files into events, users, items and reviews; refused rows go to rejected_rows with reasons."""
    if not ctx.settings.sources:
        raise InputError("sources: expected at least one source in the settings, found none (see --config)")
    check_layout(ctx.tables, ctx.settings.buckets)
    dead = ledger.clear_unfinished(ctx.tables)
    if dead:
        ctx.say(f"    cleared what unfinished runs had written: {', '.join(dead)}")
    found = [
        f for name, s in ctx.settings.sources.items() for f in find_files(ctx.spark, name, s, ctx.settings.data_root)
    ]
    readable, repeated = distinct_files(f for f in found if not f.problem)
    refused, _ = distinct_files(f for f in found if f.problem)
    files, known = ledger.new_files(ctx.tables, readable)
    facts: dict[str, object] = {
        "files_new": len(files),
        "files_known": known + len(repeated),
        "files_refused": len(refused),
    }
    if not files and not refused:
        lines = (f"no new files; {known + len(repeated)} are known already",)
        return Outcome(rows_in=0, rows_out=0, rows_rejected=0, facts=facts, lines=lines)
    ledger.claim(ctx.tables, [*files, *refused])
    batches = _judge_all(ctx, files)
    try:
        for batch in batches:
            check_thresholds(batch.frame, batch.rows, ctx.settings.ingest)
        for batch in batches:
            _publish(ctx, batch)
        _publish_rejected(ctx, batches)
    finally:
        for batch in batches:
            batch.frame.unpersist()
    counts = {key: value for batch in batches for key, value in batch.counts().items()}
    ledger.finish(ctx.tables, files, refused, counts)
    return _outcome(batches, files, refused, counts, facts)


def _judge_all(ctx: Context, files: list[SourceFile]) -> list[_Batch]:
    batches: list[_Batch] = []
    for table in _ORDER:
        mine = [f for f in files if f.target == table.name]
        if mine:
            catalogue = next((b.frame for b in batches if b.table is ITEMS), None)
            batches.append(_judge(ctx, table, mine, catalogue))
    return batches


def _judge(ctx: Context, table: Table, files: list[SourceFile], new_items: DataFrame | None) -> _Batch:
    """Read, map, check and deduplicate the rows of one target, once; the result is held until it is written."""
    names = sorted({f.source for f in files})
    frames = [_checked(ctx, n, ctx.settings.sources[n], [f for f in files if f.source == n]) for n in names]
    merged = reduce(DataFrame.unionByName, frames)
    if table is EVENTS:
        merged = _with_catalogue(ctx, merged, new_items)
    judged = mark_repeats(merged, table, buckets=ctx.settings.buckets)
    judged = judged.persist(StorageLevel.MEMORY_AND_DISK)
    batch = _Batch(table, judged, _count(judged))
    if not ctx.tables.exists(table):
        return batch
    stored = ctx.tables.read(table)
    if table is EVENTS:
        days = [r[c] for r in batch.rows if r["_status"] == ACCEPTED for c in ("first", "last")]
        if not days:
            return batch
        stored = near_in_time(stored, min(days), max(days), days=ctx.settings.ingest.redelivery_days)
    compared = mark_stored(judged, stored, table).persist(StorageLevel.MEMORY_AND_DISK)
    batch = _Batch(table, compared, _count(compared))
    judged.unpersist()
    return batch


def _checked(ctx: Context, name: str, source: Source, files: list[SourceFile]) -> DataFrame:
    settings = ctx.settings
    zone = source.timezone or settings.business_timezone
    mapped = map_columns(read_source(ctx.spark, source, files), name, source, timezone=zone)
    if "valid_from" in mapped.columns and "valid_from" not in source.columns:
        # a source without a time of its own is static: its rows hold from the beginning
        mapped = mapped.withColumn("valid_from", F.lit(EPOCH).cast("timestamp"))
    checked = check_rows(
        mapped,
        source,
        ingest=settings.ingest,
        started=ctx.started.date(),
        business_timezone=settings.business_timezone,
    )
    if source.target in _ID_COLUMN:
        checked = with_identity(checked, source=name, id_column=_ID_COLUMN[source.target])
    # only a refused row needs its text again; without this every row would carry it through the shuffle
    raw = F.when(F.col("_status") == REJECTED, F.col("_raw"))
    checked = checked.withColumn("_raw", raw)
    lineage = {"source": F.lit(name), "file_id": F.col("_file_id"), "run_id": F.lit(ctx.run_id)}
    return checked.withColumns(lineage).drop("_file_id", "_identity", "_unreadable")


def _with_catalogue(ctx: Context, events: DataFrame, new_items: DataFrame | None) -> DataFrame:
    """Category and brand of the item's last version where the source gives none, so that kernels need no join."""
    columns = ["item_id", "valid_from", "category", "brand"]
    parts = [ctx.tables.read(ITEMS).select(*columns)] if ctx.tables.exists(ITEMS) else []
    if new_items is not None:
        parts.append(new_items.where(F.col("_status") == ACCEPTED).select(*columns))
    events = events.withColumn("rescued", F.lit(None).cast("string"))
    if not parts:
        return events
    known = reduce(DataFrame.unionByName, parts)
    last = Window.partitionBy("item_id").orderBy(F.col("valid_from").desc(), "category", "brand")
    latest = known.select("*", F.row_number().over(last).alias("_place")).where("_place = 1")
    lookup = latest.select("item_id", F.col("category").alias("_category"), F.col("brand").alias("_brand"))
    joined = events.join(lookup, "item_id", how="left")
    return joined.withColumns(
        {"category": F.coalesce("category", "_category"), "brand": F.coalesce("brand", "_brand")}
    ).drop("_category", "_brand")


def _count(frame: DataFrame) -> list[Row]:
    """Rows by source, file, outcome and reasons: small, however many rows there are."""
    day = F.col("event_date") if "event_date" in frame.columns else F.lit(None).cast("date")
    grouped = frame.groupBy("source", "file_id", "_status", "_reasons").agg(
        F.count(F.lit(1)).alias("rows"), F.min(day).alias("first"), F.max(day).alias("last")
    )
    rows = grouped.collect()
    if any(row["file_id"] is None for row in rows):
        raise RuntimeError("rows came from a file that was not claimed: its path was not recognised")
    return rows


def _publish(ctx: Context, batch: _Batch) -> None:
    accepted = batch.frame.where(F.col("_status") == ACCEPTED)
    if batch.table is EVENTS:
        ctx.tables.append(EVENTS, accepted.sortWithinPartitions("user_bucket", "event_time", "event_id"))
    elif batch.table is REVIEWS or not ctx.tables.exists(batch.table):
        ctx.tables.append(batch.table, accepted.coalesce(1 if batch.table in (USERS, ITEMS) else 2))
    else:
        ctx.tables.upsert(batch.table, accepted)


def _publish_rejected(ctx: Context, batches: Iterable[_Batch]) -> None:
    parts = [distinct_refused(batch.frame, batch.table) for batch in batches]
    if parts:
        ctx.tables.append(REJECTED_ROWS, reduce(DataFrame.unionByName, parts).coalesce(2))


def _outcome(
    batches: list[_Batch],
    files: list[SourceFile],
    refused: list[SourceFile],
    counts: dict[str, Counts],
    facts: dict[str, object],
) -> Outcome:
    by_source: dict[str, Counts] = {}
    for file in files:
        by_source[file.source] = by_source.get(file.source, Counts()) + counts.get(ledger.count_key(file), Counts())
    reasons: dict[str, dict[str, int]] = {}
    for row in (r for b in batches for r in b.rows if r["_status"] == REJECTED):
        per_source = reasons.setdefault(row["source"], {})
        for reason in str(row["_reasons"]).split(","):
            per_source[reason] = per_source.get(reason, 0) + row["rows"]
    total = sum(by_source.values(), Counts())
    lines = [_line(name, count, reasons.get(name, {})) for name, count in by_source.items()]
    lines += [f"{f.path}: refused, {f.problem}" for f in refused]
    problem = "; ".join(f"{f.path}: {f.problem}" for f in refused)
    return Outcome(
        rows_in=total.read,
        rows_out=total.accepted,
        rows_rejected=total.rejected,
        problem=f"refused files, the others were loaded: {problem}" if problem else "",
        facts={
            **facts,
            "sources": {n: {**asdict(c), "read": c.read} for n, c in by_source.items()},
            "rejected": reasons,
        },
        lines=tuple(lines),
    )


def _line(name: str, counts: Counts, reasons: dict[str, int]) -> str:
    parts = [f"{counts.read:,} read", f"{counts.accepted:,} accepted"]
    for what, rows in (
        ("duplicate", counts.duplicate),
        ("ignored", counts.ignored),
        ("superseded", counts.superseded),
        ("rejected", counts.rejected),
    ):
        if rows:
            parts.append(f"{rows:,} {what}")
    why = ", ".join(f"{r} {n:,}" for r, n in sorted(reasons.items(), key=lambda x: (-x[1], x[0])))
    return f"{name}: " + ", ".join(parts) + (f" ({why})" if why else "")
