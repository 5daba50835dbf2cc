"""The maintain stage: compact tables that have many small files, remove old files, or (--check) verify promises."""

from __future__ import annotations

from math import ceil

from pyspark.sql import functions as F

from profiling_spark.attributes import versions
from profiling_spark.context import Context, Outcome
from profiling_spark.contracts.all_tables import all_tables
from profiling_spark.contracts.silver import ATTRIBUTES, EVENTS, INGESTED_FILES, ITEMS, REJECTED_ROWS, REVIEWS, USERS
from profiling_spark.contracts.table import Table
from profiling_spark.errors import ContractError
from profiling_spark.ingest.again.recover import clear_unfinished
from profiling_spark.ingest.files.ledger import DONE, TAKING
from profiling_spark.storage import Tables
from profiling_spark.storage.upkeep import compact, remove_old_files, remove_staged, size

_MEGABYTE = 2**20
_EXAMPLES = 3


def maintain(ctx: Context) -> Outcome:
    """Compact tables of many small files and remove files that no version of the last days needs."""
    # before old files go: the versions that an unfinished run is undone to need theirs
    cleared = clear_unfinished(ctx.tables)
    if cleared.runs:
        ctx.note(cleared.text)
    remove_staged(ctx.tables)
    settings = ctx.settings.maintain
    lines, files_before, files_after = [], 0, 0
    for table in all_tables(ctx.settings.windows_days):
        if not ctx.tables.exists(table):
            continue
        before = size(ctx.tables, table)
        least = ctx.settings.buckets if table is EVENTS else 1
        file_bytes = settings.file_megabytes * _MEGABYTE
        needed = max(least, ceil(before.bytes / file_bytes))
        if before.files > settings.files_factor * needed:
            # rows of one day together, so that readers of some days open few parts of a file
            compact(ctx.tables, table, file_bytes=file_bytes, order_by="event_date" if table is EVENTS else None)
        after = size(ctx.tables, table)
        remove_old_files(ctx.tables, table, keep_days=settings.keep_days)
        files_before, files_after = files_before + before.files, files_after + after.files
        if after.files != before.files:
            lines.append(f"{table.name}: {before.files:,} files became {after.files:,}")
    facts = {"files_before": files_before, "files_after": files_after}
    return Outcome(facts=facts, lines=tuple(lines) or ("no table has many small files",))


def check(ctx: Context) -> Outcome:
    """Keys that occur once, and as many rows as the ledger says. Raises ContractError that lists what is not so."""
    claims = ctx.tables.read(INGESTED_FILES).where(F.col("status") == TAKING).select("run_id").distinct().collect()
    faults = [f"run {r['run_id']} has not ended; if it died, the next ingest or maintain clears it" for r in claims]
    faults += [fault for table in (EVENTS, USERS, ITEMS, REVIEWS) for fault in _faults(ctx.tables, table)]
    if faults:
        raise ContractError("the tables break their promises:\n" + "\n".join(f"  {f}" for f in faults))
    return Outcome(lines=("every key occurs once; every table has the rows that the ledger of files says",))


def _faults(tables: Tables, table: Table) -> list[str]:
    if not tables.exists(table):
        return []
    rows = versions(tables, table) if table in ATTRIBUTES else tables.read(table)
    repeated = rows.groupBy(*table.key).count().where("count > 1")
    examples = repeated.orderBy(F.desc("count"), *table.key).limit(_EXAMPLES).collect()
    faults = []
    if examples:
        personal = {c.name for c in table.columns if c.personal}
        shown = "; ".join(", ".join(str(r[c]) for c in table.key if c not in personal) for r in examples)
        faults.append(f"{table.name}: {repeated.count():,} keys occur more than once, such as {shown}")
    keys = ["source", "file_id"]
    ledger = tables.read(INGESTED_FILES).where((F.col("target_table") == table.name) & (F.col("status") == DONE))
    refused = tables.read(REJECTED_ROWS).where((F.col("target_table") == table.name) & F.col("replayed_by").isNull())
    there = rows.groupBy(*keys).agg(F.count(F.lit(1)).alias("accepted"))
    kept = refused.groupBy(*keys).agg(F.sum("occurrences").alias("rejected"))
    written = (F.col("rows_accepted") + F.coalesce("rows_ended", F.lit(0))).alias("rows_accepted")
    joined = ledger.select(*keys, "path", written, "rows_rejected").join(there, keys, how="full")
    differ = joined.join(kept, keys, how="full").where(
        "coalesce(rows_accepted, -1) <> coalesce(accepted, 0) or coalesce(rows_rejected, -1) <> coalesce(rejected, 0)"
    )
    for r in differ.orderBy("path", "file_id").limit(_EXAMPLES).collect():
        faults.append(
            f"{table.name}: {r['path'] or r['file_id']}: the ledger says {r['rows_accepted']} accepted and "
            f"{r['rows_rejected']} rejected, found {r['accepted'] or 0} and {r['rejected'] or 0}"
        )
    return faults
