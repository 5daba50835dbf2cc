"""Bundles: two or three items that stand in the same orders more often than chance (Agrawal and Srikant, VLDB 1994).

Level by level: only frequent items make pairs, and only frequent pairs make triples, so little of an order's many
combinations is ever formed.
"""

from __future__ import annotations

from datetime import date

import polars as pl
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from profiling_spark.config.settings import Bundles
from profiling_spark.contracts.gold import BUNDLES

FEW_LINES = 1_000_000
"""Up to so many lines of orders this process counts itself: Spark takes fifty jobs for it."""
_ORDER = ["user_id", "order_id"]


def order_items(events: DataFrame, *, since: date, before: date) -> DataFrame:
    """(user_id, order_id, item_id), each once: what was bought together in [since, before)."""
    is_in_window = (F.col("event_date") >= F.lit(since)) & (F.col("event_date") < F.lit(before))
    bought = events.where(is_in_window & (F.col("event_type") == "purchase"))
    named = bought.where(F.col("order_id").isNotNull() & F.col("item_id").isNotNull())
    return named.select("user_id", "order_id", "item_id").distinct()


def bundles(lines: DataFrame, settings: Bundles, *, as_of: date) -> pl.DataFrame:
    """The most frequent pairs and triples, a row each as of the contract, from `order_items`.

    With n orders, of which n_x have all items of x: support n_x / n; lift of x over its items i: (n_x / n) /
    product(n_i / n), 1 where the items have nothing to do with each other; confidence: of the orders with the others
    the share that has `added_item_id` too, for the item where this is largest (ties by id).
    """
    lines = lines.persist()
    try:
        few = pl.DataFrame(lines.limit(FEW_LINES + 1).toArrow())
        found, singles, orders = _of_few(few, settings) if len(few) <= FEW_LINES else _of_many(lines, settings)
    finally:
        lines.unpersist()
    return _measured(found, singles, orders).with_columns(as_of=pl.lit(as_of)).select(*BUNDLES.names)


def _of_few(lines: pl.DataFrame, settings: Bundles) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """The sets in their order, the frequent items, and how many orders there are."""
    kept = lines.filter(pl.len().over(_ORDER) <= settings.max_items)
    count, is_frequent = pl.len().cast(pl.Int64).alias("orders"), pl.col("orders") >= settings.min_orders
    singles = kept.group_by("item_id").agg(count).filter(is_frequent)
    usual = kept.join(singles, on="item_id", how="semi")
    first, second, third = "item_1_id", "item_2_id", "item_3_id"
    one, other = (usual.select(*_ORDER, pl.col("item_id").alias(name)) for name in (first, second))
    both = one.join(other, on=_ORDER).filter(pl.col(first) < pl.col(second))
    pairs = both.group_by(first, second).agg(count).filter(is_frequent)
    usual_pairs = both.join(pairs, on=[first, second], how="semi")
    longer, closing = (usual_pairs.rename(names) for names in ({first: second, second: third}, {second: third}))
    three = usual_pairs.join(longer, on=[*_ORDER, second]).join(closing, on=[*_ORDER, first, third], how="semi")
    triples = three.group_by(first, second, third).agg(count).filter(is_frequent)
    sets = pl.concat([pairs, triples], how="diagonal").select(first, second, pl.col(third).cast(pl.String), "orders")
    # a part of a set is at least as frequent and comes first, so every set that is kept has its parts
    ordered = sets.sort(-pl.col("orders"), pl.col(third).is_not_null(), first, second, third)
    return ordered.head(settings.most), singles, kept.select(_ORDER).unique().height


