"""graph_filter fitted by Spark against the same engine made in one piece, and against dense NumPy."""

import os

import numpy as np
import pyarrow as pa
import pytest
from recommend_shop import AS_OF
from scipy import sparse

from profiling_spark.config import Settings
from profiling_spark.config.settings import GraphFilter, GraphFilterBand
from profiling_spark.recommend.engines import GRAPH_FILTER, graph_fit, item_cf
from profiling_spark.recommend.engines.als_here import Learned
from profiling_spark.recommend.engines.graph_filter import graph_filter_side
from profiling_spark.recommend.engines.graph_fit import (
    bands_for,
    fit_graph_filter,
    item_sums,
    neighbours_for,
    summed_image,
)
from profiling_spark.recommend.engines.graph_here import GraphHere
from profiling_spark.recommend.engines.item_cf import cosine_neighbours
from profiling_spark.recommend.engines.stored import load_side, save_side
from profiling_spark.recommend.history.pairs import Bought, SplitTotals
from profiling_spark.recommend.judge.choose import Fitted
from profiling_spark.recommend.matrix import blocks as blocks_module
from profiling_spark.recommend.matrix import nearest as nearest_module
from profiling_spark.recommend.matrix.array_transfer import ArrayTransfer, array_transfer
from profiling_spark.recommend.matrix.blocks import customer_blocks, unpack
from profiling_spark.recommend.matrix.customer_rows import MappedRows, Normalisation, customer_rows
from profiling_spark.recommend.matrix.item_graph import (
    gram_rows,
    image,
    item_degrees,
    normalise,
    singular_vectors,
    strongest,
)
from profiling_spark.recommend.matrix.item_side import padded_blocks
from profiling_spark.recommend.matrix.nearest import nearest, range_edges
from profiling_spark.recommend.store import load, store, wanted

USERS, ITEMS = 90, 120
UNIT = 2**20
NAMES = tuple(f"i{n:03d}" for n in range(ITEMS))
SETTINGS = GraphFilter(
    neighbours=7,
    bands=(GraphFilterBand(vectors=3, exponent=0.5, ratio=0.9), GraphFilterBand(vectors=4, exponent=0.2, ratio=0.7)),
    passes=4,
    weight_users=USERS,
)


@pytest.fixture(scope="module")
def taken():
    """(customers, items) with whole weights; nobody took the last item; every customer took something."""
    rng = np.random.default_rng(2)
    taste = rng.random((USERS, 4)) @ rng.random((4, ITEMS))
    weights = np.where(rng.random((USERS, ITEMS)) < 0.1 * taste, rng.integers(1, 4, (USERS, ITEMS)), 0)
    weights[:, 0], weights[:, -1] = 1, 0
    return weights.astype(float)


@pytest.fixture(scope="module")
def strengths(taken):
    """log(1 + weight), as the blocks have them: in steps of 2^-20."""
    return np.round(np.log1p(taken) * UNIT) / UNIT


@pytest.fixture(scope="module")
def pairs(spark, taken):
    """The same as rows, in no order; a row that is not used must change nothing."""
    rows = [(f"u{u}", NAMES[i], int(taken[u, i] * UNIT), True) for u, i in np.argwhere(taken > 0)]
    rows += [("u1", NAMES[5], 77 * UNIT, False)]
    order = np.random.default_rng(5).permutation(len(rows))
    frame = spark.createDataFrame([rows[n] for n in order], "user_id string, item_id string, units long, used boolean")
    return frame.repartition(3).persist()


@pytest.fixture
def small_pieces(monkeypatch):
    """Pieces, products and ranges so small that each task has several."""
    monkeypatch.setattr(blocks_module, "_USERS", 7)
    monkeypatch.setattr(nearest_module, "_PRODUCTS", 2000)
    monkeypatch.setattr(graph_fit, "_PART_BYTES", 4000)
    monkeypatch.setattr(graph_fit, "_COLUMNS", 3)
    monkeypatch.setattr(graph_fit, "_BASIS_BYTES", 24 * 4 * ITEMS)  # two halves of a basis of 39


def fitted(pairs, blocks=3):
    return fit_graph_filter(pairs, NAMES, units="units", is_used="used", settings=SETTINGS, blocks=blocks, seed=3)


def in_one_piece(strengths):
    """The engine by item_graph.py and graph_filter.py alone, all customers in one block."""
    matrix = sparse.csr_array(strengths)
    degree = item_degrees(matrix)
    block = normalise(matrix, degree, user_exponent=0.3, item_exponent=0.4)
    near = sparse.csr_array(strongest(gram_rows([block], slice(0, ITEMS)), 7).T)
    vectors, _ = singular_vectors(lambda basis: image(block, basis), ITEMS, rank=7, passes=4, seed=3)
    return graph_filter_side(near, vectors, degree, bands=bands_for(SETTINGS, ITEMS - 1), sample=matrix)


