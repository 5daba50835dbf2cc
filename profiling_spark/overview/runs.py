"""Past runs, from job_runs."""

from __future__ import annotations

import polars as pl

from profiling_spark.contracts.operations import JOB_RUNS
from profiling_spark.errors import InputError
from profiling_spark.storage import Tables

_RUN = ("run_id", "job", "started_at", "seconds", "status", "as_of", "rows_in", "rows_out", "rows_rejected", "error")


def past_runs(tables: Tables, *, limit: int) -> pl.DataFrame:
    """The newest runs, the newest first, one row each: of a run of several stages the whole, with the rows that its
    ingest read, stored and refused and the error of the stage that failed.
    """
    rows = tables.rows(JOB_RUNS).with_columns(stages=pl.len().over("run_id"))
    # the whole begins with the run, and before its stages
    whole = rows.sort("started_at", pl.col("seconds").fill_null(0), descending=[False, True]).unique(
        "run_id", keep="first", maintain_order=True
    )
    counted = pl.col("rows_in", "rows_out", "rows_rejected")
    sums = rows.filter((pl.col("job") == "ingest") | (pl.col("stages") == 1)).select("run_id", counted)
    errors = rows.filter(pl.col("status") == "failed").group_by("run_id").agg(error=pl.col("error").first())
    joined = whole.drop("rows_in", "rows_out", "rows_rejected", "error").join(sums, on="run_id", how="left")
    joined = joined.join(errors, on="run_id", how="left")
    return joined.select(*_RUN).sort("started_at", "run_id", descending=True).head(limit)


def stages_of(tables: Tables, run_id: str) -> pl.DataFrame:
    """The rows of one run, the stages in their order; `last`: the newest run. Raises InputError where there is none."""
    rows = tables.rows(JOB_RUNS)
    if run_id == "last" and not rows.is_empty():
        run_id = str(rows.sort("started_at", "run_id")["run_id"][-1])
    found = rows.filter(pl.col("run_id") == run_id)
    if found.is_empty():
        newest = past_runs(tables, limit=5)["run_id"].to_list()
        raise InputError(
            f"run {run_id}: expected one of job_runs, such as {', '.join(newest) or 'none: nothing ran yet'}"
        )
    return found.select(*_RUN, "version").sort("started_at", pl.col("seconds").fill_null(0), descending=[False, True])
