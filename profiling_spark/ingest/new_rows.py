"""The way of a target's new rows: read, mapped, judged by the rules, deduplicated.

One row can be followed from here: `reading/readers.py` makes it of a file, `judging/mapping.py` gives it canonical
columns and an id, `judging/rules.py` finds what it breaks; `resolving/staging.py` takes it to its customer's bucket,
where `resolving/resolve.py` (of users and items: `versions.py`) compares it with the others of its key. What is stored
already is compared at the end.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import reduce

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from profiling_spark.attributes import believed, versions
from profiling_spark.config.sources import Source
from profiling_spark.config.targets import mappable
from profiling_spark.context import Context
from profiling_spark.contracts.silver import EVENTS, ITEMS, REVIEWS
from profiling_spark.contracts.table import Table
from profiling_spark.expressions import expression
from profiling_spark.ingest.batch import Batch
from profiling_spark.ingest.files.identity import ID_COLUMN
from profiling_spark.ingest.files.ledger import of_files
from profiling_spark.ingest.files.source_files import FileKey, SourceFile
from profiling_spark.ingest.judging.mapping import ROW_ID, map_columns, with_row_id
from profiling_spark.ingest.judging.money import load_exchange
from profiling_spark.ingest.judging.rules import REJECTED, check_rows
from profiling_spark.ingest.reading.fill_down import filled_down
from profiling_spark.ingest.reading.readers import read_source
from profiling_spark.ingest.reading.source_rows import POSITION, Reading, raw_text
from profiling_spark.ingest.resolving.deduplicate import (
    hits,
    mark_stored,
    repeatable,
)
from profiling_spark.ingest.resolving.resolve import ACCEPTED
from profiling_spark.ingest.resolving.staging import StagedRows, stage_rows, tasks_per_bucket
from profiling_spark.ingest.resolving.versions import STORED, Deliveries
from profiling_spark.one_row import check_one_row
from profiling_spark.storage import literal
from profiling_spark.storage.upkeep import size

_NO_ITEM, _SPREAD = "\0", 256  # no id of a catalogue begins so


def rows_of_files(ctx: Context, table: Table, files: Sequence[SourceFile]) -> DataFrame:
    """Mapped and checked rows of the files; nothing is read yet, but the settings' expressions are known to be good."""
    frames = []
    for name in sorted({f.source for f in files}):
        source = ctx.settings.sources[name]
        has_position = source.has_versions or source.fill_down is not None
        reading = Reading(source, ctx.settings.known_columns(name), has_position=has_position)
        of_source = [f for f in files if f.source == name]
        for frame in read_source(ctx.spark, reading, of_source):
            if source.fill_down is not None:
                frame = filled_down(frame, source.fill_down, setting=f"sources.{name}.fill_down")
            frames.append(checked(ctx, name, frame))
    # a Delta table's rows have no place
    return reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), frames)


def checked(ctx: Context, name: str, frame: DataFrame) -> DataFrame:
    """The canonical columns of a source's rows, judged by the rules."""
    settings, source = ctx.settings, ctx.settings.sources[name]
    mapped = map_columns(frame, name, source, timezone=settings.business_timezone)
    has_row_id = source.target in ID_COLUMN
    rows = check_rows(
        with_row_id(mapped, source, ctx.identities[name]) if has_row_id else mapped,
        source,
        ingest=settings.ingest,
        exchange=load_exchange(ctx.spark, settings),
        started=ctx.started.date(),
        business_timezone=settings.business_timezone,
    )
    if has_row_id:
        rows = rows.withColumn(ID_COLUMN[source.target], F.col(ROW_ID)).drop(ROW_ID)
    lineage = {
        "source": F.lit(name),
        "file_id": F.col("_file_id"),
        "run_id": F.lit(ctx.run_id),
        "rescued": F.col("_extra"),
        "_raw": F.when(_needs_raw(ctx, source), raw_text(rows)),
    }
    needless = ("_file_id", "_values", "_unreadable", "_misfit", "_extra")
    made = rows.withColumns(lineage).drop(*needless, *(() if source.has_versions else POSITION))
    if source.target in settings.ingest.keep:
        check_one_row(made, {f"ingest.keep.{source.target}": settings.ingest.keep[source.target]})
    return made


