"""`build_features --stale`: the dates that were built before rows came which change them.

An ingest notes in job_runs.features_stale_from the first date that its rows change; a build notes in
job_runs.features_built which dates it computed. A date is stale if such an ingest ended after the date's last build
began. A date whose build is not noted (an earlier release's) counts as older than any ingest.
"""

from __future__ import annotations

from datetime import date, datetime

import polars as pl
from pyspark.sql import Row
from pyspark.sql import functions as F

from profiling_spark.context import Context
from profiling_spark.contracts.features import user_features_table
from profiling_spark.contracts.operations import JOB_RUNS
from profiling_spark.contracts.silver import EVENTS


def stale_dates(ctx: Context) -> list[date]:
    """Dates of user_features to build again, the latest first; none where all are as they would be built today."""
    table = user_features_table(ctx.settings.windows_days, ctx.settings.custom_features)
    dates = [r["as_of"] for r in ctx.tables.read(table).select("as_of").distinct().collect()]
    runs = ctx.tables.rows(JOB_RUNS).filter(pl.col("run_id") != ctx.run_id)
    begun: dict[date, datetime] = {}
    for days, start in runs.select("features_built", "started_at").drop_nulls("features_built").rows():
        for day in map(date.fromisoformat, days.split(",")):
            begun[day] = max(start, begun.get(day, start))
    loads = runs.select("features_stale_from", "finished_at").drop_nulls("features_stale_from").rows() + _not_noted(ctx)
    return sorted((d for d in dates if any(_changes(d, begun.get(d), *load) for load in loads)), reverse=True)


def _changes(as_of: date, begun: datetime | None, first: date, ended: datetime) -> bool:
    return first <= as_of and (begun is None or begun < ended)


def _not_noted(ctx: Context) -> list[tuple[date, datetime]]:
    """Ingests that ended their ledger but were killed before job_runs: by the days of the events that they brought."""
    is_unnoted = (pl.col("job") == "ingest") & pl.col("status").is_in(["lost", "failed"])
    runs = ctx.tables.rows(JOB_RUNS).filter(is_unnoted, pl.col("features_stale_from").is_null())
    started = dict(runs.select("run_id", "started_at").rows())
    if not started:
        return []
    brought = ctx.tables.read(EVENTS).where(F.col("run_id").isin(*started))
    days: list[Row] = brought.groupBy("run_id").agg(F.min("event_date").alias("first")).collect()
    # features see the days before their date
    return [(date.fromordinal(r["first"].toordinal() + 1), started[r["run_id"]]) for r in days]
