"""How well engines rank, on a split of each customer's pairs. What the figures are stands in metrics.py.

Two protocols. New items: what a customer had taken by the split counts on neither side, neither in the list nor in the
truth. All items: nothing is left out, so that repeat purchases count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from profiling_spark.recommend import metrics
from profiling_spark.recommend.interactions import UNITS
from profiling_spark.recommend.item_side import Bools, Ints, ItemSide, block_rows, padded_blocks
from profiling_spark.recommend.top_n import NONE, select_top

CUTS = (5, 10, 20)
K = CUTS[-1]
# figures of customers are added up in whole numbers of 2^-40: exact, so no mean depends on the order or layout of rows
_STEPS = 2**40
_RESULT = "engine string, users bigint, lists bigint, sums array<bigint>, items array<int>, " + ", ".join(
    f"offered_{k} array<bigint>" for k in CUTS
)


@dataclass(frozen=True)
class Figures:
    """`values` by name, such as "ndcg@20": means over the `users` evaluated; without any there are no values.

    `lists`: customers among them whose list is not empty.
    """

    users: int
    lists: int = 0
    values: Mapping[str, float] = field(default_factory=dict)

    @property
    def recall(self) -> float | None:
        """At 20."""
        return self.values.get(f"recall@{K}")

    @property
    def ndcg(self) -> float | None:
        """At 20."""
        return self.values.get(f"ndcg@{K}")


@dataclass(frozen=True)
class Training:
    """The training part by item number: which items may be offered at all; how many of its `customers` took each."""

    items: tuple[str, ...]
    is_offered: Bools
    customers_of: Ints
    customers: int


@dataclass(frozen=True)
class Protocol:
    """`truth`: the column of the pairs that are to be found. `masks_seen`: lists leave out what was taken before."""

    name: str
    truth: str
    masks_seen: bool


NEW_ITEMS = Protocol("new_items", "is_truth", masks_seen=True)


def evaluated_users(pairs: DataFrame, *, truth: str, most: int, salt: int) -> DataFrame:
    """Customers with a usable history before the split and a truth after it; at most `most`, chosen by hash."""
    both = pairs.groupBy("user_id").agg(F.max("is_train").alias("_past"), F.max(truth).alias("_truth"))
    able = both.where("_past AND _truth").select("user_id")
    return able.orderBy(F.xxhash64(F.lit(salt), "user_id"), "user_id").limit(most)


def evaluate(
    pairs: DataFrame, sides: Sequence[ItemSide], training: Training, *, protocol: Protocol = NEW_ITEMS,
    most: int | None, salt: int,
) -> dict[str, Figures]:  # fmt: skip
    """Figures of each engine, all on the same customers.

    `pairs` as of `split_interactions`, a customer's rows in one partition; at most `most` customers, None for all.
    What comes to the driver is as long as the catalogue, times the partitions.
    """
    rows = pairs.select("user_id", "item_id", "train_units", "is_train", F.col(protocol.truth).alias("is_truth"))
    if most is not None:
        chosen = evaluated_users(pairs, truth=protocol.truth, most=most, salt=salt)
        rows = rows.join(F.broadcast(chosen), on="user_id", how="left_semi")
    task = _Evaluate(tuple(sides), training, protocol.masks_seen)
    found = pl.DataFrame(rows.mapInArrow(task, _RESULT).toArrow())
    return {side.engine: _figures(found.filter(pl.col("engine") == side.engine), training) for side in sides}


def _figures(found: pl.DataFrame, training: Training) -> Figures:
    """Add up the partitions of one engine."""
    users = int(found["users"].sum())
    if users == 0:
        return Figures(0)
    lists = int(found["lists"].sum())
    sums = np.array(found["sums"].to_list(), dtype=object).sum(axis=0)
    names = [f"{name}@{k}" for k in CUTS for name in metrics.RANKING]
    values = {name: int(total) / _STEPS / users for name, total in zip(names, sums, strict=True)}
    items = found["items"].explode().drop_nulls().to_numpy()
    for k in CUTS:
        offered = np.zeros(len(training.items), dtype=np.int64)
        np.add.at(offered, items, found[f"offered_{k}"].explode().drop_nulls().to_numpy())
        values |= _shape(offered, lists, training, k)
    return Figures(users, lists, values)


def _shape(offered: Ints, lists: int, training: Training, k: int) -> dict[str, float]:
    """The figures that need no truth; those that are not defined (no list, or a single one) are absent."""
    values = {f"coverage@{k}": metrics.coverage(offered, int(training.is_offered.sum()))}
    customers_of = training.customers_of
    if lists > 0:
        values[f"novelty@{k}"] = metrics.novelty(offered, customers_of, training.customers)
        values[f"popularity_bias@{k}"] = metrics.popularity_bias(offered, customers_of)
    if lists > 1:
        values[f"diversity@{k}"] = metrics.diversity(offered, lists)
    return values


class _Evaluate:
    """What a worker runs on a partition of pairs: the sums of each engine over its customers, one row an engine."""

    def __init__(self, sides: tuple[ItemSide, ...], training: Training, masks_seen: bool) -> None:
        self.sides, self.training, self.masks_seen = sides, training, masks_seen

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows = list(batches)
        if not rows:
            return
        frame = pl.from_arrow(pa.Table.from_batches(rows))
        assert isinstance(frame, pl.DataFrame)  # for mypy: a table never becomes a series
        is_able = (pl.col("is_train").any() & pl.col("is_truth").any()).over("user_id")
        numbered = self._numbered(frame.filter(is_able))
        for side in self.sides:
            yield self._judge(side, numbered)

    def _numbered(self, pairs: pl.DataFrame) -> pl.DataFrame:
        users = pairs.select(pl.col("user_id").unique().sort()).with_row_index("user")
        items = pl.DataFrame({"item_id": self.training.items}).with_row_index("item")
        joined = pairs.join(users, on="user_id", how="inner").join(items, on="item_id", how="inner")
        return joined.cast({"user": pl.Int64, "item": pl.Int64}).sort("user", "item")

    def _judge(self, side: ItemSide, pairs: pl.DataFrame) -> pa.RecordBatch:
        users, lists, sums = 0, 0, np.zeros(len(CUTS) * len(metrics.RANKING), dtype=np.int64)
        offered = np.zeros((len(CUTS), side.items), dtype=np.int64)
        count = int(pairs["user"].max() or 0) + 1  # type: ignore[arg-type]  # a column of whole numbers
        past, truth = pairs.filter("is_train"), pairs.filter("is_truth")
        seen = pairs.filter(pl.col("train_units").is_not_null())
        columns = past["user"].to_numpy(), past["item"].to_numpy(), past["train_units"].to_numpy() / UNITS
        for block, histories in padded_blocks(*columns, rows=block_rows(side.items)):
            scored = side.score(histories)
            scores = scored.block()
            scores[:, ~self.training.is_offered] = -np.inf
            if self.masks_seen:
                scores[_marks(seen, block, count, side.items)] = -np.inf
            found, _ = select_top(scores, K, scored.exact)
            is_truth = _marks(truth, block, count, side.items)
            hits = np.take_along_axis(is_truth, np.maximum(found, 0), axis=1) & (found != NONE)
            users, lists = users + len(block), lists + int((found[:, 0] != NONE).sum())
            sums += ranking_sums(hits, is_truth.sum(axis=1))
            for row, k in enumerate(CUTS):
                listed = found[:, :k]
                offered[row] += np.bincount(listed[listed != NONE], minlength=side.items)
        return _result(side.engine, users, lists, sums, offered)


def ranking_sums(hits: Bools, truths: Ints) -> Ints:
    """Each metric at each of CUTS, summed over the customers in whole numbers of 1/_STEPS."""
    found = [metric(hits[:, :k], truths) for k in CUTS for metric in metrics.RANKING.values()]
    return np.array([np.round(values * _STEPS).astype(np.int64).sum() for values in found], dtype=np.int64)


def _marks(pairs: pl.DataFrame, users: Ints, count: int, items: int) -> Bools:
    row_of = np.full(count, NONE)
    row_of[users] = np.arange(len(users))
    row = row_of[pairs["user"].to_numpy()]
    marks = np.zeros((len(users), items), dtype=bool)
    marks[row[row != NONE], pairs["item"].to_numpy()[row != NONE]] = True
    return marks


def _result(engine: str, users: int, lists: int, sums: Ints, offered: Ints) -> pa.RecordBatch:
    """`offered` (cuts, items) by the items that stand in any list."""
    items = np.flatnonzero(offered[-1])
    columns: dict[str, pa.Array] = {
        "engine": pa.array([engine], pa.large_string()),
        "users": pa.array([users], pa.int64()),
        "lists": pa.array([lists], pa.int64()),
        "sums": pa.array([sums], pa.list_(pa.int64())),
        "items": pa.array([items.astype(np.int32)], pa.list_(pa.int32())),
    }
    columns |= {f"offered_{k}": pa.array([offered[row, items]], pa.list_(pa.int64())) for row, k in enumerate(CUTS)}
    return pa.RecordBatch.from_pydict(columns)
