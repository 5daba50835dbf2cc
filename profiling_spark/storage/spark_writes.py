"""Commits that Spark makes: of large frames, merges, and all of them where nothing else opens the files.

For `storage.Tables`, which signs them and moves its pins afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from profiling_spark.contracts.table import Table


def write(
    table: Table,
    frame: DataFrame,
    path: str,
    *,
    mode: str,
    options: Mapping[str, str],
    properties: Mapping[str, str] | None,
) -> int:
    """Write a frame in one commit; `properties`: those of a table that does not exist yet. Returns the rows written."""
    counted = Observation()
    conformed = table.conform(frame).observe(counted, F.count(F.lit(1)).alias("rows"))
    writer = conformed.write.format("delta").mode(mode).options(**options).option("mergeSchema", "true")
    if properties is not None:
        writer = writer.options(**properties)
        if table.partition_by:
            writer = writer.partitionBy(*table.partition_by)
    writer.save(path)
    return int(counted.get["rows"])


def merge(
    spark: SparkSession, path: str, table: Table, frame: DataFrame, *, near: Sequence[str], gone: DataFrame | None
) -> None:
    """See `Tables.upsert`."""
    on = " AND ".join([*(f"old.{c} <=> new.{c}" for c in table.key), *(f"old.{condition}" for condition in near)])
    if gone is not None:
        same = [gone[c].eqNullSafe(frame[c]) for c in table.key]
        left = gone.join(frame, same, how="left_anti")
        # every row of these tables names its run: null is free to mark those that go
        frame = frame.unionByName(left.withColumn("run_id", F.lit(None).cast("string")))
    target = DeltaTable.forPath(spark, path).alias("old")
    # a table written before a column was added to the contract gets it
    merged = target.merge(table.conform(frame).alias("new"), on).withSchemaEvolution()
    merged = merged if gone is None else merged.whenMatchedDelete("new.run_id IS NULL")
    merged.whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()
