"""Frames of a table's schema from a few rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from profiling_spark.buckets import bucket_of
from profiling_spark.contracts.silver import EVENTS
from profiling_spark.contracts.table import Table


def frame_of(spark: SparkSession, table: Table, rows: Sequence[dict[str, Any]]) -> DataFrame:
    """A frame of a table's schema; what a row leaves out is null."""
    return spark.createDataFrame([tuple(r.get(c) for c in table.names) for r in rows], table.schema)


def event_frame(spark: SparkSession, rows: Sequence[dict[str, Any]], *, buckets: int = 4) -> DataFrame:
    """Events with their bucket filled in."""
    bare = frame_of(spark, EVENTS, rows)
    return bare.withColumn("user_bucket", bucket_of(F.col("user_id"), buckets))
