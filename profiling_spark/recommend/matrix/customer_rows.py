"""R~ of all customers (see item_graph.py) as tasks read it, pass after pass.

Where all tasks run on one machine, R~ lies in files that they map: a pass then copies nothing, and any range of it is
at hand. Elsewhere the packed blocks travel from Spark's cache to each pass, which normalises them anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from scipy import sparse

from profiling_spark.recommend.matrix.array_transfer import ArrayTransfer
from profiling_spark.recommend.matrix.blocks import unpack
from profiling_spark.recommend.matrix.item_graph import normalise
from profiling_spark.recommend.matrix.item_side import Floats

_MOST = np.iinfo(np.int32).max  # entries: beyond, SciPy copies the columns to 64 bits
_ARRAYS: dict[str, type[np.generic]] = {"indptr": np.int32, "indices": np.int32, "data": np.float64}
_FOLDER = "customer_rows"  # within the transfer's, which is cleared after each pass


@dataclass(frozen=True)
class Normalisation:
    """What makes R~ of a piece of R: the items' sums (or squared lengths) over all customers, the exponents b and a."""

    degree: Floats
    user_exponent: float
    item_exponent: float

    @property
    def items(self) -> int:
        return len(self.degree)

    def rows(self, batch: pa.RecordBatch | pa.Table) -> Iterator[tuple[int, sparse.csr_array]]:
        """(block, R~) of each piece in a batch of packed pieces."""
        for block, taken in unpack(batch, self.items):
            yield (
                block,
                normalise(taken, self.degree, user_exponent=self.user_exponent, item_exponent=self.item_exponent),
            )


@dataclass(frozen=True)
class RowFiles:
    """R~ (customers, items) in files `indptr`, `indices`, `data` of a folder, in the order of blocks and pieces.

    `blocks`: of each block the edges of its pieces among the customers.
    """

    folder: str
    items: int
    entries: int
    blocks: tuple[tuple[int, ...], ...]

    def file(self, name: str) -> str:
        """Path of one of the three arrays."""
        return os.path.join(self.folder, f"{name}.npy")

    def whole(self) -> sparse.csr_array:
        """All customers."""
        indptr, indices, data = self._arrays()
        return sparse.csr_array((data, indices, indptr), shape=(len(indptr) - 1, self.items))

    def pieces(self) -> Iterator[Iterator[sparse.csr_array]]:
        """The pieces of each block; none is mapped longer than until the next, so that no process holds them all."""
        for edges in self.blocks:
            yield (self._piece(first, last) for first, last in pairwise(edges))

    def _piece(self, first: int, last: int) -> sparse.csr_array:
        indptr, indices, data = self._arrays()
        begin, end = int(indptr[first]), int(indptr[last])
        piece = (data[begin:end], indices[begin:end], indptr[first : last + 1] - begin)
        return sparse.csr_array(piece, shape=(last - first, self.items))

    def _arrays(self) -> tuple[NDArray[np.int32], NDArray[np.int32], Floats]:
        indptr, indices, data = (np.asarray(np.load(self.file(n), mmap_mode="r")) for n in _ARRAYS)
        return indptr, indices, data


@dataclass(frozen=True)
class PackedRows:
    """`normalisation.rows` of the batches of `frame` are R~; a partition has the pieces of whole blocks."""

    frame: DataFrame
    normalisation: Normalisation


@dataclass(frozen=True)
class MappedRows:
    """R~ in `files` that the tasks of this session can map."""

    spark: SparkSession
    files: RowFiles

    def tasks(self, count: int) -> DataFrame:
        """(part): the numbers of so many tasks, each in a partition of its own."""
        numbers = self.spark.createDataFrame([(n,) for n in range(count)], "part int")
        return numbers.repartitionById(count, "part")


CustomerRows = PackedRows | MappedRows


def customer_rows(packed: DataFrame, normalisation: Normalisation, way: ArrayTransfer) -> CustomerRows:
    """R~ of `customer_blocks`; once files have them, 12 bytes an entry, Spark keeps `packed` no longer."""
    if way.folder is None:
        return PackedRows(packed, normalisation)
    sizes = packed.select(
        "block", "piece", (F.octet_length("lengths") / 8).cast("long").alias("customers"),
        (F.octet_length("places") / 4).cast("long").alias("entries"),
    ).toArrow().sort_by([("block", "ascending"), ("piece", "ascending")])  # fmt: skip
    block, piece, customers, entries = (sizes.column(n).to_numpy() for n in sizes.column_names)
    edges, begins = np.r_[0, np.cumsum(customers)], np.r_[0, np.cumsum(entries)]
    if begins[-1] > _MOST:
        return PackedRows(packed, normalisation)
    blocks = [np.r_[edges[:-1][block == b], edges[1:][block == b][-1]].tolist() for b in np.unique(block)]
    folder = os.path.join(way.folder, _FOLDER)
    files = RowFiles(folder, normalisation.items, int(begins[-1]), tuple(map(tuple, blocks)))
    os.makedirs(files.folder, exist_ok=True)
    lengths = {"indptr": edges[-1] + 1, "indices": begins[-1], "data": begins[-1]}
    for name, kind in _ARRAYS.items():
        np.lib.format.open_memmap(files.file(name), mode="w+", dtype=kind, shape=(int(lengths[name]),)).flush()
    keys = zip(block.tolist(), piece.tolist(), strict=True)
    places = dict(zip(keys, zip(edges[:-1].tolist(), begins[:-1].tolist(), strict=True), strict=True))
    packed.mapInArrow(_Save(normalisation, files, places), "block int").collect()
    packed.unpersist()
    return MappedRows(packed.sparkSession, files)


class _Save:
    """What a worker runs on packed pieces: R~ of each goes to its place (customer, entry) in the files.

    A task that runs twice writes the same bytes.
    """

    def __init__(
        self, normalisation: Normalisation, files: RowFiles, places: Mapping[tuple[int, int], tuple[int, int]]
    ) -> None:
        self.normalisation, self.files, self.places = normalisation, files, places

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        indptr, indices, data = (np.load(self.files.file(name), mmap_mode="r+") for name in _ARRAYS)
        for batch in batches:
            pieces = batch.column("piece").to_pylist()
            for (block, taken), piece in zip(self.normalisation.rows(batch), pieces, strict=True):
                first, begin = self.places[block, piece]
                indptr[first + 1 : first + 1 + taken.shape[0]] = begin + taken.indptr[1:]
                indices[begin : begin + taken.nnz], data[begin : begin + taken.nnz] = taken.indices, taken.data
            yield pa.RecordBatch.from_arrays([batch.column("block")], names=["block"])
