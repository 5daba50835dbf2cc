"""graph_filter fitted by Spark: each pass over the customers is one job, whose tasks run the NumPy of item_graph.py.

The driver holds what is as long as the catalogue: the vectors (items * vectors * 4 bytes, a few times over while they
are sought) and the strongest neighbours. Nothing there grows with the customers but the few on whom weights are set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy import sparse

from profiling_spark.config.settings import GraphFilter
from profiling_spark.recommend.blocks import PACKED_NAMES, customer_blocks, item_index, packed_row, strength, unpack
from profiling_spark.recommend.carrier import Carried, Carrier, carrier
from profiling_spark.recommend.graph_filter import Band, GraphFilterSide, graph_filter_side
from profiling_spark.recommend.interactions import UNITS
from profiling_spark.recommend.item_graph import gram_block, image, normalise, singular_vectors, strongest
from profiling_spark.recommend.item_side import Floats, Ints, Scores

_BASIS_BYTES = 2**28  # of the directions that travel to the tasks at a time
_PART_BYTES = 2**22  # of a range of an image: as many of them as blocks are added up in one task
_PRODUCTS = 2**24  # of the item-item part in memory at a time: 200 MB
_RANGES_A_BLOCK = 4
_LEAST_ITEMS = 8  # for each vector
_LEAST_NEIGHBOURS = 8  # one of them is the item itself, which says nothing of new ones
_SENT = "part int, block int, piece int, lengths binary, places binary, strengths binary"
_ROWS = "first int, lengths binary, places binary, strengths binary"
_SHARES = "part int, block int, share binary"
_TOTALS = "part int, total binary"


@dataclass(frozen=True)
class Normalisation:
    """What makes R~ of a piece of R: the items' sums over all customers and the exponents b and a."""

    degree: Floats
    user_exponent: float
    item_exponent: float

    @property
    def items(self) -> int:
        return len(self.degree)

    def rows(self, batch: pa.RecordBatch | pa.Table) -> Iterator[tuple[int, sparse.csr_array]]:
        """(block, R~) of each piece in a batch."""
        for block, taken in unpack(batch, self.items):
            yield (
                block,
                normalise(taken, self.degree, user_exponent=self.user_exponent, item_exponent=self.item_exponent),
            )


def fit_graph_filter(
    pairs: DataFrame, items: Sequence[str], *, units: str, is_used: str, settings: GraphFilter, blocks: int, seed: int
) -> GraphFilterSide:
    """The engine for the items in the order of `items`, from the rows of `pairs` where `is_used`, weighted by `units`.

    `blocks`: how many blocks of customers (each is one task of a pass) the sums are made of.
    """
    degree, counts = item_sums(pairs, items, units=units, is_used=is_used)
    known = int((degree > 0).sum())
    normalisation = Normalisation(degree, settings.user_exponent, settings.item_exponent)
    rows = customer_blocks(pairs, items, units=units, is_used=is_used, blocks=blocks).persist()
    try:
        most, bands = neighbours_for(settings, known), bands_for(settings, known)
        with carrier(pairs.sparkSession) as way:
            near = nearest(rows, normalisation, counts, most=most, ranges=blocks * _RANGES_A_BLOCK, way=way)
            vectors, _ = singular_vectors(
                lambda basis: summed_image(rows, normalisation, basis, way=way),
                len(items),
                rank=sum(band.count for band in bands),
                passes=settings.passes,
                seed=seed,
            )
    finally:
        rows.unpersist()
    sample = sampled_rows(pairs, items, units=units, is_used=is_used, most=settings.weight_users, salt=seed)
    return graph_filter_side(near, vectors, degree, bands=bands, sample=sample, candidates=settings.candidates)


def neighbours_for(settings: GraphFilter, items: int) -> int:
    """Neighbours that an item keeps: in a small catalogue a share of it, else they would be nearly all items."""
    return min(settings.neighbours, max(_LEAST_NEIGHBOURS, int(items * settings.neighbours_share)))