def _of_many(lines: DataFrame, settings: Bundles) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """The same by Spark."""
    size = lines.groupBy(*_ORDER).agg(F.count(F.lit(1)).alias("_size"))
    kept = lines.join(size.where(F.col("_size") <= settings.max_items), on=_ORDER, how="left_semi").persist()
    single = kept.groupBy("item_id").agg(F.count(F.lit(1)).alias("orders"))
    frequent = single.where(F.col("orders") >= settings.min_orders).persist()
    try:
        orders = kept.select(*_ORDER).distinct().count()
        pairs, triples = _pairs_and_triples(kept, frequent, settings.min_orders)
        together = pairs.unionByName(triples).orderBy(
            F.desc("orders"), F.col("item_3_id").isNotNull(), "item_1_id", "item_2_id", "item_3_id"
        )
        found = pl.DataFrame(together.limit(settings.most).toArrow())
        singles = pl.DataFrame(frequent.toArrow())
    finally:
        frequent.unpersist()
        kept.unpersist()
    return found, singles, orders


def _pairs_and_triples(lines: DataFrame, frequent: DataFrame, least: int) -> tuple[DataFrame, DataFrame]:
    usual = lines.join(F.broadcast(frequent.select("item_id")), on="item_id", how="left_semi")
    first = usual.select(*_ORDER, F.col("item_id").alias("a"))
    second = usual.select(*_ORDER, F.col("item_id").alias("b"))
    both = first.join(second, on=_ORDER, how="inner").where("a < b")
    pairs = both.groupBy("a", "b").agg(F.count(F.lit(1)).alias("orders")).where(F.col("orders") >= least)
    usual_pairs = both.join(pairs.select("a", "b"), on=["a", "b"], how="left_semi")
    longer = usual_pairs.select(*_ORDER, F.col("a").alias("b"), F.col("b").alias("c"))
    closing = usual_pairs.select(*_ORDER, "a", F.col("b").alias("c"))
    three = usual_pairs.join(longer, on=[*_ORDER, "b"], how="inner").join(
        closing, on=[*_ORDER, "a", "c"], how="left_semi"
    )
    triples = three.groupBy("a", "b", "c").agg(F.count(F.lit(1)).alias("orders")).where(F.col("orders") >= least)
    return _named(pairs.withColumn("c", F.lit(None).cast("string"))), _named(triples)


def _named(sets: DataFrame) -> DataFrame:
    names = {"a": "item_1_id", "b": "item_2_id", "c": "item_3_id"}
    return sets.select(*(F.col(old).alias(new) for old, new in names.items()), "orders")


def _measured(found: pl.DataFrame, singles: pl.DataFrame, orders: int) -> pl.DataFrame:
    """The sets in their order with rank, support, lift and confidence."""
    first, second, third = "item_1_id", "item_2_id", "item_3_id"
    rows = found.with_row_index("rank", offset=1)
    for item in (first, second, third):
        count = singles.select(pl.col("item_id").alias(item), pl.col("orders").alias(f"_{item}"))
        rows = rows.join(count, on=item, how="left", maintain_order="left")
    pairs = found.filter(pl.col(third).is_null())
    for left_out, a, b in ((first, second, third), (second, first, third), (third, first, second)):
        names = [pl.col(first).alias(a), pl.col(second).alias(b), pl.col("orders").alias(f"_without_{left_out}")]
        rows = rows.join(pairs.select(names), on=[a, b], how="left", maintain_order="left")
    is_pair = pl.col(third).is_null()
    others = [
        pl.when(is_pair).then(f"_{second}").otherwise(f"_without_{first}"),
        pl.when(is_pair).then(f"_{first}").otherwise(f"_without_{second}"),
        pl.when(~is_pair).then(f"_without_{third}"),
    ]
    shares = [pl.col(f"_{item}") / orders for item in (first, second)]
    expected = shares[0] * shares[1] * (pl.col(f"_{third}") / orders).fill_null(1.0)
    least = pl.min_horizontal(others)
    added = pl.when(others[0] == least).then(first).when(others[1] == least).then(second).otherwise(third)
    return rows.with_columns(
        pl.col("rank").cast(pl.Int32),
        support=pl.col("orders") / orders,
        lift=pl.col("orders") / orders / expected,
        confidence=pl.col("orders") / least,
        added_item_id=added,
    )
