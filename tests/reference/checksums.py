"""Checksums of a storage root's tables, to compare two builds."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from profiling_spark.contracts.all_tables import all_tables
from profiling_spark.contracts.operations import JOB_RUNS

# not of the data: they name the run, the time or the folder, or how a file looked to the run; sha256 covers MLlib's
# files, which hold a random id
_OF_THE_RUN = {"run_id", "path", "since", "sha256", "etag"}


def checksums(spark: SparkSession, root: str) -> dict[str, tuple[int, object]]:
    """Rows and a sum of row hashes of every table but job_runs, whatever the order of rows."""
    found = {}
    for table in all_tables():
        if table is JOB_RUNS or not (Path(root) / table.name).exists():
            continue
        frame = spark.read.format("delta").load(f"{root}/{table.name}")
        columns = [c for c in frame.columns if c not in _OF_THE_RUN]
        hashed = F.xxhash64(*columns, *(F.col(c).isNull() for c in columns)).cast("decimal(38,0)")
        row = frame.agg(F.count(F.lit(1)).alias("n"), F.sum(hashed).alias("h")).collect()[0]
        found[table.name] = (row["n"], row["h"])
    return found
