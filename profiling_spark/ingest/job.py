"""The ingest stage: claim files, judge every row once, check limits, publish, mark the files done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import reduce

from pyspark.sql import DataFrame

from profiling_spark.buckets import check_layout
from profiling_spark.contracts.operations import QUALITY_METRICS
from profiling_spark.contracts.silver import ITEMS, REJECTED_ROWS
from profiling_spark.errors import InputError
from profiling_spark.ingest import ledger
from profiling_spark.ingest.batch import TARGETS, Batch, judge, publish, rows_of_files
from profiling_spark.ingest.changes import ToTake, sort_out
from profiling_spark.ingest.files import FileKey, SourceFile, find_files
from profiling_spark.ingest.first_lines import Places, fill_first_lines
from profiling_spark.ingest.hold import clear_staging
from profiling_spark.ingest.ledger import Counts, of_files
from profiling_spark.ingest.quality import by_source, check_limits, metric_rows, refused_reasons
from profiling_spark.ingest.recover import clear_unfinished, undone_on_failure
from profiling_spark.ingest.reload import source_of, take_again
from profiling_spark.ingest.replay import replay
from profiling_spark.ingest.stale import features_stale_from
from profiling_spark.runner import Context, Outcome
from profiling_spark.storage import literal


def ingest(ctx: Context) -> Outcome:
    """Read new source files into events, users, items and reviews; refused rows go to rejected_rows with reasons."""
    if not ctx.settings.sources:
        raise InputError("sources: expected at least one source in the settings, found none (see --config)")
    check_layout(ctx.tables, ctx.settings.buckets)
    clear_staging(ctx.tables)
    cleared = clear_unfinished(ctx.tables, started=ctx.started, claim_hours=ctx.settings.ingest.claim_hours)
    if cleared.runs:
        ctx.say(f"    {cleared.text}")
    if ctx.command.replay is not None:
        return replay(ctx, ctx.command.replay)
    wanted = ctx.settings.sources if ctx.command.reload is None else source_of(ctx.settings, ctx.command.reload)
    found = [f for name, s in wanted.items() for f in find_files(ctx.spark, name, s, ctx.settings.data_root)]
    known = ledger.taken(ctx.tables)
    todo = sort_out(found, known, ctx.settings.sources)
    if ctx.command.reload is not None:
        take_again(todo, found, known, ctx.command.reload)
    if not todo.files and not todo.refused:
        return Outcome(
            rows_in=0,
            rows_out=0,
            rows_rejected=0,
            facts=_facts(todo),
            lines=(f"no new files; {todo.known} are known already",),
        )
    files = {t.name: mine for t in TARGETS if (mine := [f for f in todo.files if f.target == t.name])}
    rows = {table.name: rows_of_files(ctx, table, files[table.name]) for table in TARGETS if table.name in files}
    with undone_on_failure(ctx) as versions:
        ledger.claim(ctx.tables, [*todo.files, *todo.refused], again=todo.again, versions=versions)
        batches = _taken_in(ctx, todo, rows, files)
        counts = _counts(batches)
        ledger.finish(ctx.tables, todo.files, todo.refused, counts, gone=todo.gone)
    return _outcome(ctx, batches, todo, counts)


def _taken_in(
    ctx: Context, todo: ToTake, rows: Mapping[str, DataFrame], files: Mapping[str, list[SourceFile]]
) -> list[Batch]:
    """Everything between the claim and the end of the ledger."""
    batches: list[Batch] = []
    try:
        for table in TARGETS:
            if table.name in rows:
                items = next((b for b in batches if b.table is ITEMS), None)
                old = todo.old(table.name)
                batches.append(judge(ctx, table, rows[table.name], items=items, old=old, files=files[table.name]))
        for batch in batches:
            check_limits(batch.groups, batch.table, ctx.settings.ingest, Places(ctx.settings.sources, todo.files))
        for batch in batches:
            publish(ctx, batch)
            fill_first_lines(ctx, batch, todo.files)
        _publish_rejected(ctx, batches, todo)
    finally:
        for batch in batches:
            batch.release()
    return batches


def _counts(batches: Iterable[Batch]) -> dict[FileKey, Counts]:
    return {key: count for batch in batches for key, count in batch.counts().items()}


def _publish_rejected(ctx: Context, batches: Sequence[Batch], todo: ToTake) -> None:
    if not batches:
        return
    refused = reduce(DataFrame.unionByName, [b.refused for b in batches]).coalesce(2)
    files = [f for b in batches for f in b.refused_files or ()]
    if todo.again or todo.gone:
        replaced = f"{of_files(todo.again | todo.gone)} OR run_id = {literal(ctx.run_id)}"
        ctx.tables.replace_where(REJECTED_ROWS, refused, replaced)
    elif all(b.refused_files is not None for b in batches):
        ctx.tables.add_files(REJECTED_ROWS, files)
    else:
        ctx.tables.append(REJECTED_ROWS, refused)
    metrics = [row for b in batches for row in metric_rows(ctx.run_id, b.groups, b.table, ctx.settings.ingest)]
    ctx.tables.append_rows(QUALITY_METRICS, metrics)


def _facts(todo: ToTake) -> dict[str, object]:
    return {
        "files_new": len(todo.files) - len(todo.again),
        "files_known": todo.known,
        "files_refused": len(todo.refused),
        "files_taken_again": len(todo.again) + len(todo.gone),
    }


def _outcome(ctx: Context, batches: Sequence[Batch], todo: ToTake, counts: Mapping[FileKey, Counts]) -> Outcome:
    by_name: dict[str, Counts] = {}
    for file in todo.files:
        by_name[file.source] = by_name.get(file.source, Counts()) + counts.get(file.key, Counts())
    reasons = {name: refused_reasons(rows) for b in batches for name, rows in by_source(b.groups).items()}
    total = sum(by_name.values(), Counts())
    lines = [_line(name, count, reasons.get(name, {})) for name, count in by_name.items()]
    drift = {name: sorted(columns) for b in batches for name, columns in b.new_columns().items()}
    lines += [
        f"{name}: warning, columns that the settings do not know: {', '.join(columns)} (kept in rescued; "
        f"map them, or name them in sources.{name}.unused)"
        for name, columns in drift.items()
    ]
    if total.rejected:
        command = ctx.command.line("ingest", "--replay", ctx.run_id)
        lines.append(f"after mending rules or mappings, judge the refused rows again: {command}")
    stale = features_stale_from(ctx, batches)
    if stale is not None:
        lines.append(f"features of {stale} and later dates were built without these rows: build_features --stale")
    lines += [*todo.notes, *(f"{f.path}: refused, {f.problem}" for f in todo.refused)]
    problem = "; ".join(f"{f.path}: {f.problem}" for f in todo.refused)
    return Outcome(
        rows_in=total.read,
        rows_out=total.accepted,
        rows_rejected=total.rejected,
        features_stale_from=stale,
        problem=f"refused files, the others were loaded: {problem}" if problem else "",
        facts={
            **_facts(todo),
            "sources": {n: {**asdict(c), "read": c.read} for n, c in by_name.items()},
            "rejected": {name: found for name, found in reasons.items() if found},
            "new_columns": drift,
            "features_stale_from": stale,
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
