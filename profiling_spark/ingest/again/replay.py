"""Replay: refused rows of an earlier run once more, after rules or mappings were mended.

They are read from `rejected_rows`, so the source files need not be there. One that is taken in now keeps its row
there, with `replayed_by`; one that is refused again gets its new reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from profiling_spark.config.quality import UNREADABLE
from profiling_spark.context import Context, Outcome
from profiling_spark.contracts.silver import ATTRIBUTES, ITEMS, REJECTED_ROWS
from profiling_spark.errors import InputError
from profiling_spark.ingest.again.recover import undone_on_failure
from profiling_spark.ingest.batch import TARGETS, Batch, publish
from profiling_spark.ingest.files import ledger
from profiling_spark.ingest.files.ledger import Counts
from profiling_spark.ingest.files.source_files import FileKey, find_files
from profiling_spark.ingest.findings.stale import features_stale_from
from profiling_spark.ingest.new_rows import checked, judge
from profiling_spark.ingest.reading.readers import header_of, parse_csv, parse_json, parse_values
from profiling_spark.ingest.reading.source_rows import Reading
from profiling_spark.ingest.reading.text_readers import parse_lines
from profiling_spark.ingest.resolving.versions import Deliveries

LAST = "last"
"""Of all runs the newest that has refused rows."""
# joins file_id and row_hash in `_file_id`, which every reader hands on
_MARK = "|"


def judge_again(ctx: Context, run_id: str) -> Outcome:
    """Judge the refused rows of a run anew with today's settings; LAST: of the newest run that has any.

    Raises InputError where a run that is named has none.
    """
    if run_id == LAST:
        run_id = max(_runs(ctx), default="")
        if not run_id:
            return Outcome(skipped="no run has rows that are still refused")
    refused = ctx.tables.read(REJECTED_ROWS).where((F.col("run_id") == run_id) & F.col("replayed_by").isNull())
    found = refused.groupBy("source", "target_table").agg(F.sum("occurrences").alias("rows")).collect()
    if not found:
        raise InputError(f"replay of {run_id}: expected refused rows of that run, found none. {_listed(_runs(ctx))}")
    wanted = {(name, s.target) for name, s in ctx.settings.sources.items()}
    feeds = [(r["source"], r["target_table"]) for r in found if (r["source"], r["target_table"]) in wanted]
    rows: dict[str, DataFrame] = {}
    for table in TARGETS:
        frames = [f for name, target in sorted(feeds) if target == table.name for f in _rows_of(ctx, name, refused)]
        if frames:
            rows[table.name] = reduce(DataFrame.unionByName, frames)
    with undone_on_failure(ctx) as versions:
        keys = [FileKey(name, "", target) for name, target in feeds]
        ledger.claim_replay(ctx.tables, keys, run_id, versions=versions)
        batches = _taken_in(ctx, rows, refused)
        counts = {key: count for batch in batches for key, count in batch.counts().items()}
        # each row was counted as rejected when its file was taken
        ledger.finish(ctx.tables, [], [], {key: c + Counts(rejected=-c.read) for key, c in counts.items()})
    return _outcome(ctx, run_id, batches, sum(counts.values(), Counts()), sum(r["rows"] for r in found))


def _taken_in(ctx: Context, rows: Mapping[str, DataFrame], refused: DataFrame) -> list[Batch]:
    batches: list[Batch] = []
    try:
        for table in (t for t in TARGETS if t.name in rows):
            items = next((b for b in batches if b.table is ITEMS), None)
            known = None
            if table in ATTRIBUTES:
                times = ledger.delivery_times(ledger.taken(ctx.tables), table.name)
                known = Deliveries(times, timezone=ctx.settings.business_timezone)
            batches.append(judge(ctx, table, rows[table.name], items=items, deliveries=known))
        for batch in batches:
            publish(ctx, batch)
        for batch in batches:
            _note(ctx, batch, refused)
    finally:
        for batch in batches:
            batch.release()
    return batches


def _runs(ctx: Context) -> list[str]:
    """Runs with rows that are still refused, in their order: a run_id begins with its time."""
    rows = ctx.tables.read(REJECTED_ROWS).where("replayed_by is null").select("run_id").distinct().collect()
    return sorted(r["run_id"] for r in rows)


def _listed(runs: list[str]) -> str:
    return f"Runs that have: {', '.join(runs[-10:])}" if runs else "No run has."


def _rows_of(ctx: Context, name: str, refused: DataFrame) -> list[DataFrame]:
    """A source's refused rows, checked again: as many copies of each as its file has."""
    source = ctx.settings.sources[name]
    reading = Reading(source, ctx.settings.known_columns(name))
    of_source = refused.where((F.col("source") == name) & (F.col("target_table") == source.target))
    lines = of_source.select(
        F.col("raw").alias("value"),
        F.concat_ws(_MARK, "file_id", "row_hash").alias("_file_id"),
        (F.col("reasons") == UNREADABLE).alias("_is_line"),
        F.explode(F.sequence(F.lit(1), F.col("occurrences"))).alias("_copy"),
    )
    if source.format == "json":
        frames = [parse_json(lines, reading)]
    elif source.format in ("fixed", "pattern"):
        frames = _text_lines(lines, reading)
    else:
        frames = _values(lines.where(~F.col("_is_line")), reading)
        if source.format == "csv":
            frames += _csv_lines(ctx, name, lines.where("_is_line"), reading)
    return [_with_origin(checked(ctx, name, frame)) for frame in frames]


