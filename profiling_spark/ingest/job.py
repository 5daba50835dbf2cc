"""The ingest stage: claim files, judge every row once, check limits, publish, mark the files done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import reduce

from pyspark.sql import DataFrame

from profiling_spark.buckets import check_layout
from profiling_spark.context import Context, Outcome
from profiling_spark.contracts.operations import QUALITY_METRICS
from profiling_spark.contracts.silver import ATTRIBUTES, EVENTS, ITEMS, REJECTED_ROWS
from profiling_spark.contracts.table import Table
from profiling_spark.errors import InputError
from profiling_spark.ingest.again.recover import clear_unfinished, undone_on_failure
from profiling_spark.ingest.again.reload import source_of, take_again
from profiling_spark.ingest.again.replay import LAST, judge_again
from profiling_spark.ingest.batch import TARGETS, Batch, publish
from profiling_spark.ingest.files import ledger
from profiling_spark.ingest.files.changes import ToTake
from profiling_spark.ingest.files.identity import check_renamed, identities, sort_out_renamed, to_remember
from profiling_spark.ingest.files.ledger import Counts, Taken, of_files
from profiling_spark.ingest.files.source_files import FileKey, SourceFile, find_files
from profiling_spark.ingest.findings.first_lines import Places, fill_first_lines
from profiling_spark.ingest.findings.overlap import counted_twice
from profiling_spark.ingest.findings.quality import by_source, check_ends, check_limits, metric_rows, refused_reasons
from profiling_spark.ingest.findings.stale import features_stale_from
from profiling_spark.ingest.new_rows import judge, rows_of_files
from profiling_spark.ingest.resolving.versions import Deliveries
from profiling_spark.remembered import Remembered, check_zone, remember, remembered
from profiling_spark.storage import Part, literal

_AT_ONCE = 2


def ingest(ctx: Context) -> Outcome:
    """Read new source files into events, users, items and reviews; refused rows go to rejected_rows with reasons."""
    return _load(ctx)


def replay(ctx: Context, run_id: str = LAST) -> Outcome:
    """Judge the rows that a run refused again, with the settings of today; `last`: of the newest run that has any."""
    taken, known = _cleared(ctx)
    ctx.identities = identities(ctx.settings, taken, known)
    return judge_again(ctx, run_id)


def reload(ctx: Context, source: str) -> Outcome:
    """Take all files of a source again, as it is mapped today; their rows replace those that they gave before."""
    return _load(ctx, source)


def _cleared(ctx: Context) -> tuple[list[Taken], Remembered]:
    """The ledger and what the storage remembers, after a run that died is undone."""
    if not ctx.settings.sources:
        raise InputError("sources: expected at least one source in the settings, found none (see --config)")
    check_layout(ctx.tables, ctx.settings.buckets)
    cleared = clear_unfinished(ctx.tables)
    if cleared.runs:
        ctx.note(cleared.text)
    taken, known = ledger.taken(ctx.tables), remembered(ctx.tables)
    if taken:
        check_zone(known, ctx.settings, root=ctx.tables.root)
    return taken, known


def _load(ctx: Context, again: str | None = None) -> Outcome:
    """`again`: the source whose files are taken again, and no other's."""
    taken, known = _cleared(ctx)
    wanted = ctx.settings.sources if again is None else source_of(ctx.settings, again)
    # a source that is taken again is examined again, by the settings of today
    known_of = {name: ledger.known_contents(taken, name) if again is None else {} for name in wanted}
    files_of = {
        name: find_files(ctx.spark, name, s, ctx.settings.data_root, known=known_of[name]) for name, s in wanted.items()
    }
    found = [f for files in files_of.values() for f in files]
    absent = [name for name, files in files_of.items() if not files]
    check_renamed(found, taken, ctx.settings)
    todo = sort_out_renamed(found, taken, ctx.settings, started=ctx.started, spark=ctx.spark)
    if again is not None:
        take_again(todo, found, taken, ctx.settings.sources, again)
    ctx.identities = identities(ctx.settings, taken, known, todo.again | todo.gone)
    # of a lake that remembers nothing today's settings are what it rests on
    unknown = {t.key.source for t in taken} & ctx.settings.sources.keys() - known.keys()
    if not todo.files and not todo.refused:
        remember(ctx.tables, to_remember(ctx.settings, ctx.identities, known, unknown))
        return Outcome(
            rows_in=0,
            rows_out=0,
            rows_rejected=0,
            facts={**_facts(todo), "sources_absent": absent},
            lines=(f"no new files; {todo.known} are known already", *_absent_lines(ctx, absent, taken)),
        )
    ctx.plan_for(sum(f.bytes for f in todo.files))
    for file in todo.files:
        if file.hint:
            ctx.note(f"{file.path}: {file.hint}")
    files = {t.name: of_target for t in TARGETS if (of_target := [f for f in todo.files if f.target == t.name])}
    rows = {table.name: rows_of_files(ctx, table, files[table.name]) for table in TARGETS if table.name in files}
    with undone_on_failure(ctx) as versions:
        ledger.claim(ctx.tables, [*todo.files, *todo.refused], again=todo.again, versions=versions)
        batches, twice = _taken_in(ctx, todo, rows, files, taken=taken, known=known)
        counts = _counts(batches)
        names = unknown | {f.source for f in todo.files}
        remember(ctx.tables, to_remember(ctx.settings, ctx.identities, known, names))
        etags = ledger.seen_again(taken, found)
        ledger.finish(ctx.tables, todo.files, todo.refused, counts, gone=todo.gone, etags=etags)
    done = _outcome(ctx, batches, todo, counts, twice)
    lines = (*done.lines, *_absent_lines(ctx, absent, taken))
    return replace(done, lines=lines, facts={**done.facts, "sources_absent": absent})


