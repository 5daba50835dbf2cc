"""The first pass over the events: what those of all customers give for the items, and of recency, frequency and money.

The customers' kernels need both, so no customer can be built before it ends. Each bucket is read once for all dates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import polars as pl
from pyspark.sql import types as T

from profiling_spark.buckets import summed_buckets
from profiling_spark.features import item_parts, sums
from profiling_spark.features.bots import bots_at, heavy_days
from profiling_spark.features.item_parts import FIRST, ItemParts
from profiling_spark.features.left_out import FLAGS
from profiling_spark.features.left_out import counted as counted_events
from profiling_spark.features.rfm import MEASURES, MONEY, RFM_EVENT_COLUMNS, SCORES, RfmCuts, rfm_measures
from profiling_spark.features.sums import Sums
from profiling_spark.features.windows import FeatureParams
from profiling_spark.storage import Tables

_COLUMNS = tuple(dict.fromkeys((*item_parts.COLUMNS, *RFM_EVENT_COLUMNS, FLAGS)))
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

    The latter are rows with `_part` sums.RFM and the customers as `_rows`. Bots of the date count in neither.
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
        return counted.with_columns(pl.lit(sums.RFM).alias("_part"), pl.lit(as_of).alias(FIRST))


def first_pass(tables: Tables, params: Sequence[FeatureParams], *, buckets: int, priced: pl.DataFrame) -> pl.DataFrame:
    """What `item_features`, `item_sides` and `rfm_cuts` take, for the dates of `params`: see `Sums`.

    `priced`: see `priced_items`.
    """
    dates, windows = tuple(p.as_of for p in params), tuple(params[0].windows)
    kernel = _FirstPass(ItemParts(dates, windows, priced), tuple(params))
    return summed_buckets(
        tables,
        kernel,
        Sums(dates, windows),
        schemas=(_SCHEMA, sums.SCHEMA),
        by=("item_id", "measure", "value"),
        columns=_COLUMNS,
        buckets=buckets,
        before=max(dates),
    )


def rfm_cuts(added: pl.DataFrame, dates: Sequence[date]) -> dict[date, RfmCuts]:
    """For each date, cut points over all customers with a purchase before it: values that occur (nearest rank)."""
    values = added.filter(pl.col(sums.KIND) == sums.RFM).sort("as_of", "measure", "value")
    of_measure = ("as_of", "measure")
    reached = (SCORES * pl.col("_rows").cum_sum()).over(*of_measure)
    ranked = values.with_columns(_reached=reached, customers=pl.col("_rows").sum().over(*of_measure))
    found = ranked.group_by(*of_measure).agg(
        pl.col("customers").first(),
        *(
            pl.col("value").filter(pl.col("_reached") >= i * pl.col("customers")).min().alias(str(i))
            for i in range(1, SCORES)
        ),
    )
    rows: dict[date, dict[str, tuple[Decimal, ...]]] = {}
    customers = {}
    for row in found.iter_rows(named=True):
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