def _text_lines(lines: DataFrame, reading: Reading) -> list[DataFrame]:
    """Lines of text as they were; rows that had been filled down are JSON of their values."""
    names = reading.source.lines.columns
    is_filled = F.coalesce(F.json_object_keys("value") == F.array(*(F.lit(c) for c in names)), F.lit(False))
    texts = parse_lines(lines.where(~is_filled), reading.source)
    return [texts, parse_values(lines.where(is_filled), names, reading)]


def _with_origin(frame: DataFrame) -> DataFrame:
    parts = F.split("file_id", f"[{_MARK}]")
    return frame.withColumns({"file_id": F.element_at(parts, 1), "_row_hash": F.element_at(parts, 2)})


def _values(rows: DataFrame, reading: Reading) -> list[DataFrame]:
    keyed = rows.withColumn("_columns", F.json_object_keys("value"))
    headers = [tuple(r["_columns"]) for r in keyed.select("_columns").distinct().collect()]
    return [
        parse_values(keyed.where(F.col("_columns") == F.array(*(F.lit(c) for c in header))), header, reading)
        for header in sorted(headers)
    ]


def _csv_lines(ctx: Context, name: str, lines: DataFrame, reading: Reading) -> list[DataFrame]:
    """Lines that could not be parsed need their file's header: only those whose file is still there are tried again."""
    if lines.isEmpty():
        return []
    try:
        files = find_files(ctx.spark, name, reading.source, ctx.settings.data_root)
    except InputError:
        return []
    by_header: dict[tuple[str, ...], list[str]] = {}
    for file in files:
        if not file.problem:
            by_header.setdefault(header_of(ctx.spark, reading.source.csv, file), []).append(file.file_id)
    file_id = F.element_at(F.split("_file_id", f"[{_MARK}]"), 1)
    return [parse_csv(lines.where(file_id.isin(*ids)), header, reading) for header, ids in by_header.items() if header]


def _note(ctx: Context, batch: Batch, refused: DataFrame) -> None:
    """What became of each refused row, in rejected_rows; equal rows have one outcome."""
    table = batch.table
    outcomes = batch.refused.frame().select("source", "file_id", "row_hash", F.col("reasons").alias("_again"))
    joined = refused.where(F.col("target_table") == table.name).join(outcomes, ["source", "file_id", "row_hash"])
    changed = joined.withColumns(
        {
            "reasons": F.coalesce("_again", "reasons"),
            "replayed_by": F.when(F.col("_again").isNull(), F.lit(ctx.run_id)),
        }
    )
    ctx.tables.upsert(REJECTED_ROWS, changed)


def _outcome(ctx: Context, run_id: str, batches: list[Batch], total: Counts, refused: int) -> Outcome:
    untried = refused - total.read
    stale = features_stale_from(ctx, batches)
    parts = [f"{total.accepted:,} accepted", f"{total.rejected + untried:,} refused again"]
    for what, n in (("duplicate", total.duplicate), ("ignored", total.ignored), ("superseded", total.superseded)):
        parts += [f"{n:,} {what}"] if n else []
    lines = [f"of {refused:,} rows that {run_id} refused: {', '.join(parts)}"]
    if untried:
        lines.append(f"{untried:,} of them could not be tried: their source or the header of their file is not there")
    if stale is not None:
        lines.append(f"features of {stale} and later dates were built without these rows: build_features --stale")
    return Outcome(
        rows_in=refused,
        rows_out=total.accepted,
        rows_rejected=total.rejected + untried,
        features_stale_from=stale,
        facts={**asdict(total), "refused": refused, "untried": untried, "features_stale_from": stale},
        lines=tuple(lines),
    )
