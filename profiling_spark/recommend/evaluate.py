"""How well engines rank, on a split by time, for new items: what a customer had seen by the cutoff counts on neither
side, neither in the list nor in the truth.

Recall@k = hits / |truth|, as in LightGCN's evaluation (He et al., SIGIR 2020).
NDCG@k = DCG / IDCG, binary gain, discount 1 / log2(rank + 1), ideal over min(k, |truth|) (Järvelin and Kekäläinen,
TOIS 2002). Both are means over customers; coverage@k is the share of the catalogue that stands in any list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from profiling_spark.recommend.interactions import UNITS
from profiling_spark.recommend.item_side import Bools, Floats, Ints, ItemSide, block_rows, padded_blocks
from profiling_spark.recommend.top_n import NONE, select_top

K = 20
_RESULT = "engine string, user_id string, recall double, ndcg double, items array<int>"


def recall(hits: Bools, truths: Ints) -> Floats:
    """Share of each row's truth among its list; `hits` (users, k) in rank order, `truths` the sizes, above 0."""
    share: Floats = hits.sum(axis=1) / truths
    return share


def ndcg(hits: Bools, truths: Ints) -> Floats:
    """Discounted gain of each row against the best possible one."""
    discount = 1 / np.log2(np.arange(hits.shape[1]) + 2)
    ideal = np.r_[0.0, np.cumsum(discount)][np.minimum(truths, hits.shape[1])]
    gain: Floats = (hits * discount).sum(axis=1) / ideal
    return gain


@dataclass(frozen=True)
class Figures:
    """Means over the evaluated customers; None where nobody could be evaluated."""

    users: int
    recall: float | None = None
    ndcg: float | None = None
    coverage: float | None = None


def evaluated_users(pairs: DataFrame, *, most: int, salt: int) -> DataFrame:
    """Customers with a usable history before the cutoff and a new item after it; at most `most`, chosen by hash."""
    both = pairs.groupBy("user_id").agg(F.max("is_train").alias("_past"), F.max("is_truth").alias("_truth"))
    able = both.where("_past AND _truth").select("user_id")
    return able.orderBy(F.xxhash64(F.lit(salt), "user_id"), "user_id").limit(most)


def evaluate(
    pairs: DataFrame, sides: Sequence[ItemSide], items: Sequence[str], popularity: Floats, *, most: int, salt: int
) -> dict[str, Figures]:
    """Figures of each engine, all on the same customers.

    `pairs` as of `split_interactions`, a customer's rows in one partition; `popularity` of the training part says which
    items can be offered. At most `most` lists a side come to the driver.
    """
    chosen = evaluated_users(pairs, most=most, salt=salt)
    rows = pairs.select("user_id", "item_id", "train_units", "is_train", "is_truth").join(
        F.broadcast(chosen), on="user_id", how="left_semi"
    )
    task = _Evaluate(tuple(items), tuple(sides), popularity <= 0)
    found = pl.DataFrame(rows.mapInArrow(task, _RESULT).toArrow()).sort("engine", "user_id")
    catalogue = int((popularity > 0).sum())
    return {side.engine: _figures(found.filter(pl.col("engine") == side.engine), catalogue) for side in sides}


def _figures(found: pl.DataFrame, catalogue: int) -> Figures:
    if not len(found):
        return Figures(0)
    offered = found.select(pl.col("items").explode()).filter(pl.col("items") != NONE).n_unique()
    means = found.select(pl.col("recall", "ndcg").mean()).row(0)
    return Figures(len(found), means[0], means[1], offered / catalogue)


class _Evaluate:
    """What a worker runs on a partition of pairs."""

    def __init__(self, items: tuple[str, ...], sides: tuple[ItemSide, ...], barred: Bools) -> None:
        self.items, self.sides, self.barred = items, sides, barred

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows = list(batches)
        if not rows:
            return
        frame = pl.from_arrow(pa.Table.from_batches(rows))
        assert isinstance(frame, pl.DataFrame)  # for mypy: a table never becomes a series
        for side in self.sides:
            yield from self._judge(side, *self._numbered(frame))

    def _numbered(self, pairs: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        users = pairs.select(pl.col("user_id").unique().sort()).with_row_index("user")
        items = pl.DataFrame({"item_id": self.items}).with_row_index("item")
        joined = pairs.join(users, on="user_id", how="inner").join(items, on="item_id", how="inner")
        return joined.cast({"user": pl.Int64, "item": pl.Int64}).sort("user", "item"), users

    def _judge(self, side: ItemSide, pairs: pl.DataFrame, users: pl.DataFrame) -> Iterator[pa.RecordBatch]:
        past = pairs.filter("is_train")
        columns = past["user"].to_numpy(), past["item"].to_numpy(), past["train_units"].to_numpy() / UNITS
        for block, histories in padded_blocks(*columns, rows=block_rows(side.items)):
            is_seen = _marks(pairs.filter(pl.col("train_units").is_not_null()), block, len(users), side.items)
            is_truth = _marks(pairs.filter("is_truth"), block, len(users), side.items)
            scored = side.score(histories)
            scores = scored.block()
            scores[is_seen | self.barred] = -np.inf
            lists, _ = select_top(scores, K, scored.exact)
            hits = np.take_along_axis(is_truth, np.maximum(lists, 0), axis=1) & (lists != NONE)
            truths = is_truth.sum(axis=1)
            yield _result(side.engine, users["user_id"].gather(block), recall(hits, truths), ndcg(hits, truths), lists)


def _marks(pairs: pl.DataFrame, users: Ints, count: int, items: int) -> Bools:
    row_of = np.full(count, NONE)
    row_of[users] = np.arange(len(users))
    row = row_of[pairs["user"].to_numpy()]
    marks = np.zeros((len(users), items), dtype=bool)
    marks[row[row != NONE], pairs["item"].to_numpy()[row != NONE]] = True
    return marks


def _result(engine: str, users: pl.Series, recalls: Floats, ndcgs: Floats, lists: Ints) -> pa.RecordBatch:
    columns: Mapping[str, pa.Array] = {
        "engine": pa.array([engine] * len(users), pa.large_string()),
        "user_id": users.to_arrow().cast(pa.large_string()),
        "recall": pa.array(recalls),
        "ndcg": pa.array(ndcgs),
        "items": pa.array(list(lists.astype(np.int32)), pa.list_(pa.int32())),
    }
    return pa.RecordBatch.from_pydict(dict(columns))
