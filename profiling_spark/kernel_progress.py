"""How far a kernel is: its tasks count the rows that they have gone through, which costs no Spark job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import polars as pl
from pyspark import Accumulator

from profiling_spark.buckets import Kernel, ReportingKernel
from profiling_spark.contracts.table import Table
from profiling_spark.progress import Progress
from profiling_spark.storage import SliceValue, Tables

_Kernel = TypeVar("_Kernel", bound=Kernel | ReportingKernel)


@dataclass(frozen=True)
class _Counting:
    kernel: Any
    side: str | None
    rows: Accumulator[int]

    def __call__(self, events: pl.DataFrame, sides: Mapping[str, pl.DataFrame]) -> Any:
        result = self.kernel(events, sides)
        self.rows.add(len(events if self.side is None else sides[self.side]))
        return result


def counting(
    kernel: _Kernel, tables: Tables, progress: Progress, *, total: int | None, unit: str, side: str | None = None
) -> _Kernel:
    """The kernel as it is, of which `progress` knows how far it is from now on: counted are the rows of the side frame
    `side`, else events. A session that cannot count (Spark Connect) shows nothing.
    """
    try:
        rows = tables.spark.sparkContext.accumulator(0)
    except Exception:
        return kernel
    progress.work_began(lambda: rows.value, total, unit)
    return cast(_Kernel, _Counting(kernel, side, rows))


def stored_rows(tables: Tables, table: Table, **where: SliceValue) -> int | None:
    """Rows of the files that may hold rows of `where`; None where the log on the storage does not tell it at once."""
    found = [f.add_action["num_records"] for f in tables.files(table, **where)]
    return sum(map(int, found)) if found and None not in found else None
