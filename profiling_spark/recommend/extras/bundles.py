"""Bundles: two or three items that stand in the same orders more often than chance (Agrawal and Srikant, VLDB 1994).

Level by level: only frequent items make pairs, and only frequent pairs make triples, so little of an order's many
combinations is ever formed. What a bundle says is measured in `bundle_figures.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import polars as pl
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from profiling_spark.config.settings import Bundles
from profiling_spark.contracts.gold import BUNDLES
from profiling_spark.recommend.extras.bundle_figures import FIGURES, ITEMS, OTHERS, figures, orders_of, orders_without

FEW_LINES = 1_000_000
"""Up to so many lines of orders this process counts itself: Spark takes fifty jobs for it."""
_ORDER = ["user_id", "order_id"]
_FIRST, _SECOND, _THIRD = ITEMS


def order_items(events: DataFrame, *, since: date, before: date) -> DataFrame:
    """(user_id, order_id, item_id), each once: what was bought together in [since, before)."""
    is_in_window = (F.col("event_date") >= F.lit(since)) & (F.col("event_date") < F.lit(before))
    bought = events.where(is_in_window & (F.col("event_type") == "purchase"))
    named = bought.where(F.col("order_id").isNotNull() & F.col("item_id").isNotNull())
    return named.select("user_id", "order_id", "item_id").distinct()


def bundles(lines: DataFrame, settings: Bundles, *, as_of: date) -> pl.DataFrame:
    """The pairs and triples that say most, a row each as of the contract but for titles, from `order_items`.

    In at least `min_orders` orders, by descending log-likelihood ratio, ties by more orders, then pairs before triples,
    then ids; those of negative association are left out (`bundle_figures.figures` says how both are measured).
    """
    lines = lines.persist()
    try:
        few = pl.DataFrame(lines.limit(FEW_LINES + 1).toArrow())
        found = _of_few(few, settings) if len(few) <= FEW_LINES else _of_many(lines, settings)
    finally:
        lines.unpersist()
    rank = pl.int_range(1, pl.len() + 1, dtype=pl.Int32)
    ranked = found.with_columns(as_of=pl.lit(as_of), rank=rank)
    return ranked.select(name for name in BUNDLES.names if name in ranked.columns)


def _of_few(lines: pl.DataFrame, settings: Bundles) -> pl.DataFrame:
    """FIGURES of the bundles in their order."""
    kept = lines.filter(pl.len().over(_ORDER) <= settings.max_items)
    count, is_frequent = pl.len().cast(pl.Int64).alias("orders"), pl.col("orders") >= settings.min_orders
    singles = kept.group_by("item_id").agg(count).filter(is_frequent)
    usual = kept.join(singles, on="item_id", how="semi")
    one, other = (usual.select(*_ORDER, pl.col("item_id").alias(name)) for name in (_FIRST, _SECOND))
    both = one.join(other, on=_ORDER).filter(pl.col(_FIRST) < pl.col(_SECOND))
    pairs = both.group_by(_FIRST, _SECOND).agg(count).filter(is_frequent)
    usual_pairs = both.join(pairs, on=[_FIRST, _SECOND], how="semi")
    longer, closing = (usual_pairs.rename(names) for names in ({_FIRST: _SECOND, _SECOND: _THIRD}, {_SECOND: _THIRD}))
    three = usual_pairs.join(longer, on=[*_ORDER, _SECOND]).join(closing, on=[*_ORDER, _FIRST, _THIRD], how="semi")
    triples = three.group_by(*ITEMS).agg(count).filter(is_frequent)
    sets = pl.concat([pairs, triples], how="diagonal").select(*(pl.col(i).cast(pl.String) for i in ITEMS), "orders")
    # a part of a set is at least as frequent, so every set that is found has its parts
    for item in ITEMS:
        sets = sets.join(singles.select(pl.col("item_id").alias(item), pl.col("orders").alias(orders_of(item))),
                         on=item, how="left")  # fmt: skip
    for item, (a, b) in OTHERS.items():
        part = pairs.select(
            pl.col(_FIRST).alias(a), pl.col(_SECOND).alias(b), pl.col("orders").alias(orders_without(item))
        )
        sets = sets.join(part, on=[a, b], how="left")
    ordered = figures(sets, orders=kept.select(_ORDER).unique().height).sort(
        -pl.col("log_likelihood_ratio"), -pl.col("orders"), pl.col(_THIRD).is_not_null(), *ITEMS
    )
    return ordered.head(settings.most)


def _of_many(lines: DataFrame, settings: Bundles) -> pl.DataFrame:
    """The same by Spark."""
    size = lines.groupBy(*_ORDER).agg(F.count(F.lit(1)).alias("_size"))
    kept = lines.join(size.where(F.col("_size") <= settings.max_items), on=_ORDER, how="left_semi").persist()
    single = kept.groupBy("item_id").agg(F.count(F.lit(1)).alias("orders"))
    frequent = single.where(F.col("orders") >= settings.min_orders).persist()
    usual = kept.join(F.broadcast(frequent.select("item_id")), on="item_id", how="left_semi")
    one, other = (usual.select(*_ORDER, F.col("item_id").alias(name)) for name in (_FIRST, _SECOND))
    both = one.join(other, on=_ORDER, how="inner").where(F.col(_FIRST) < F.col(_SECOND))
    counted = both.groupBy(_FIRST, _SECOND).agg(F.count(F.lit(1)).alias("orders"))
    pairs = counted.where(F.col("orders") >= settings.min_orders).persist()
    try:
        orders = kept.select(*_ORDER).distinct().count()
        triples = _triples(both.join(pairs, on=[_FIRST, _SECOND], how="left_semi"), settings.min_orders)
        sets = pairs.select(_FIRST, _SECOND, F.lit(None).cast("string").alias(_THIRD), "orders").unionByName(triples)
        found = _with_parts(sets, frequent, pairs).mapInArrow(_Figures(orders), _Figures.schema)
        together = found.orderBy(
            F.desc("log_likelihood_ratio"), F.desc("orders"), F.col(_THIRD).isNotNull(), *ITEMS
        )  # fmt: skip
        return pl.DataFrame(together.limit(settings.most).toArrow())
    finally:
        for frame in (pairs, frequent, kept):
            frame.unpersist()


def _triples(pairs: DataFrame, least: int) -> DataFrame:
    """(ITEMS, orders), from each order's frequent pairs."""
    longer = pairs.select(*_ORDER, F.col(_FIRST).alias(_SECOND), F.col(_SECOND).alias(_THIRD))
    closing = pairs.select(*_ORDER, _FIRST, F.col(_SECOND).alias(_THIRD))
    three = pairs.join(longer, on=[*_ORDER, _SECOND], how="inner").join(
        closing, on=[*_ORDER, _FIRST, _THIRD], how="left_semi"
    )
    return three.groupBy(*ITEMS).agg(F.count(F.lit(1)).alias("orders")).where(F.col("orders") >= least)


def _with_parts(sets: DataFrame, singles: DataFrame, pairs: DataFrame) -> DataFrame:
    """With the orders of each item and of each two of three, as `figures` wants them."""
    for item in ITEMS:
        single = singles.select(F.col("item_id").alias(item), F.col("orders").alias(orders_of(item)))
        sets = sets.join(F.broadcast(single), on=item, how="left")
    for item, (a, b) in OTHERS.items():
        part = pairs.select(
            F.col(_FIRST).alias(a), F.col(_SECOND).alias(b), F.col("orders").alias(orders_without(item))
        )
        sets = sets.join(part, on=[a, b], how="left")
    return sets


class _Figures:
    """What a worker runs on sets with their parts, so that both ways measure by the same arithmetic."""

    schema = ", ".join(f"{c.name} {c.type}" for c in BUNDLES.columns if c.name in FIGURES)

    def __init__(self, orders: int) -> None:
        self.orders = orders

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            sets = pl.DataFrame(pa.Table.from_batches([batch]))
            yield from figures(sets, orders=self.orders).to_arrow().to_batches()
