"""Item neighbours: cosine between items over the customers who took them (Sarwar et al., WWW 2001).

A pair counts log(1 + weight), so that one customer's twenty views do not drown twenty customers. The products of a
partition's customers are added up by SciPy in the task and then by Spark, in whole numbers: exact, and the same under
any partitioning. Nothing grows with the customers on the driver; the finished neighbours (items * neighbours rows) do
come to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from scipy import sparse

from profiling_spark.recommend.interactions import UNITS
from profiling_spark.recommend.item_side import Floats, Histories, Ints, Scores

_STEPS = 256  # a strength is a whole number of 1/256
_PRODUCTS = "item int, other int, dot bigint"


@dataclass(frozen=True)
class _Weighted:
    side: NeighbourSide
    histories: Histories

    def block(self) -> Scores:
        h = self.histories
        rows = np.repeat(np.arange(len(h)), h.items.shape[1])
        shape = (len(h), self.side.items)
        past = sparse.csr_array((h.weights.ravel().astype(np.float32), (rows, h.items.ravel())), shape=shape)
        scores = np.asarray((past @ self.side.similar).todense(), dtype=np.float32)
        scores[scores <= 0] = -np.inf
        return scores

    def exact(self, chosen: Ints) -> Floats:
        values: Floats = self.contributions(chosen).sum(axis=2)
        return values

    def contributions(self, chosen: Ints) -> Floats:
        h = self.histories
        wanted, past = np.broadcast_arrays(chosen[:, :, None], h.items[:, None, :])
        similar = _lookup(self.side.similar, past.ravel(), wanted.ravel()).reshape(wanted.shape)
        return similar * h.weights[:, None, :]


@dataclass(frozen=True)
class NeighbourSide:
    """`similar[i, j]`: how strongly past item i speaks for j; each row sorted by column. An item is offered for the
    plain weighted sum over the history (a weighted mean of ones would rank nothing)."""

    similar: sparse.csr_array
    engine: str = "item_cf"

    @property
    def items(self) -> int:
        return int(self.similar.shape[0])

    def score(self, histories: Histories) -> _Weighted:
        """Nothing to prepare."""
        return _Weighted(self, histories)


def _lookup(matrix: sparse.csr_array, rows: Ints, columns: Ints) -> Floats:
    """Entries of a sparse matrix by one binary search over all of its (row, column) keys."""
    width = np.int64(matrix.shape[1])
    if matrix.nnz == 0:
        return np.zeros(len(rows))
    keys = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)) * width + matrix.indices
    wanted = rows.astype(np.int64) * width + columns
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found: Floats = np.where(keys[place] == wanted, matrix.data[place], 0.0).astype(np.float64)
    return found


def cosine_neighbours(pairs: DataFrame, items: Sequence[str], *, units: str, is_used: str, neighbours: int) -> pa.Table:
    """(item, other, rank, similarity): each item's strongest neighbours, item numbers by place in `items`.

    `pairs`: one row per customer and item, all of a customer's rows in one partition.
    """
    strength = F.round(F.log1p(F.greatest(F.col(units), F.lit(0)) / F.lit(UNITS)) * _STEPS).cast("int")
    used = pairs.where(is_used).select("user_id", "item_id", strength.alias("strength"))
    sums = used.mapInArrow(_Products(tuple(items)), _PRODUCTS).groupBy("item", "other").agg(F.sum("dot").alias("dot"))
    sums = sums.persist()
    squares = sums.where("item = other").select("item", F.sqrt("dot").alias("norm"))
    other = squares.select(F.col("item").alias("other"), F.col("norm").alias("other_norm"))
    half = (
        sums.where("item < other AND dot > 0")
        .join(F.broadcast(squares), on="item", how="inner")
        .join(F.broadcast(other), on="other", how="inner")
        .withColumn("similarity", F.least(F.col("dot") / (F.col("norm") * F.col("other_norm")), F.lit(1.0)))
    )
    both = F.explode(
        F.array(F.struct("item", "other"), F.struct(F.col("other").alias("item"), F.col("item").alias("other")))
    )
    best = Window.partitionBy("item").orderBy(F.desc("similarity"), "other")
    found = (
        half.select(both.alias("_pair"), "similarity")
        .select("_pair.item", "_pair.other", "similarity")
        .withColumn("rank", F.row_number().over(best))
        .where(F.col("rank") <= neighbours)
        .select("item", "other", "rank", "similarity")
        .toArrow()
    )
    sums.unpersist()
    return found.sort_by([("item", "ascending"), ("rank", "ascending")])


def neighbour_side(found: pa.Table, items: int) -> NeighbourSide:
    """The engine of `cosine_neighbours`: a past item speaks for its neighbours."""
    rows, columns = found.column("item").to_numpy(), found.column("other").to_numpy()
    values = found.column("similarity").to_numpy().astype(np.float32)
    similar = sparse.csr_array((values, (rows, columns)), shape=(items, items))
    similar.sort_indices()
    return NeighbourSide(similar)


class _Products:
    """Sums over a partition's customers of strength * strength, for item <= other."""

    def __init__(self, items: tuple[str, ...]) -> None:
        self.items = items

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows = list(batches)
        if not rows:
            return
        table = pa.Table.from_batches(rows).combine_chunks()
        user = pc.dictionary_encode(table.column("user_id")).combine_chunks().indices.to_numpy(zero_copy_only=False)
        item = pc.index_in(table.column("item_id"), pa.array(self.items, table.column("item_id").type))
        strength = table.column("strength").to_numpy().astype(np.int64)
        shape = (int(user.max(initial=-1)) + 1, len(self.items))
        taken = sparse.csr_array((strength, (user, item.to_numpy(zero_copy_only=False))), shape=shape)
        products = sparse.triu(taken.T @ taken, format="coo")
        yield pa.RecordBatch.from_arrays(
            [
                pa.array(products.row, pa.int32()),
                pa.array(products.col, pa.int32()),
                pa.array(products.data, pa.int64()),
            ],
            names=["item", "other", "dot"],
        )
