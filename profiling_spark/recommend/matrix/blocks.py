"""Customers' histories as sparse rows in the columns of a frame, so that each pass over them is one job of NumPy.

A customer belongs to the block pmod(xxhash64(user_id), blocks), a number that comes from the settings: what blocks give
is added up in their order, so no sum depends on the cluster. Two customers with one 64-bit hash count as one (for a
million customers less than one chance in ten million).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from scipy import sparse

from profiling_spark.recommend.history.interactions import UNITS
from profiling_spark.recommend.matrix.item_side import Floats, Ints

_PACKED = "block int, piece int, lengths binary, places binary, strengths binary"
PACKED_NAMES = ("block", "piece", "lengths", "places", "strengths")
# of a piece: bounds the dense products of a pass (800 columns: 100 MB); a customer is never cut
_USERS, _ENTRIES = 2**15, 2**21


def item_index(spark: SparkSession, items: Sequence[str]) -> DataFrame:
    """(item_id, item): each item's place in `items`."""
    places = np.arange(len(items), dtype=np.int32)
    return spark.createDataFrame(pa.table({"item_id": pa.array(items, pa.string()), "item": places}))


def strength(units: str) -> Column:
    """log(1 + weight), so that twenty views of one customer do not drown twenty customers; in whole numbers of 1/UNITS,
    whose sums are exact.
    """
    return F.round(F.log1p(F.greatest(F.col(units), F.lit(0)) / F.lit(UNITS)) * UNITS).cast("long")


def customer_blocks(pairs: DataFrame, items: Sequence[str], *, units: str, is_used: str, blocks: int) -> DataFrame:
    """The rows of `pairs` where `is_used`, strong as their `units`, packed: one row per piece of a block of customers.

    `lengths` (int64) of the customers' rows, then their items (int32) and strengths (float64), in the order of hashes.
    """
    used = pairs.where(is_used).join(F.broadcast(item_index(pairs.sparkSession, items)), on="item_id", how="inner")
    customer = F.xxhash64("user_id")
    rows = used.select(
        F.pmod(customer, F.lit(blocks)).cast("int").alias("block"),
        customer.alias("customer"),
        "item",
        (strength(units) / F.lit(UNITS)).alias("strength"),
    )
    return rows.repartitionById(blocks, "block").mapInArrow(_Pack(_USERS, _ENTRIES), _PACKED)


class _Pack:
    """What a worker runs on blocks of (block, customer, item, strength), in any order: their pieces, in theirs."""

    def __init__(self, users: int, entries: int) -> None:
        self.users, self.entries = users, entries

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        found = list(batches)
        if not found:
            return
        table = pa.Table.from_batches(found)
        names = ("block", "customer", "item", "strength")
        block, customer, item, values = (table.column(name).to_numpy() for name in names)
        order = np.lexsort((item, customer, block))
        block, customer, item, values = block[order], customer[order], item[order], values[order]
        begins = np.flatnonzero(np.r_[len(order) > 0, customer[1:] != customer[:-1]])
        ends = np.r_[begins[1:], len(order)][: len(begins)]
        owner = block[begins]
        for number in np.unique(owner):
            of_block = np.flatnonzero(owner == number)
            for piece, part in enumerate(self._pieces(begins[of_block], ends[of_block])):
                here = of_block[part]
                rows = slice(int(begins[here[0]]), int(ends[here[-1]]))
                yield packed_row(int(number), piece, ends[here] - begins[here], item[rows], values[rows])

    def _pieces(self, begins: Ints, ends: Ints) -> Iterator[slice]:
        """Ranges of customers with at most `users` of them and, unless one alone has more, `entries` entries."""
        at = 0
        while at < len(begins):
            full = int(np.searchsorted(ends, begins[at] + self.entries, side="right"))
            end = max(at + 1, min(full, at + self.users, len(begins)))
            yield slice(at, end)
            at = end


def packed_row(block: int, piece: int, lengths: Ints, places: Ints, strengths: Floats) -> pa.RecordBatch:
    """One piece as a batch of one row."""
    sizes, items = lengths.astype(np.int64), places.astype(np.int32)
    columns = [
        pa.array([block], pa.int32()),
        pa.array([piece], pa.int32()),
        *(pa.array([values.tobytes()], pa.large_binary()) for values in (sizes, items, strengths.astype(np.float64))),
    ]
    return pa.RecordBatch.from_arrays(columns, names=list(PACKED_NAMES))


def unpack(batch: pa.RecordBatch | pa.Table, items: int) -> Iterator[tuple[int, sparse.csr_array]]:
    """(block, customers x items) of each piece, in the order of the rows."""
    read = (batch.column(name) for name in ("block", "lengths", "places", "strengths"))
    for block, lengths, places, strengths in zip(*read, strict=True):
        sizes = np.frombuffer(lengths.as_buffer(), dtype=np.int64)
        entries = (
            np.frombuffer(strengths.as_buffer(), dtype=np.float64),
            np.frombuffer(places.as_buffer(), dtype=np.int32),
            np.r_[0, np.cumsum(sizes)].astype(np.int32),
        )
        yield block.as_py(), sparse.csr_array(entries, shape=(len(sizes), items))
