"""Kernels over what customers did: the buckets' events, but for those that a rule leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl
from pyspark.sql import DataFrame
from pyspark.sql import types as T

from profiling_spark.buckets import Kernel, map_buckets
from profiling_spark.features.left_out import FLAGS, counted
from profiling_spark.recommend.history.interactions import HistoryParams
from profiling_spark.storage import Tables


@dataclass(frozen=True)
class _Counted:
    kernel: Kernel
    rules: tuple[str, ...]

    def __call__(self, events: pl.DataFrame, sides: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        return self.kernel(counted(events, self.rules).drop(FLAGS), sides)


def map_histories(
    tables: Tables,
    kernel: Kernel,
    params: HistoryParams,
    *,
    schema: T.StructType,
    columns: Sequence[str],
    buckets: int,
    sides: Mapping[str, DataFrame] | None = None,
) -> DataFrame:
    """`map_buckets` over the histories' window, without events that one of the rules `params.left_out` flagged."""
    if params.left_out:
        kernel, columns = _Counted(kernel, params.left_out), (*columns, FLAGS)
    return map_buckets(
        tables, kernel, schema=schema, columns=columns, buckets=buckets, before=params.as_of, since=params.since,
        sides=sides,
    )  # fmt: skip
