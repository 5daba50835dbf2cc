"""Each item's nearest items: rows of R~'R~ (see item_graph.py) by Spark, of each item only the strongest entries.

A task makes the products of a range of items, a few at a time, cuts and drops them; what comes to the driver is as long
as the catalogue. Where tasks cannot read all customers' rows from files, these go to the ranges of items that they
touch, so that a task holds the rows of the customers of its range (more blocks make more and smaller ranges).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from scipy import sparse

from profiling_spark.recommend.matrix.array_transfer import ArrayTransfer
from profiling_spark.recommend.matrix.blocks import PACKED_NAMES, packed_row, unpack
from profiling_spark.recommend.matrix.customer_rows import CustomerRows, MappedRows, Normalisation, RowFiles
from profiling_spark.recommend.matrix.item_graph import by_item, strongest
from profiling_spark.recommend.matrix.item_side import Ints
from profiling_spark.recommend.matrix.sparse_rows import row_ends

RANGES_A_BLOCK = 4
_PRODUCTS = 2**24  # of the item-item part in memory at a time: 200 MB
_SENT = "part int, block int, piece int, lengths binary, places binary, strengths binary"
_ROWS = "first int, lengths binary, places binary, strengths binary"


def nearest(rows: CustomerRows, counts: Ints, *, most: int, ranges: int, way: ArrayTransfer) -> sparse.csr_array:
    """(items, items) float32: R~'R~, of each column the `most` largest entries: [i, j] is how strongly i suggests j."""
    items = len(counts)
    edges = range_edges(counts, ranges)
    task = _Nearest(items, edges, most, way)
    if isinstance(rows, MappedRows):
        found = rows.tasks(len(edges) - 1).mapInArrow(_OfFiles(rows.files, task), _ROWS).toArrow()
    else:
        found = by_part(rows.frame.mapInArrow(_Send(rows.normalisation, edges), _SENT), task, _ROWS)
    found = found.sort_by("first")
    kinds: dict[str, type[np.generic]] = {"lengths": np.int64, "places": np.int32, "strengths": np.float32}
    arrays = {name: [way.unpack(v, kind) for v in found.column(name)] for name, kind in kinds.items()}
    row_lengths = np.zeros(items, dtype=np.int64)
    for first, lengths in zip(found.column("first").to_pylist(), arrays["lengths"], strict=True):
        row_lengths[first : first + len(lengths)] = lengths
    places, values = (np.concatenate([np.empty(0, kinds[n]), *arrays[n]]) for n in ("places", "strengths"))
    way.clear()
    cut = sparse.csr_array((values, places, row_ends(row_lengths)), shape=(items, items))
    return sparse.csr_array(cut.T)


def range_edges(counts: Ints, ranges: int) -> Ints:
    """Edges of at most `ranges` ranges of items with about the same number of customers each."""
    total = np.cumsum(counts)
    wanted = total[-1] * np.arange(1, ranges) / ranges
    return np.unique(np.r_[0, np.searchsorted(total, wanted) + 1, len(counts)].clip(0, len(counts)))


class _Send:
    """What a worker runs on pieces: of each range of items the customers who touch it, with their whole rows of R~."""

    def __init__(self, normalisation: Normalisation, edges: Ints) -> None:
        self.normalisation, self.edges = normalisation, edges

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        piece = 0  # the order of a block's pieces; it need not start anew with each block
        for batch in batches:
            for block, taken in self.normalisation.rows(batch):
                customer = np.repeat(np.arange(taken.shape[0]), np.diff(taken.indptr))
                part_of = np.searchsorted(self.edges, taken.indices, side="right") - 1
                for part in range(len(self.edges) - 1):
                    touching = taken[np.unique(customer[part_of == part])]
                    if touching.nnz:
                        sent = packed_row(
                            block, piece, np.diff(touching.indptr), touching.indices.astype(np.int64), touching.data
                        )
                        yield pa.RecordBatch.from_arrays(
                            [pa.array([part], pa.int32()), *sent.columns], names=["part", *PACKED_NAMES]
                        )
                piece += 1


class _Nearest:
    """What a worker runs on one range: its rows of the item-item product, a few at a time, cut to the strongest."""

    def __init__(self, items: int, edges: Ints, most: int, way: ArrayTransfer) -> None:
        self.items, self.edges, self.most, self.way, self.products = items, edges, most, way, _PRODUCTS

    def __call__(self, table: pa.Table) -> pa.Table:
        ordered = table.sort_by([("block", "ascending"), ("piece", "ascending")])
        part = ordered.column("part")[0].as_py()
        taken = sparse.vstack([rows for _, rows in unpack(ordered, self.items)], format="csr")
        return self.of_part(part, taken)

    def of_part(self, part: int, taken: sparse.csr_array) -> pa.Table:
        """The rows of a range, from the customers who touch it (others change nothing)."""
        first, end = self.edges[part : part + 2].tolist()
        own_rows = by_item(taken, slice(first, end))
        found = [self._rows(first + a, own_rows[a:b] @ taken) for a, b in self._steps(own_rows, np.diff(taken.indptr))]
        return pa.concat_tables(found)

    def _steps(self, own_rows: sparse.csr_array, lengths: Ints) -> Iterator[tuple[int, int]]:
        """Ranges of items with at most `products` products each, unless one item alone has more."""
        total = np.r_[0, np.cumsum(lengths[own_rows.indices], dtype=np.int64)][own_rows.indptr]
        begin, end = 0, own_rows.shape[0]
        while begin < end:
            stop = int(np.searchsorted(total, total[begin] + self.products, side="right")) - 1
            stop = min(max(stop, begin + 1), end)
            yield begin, stop
            begin = stop

    def _rows(self, first: int, products: sparse.csr_array) -> pa.Table:
        kept = strongest(products, self.most)
        arrays = (np.diff(kept.indptr).astype(np.int64), kept.indices.astype(np.int32), kept.data.astype(np.float32))
        packed = [pa.array([self.way.pack(values)], pa.binary()) for values in arrays]
        return pa.table([pa.array([first], pa.int32()), *packed], names=["first", "lengths", "places", "strengths"])


class _OfFiles:
    """What a worker runs on the numbers of ranges where it can read all customers."""

    def __init__(self, files: RowFiles, task: _Nearest) -> None:
        self.files, self.task = files, task

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for part in batch.column("part").to_pylist():
                yield from self.task.of_part(part, self.files.whole()).to_batches()


def by_part(rows: DataFrame, task: Callable[[pa.Table], pa.Table], schema: str) -> pa.Table:
    """What the task makes of the rows of each `part`."""
    # Spark wants a function here: of an object with __call__ it does not know what is passed
    return rows.groupBy("part").applyInArrow(lambda table: task(table), schema).toArrow()