def bands_for(settings: GraphFilter, items: int) -> tuple[Band, ...]:
    """The bands of the settings, all shortened alike where a catalogue of so many items is too small for their vectors:
    more than a share of the items, but for `least_vectors`, would be the noise of single customers.
    """
    wanted = np.cumsum([band.vectors for band in settings.bands])
    most = max(1, min(items // _LEAST_ITEMS, max(settings.least_vectors, int(items * settings.vectors_share))))
    ends = np.ceil(wanted * min(1.0, most / wanted[-1])).astype(np.int64)
    counts = np.diff(np.r_[0, ends]).tolist()
    return tuple(Band(n, band.exponent, band.ratio) for n, band in zip(counts, settings.bands, strict=True))


def item_sums(pairs: DataFrame, items: Sequence[str], *, units: str, is_used: str) -> tuple[Floats, Ints]:
    """(items,) each: the sum of strengths, and the number of customers."""
    sums = F.sum(strength(units)).alias("units"), F.count("*").alias("customers")
    summed = pairs.where(is_used).groupBy("item_id").agg(*sums)
    found = summed.join(F.broadcast(item_index(pairs.sparkSession, items)), on="item_id", how="inner").toArrow()
    degree, counts = np.zeros(len(items)), np.zeros(len(items), dtype=np.int64)
    place = found.column("item").to_numpy()
    degree[place] = found.column("units").to_numpy() / UNITS
    counts[place] = found.column("customers").to_numpy()
    return degree, counts


def sampled_rows(
    pairs: DataFrame, items: Sequence[str], *, units: str, is_used: str, most: int, salt: int
) -> sparse.csr_array:
    """(customers, items): the plain rows of at most `most` customers, the same ones for the same customers."""
    used = pairs.where(is_used)
    order = F.xxhash64(F.lit(salt), "user_id")
    chosen = used.select("user_id").distinct().orderBy(order, "user_id").limit(most)
    index = F.broadcast(item_index(pairs.sparkSession, items))
    rows = used.join(F.broadcast(chosen), on="user_id", how="left_semi").join(index, on="item_id", how="inner")
    table = rows.select("user_id", "item", (strength(units) / F.lit(UNITS)).alias("strength")).toArrow()
    table = table.sort_by([("user_id", "ascending"), ("item", "ascending")]).combine_chunks()
    customer = table.column("user_id").combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    entries = (table.column("strength").to_numpy(), (customer, table.column("item").to_numpy()))
    return sparse.csr_array(entries, shape=(int(customer.max(initial=-1)) + 1, len(items)))


def summed_image(rows: DataFrame, normalisation: Normalisation, basis: Scores, *, way: Carrier) -> Scores:
    """R~'R~ basis over all blocks; (items, width) float32. Shares are added up by Spark, in the order of the blocks."""
    found = np.empty_like(basis)
    step = max(1, _BASIS_BYTES // (4 * max(len(basis), 1)))
    for at in range(0, basis.shape[1], step):
        columns = slice(at, at + step)
        sent = np.ascontiguousarray(basis[:, columns])
        task, add = _Image(normalisation, way.send(sent), way, sent.shape), _AddShares(way)
        sums = _by_part(rows.mapInArrow(task, _SHARES), add, _TOTALS)
        for part, total in zip(sums.column("part").to_pylist(), sums.column("total"), strict=True):
            values = way.unpack(total, np.float32).reshape(-1, sent.shape[1])
            found[part * task.step : part * task.step + len(values), columns] = values
        way.clear()
    return found


def _by_part(rows: DataFrame, task: Callable[[pa.Table], pa.Table], schema: str) -> pa.Table:
    """What the task makes of the rows of each `part`."""
    # Spark wants a function here: from an object with __call__ it cannot tell what is passed
    return rows.groupBy("part").applyInArrow(lambda table: task(table), schema).toArrow()


class _Image:
    """What a worker runs on the pieces of blocks: each block's share of the image, in ranges of items."""

    def __init__(self, normalisation: Normalisation, basis: Carried, way: Carrier, shape: tuple[int, ...]) -> None:
        self.normalisation, self.basis, self.way, self.shape = normalisation, basis, way, shape
        self.step = max(1, _PART_BYTES // (4 * max(shape[1], 1)))

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        basis = self.basis.load()
        current, share = -1, np.zeros(self.shape, dtype=np.float32)
        for batch in batches:
            for block, taken in self.normalisation.rows(batch):
                if block != current and current >= 0:
                    yield from self._parts(current, share)
                    share = np.zeros(self.shape, dtype=np.float32)
                current = block
                share += image(taken, basis)
        if current >= 0:
            yield from self._parts(current, share)

    def _parts(self, block: int, share: Scores) -> Iterator[pa.RecordBatch]:
        for part, at in enumerate(range(0, len(share), self.step)):
            columns = [
                pa.array([part], pa.int32()),
                pa.array([block], pa.int32()),
                pa.array([self.way.pack(share[at : at + self.step])], pa.large_binary()),
            ]
            yield pa.RecordBatch.from_arrays(columns, names=["part", "block", "share"])


class _AddShares:
    """What a worker runs on one range of an image: the blocks' shares, added up in their order."""

    def __init__(self, way: Carrier) -> None:
        self.way = way

    def __call__(self, shares: pa.Table) -> pa.Table:
        ordered = shares.sort_by("block")
        total: Scores | None = None
        for share in ordered.column("share"):
            values = self.way.unpack(share, np.float32)
            total = values if total is None else total + values
        assert total is not None  # for mypy: a group has a row
        part = ordered.column("part").slice(0, 1).cast(pa.int32())
        return pa.table({"part": part, "total": pa.array([self.way.pack(total)], pa.binary())})


def nearest(
    rows: DataFrame, normalisation: Normalisation, counts: Ints, *, most: int, ranges: int, way: Carrier
) -> sparse.csr_array:
    """(items, items) float32: R~'R~, of each column the `most` largest entries: [i, j] says how i speaks for j.

    Each customer's row goes to the ranges of items that it touches, where the products are made, cut and dropped.
    """
    items = normalisation.items
    edges = range_edges(counts, ranges)
    sent = rows.mapInArrow(_Send(normalisation, edges), _SENT)
    found = _by_part(sent, _Nearest(items, edges, most, way), _ROWS).sort_by("first")
    kinds: dict[str, type[np.generic]] = {"lengths": np.int64, "places": np.int32, "strengths": np.float32}
    arrays = {name: [way.unpack(v, kind) for v in found.column(name)] for name, kind in kinds.items()}
    row_lengths = np.zeros(items, dtype=np.int64)
    for first, lengths in zip(found.column("first").to_pylist(), arrays["lengths"], strict=True):
        row_lengths[first : first + len(lengths)] = lengths
    places, values = (np.concatenate(arrays[name]) for name in ("places", "strengths"))
    way.clear()
    cut = sparse.csr_array((values, places, np.r_[0, np.cumsum(row_lengths)]), shape=(items, items))
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
        piece = 0  # tells the order of a block's pieces; it need not start anew with each block
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

    def __init__(self, items: int, edges: Ints, most: int, way: Carrier) -> None:
        self.items, self.edges, self.most, self.way, self.products = items, edges, most, way, _PRODUCTS

    def __call__(self, table: pa.Table) -> pa.Table:
        ordered = table.sort_by([("block", "ascending"), ("piece", "ascending")])
        part = ordered.column("part")[0].as_py()
        taken = sparse.vstack([rows for _, rows in unpack(ordered, self.items)], format="csr")
        found = [self._rows(taken, slice(a, b)) for a, b in self._steps(taken, *self.edges[part : part + 2].tolist())]
        return pa.concat_tables(found)

    def _steps(self, taken: sparse.csr_array, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Ranges of items with at most `products` products each, unless one item alone has more."""
        lengths = np.diff(taken.indptr)
        products = np.bincount(taken.indices, weights=np.repeat(lengths, lengths), minlength=self.items)
        total = np.r_[0, np.cumsum(products)]
        while begin < end:
            stop = int(np.searchsorted(total, total[begin] + self.products, side="right")) - 1
            stop = min(max(stop, begin + 1), end)
            yield begin, stop
            begin = stop

    def _rows(self, taken: sparse.csr_array, columns: slice) -> pa.Table:
        kept = strongest(gram_block(taken, columns), self.most)
        arrays = (np.diff(kept.indptr).astype(np.int64), kept.indices.astype(np.int32), kept.data.astype(np.float32))
        packed = [pa.array([self.way.pack(values)], pa.binary()) for values in arrays]
        return pa.table(
            [pa.array([columns.start], pa.int32()), *packed], names=["first", "lengths", "places", "strengths"]
        )
