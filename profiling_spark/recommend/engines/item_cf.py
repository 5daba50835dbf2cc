"""Item neighbours: cosine between items over the customers who took them (Sarwar et al., WWW 2001).

A pair counts log(1 + weight), in learning and in serving, so that one customer's twenty views do not drown twenty
customers. A candidate is scored by its own nearest items (section 3.2.1 there): an item may be near to a popular one
that has nearer ones itself, so the matrix of neighbours is not symmetric. The same passes as graph_filter's item-item
part, with columns of length 1. Nothing grows with the customers on the driver; the finished neighbours (items *
neighbours rows) do come to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from scipy import sparse

from profiling_spark.config import Settings
from profiling_spark.recommend.matrix.array_transfer import ArrayTransfer, array_transfer
from profiling_spark.recommend.matrix.blocks import customer_blocks, unpack
from profiling_spark.recommend.matrix.customer_rows import Normalisation, customer_rows
from profiling_spark.recommend.matrix.item_side import Floats, Histories, Ints, Scores
from profiling_spark.recommend.matrix.nearest import RANGES_A_BLOCK, nearest
from profiling_spark.recommend.matrix.sparse_rows import square_arrays, square_of, values_at

COSINE_OF_ITSELF = 1.0
_DECIMALS = 6
_SHARES = "block int, squares binary, counts binary"


@dataclass(frozen=True)
class _Weighted:
    side: NeighbourSide
    histories: Histories

    def block(self) -> Scores:
        h = self.histories
        kind = self.side.similar.indices.dtype  # of another, the product would copy `similar`
        rows = np.repeat(np.arange(len(h), dtype=kind), h.items.shape[1])
        shape = (len(h), self.side.items)
        entry = _strengths(h).ravel().astype(np.float32), (rows, h.items.ravel().astype(kind))
        past = sparse.csr_array(entry, shape=shape)
        scores = np.asarray((past @ self.side.similar).todense(), dtype=np.float32)
        scores[scores <= 0] = -np.inf
        return scores

    def exact(self, chosen: Ints) -> Floats:
        values: Floats = self.contributions(chosen).sum(axis=2)
        return values

    def contributions(self, chosen: Ints) -> Floats:
        h = self.histories
        wanted, past = np.broadcast_arrays(chosen[:, :, None], h.items[:, None, :])
        similar = values_at(self.side.similar, past.ravel(), wanted.ravel()).reshape(wanted.shape)
        return similar * _strengths(h)[:, None, :]


def _strengths(histories: Histories) -> Floats:
    """(customers, history): log(1 + weight), as the similarities were learned."""
    return np.log1p(np.maximum(histories.weights, 0.0))


@dataclass(frozen=True)
class NeighbourSide:
    """`similar[i, j]`: how strongly past item i speaks for candidate j, above 0 where i is among j's neighbours; each
    row sorted by column. A candidate's score is the sum of similar[i, j] * log(1 + weight of i) over the history. It is
    not divided by the similarities as Sarwar's is for ratings: a weighted mean of ones would rank nothing. Equal scores
    go by item number, the order of item ids."""

    similar: sparse.csr_array
    engine: str = "item_cf"
    kind: ClassVar[str] = "neighbours"

    @property
    def items(self) -> int:
        return int(self.similar.shape[0])

    def arrays(self) -> dict[str, NDArray[Any]]:
        return square_arrays(self.similar)

    def numbers(self) -> dict[str, Any]:
        return {"engine": self.engine}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], numbers: Mapping[str, Any]) -> NeighbourSide:
        return cls(square_of(arrays), numbers["engine"])

    def score(self, histories: Histories) -> _Weighted:
        """Nothing to prepare."""
        return _Weighted(self, histories)


def fit_engine(
    pairs: DataFrame, items: Sequence[str], settings: Settings, *, units: str, is_used: str
) -> NeighbourSide:
    """On the rows of `pairs` where `is_used`, weighted by `units`."""
    most, blocks = settings.recommend.item_cf.neighbours, settings.spark.fit_partitions
    found = cosine_neighbours(pairs, items, units=units, is_used=is_used, neighbours=most, blocks=blocks)
    return neighbour_side(found, len(items), itself=COSINE_OF_ITSELF)


def cosine_neighbours(
    pairs: DataFrame, items: Sequence[str], *, units: str, is_used: str, neighbours: int, blocks: int
) -> pa.Table:
    """(item, other, rank, similarity): each item's strongest neighbours, item numbers by place in `items`.

    `pairs`: one row per customer and item. `blocks`: how many blocks of customers the sums are made of.
    """
    rows = customer_blocks(pairs, items, units=units, is_used=is_used, blocks=blocks).persist()
    try:
        with array_transfer(pairs.sparkSession) as way:
            squares, counts = squared_lengths(rows, len(items), way)
            to_length_1 = Normalisation(squares, user_exponent=0.0, item_exponent=0.5)
            # one more, since each item is its own neighbour
            near = nearest(
                customer_rows(rows, to_length_1, way), counts, most=neighbours + 1, ranges=blocks * RANGES_A_BLOCK,
                way=way,
            )  # fmt: skip
    finally:
        rows.unpersist()
    speaks_for = near.tocoo()
    is_other = (speaks_for.row != speaks_for.col) & (speaks_for.data > 0)
    item, other = speaks_for.col[is_other], speaks_for.row[is_other]
    # what is left of equal cosines after rounding errors is equal
    similarity = np.round(np.minimum(speaks_for.data[is_other].astype(np.float64), 1.0), _DECIMALS)
    order = np.lexsort((other, -similarity, item))
    item, other, similarity = item[order], other[order], similarity[order]
    rank = np.arange(len(item)) - np.searchsorted(item, item) + 1
    columns = {"item": item, "other": other, "rank": rank}
    table = {name: pa.array(values, pa.int32()) for name, values in columns.items()} | {"similarity": similarity}
    return pa.table(table).filter(pa.array(rank <= neighbours))


def squared_lengths(rows: DataFrame, items: int, way: ArrayTransfer) -> tuple[Floats, Ints]:
    """(items,) each: the sum of squared strengths, and the number of customers."""
    shares = rows.mapInArrow(_Squares(items, way), _SHARES).toArrow().sort_by("block")
    squares, counts = np.zeros(items), np.zeros(items, dtype=np.int64)
    for square, count in zip(shares.column("squares"), shares.column("counts"), strict=True):
        squares += way.unpack(square, np.float64)
        counts += way.unpack(count, np.int64)
    way.clear()
    return squares, counts


def neighbour_side(
    found: pa.Table, items: int, engine: str = NeighbourSide.engine, *, itself: float = 0.0
) -> NeighbourSide:
    """The engine of such neighbours as `cosine_neighbours` finds: an `item` is offered to who took its `other`.

    `itself`: how similar an item that has neighbours is to itself, which counts where a known item is offered again.
    """
    item, other = found.column("item").to_numpy(), found.column("other").to_numpy()
    own = np.unique(item) if itself else np.empty(0, dtype=item.dtype)
    values = np.r_[found.column("similarity").to_numpy(), np.full(len(own), itself)].astype(np.float32)
    similar = sparse.csr_array((values, (np.r_[other, own], np.r_[item, own])), shape=(items, items))
    similar.sort_indices()
    return NeighbourSide(similar, engine)


class _Squares:
    """What a worker runs on the pieces of blocks: each block's share of the items' squared lengths."""

    def __init__(self, items: int, way: ArrayTransfer) -> None:
        self.items, self.way = items, way

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        squares: dict[int, Floats] = {}
        counts: dict[int, Ints] = {}
        for batch in batches:
            for block, taken in unpack(batch, self.items):
                squares.setdefault(block, np.zeros(self.items))
                counts.setdefault(block, np.zeros(self.items, dtype=np.int64))
                squares[block] += np.bincount(taken.indices, weights=taken.data**2, minlength=self.items)
                counts[block] += np.bincount(taken.indices, minlength=self.items)
        for block in sorted(squares):
            packed = [pa.array([self.way.pack(values[block])], pa.binary()) for values in (squares, counts)]
            yield pa.RecordBatch.from_arrays(
                [pa.array([block], pa.int32()), *packed], names=["block", "squares", "counts"]
            )
