"""Kernels over what customers did: the buckets' events, but for those that a rule leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from pyspark.sql import DataFrame
from pyspark.sql import types as T

from profiling_spark.buckets import Kernel, Replaced, ReportingKernel, map_buckets, replace_from_buckets
from profiling_spark.contracts.table import Table
from profiling_spark.features.left_out import FLAGS, counted
from profiling_spark.recommend.history.interactions import HistoryParams
from profiling_spark.storage import Tables


@dataclass(frozen=True)
class _Counted:
    kernel: Kernel | ReportingKernel
    rules: tuple[str, ...]

    def __call__(self, events: pl.DataFrame, sides: Mapping[str, pl.DataFrame]) -> Any:
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


def replace_from_histories(
    tables: Tables,
    kernel: ReportingKernel,
    table: Table,
    params: HistoryParams,
    *,
    columns: Sequence[str],
    buckets: int,
    sides: Mapping[str, DataFrame],
) -> Replaced:
    """`replace_from_buckets` of the date's rows of `table`, over the same events as `map_histories`."""
    counted_kernel: Any = kernel
    if params.left_out:
        counted_kernel, columns = _Counted(kernel, params.left_out), (*columns, FLAGS)
    return replace_from_buckets(
        tables, counted_kernel, table, [params.as_of], columns=columns, buckets=buckets, before=params.as_of,
        since=params.since, sides=sides, has_reports=True,
    )  # fmt: skip