def _taken_in(
    ctx: Context,
    todo: ToTake,
    rows: Mapping[str, DataFrame],
    files: Mapping[str, list[SourceFile]],
    *,
    taken: Sequence[Taken],
    known: Remembered,
) -> tuple[list[Batch], dict[str, int]]:
    """Everything between the claim and the end of the ledger; also the rows that two sources seem to have in common."""
    batches: list[Batch] = []
    sizes = {name: sum(f.bytes for f in of_target) for name, of_target in files.items()}
    ctx.progress.work_began(lambda: sum(sizes[b.table.name] for b in batches), sum(sizes.values()), "bytes")

    def judged(table: Table, items: Batch | None = None) -> Batch:
        old, new = todo.old(table.name), files[table.name]
        made = _deliveries(table, taken, todo, ctx.settings.business_timezone)
        batch = judge(ctx, table, rows[table.name], items=items, old=old, files=new, deliveries=made)
        batches.append(batch)
        ctx.progress.part_ended(table.name, sum(g.rows for g in batch.groups))
        return batch

    try:
        _judge_all(judged, [t for t in TARGETS if t.name in rows], at_once=_AT_ONCE if ctx.tables.is_small else 1)
        batches.sort(key=lambda b: TARGETS.index(b.table))
        for batch in batches:
            places = Places(ctx.settings.sources, todo.files, ctx.spark)
            check_limits(batch.groups, batch.table, ctx.settings.ingest, places)
            check_ends(batch.ends, ctx.settings.sources)
        twice = {names: n for batch in batches for names, n in counted_twice(ctx, batch, known).items()}
        for batch in batches:
            publish(ctx, batch)
            fill_first_lines(ctx, batch, todo.files)
        _publish_rejected(ctx, batches, todo)
    finally:
        for batch in batches:
            batch.release()
    return batches, twice


def _judge_all(judged: Callable[..., Batch], tables: Sequence[Table], *, at_once: int) -> None:
    """Judge the rows of each table, those of events with the items of the run; so many `at_once`.

    The rows are planned before, one table after another, since a zone is a setting of the session meanwhile.
    """
    with ThreadPoolExecutor(at_once) as pool:
        started = {table: pool.submit(judged, table) for table in tables if table is not EVENTS}
        try:
            items = started[ITEMS].result() if ITEMS in started else None
            if EVENTS in tables:
                started[EVENTS] = pool.submit(judged, EVENTS, items)
            for future in started.values():
                future.result()
        finally:
            for future in started.values():
                future.cancel()  # where one failed no other begins


