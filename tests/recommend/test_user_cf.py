"""Customer neighbours against plain Python over dictionaries."""

from math import log, sqrt

import numpy as np
import pytest
from recommend_shop import as_histories
from scipy import sparse

from profiling_spark.errors import InputError
from profiling_spark.recommend.engines import user_cf
from profiling_spark.recommend.engines.user_cf import fit_user_cf, user_side
from profiling_spark.recommend.matrix.item_side import padded_blocks

ITEMS = 6
TAKEN = [{0: 1.0, 1: 2.0}, {0: 1.0, 2: 3.0}, {1: 1.0, 3: 1.0, 4: 2.0}, {5: 4.0}]
HISTORY = {0: 2.0, 1: 1.0}


def strengths(row):
    return {item: log(1 + weight) for item, weight in row.items()}


def cosine(one, other):
    dot = sum(value * other.get(item, 0.0) for item, value in one.items())
    return dot / sqrt(sum(v * v for v in one.values()) * sum(v * v for v in other.values()))


def plain(history, neighbours):
    """Scores by the definition: the most similar customers' strengths at length 1, weighted by the cosine."""
    own, others = strengths(history), [strengths(row) for row in TAKEN]
    near = sorted(((cosine(own, other), n) for n, other in enumerate(others)), reverse=True)[:neighbours]
    scores = dict.fromkeys(range(ITEMS), 0.0)
    for similarity, n in near:
        length = sqrt(sum(v * v for v in others[n].values()))
        for item, value in others[n].items():
            scores[item] += similarity * value / length
    return scores


@pytest.mark.parametrize("neighbours", [1, 2, 3])
def test_what_the_most_similar_took_is_offered(neighbours):
    rows = sparse.csr_array([[strengths(row).get(item, 0.0) for item in range(ITEMS)] for row in TAKEN])
    ((_, histories),) = padded_blocks(*as_histories([list(HISTORY.items())]), rows=10)
    scored = user_side(rows, neighbours=neighbours).score(histories)
    expected = [plain(HISTORY, neighbours)[item] for item in range(ITEMS)]
    chosen = np.arange(ITEMS)[None, :]
    assert scored.exact(chosen)[0] == pytest.approx(expected)
    assert scored.contributions(chosen).sum(axis=2)[0] == pytest.approx(expected)
    block = scored.block()[0]
    assert np.isneginf(block).tolist() == [value == 0 for value in expected]
    assert block[np.isfinite(block)] == pytest.approx([value for value in expected if value > 0])


def test_oneself_is_no_neighbour():
    rows = sparse.csr_array([[strengths(row).get(item, 0.0) for item in range(ITEMS)] for row in TAKEN])
    ((_, histories),) = padded_blocks(*as_histories([list(TAKEN[0].items())]), rows=10)
    scored = user_side(rows, neighbours=3).score(histories)
    assert scored.near.indices.tolist() == [1, 2]  # not customer 0, whose history it is


def test_too_many_customers_are_refused(spark, monkeypatch):
    monkeypatch.setattr(user_cf, "MOST_CUSTOMERS", 2)
    pairs = spark.createDataFrame(
        [(u, "a", 2**20, True) for u in "xyz"], "user_id string, item_id string, units long, used boolean"
    )
    with pytest.raises(InputError, match="at most 2 customers, found 3"):
        fit_user_cf(pairs, ("a",), units="units", is_used="used", neighbours=5, salt=1)