def test_sums_of_items(pairs, strengths):
    degree, counts = item_sums(pairs, NAMES, units="units", is_used="used")
    assert degree.tolist() == strengths.sum(axis=0).tolist()
    assert counts.tolist() == (strengths > 0).sum(axis=0).tolist()


def test_blocks_hold_each_customer_once(pairs, strengths, small_pieces):
    found = customer_blocks(pairs, NAMES, units="units", is_used="used", blocks=4).toArrow()
    pieces = list(unpack(found, ITEMS))
    rows = np.concatenate([piece.toarray() for _, piece in pieces])
    assert max(piece.shape[0] for _, piece in pieces) <= 7
    assert sorted(map(tuple, rows)) == sorted(map(tuple, strengths))
    assert found.column("block").to_pylist() == sorted(found.column("block").to_pylist())


@pytest.fixture(params=["through Spark", "by files"])
def way(request, tmp_path):
    return ArrayTransfer(None if request.param == "through Spark" else str(tmp_path))


def test_a_session_on_one_machine_carries_arrays_by_files_that_go_away(spark):
    with array_transfer(spark) as way:
        sent = way.send(np.arange(3))
        assert sent.load().tolist() == [0, 1, 2]
        assert os.listdir(way.folder)
    assert not os.path.exists(way.folder)


def test_an_image_is_the_dense_product(pairs, strengths, small_pieces, way):
    matrix = sparse.csr_array(strengths)
    normalisation = Normalisation(item_degrees(matrix), 0.3, 0.4)
    dense = normalise(matrix, normalisation.degree, user_exponent=0.3, item_exponent=0.4).toarray()
    basis = np.random.default_rng(1).standard_normal((ITEMS, 12), dtype=np.float32)
    packed = customer_blocks(pairs, NAMES, units="units", is_used="used", blocks=3)
    rows = customer_rows(packed, normalisation, way)
    assert isinstance(rows, MappedRows) == (way.folder is not None)
    assert summed_image(rows, basis, way=way) == pytest.approx(dense.T @ dense @ basis, abs=1e-4)
    assert way.folder is None or os.listdir(way.folder) == ["customer_rows"]


def test_rows_in_files_are_the_packed_ones(pairs, strengths, small_pieces, tmp_path):
    normalisation = Normalisation(item_degrees(sparse.csr_array(strengths)), 0.3, 0.4)
    packed = customer_blocks(pairs, NAMES, units="units", is_used="used", blocks=4)
    rows = customer_rows(packed, normalisation, ArrayTransfer(str(tmp_path)))
    expected = list(normalisation.rows(packed.toArrow().sort_by([("block", "ascending"), ("piece", "ascending")])))
    found = [(b, piece.toarray().tolist()) for b, pieces in enumerate(rows.files.pieces()) for piece in pieces]
    assert found == [(b, piece.toarray().tolist()) for b, piece in expected]
    whole = np.concatenate([piece.toarray() for _, piece in expected])
    assert (rows.files.whole().toarray() == whole).all()


def test_the_engine_is_that_of_all_customers_in_one_piece(pairs, strengths, small_pieces):
    side, expected = fitted(pairs), in_one_piece(strengths)
    assert side.neighbours.toarray() == pytest.approx(expected.neighbours.toarray(), rel=1e-6)
    assert side.degree.tolist() == expected.degree.tolist()
    assert side.ends.tolist() == [3, 7]
    assert side.weights == pytest.approx(expected.weights, rel=1e-3)
    assert side.vectors @ side.vectors.T == pytest.approx(expected.vectors @ expected.vectors.T, rel=1e-3, abs=1e-3)


def test_a_fit_in_this_process_is_sparks(pairs, taken):
    user, item = np.nonzero(taken)
    known = Learned(user, item, taken[user, item], ITEMS)
    here = GraphHere(known, SETTINGS, vectors=7, seed=3)
    (_, block), *_ = padded_blocks(user, item, taken[user, item], rows=USERS)
    theirs = fitted(pairs)
    for exponents in ((0.3, 0.4), (0.1, 0.9), (0.3, 0.4)):  # parts that are kept change nothing
        asked = SETTINGS.model_copy(update=dict(zip(("user_exponent", "item_exponent"), exponents, strict=True)))
        side = here.side(asked)
        same = side.score(block).block() == pytest.approx(theirs.score(block).block(), rel=1e-2, abs=1e-3)
        assert same == (exponents == (0.3, 0.4))
        assert side.neighbours.toarray().any()