def _deliveries(table: Table, taken: Sequence[Taken], todo: ToTake, timezone: str) -> Deliveries | None:
    if table not in ATTRIBUTES:
        return None
    times = ledger.delivery_times(taken, table.name)
    times |= {(f.source, f.file_id): f.delivered_at for f in todo.files if f.delivered_at is not None}
    return Deliveries(times, tuple(todo.snapshots), timezone=timezone)


def _counts(batches: Iterable[Batch]) -> dict[FileKey, Counts]:
    return {key: count for batch in batches for key, count in batch.counts().items()}


def _publish_rejected(ctx: Context, batches: Sequence[Batch], todo: ToTake) -> None:
    if not batches:
        return
    parts = [b.refused for b in batches]
    if todo.again or todo.gone:
        replaced = f"{of_files(todo.again | todo.gone)} OR run_id = {literal(ctx.run_id)}"
        refused = reduce(DataFrame.unionByName, [part.frame() for part in parts]).coalesce(2)
        ctx.tables.replace_where(REJECTED_ROWS, refused, replaced)
    else:
        ctx.tables.append(REJECTED_ROWS, reduce(Part.union, parts))
    metrics = [row for b in batches for row in metric_rows(ctx.run_id, b.groups, b.table, ctx.settings.ingest)]
    ctx.tables.append_rows(QUALITY_METRICS, metrics)


def _absent_lines(ctx: Context, absent: Sequence[str], taken: Sequence[Taken]) -> list[str]:
    """Lines on sources that are not required and have no file."""
    stored = {t.key.source for t in taken}
    stays = {True: "what it delivered before stays", False: "it counts as not supplied"}
    paths = {name: ctx.settings.sources[name].path for name in absent}
    return [
        f"{name}: absent, no files at {path} (required: false); {stays[name in stored]}" for name, path in paths.items()
    ]


def _facts(todo: ToTake) -> dict[str, object]:
    return {
        "files_new": len(todo.files) - len(todo.again),
        "files_known": todo.known,
        "files_refused": len(todo.refused),
        "files_taken_again": len(todo.again) + len(todo.gone),
    }


def _outcome(
    ctx: Context, batches: Sequence[Batch], todo: ToTake, counts: Mapping[FileKey, Counts], twice: Mapping[str, int]
) -> Outcome:
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
    equal = {name: rows for b in batches for name, rows in b.equal_elsewhere().items()}
    lines += [_equal_line(name, rows) for name, rows in equal.items()]
    lines += [_twice_line(names, rows) for names, rows in twice.items()]
    stale = features_stale_from(ctx, batches)
    if stale is not None:
        lines.append(f"features of {stale} and later dates were built without these rows")
    lines += [*todo.notes, *(f"{f.path}: {f.hint}" for f in todo.files if f.hint)]
    lines += [*(f"{f.path}: refused, {f.problem}" for f in todo.refused)]
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
            "equal_in_mapped_columns": equal,
            "alike_in_two_sources": dict(twice),
            "features_stale_from": stale,
        },
        lines=tuple(lines),
    )


def _equal_line(name: str, rows: int) -> str:
    return (
        f"{name}: warning, {rows:,} rows equal another one in every mapped column and differ elsewhere; they count "
        f"once. If they are several events, set sources.{name}.repeats: count, or map what tells them apart (event_id "
        "is best, or distinct_by), and load the files again"
    )


def _twice_line(names: str, rows: int) -> str:
    return (
        f"{names}: warning, {rows:,} new events look like one of another of these sources (same customer, type, time, "
        "item and order) and count in both: narrow sources.NAME.covers, or ignore the type in one of them"
    )


def _line(name: str, counts: Counts, reasons: dict[str, int]) -> str:
    parts = [f"{counts.read:,} read", f"{counts.accepted:,} accepted"]
    for what, rows in (
        ("duplicate", counts.duplicate),
        ("ignored", counts.ignored),
        ("superseded", counts.superseded),
        ("ended", counts.ended),
        ("rejected", counts.rejected),
    ):
        if rows:
            parts.append(f"{rows:,} {what}")
    why = ", ".join(f"{r} {n:,}" for r, n in sorted(reasons.items(), key=lambda x: (-x[1], x[0])))
    return f"{name}: " + ", ".join(parts) + (f" ({why})" if why else "")
