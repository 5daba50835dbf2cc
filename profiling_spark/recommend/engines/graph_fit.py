"""graph_filter fitted by Spark: each pass over the customers is one job, whose tasks run the NumPy of item_graph.py.
Of so few pairs that a job would take longer, on one machine, the driver makes the images for the vectors itself.

The driver holds what is as long as the catalogue: the vectors (items * vectors * 4 bytes, a few times over while they
are sought) and the strongest neighbours. Nothing there grows with the customers but the few on whom weights are set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy import sparse

from profiling_spark.config import Settings
from profiling_spark.config.settings import GraphFilter
from profiling_spark.recommend.engines.graph_filter import Band, GraphFilterSide, candidates_for, graph_filter_side
from profiling_spark.recommend.history.interactions import UNITS
from profiling_spark.recommend.matrix.array_transfer import ArrayTransfer, SentArray, array_transfer
from profiling_spark.recommend.matrix.blocks import customer_blocks, strength
from profiling_spark.recommend.matrix.customer_rows import (
    CustomerRows,
    MappedRows,
    Normalisation,
    RowFiles,
    customer_rows,
)
from profiling_spark.recommend.matrix.item_graph import Factors, image, image_by, image_factors, singular_vectors
from profiling_spark.recommend.matrix.item_side import Floats, Ints, Scores
from profiling_spark.recommend.matrix.nearest import RANGES_A_BLOCK, by_part, nearest

_BASIS_BYTES = 2**28  # of the directions that travel to the tasks at a time
_PART_BYTES = 2**22  # of a range of an image: as many of them as blocks are added up in one task
_COLUMNS = 100  # of an image made from mapped rows at a time: few enough for the cache
_FEW_PRODUCTS = 2**31  # of an image: about a second
_LEAST_ITEMS = 8  # for each vector
_LEAST_NEIGHBOURS = 8  # one of them is the item itself, which carries no information on new ones
_SHARES = "part int, block int, share binary"
_TOTALS = "part int, total binary"


def fit_engine(
    pairs: DataFrame, items: Sequence[str], settings: Settings, *, units: str, is_used: str
) -> GraphFilterSide:
    """On the rows of `pairs` where `is_used`, weighted by `units`."""
    asked, blocks, seed = settings.recommend.graph_filter, settings.spark.fit_partitions, settings.seed
    return fit_graph_filter(pairs, items, units=units, is_used=is_used, settings=asked, blocks=blocks, seed=seed)


def fit_graph_filter(
    pairs: DataFrame, items: Sequence[str], *, units: str, is_used: str, settings: GraphFilter, blocks: int, seed: int
) -> GraphFilterSide:
    """The engine for the items in the order of `items`, from the rows of `pairs` where `is_used`, weighted by `units`.

    `blocks`: how many blocks of customers (each is one task of a pass) the sums are made of.
    """
    degree, counts = item_sums(pairs, items, units=units, is_used=is_used)
    known = int((degree > 0).sum())
    normalisation = Normalisation(degree, settings.user_exponent, settings.item_exponent)
    packed = customer_blocks(pairs, items, units=units, is_used=is_used, blocks=blocks).persist()
    try:
        most, bands = neighbours_for(settings, known), bands_for(settings, known)
        with array_transfer(pairs.sparkSession) as way:
            rows = customer_rows(packed, normalisation, way)
            near = nearest(rows, counts, most=most, ranges=blocks * RANGES_A_BLOCK, way=way)
            vectors, _ = singular_vectors(
                lambda basis: summed_image(rows, basis, way=way),
                len(items),
                rank=sum(band.count for band in bands),
                passes=settings.passes,
                seed=seed,
            )
    finally:
        packed.unpersist()
    sample = sampled_rows(pairs, items, units=units, is_used=is_used, most=settings.weight_users, salt=seed)
    candidates = candidates_for(settings.candidates, len(items))
    return graph_filter_side(near, vectors, degree, bands=bands, sample=sample, candidates=candidates)


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
    found = _known(pairs.where(is_used).groupBy("item_id").agg(*sums).toArrow(), items)
    degree, counts = np.zeros(len(items)), np.zeros(len(items), dtype=np.int64)
    place = found.column("item").to_numpy()
    degree[place] = found.column("units").to_numpy() / UNITS
    counts[place] = found.column("customers").to_numpy()
    return degree, counts


def _known(found: pa.Table, items: Sequence[str]) -> pa.Table:
    """Rows of these items, with `item`, their place; found here, since a join in Spark takes longer for so few."""
    place = pc.index_in(found.column("item_id"), value_set=pa.array(items, found.schema.field("item_id").type))
    return found.append_column("item", place).filter(pc.is_valid(place))


def sampled_rows(
    pairs: DataFrame, items: Sequence[str], *, units: str, is_used: str, most: int, salt: int
) -> sparse.csr_array:
    """(customers, items): the plain rows of at most `most` customers, the same ones for the same customers."""
    used = pairs.where(is_used)
    order = F.xxhash64(F.lit(salt), "user_id")
    chosen = used.select("user_id").distinct().orderBy(order, "user_id").limit(most)
    rows = used.join(F.broadcast(chosen), on="user_id", how="left_semi")
    found = rows.select("user_id", "item_id", (strength(units) / F.lit(UNITS)).alias("strength")).toArrow()
    table = _known(found, items).sort_by([("user_id", "ascending"), ("item", "ascending")]).combine_chunks()
    customer = table.column("user_id").combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    entries = (table.column("strength").to_numpy(), (customer, table.column("item").to_numpy()))
    return sparse.csr_array(entries, shape=(int(customer.max(initial=-1)) + 1, len(items)))


def summed_image(rows: CustomerRows, basis: Scores, *, way: ArrayTransfer) -> Scores:
    """R~'R~ basis; (items, width) float32. Blocks' shares are added up in the order of the blocks."""
    found = np.empty_like(basis)
    if isinstance(rows, MappedRows):
        _fill_by_columns(found, rows, basis, way)
        return found
    step = max(1, _BASIS_BYTES // (4 * max(len(basis), 1)))
    for at in range(0, basis.shape[1], step):
        columns = slice(at, at + step)
        sent = np.ascontiguousarray(basis[:, columns])
        task, add = _Image(rows.normalisation, way.send(sent), way, sent.shape), _AddShares(way)
        sums = by_part(rows.frame.mapInArrow(task, _SHARES), add, _TOTALS)
        for part, total in zip(sums.column("part").to_pylist(), sums.column("total"), strict=True):
            values = way.unpack(total, np.float32).reshape(-1, sent.shape[1])
            found[part * task.step : part * task.step + len(values), columns] = values
        way.clear()
    return found


def _fill_by_columns(found: Scores, rows: MappedRows, basis: Scores, way: ArrayTransfer) -> None:
    """Some columns of the image at a time, over all customers: nothing is left to be added up. A task for each, unless
    the products take less time here than the job takes to start.
    """
    ranges = [slice(at, at + _COLUMNS) for at in range(0, basis.shape[1], _COLUMNS)]
    if rows.files.entries * basis.shape[1] <= _FEW_PRODUCTS:
        every = [[image_factors(piece) for piece in pieces] for pieces in rows.files.pieces()]
        for columns in ranges:
            found[:, columns] = _image_of(every, np.ascontiguousarray(basis[:, columns]))
        return
    sent = [way.send(np.ascontiguousarray(basis[:, columns])) for columns in ranges]
    images = rows.tasks(len(sent)).mapInArrow(_ImageOfColumns(rows.files, sent, way), _TOTALS).toArrow()
    for part, total in zip(images.column("part").to_pylist(), images.column("total"), strict=True):
        found[:, ranges[part]] = way.unpack(total, np.float32).reshape(len(basis), -1)
    way.clear()


class _ImageOfColumns:
    """What a worker runs on the numbers of column ranges: their image over all customers."""

    def __init__(self, files: RowFiles, sent: Sequence[SentArray], way: ArrayTransfer) -> None:
        self.files, self.sent, self.way = files, sent, way

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for part in batch.column("part").to_pylist():
                every = ((image_factors(piece) for piece in pieces) for pieces in self.files.pieces())
                total = _image_of(every, self.sent[part].load())
                packed = pa.array([self.way.pack(total)], pa.large_binary())
                yield pa.RecordBatch.from_arrays([pa.array([part], pa.int32()), packed], names=["part", "total"])


def _image_of(blocks: Iterable[Iterable[Factors]], basis: Scores) -> Scores:
    """The image over the pieces of all blocks, each block's share in the order of its pieces."""
    total = np.zeros_like(basis)
    for pieces in blocks:
        share = np.zeros_like(basis)
        for factors in pieces:
            share += image_by(factors, basis)
        total += share
    return total


class _Image:
    """What a worker runs on the pieces of blocks: each block's share of the image, in ranges of items."""

    def __init__(
        self, normalisation: Normalisation, basis: SentArray, way: ArrayTransfer, shape: tuple[int, ...]
    ) -> None:
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

    def __init__(self, way: ArrayTransfer) -> None:
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
