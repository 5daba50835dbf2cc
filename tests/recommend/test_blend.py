"""A blend against the plain sum of its engines' scores."""

import numpy as np
import pytest
from recommend_shop import as_histories, top_n
from scipy import sparse

from profiling_spark.recommend.engines.als import FactorSide
from profiling_spark.recommend.engines.blend import blend_side
from profiling_spark.recommend.engines.item_cf import NeighbourSide
from profiling_spark.recommend.engines.own_history import OwnHistorySide
from profiling_spark.recommend.matrix.item_side import padded_blocks

ITEMS = 12
RNG = np.random.default_rng(8)
FACTORS = FactorSide(np.abs(RNG.normal(size=(ITEMS, 3))).astype(np.float32), alpha=2.0, regularisation=0.1)
SIMILAR = NeighbourSide(sparse.csr_array(np.triu(RNG.random((ITEMS, ITEMS)) > 0.6, 1).astype(np.float32)))
HISTORIES = [[(0, 1.0), (3, 2.0)], [(5, 1.0)], [(1, 1.0), (2, 4.0), (7, 0.5)], [(11, 1.0)]]


def only_block(histories):
    ((_, block),) = padded_blocks(*as_histories(histories), rows=10)
    return block


def as_shares(side, histories):
    """(customers, items): scores as a share of the customer's best; 0 where the engine has nothing to say."""
    scores = side.score(histories).exact(np.tile(np.arange(ITEMS), (len(histories), 1)))
    best = scores.max(axis=1, keepdims=True)
    return np.where(best > 0, scores / np.where(best > 0, best, 1), 0)


def test_scores_are_weighted_shares_of_each_engines_best():
    histories = only_block(HISTORIES)
    blend = blend_side([FACTORS, SIMILAR], (0.25, 0.75))
    expected = 0.25 * as_shares(FACTORS, histories) + 0.75 * as_shares(SIMILAR, histories)
    scored, every = blend.score(histories), np.tile(np.arange(ITEMS), (4, 1))
    assert scored.block() == pytest.approx(expected, abs=1e-5)
    assert scored.exact(every) == pytest.approx(expected)
    assert scored.contributions(every).sum(axis=2) == pytest.approx(expected)


def test_an_engine_alone_ranks_as_it_does():
    histories, nothing = only_block(HISTORIES), np.zeros((4, ITEMS), dtype=bool)
    for number, side in enumerate((FACTORS, SIMILAR)):
        weights = [0.0, 0.0]
        weights[number] = 1.0
        assert (
            top_n(blend_side([FACTORS, SIMILAR], weights), histories, nothing, 5)[0]
            == top_n(side, histories, nothing, 5)[0]
        ).all()


def test_an_item_is_offered_where_any_engine_offers_it():
    histories = only_block([[(11, 1.0)], [(0, 1.0)]])
    own = OwnHistorySide(ITEMS)
    scores = blend_side([own, SIMILAR], (0.5, 0.5)).score(histories).block()
    has_score = np.isfinite(own.score(histories).block()) | np.isfinite(SIMILAR.score(histories).block())
    assert (np.isfinite(scores) == has_score).all()
    assert has_score[0].sum() == 1  # item 11 has no neighbours
