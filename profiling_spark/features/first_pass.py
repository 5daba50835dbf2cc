"""The first pass over the events: what those of all customers say of the items, and of recency, frequency and money.

The customers' kernels need both, so no customer can be built before it ends. Each bucket is read once for all dates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import polars as pl
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from profiling_spark.buckets import map_buckets
from profiling_spark.features import item_parts
from profiling_spark.features.bots import bots_at, heavy_days
from profiling_spark.features.item_parts import FIRST, ItemParts
from profiling_spark.features.left_out import FLAGS
from profiling_spark.features.left_out import counted as counted_events
from profiling_spark.features.rfm import MEASURES, MONEY, RFM_EVENT_COLUMNS, SCORES, RfmCuts, rfm_measures
from profiling_spark.features.windows import FeatureParams
from profiling_spark.storage import Tables

_COLUMNS = tuple(dict.fromkeys((*item_parts.COLUMNS, *RFM_EVENT_COLUMNS, FLAGS)))
_RFM = "rfm"
_SCHEMA = T.StructType(
    [
        *item_parts.SCHEMA,
        T.StructField("measure", T.StringType()),
        T.StructField("value", T.DecimalType(28, 4)),
    ]
)


@dataclass(frozen=True)
class _FirstPass:
    """Kernel over events: the rows of `ItemParts`, and for each date (FIRST), RFM measure and value its customers.

    The latter are rows with `_part` _RFM and the customers as `_rows`. Bots of the date count in neither.
    """

    items: ItemParts
    params: tuple[FeatureParams, ...]

    def __call__(self, events: pl.DataFrame, sides: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        events = counted_events(events, self.params[0].left_out)
        heavy = heavy_days(events, self.params[0].bot_events_per_day)
        bots = {p.as_of: bots_at(heavy, p.as_of, p.bot_days) for p in self.params}
        counted = (self._counted(rfm_measures(events, params=p), bots[p.as_of], p.as_of) for p in self.params)
        return pl.concat([self.items(events, bots), *counted], how="diagonal").select(_SCHEMA.names)

    def _counted(self, sample: pl.DataFrame, bots: pl.DataFrame, as_of: date) -> pl.DataFrame:
        measures = sample.join(bots, on="user_id", how="anti")
        values = (measures.select(pl.lit(m).alias("measure"), value=pl.col(m).cast(MONEY)) for m in MEASURES)
        counted = pl.concat(values).group_by("measure", "value").agg(_rows=pl.len().cast(pl.Int64))
        return counted.with_columns(pl.lit(_RFM).alias("_part"), pl.lit(as_of).alias(FIRST))


def first_pass(tables: Tables, params: Sequence[FeatureParams], *, buckets: int, priced: pl.DataFrame) -> DataFrame:
    """What `item_features`, `item_sides` and `rfm_cuts` add up, for the dates of `params`; see `_FirstPass`.

    `priced`: see `priced_items`.
    """
    dates = tuple(p.as_of for p in params)
    kernel = _FirstPass(ItemParts(dates, params[0].windows, priced), tuple(params))
    return map_buckets(tables, kernel, schema=_SCHEMA, columns=_COLUMNS, buckets=buckets, before=max(dates))


def rfm_cuts(parts: DataFrame, dates: Sequence[date]) -> dict[date, RfmCuts]:
    """For each date, cut points over all customers with a purchase before it: values that occur (nearest rank)."""
    of_measure = Window.partitionBy(FIRST, "measure")
    up_to_it = of_measure.orderBy("value").rowsBetween(Window.unboundedPreceding, Window.currentRow)
    ranked = (
        parts.where(F.col("_part") == _RFM)
        .groupBy(FIRST, "measure", "value")
        .agg(F.sum("_rows").alias("_rows"))
        .select(
            *(FIRST, "measure", "value"),
            (SCORES * F.sum("_rows").over(up_to_it)).alias("_reached"),
            F.sum("_rows").over(of_measure).alias("customers"),
        )
    )
    cuts = (
        F.min(F.when(F.col("_reached") >= i * F.col("customers"), F.col("value"))).alias(str(i))
        for i in range(1, SCORES)
    )
    found = ranked.groupBy(F.col(FIRST).alias("as_of"), "measure").agg(F.max("customers").alias("customers"), *cuts)
    rows: dict[date, dict[str, tuple[Decimal, ...]]] = {}
    customers = {}
    for row in found.collect():
        rows.setdefault(row["as_of"], {})[row["measure"]] = tuple(row[str(i)] for i in range(1, SCORES))
        customers[row["as_of"]] = int(row["customers"])
    return {d: _cuts(rows[d], customers[d]) if d in rows else RfmCuts((), (), (), 0) for d in dates}


def _cuts(values: Mapping[str, tuple[Decimal, ...]], customers: int) -> RfmCuts:
    return RfmCuts(
        recency_days=tuple(int(v) for v in values["recency_days"]),
        frequency=tuple(int(v) for v in values["frequency"]),
        monetary=values["monetary"],
        customers=customers,
    )