def _needs_raw(ctx: Context, source: Source) -> Column:
    """A refused row, or an example of a rule with a limit, needs its text again; all would go through the shuffle."""
    needed = F.col("_status") == REJECTED
    if ctx.settings.ingest.limits:
        needed = needed | F.col("_warned").isNotNull()
        needed = needed | F.col("flags").isNotNull() if source.target == "events" else needed
    return needed


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
    staged = stage_rows(
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
    batch = _batch_of(table, staged, old)
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
    again, batch.near = _again(stored, found, table)
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
    """All versions of the table's keys, the stored ones among them: what is new depends on what was known before."""
    new = _with_helpers(ctx, rows, table, None, F.lit(None).cast("date"))
    stored_bytes = 0
    if ctx.tables.exists(table):
        stored_bytes = size(ctx.tables, table).bytes
        stored = versions(ctx.tables, table).where(f"NOT ({of_files(old, table_column=False)})")
        new = new.unionByName(stored.withColumn("_status", F.lit(STORED)), allowMissingColumns=True)
    texts = {name: F.lit(None).cast("bigint") for name in POSITION if name not in new.columns}
    absent = {c.name: F.lit(None).cast(c.data_type) for c in table.columns if c.name not in new.columns}
    staged = stage_rows(
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
    return _batch_of(table, staged, old)


def _batch_of(table: Table, staged: StagedRows, old: Collection[FileKey]) -> Batch:
    return Batch(
        table,
        staged.accepted.frame(),
        staged.accepted,
        staged.refused,
        staged.groups,
        frozenset(old),
        [staged.release],
        ends=staged.ends,
    )


def _again(stored: DataFrame, found: DataFrame, table: Table) -> tuple[DataFrame | None, Sequence[str]]:
    """The stored rows with these keys, None where there are none; and where they lie (see `Batch.near`)."""
    if table is not EVENTS:
        return (None, ()) if found.isEmpty() else (stored.join(found, list(table.key), how="left_semi"), ())
    days = F.min("event_date").alias("first"), F.max("event_date").alias("last")
    span = found.agg(*days, F.collect_set("user_bucket").alias("buckets")).first()
    if span is None or span["first"] is None:
        return None, ()
    # whole rows are read of these days and buckets only, and the merge looks nowhere else
    near = (
        f"user_bucket IN ({', '.join(map(str, sorted(span['buckets'])))})",
        f"event_date BETWEEN {literal(span['first'])} AND {literal(span['last'])}",
    )
    keys = found.drop("event_date", "user_bucket")
    return stored.where(" AND ".join(near)).join(keys, list(table.key), how="left_semi"), near


def _absent(ctx: Context, table: Table) -> set[str]:
    """Columns that are null in all new rows, where the catalogue fills none."""
    mapped = {column for s in ctx.settings.sources.values() if s.target == table.name for column in s.given_columns}
    return set(mappable(table.name)) - mapped - {*table.key, "amount", "unit_price"}


def _with_helpers(ctx: Context, rows: DataFrame, table: Table, keep: Column | None, day: Column) -> DataFrame:
    """What `resolve` needs beside the rows themselves; what it can tell from them is left out (see `stage_rows`)."""
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
    # without an item most events of a site would meet in one task
    item = F.coalesce("item_id", F.concat(F.lit(_NO_ITEM), F.pmod(F.hash("user_id"), F.lit(_SPREAD))))
    last = believed(
        known, key=("item_id",), values=["category", "brand"], as_of=None,
        timezone=ctx.settings.business_timezone, precedence=ctx.settings.precedence,
    )  # fmt: skip
    lookup = last.select("item_id", F.col("category").alias("_category"), F.col("brand").alias("_brand"))
    joined = events.withColumn("_item", item).join(lookup.withColumnRenamed("item_id", "_item"), "_item", how="left")
    return joined.withColumns(
        {"category": F.coalesce("category", "_category"), "brand": F.coalesce("brand", "_brand")}
    ).drop("_item", "_category", "_brand")


def _day(table: Table, timezone: str) -> Column:
    """The day in the business timezone from which a row changes features."""
    if table is EVENTS:
        return F.col("event_date")
    return F.to_date(F.from_utc_timestamp("review_time" if table is REVIEWS else "valid_from", timezone))