def test_the_same_customers_in_other_partitions_give_the_same_bits(
    pairs, strengths, small_pieces, tmp_path, monkeypatch
):
    matrix = sparse.csr_array(strengths)
    normalisation, counts = Normalisation(item_degrees(matrix), 0.3, 0.4), (strengths > 0).sum(axis=0)
    basis = np.random.default_rng(1).standard_normal((ITEMS, 5), dtype=np.float32)
    found = []
    ways = ArrayTransfer(None), ArrayTransfer(str(tmp_path))  # nor does it matter how arrays get to the tasks
    for frame, way in zip((pairs, pairs.repartition(5, "item_id")), ways, strict=True):
        rows = customer_blocks(frame, NAMES, units="units", is_used="used", blocks=3)
        rows = customer_rows(rows, normalisation, way)
        near = nearest(rows, counts, most=7, ranges=4, way=way)
        found.append((near.toarray(), summed_image(rows, basis, way=way)))
    monkeypatch.setattr(graph_fit, "_FEW_PRODUCTS", 0)  # so that tasks make the image, not the driver
    assert (summed_image(rows, basis, way=way) == found[1][1]).all()
    assert all((first == other).all() for first, other in zip(*found, strict=True))


def test_item_neighbours_are_the_largest_cosines(pairs, strengths, small_pieces):
    found = cosine_neighbours(pairs, NAMES, units="units", is_used="used", neighbours=5, blocks=3)
    lengths = np.sqrt((strengths**2).sum(axis=0))
    cosine = strengths.T @ strengths / np.maximum(lengths[:, None] * lengths, 1e-9) - np.eye(ITEMS)
    expected = [
        (item, int(other), rank + 1)
        for item in range(ITEMS)
        for rank, other in enumerate(np.argsort(-np.round(cosine[item], 6), kind="stable")[:5])
        if cosine[item, other] > 1e-9
    ]
    columns = (found.column(name).to_pylist() for name in ("item", "other", "rank"))
    assert list(zip(*columns, strict=True)) == expected
    assert found.column("similarity").to_pylist() == pytest.approx([cosine[i, o] for i, o, _ in expected], abs=1e-6)


def test_squared_lengths_and_customers_of_items(pairs, strengths, small_pieces, way):
    rows = customer_blocks(pairs, NAMES, units="units", is_used="used", blocks=3)
    squares, counts = item_cf.squared_lengths(rows, ITEMS, way)
    assert squares == pytest.approx((strengths**2).sum(axis=0))
    assert counts.tolist() == (strengths > 0).sum(axis=0).tolist()


def test_a_small_catalogue_has_fewer_neighbours_and_vectors():
    assert [band.count for band in bands_for(GraphFilter(), 40_000)] == [192, 576]
    assert [band.count for band in bands_for(GraphFilter(), 10_000)] == [50, 150]
    assert [band.count for band in bands_for(GraphFilter(), 800)] == [16, 48]
    assert [band.count for band in bands_for(GraphFilter(), 80)] == [3, 7]
    assert [neighbours_for(GraphFilter(), items) for items in (40_000, 800, 40)] == [500, 25, 8]
    assert [band.count for band in bands_for(GraphFilter(), 3)] == [1, 0]


def test_ranges_share_the_customers_out():
    edges = range_edges(np.array([5, 0, 1, 4, 0, 10, 1, 1]), 3)
    assert edges.tolist() == [0, 4, 6, 8]
    assert range_edges(np.array([1]), 4).tolist() == [0, 1]


def test_the_model_is_read_back_as_it_was(pairs, tables, tmp_path):
    side = fitted(pairs)
    settings = Settings()
    none = Bought(np.zeros(ITEMS), np.zeros(ITEMS))
    totals = SplitTotals(NAMES, (None,) * ITEMS, side.degree, none, 1, side.degree, np.ones(ITEMS), none, "rows")
    near = pa.table({"item": [0, 0, 2], "other": [1, 2, 0], "rank": [1, 2, 1], "similarity": [0.5, 0.25, 0.25]})
    made = store(tables, Fitted(GRAPH_FILTER, side), totals, near, neighbours=2, asked=wanted(settings), as_of=AS_OF)
    listed = [(NAMES[0], 1, NAMES[1], 0.5), (NAMES[0], 2, NAMES[2], 0.25), (NAMES[2], 1, NAMES[0], 0.25)]
    assert load(tables, made, candidates=400).neighbours.rows() == listed
    save_side(tmp_path / "arrays", side)
    for found in (load(tables, made, candidates=400).side, load_side(tmp_path / "arrays")):
        assert (found.neighbours != side.neighbours).nnz == 0
        assert found.neighbours.indices.dtype == side.neighbours.indices.dtype == np.int32
        for name in ("vectors", "degree", "ends", "exponents", "weights"):
            assert (getattr(found, name) == getattr(side, name)).all()
            assert getattr(found, name).dtype == getattr(side, name).dtype
