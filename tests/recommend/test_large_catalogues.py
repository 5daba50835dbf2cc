"""Catalogues of millions of items, at the widths of numbers and the limits of Spark: on made-up arrays, which take no
memory where that is possible."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import date

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from recommend_shop import AS_OF, as_histories
from scipy import sparse

from profiling_spark.messages import describe
from profiling_spark.recommend import store as model
from profiling_spark.recommend.engines import stored
from profiling_spark.recommend.engines.als import FactorSide
from profiling_spark.recommend.engines.blend import BlendSide
from profiling_spark.recommend.engines.graph_filter import GraphFilterSide
from profiling_spark.recommend.engines.item_cf import NeighbourSide
from profiling_spark.recommend.engines.own_history import OwnHistorySide
from profiling_spark.recommend.engines.popular import GroupPopularity, Popularity
from profiling_spark.recommend.history.pairs import Bought, SplitTotals
from profiling_spark.recommend.judge.choose import Fitted
from profiling_spark.recommend.lists.policy import Cap
from profiling_spark.recommend.matrix.item_side import padded_blocks

MANY = 3_400_000  # items; with five steps, more places than float32 has whole numbers


@pytest.mark.parametrize("caps", [(), (Cap("per_brand", np.arange(MANY) // 2, 1),)])
def test_the_order_of_popularity_holds_where_float32_does_not(caps):
    """The last item is the most popular one; the group's three come between the favourite category and everyone's."""
    group = GroupPopularity(
        "popular_in_region", ("north",), np.array([0, 3]), np.array([5, 9, 7]), np.array([3.0, 2, 1])
    )
    nobody = GroupPopularity(
        "popular_in_group", (), np.zeros(1, dtype=np.int64), *(np.empty(0, t) for t in (int, float))
    )
    categories = np.where(np.arange(MANY) < MANY - 6, -1, 0)
    popularity = Popularity(np.arange(1.0, MANY + 1), categories, (nobody, nobody, group))
    assert len(popularity.steps) * MANY > 2**24
    fill = popularity.fill(np.zeros((1, MANY), dtype=bool), np.array([[0, -1, -1, 0]]), 14, caps=caps)
    last = MANY - 1 - np.arange(11)
    expected = [*last[:6], 5, 9, 7, *last[6:]]
    steps = [0] * 6 + [3] * 3 + [4] * 5
    if caps:  # of each two neighbours the more popular one
        expected = [*last[:6:2], 5, 9, 7, *(MANY - 1 - np.arange(6, 22, 2))]
        steps = [0] * 3 + [3] * 3 + [4] * 8
    assert fill.items[0].tolist() == expected
    assert fill.steps[0].tolist() == steps
    weights = {5: 3.0, 9: 2.0, 7: 1.0}
    assert fill.weights[0].tolist() == [weights.get(i, i + 1.0) for i in expected]


def test_an_array_may_have_more_bytes_than_32_bits_count(tmp_path):
    """2.8 million items with 768 values each, in a file of which only the last row was ever written."""
    shape = (2_800_000, 768)
    factors = np.lib.format.open_memmap(tmp_path / "factors.npy", mode="w+", dtype=np.float32, shape=shape)
    factors[-1] = np.arange(768)
    rows = stored.packed({"factors": factors})
    assert factors.nbytes > np.iinfo(np.uint32).max
    data = rows.column("data")
    assert sum(len(part.buffers()[2]) for part in data.chunks) == factors.nbytes
    assert max(len(part.buffers()[2]) for part in data.chunks) < np.iinfo(np.int32).max
    last = np.frombuffer(data[-1].as_buffer(), dtype=np.float32)
    assert last[-768:].tolist() == list(range(768))


SIMILAR = sparse.csr_array(np.array([[0, 0.5, 0.25, 0], [0.5, 0, 0, 0.125], [0, 0, 0, 0], [1, 0.75, 0, 0]], np.float32))
FACTORS = np.array([[1, 2, 3], [4, 5, 6], [0, 0, 0], [7, 8, 9]], np.float32)
FILTER = GraphFilterSide(
    SIMILAR, FACTORS, np.array([4.0, 3, 2, 1]), np.array([3]), np.array([0.5]), np.array([1.0]), 0
)  # fmt: skip


SIDES = (
    FactorSide(FACTORS, alpha=1.0, regularisation=0.2),
    NeighbourSide(SIMILAR, "together"),
    FILTER,
    OwnHistorySide(4),
    BlendSide((FILTER, OwnHistorySide(4), NeighbourSide(SIMILAR)), (0.5, 0.25, 0.25)),
)


@pytest.mark.parametrize("side", SIDES, ids=lambda side: side.engine)
def test_a_side_that_is_read_from_files_or_rows_in_any_order_scores_the_same(monkeypatch, tmp_path, side):
    monkeypatch.setattr(stored, "_PIECE", 7)
    monkeypatch.setattr(stored, "_CHUNK", 21)
    (_, histories), *_ = padded_blocks(*as_histories([[(0, 2.0), (3, 1.0)], [(1, 4.0)]]), rows=8)
    expected = side.score(histories).block()
    meta, arrays = stored.taken_apart(side)
    rows = stored.packed({**arrays, "none": np.empty((0, 3), np.float32)})
    assert len(rows) > 7 or not arrays
    turned = rows.take(list(reversed(range(len(rows)))))  # as Spark may bring them
    found = stored.unpacked(turned)
    assert found["none"].shape == (0, 3)
    read = stored.put_together(json.loads(json.dumps(meta)), found)
    stored.save_side(tmp_path / "side", side)
    for one in (read, stored.load_side(tmp_path / "side")):
        assert (one.engine, one.items) == (side.engine, 4)
        assert one.score(histories).block().tolist() == expected.tolist()
    if arrays:
        with pytest.raises(ValueError, match="expected pieces"):
            stored.unpacked(rows.slice(1))
        with pytest.raises((KeyError, ValueError)):
            stored.put_together(meta, {})


def test_spark_stores_a_model_in_many_pieces(monkeypatch, tables, make_context):
    monkeypatch.setattr(stored, "_PIECE", 16)
    nothing, none = np.zeros(4), np.zeros(4, dtype=np.int64)
    bought = Bought(none, none)
    names = ("a", "", "多字", "d")
    totals = SplitTotals(names, (None,) * 4, nothing, bought, 4, nothing, none, bought, "fingerprint")
    near = pa.table({name: pa.array([], pa.int32()) for name in ("item", "other", "rank", "similarity")})
    asked = model.wanted(make_context(as_of=AS_OF).settings)
    kept = model.store(tables, Fitted(FILTER.engine, FILTER), totals, near, neighbours=2, asked=asked, as_of=AS_OF)
    found = model.load(tables, kept, candidates=0)
    assert found.items == totals.items
    assert isinstance(found.side, GraphFilterSide)
    assert (found.side.neighbours.toarray() == SIMILAR.toarray()).all()
    assert found.side.vectors.tolist() == FACTORS.tolist()
    popular = model.store(tables, Fitted("popular", None), totals, near, neighbours=2, asked=asked, as_of=AS_OF)
    assert (model.load(tables, popular, candidates=0).side, popular.version != kept.version) == (None, True)


@contextmanager
def largest_result(spark, size):
    """Spark's limit for what comes to the driver, which a session is started with."""
    conf, name = spark.sparkContext._jsc.sc().conf(), "spark.driver.maxResultSize"
    before = conf.get(name)
    conf.set(name, size)
    try:
        yield before
    finally:
        conf.set(name, before)


def test_more_than_the_driver_takes_is_said_with_the_setting_that_bears_it(spark):
    rows = pl.DataFrame({"item": np.arange(50_000), "day": [date(2026, 7, 1)] * 50_000}).to_arrow()
    frame = spark.createDataFrame(rows).repartition(2)
    with largest_result(spark, "100k") as before, pytest.raises((PySparkException, Py4JJavaError)) as refused:
        frame.toArrow()
    assert before == "0"  # a session of ours has no limit
    said = describe(refused.value)
    assert "are more than spark.driver.maxResultSize, 100.0 KiB" in said
    assert "start it with --conf spark.driver.maxResultSize=0" in said
    assert len(frame.toArrow()) == 50_000
