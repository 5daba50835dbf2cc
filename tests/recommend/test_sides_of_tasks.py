"""An item side on its way to the tasks: as files that a machine has once and all its tasks map."""

import gc
import weakref
from functools import partial
from operator import getitem

import cloudpickle
import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from profiling_spark.recommend.engines.als import FactorSide
from profiling_spark.recommend.engines.blend import blend_side
from profiling_spark.recommend.engines.own_history import OwnHistorySide
from profiling_spark.recommend.engines.stored import _ADDED, StoredSide, side_for_tasks
from profiling_spark.recommend.matrix.item_side import Histories
from profiling_spark.shared import SharedCall

ITEMS = 50_000
FACTORS = np.random.default_rng(3).normal(size=(ITEMS, 8)).astype(np.float32)
SIDE = FactorSide(FACTORS, alpha=2.0, regularisation=0.5)
PAST = Histories(np.array([[7, 11]]), np.array([[1.0, 3.0]]))


def scores_in_tasks(rows, stored):
    """Of each row the score of item 5, and whether a task's factors are a mapped file."""
    past = PAST

    def score(batches):
        for batch in batches:
            side = stored.load()
            values = getattr(side, "factors", None)
            is_mapped = False
            while values is not None and not is_mapped:
                is_mapped, values = isinstance(values, np.memmap), getattr(values, "base", None)
            found = float(side.score(past).exact(np.array([[5]]))[0, 0])
            yield pa.RecordBatch.from_pydict(
                {"score": [found] * batch.num_rows, "mapped": [is_mapped] * batch.num_rows}
            )

    return [(r["score"], r["mapped"]) for r in rows.mapInArrow(score, "score double, mapped boolean").collect()]


@pytest.mark.parametrize("way", ["folder", "session"])
def test_tasks_map_the_files_and_score_the_same(spark, tmp_path, way):
    stored = side_for_tasks(spark, SIDE, tmp_path / "side" if way == "folder" else None)
    assert stored.load() is SIDE  # nothing is read where it was made
    assert len(cloudpickle.dumps(stored)) < 1_000 < FACTORS.nbytes // 1_000
    expected = SIDE.score(PAST).exact(np.array([[5]]))[0, 0]
    found = scores_in_tasks(spark.range(4, numPartitions=2), stored)
    assert found == [(pytest.approx(expected, rel=1e-12), True)] * 4


def test_two_sides_of_a_session_do_not_mix(spark):
    other = FactorSide(FACTORS[::-1].copy(), alpha=2.0, regularisation=0.5)
    both = blend_side([other, OwnHistorySide(ITEMS)], (0.5, 0.5))
    first, second = side_for_tasks(spark, SIDE, None), side_for_tasks(spark, both, None)
    for stored, side in ((first, SIDE), (second, both)):
        ((found, _),) = scores_in_tasks(spark.range(1), stored)
        assert found == pytest.approx(side.score(PAST).exact(np.array([[5]]))[0, 0], rel=1e-12)


def test_a_side_is_added_once_and_not_kept(spark):
    side = FactorSide(FACTORS[:100].copy(), alpha=2.0, regularisation=0.5)
    known, gone = set(_ADDED), weakref.ref(side)
    assert side_for_tasks(spark, side, None).added == side_for_tasks(spark, side, None).added
    assert len(set(_ADDED) - known) == 1
    del side
    gc.collect()
    assert gone() is None
    assert set(_ADDED) <= known


def test_a_side_without_files_is_missed(spark):
    with pytest.raises(Exception, match="expected the files of the model, found none"):
        StoredSide().load()


def test_a_kernel_that_is_shared_travels_as_a_reference(spark):
    """What a task is sent does not grow with the catalogue: the titles of 200,000 items are unpacked once a worker."""
    titles = tuple(f"title of item {n}" for n in range(200_000))
    shared = SharedCall(spark, partial(getitem, titles))
    assert shared(7) == "title of item 7"
    assert len(cloudpickle.dumps(shared)) < 2_000

    def lookup(batches):
        for batch in batches:
            yield pa.RecordBatch.from_pydict({"title": [shared(n) for n in batch.column("id").to_pylist()]})

    found = spark.range(199_998, 200_000).mapInArrow(lookup, "title string").orderBy(F.col("title"))
    assert [r["title"] for r in found.collect()] == ["title of item 199998", "title of item 199999"]
