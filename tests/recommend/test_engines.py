"""The engines' arithmetic against independent, plain computations."""

import numpy as np
import pyarrow as pa
import pytest
from recommend_shop import as_histories
from scipy import sparse

from profiling_spark.recommend.engines.als import FactorSide, principal_axes
from profiling_spark.recommend.engines.item_cf import NeighbourSide, neighbour_side
from profiling_spark.recommend.engines.own_history import OwnHistorySide
from profiling_spark.recommend.engines.popular import Popularity
from profiling_spark.recommend.judge.choose import serving_engine
from profiling_spark.recommend.judge.evaluate import Figures
from profiling_spark.recommend.judge.intervals import STEPS, Paired, paired_sums
from profiling_spark.recommend.matrix.item_side import padded_blocks
from profiling_spark.recommend.matrix.score_block import best
from profiling_spark.recommend.matrix.top_n import NONE


def only_block(histories):
    ((_, block),) = padded_blocks(*as_histories(histories), rows=10)
    return block


def test_als_folds_a_history_in_by_the_normal_equation():
    rng = np.random.default_rng(1)
    y = rng.normal(size=(6, 3)).astype(np.float32)
    scored = FactorSide(y, alpha=2.0, regularisation=0.3).score(only_block([[(1, 0.5), (4, 3.0)]]))
    wide = y.astype(np.float64)
    confidence = np.array([0, 1 + 2 * 0.5, 0, 0, 1 + 2 * 3.0, 0])
    extra = np.maximum(confidence - 1, 0)
    normal = wide.T @ wide + wide.T @ (extra[:, None] * wide) + 0.3 * 2 * np.eye(3)
    user = np.linalg.solve(normal, wide.T @ confidence)
    assert scored.block()[0] == pytest.approx(wide @ user, abs=1e-5)
    assert scored.exact(np.arange(6)[None, :])[0] == pytest.approx(wide @ user, abs=1e-12)


def test_als_solves_short_histories_along_principal_axes_to_the_same_scores():
    rng = np.random.default_rng(2)
    y = (rng.normal(size=(40, 12)) * np.geomspace(1, 0.01, 12)).astype(np.float32)
    y[7] = 0
    histories = [[(1, 0.5), (4, 3.0), (7, 2.0)], [(9, 1.0)], [(7, 5.0)]]
    turned = principal_axes(y)
    assert turned @ turned.T == pytest.approx(y @ y.T, abs=1e-5)
    quick, plain = (FactorSide(f, alpha=2.0, regularisation=0.3) for f in (turned, y))
    assert (quick.is_principal, plain.is_principal) == (True, False)
    block = only_block(histories)
    assert block.items.shape[1] < 12
    chosen = np.tile(np.arange(40), (3, 1))
    exact = quick.score(block).exact(chosen)
    assert exact == pytest.approx(plain.score(block).exact(chosen), abs=1e-6)
    assert np.abs(exact[0]).max() > 0.1
    assert quick.score(block).contributions(chosen).sum(axis=2) == pytest.approx(exact, abs=1e-12)


def test_als_does_not_offer_items_it_has_not_seen():
    y = np.array([[1, 0], [0, 0], [0.5, 1]], dtype=np.float32)
    scores = FactorSide(y, alpha=1.0, regularisation=0.1).score(only_block([[(0, 1.0)]])).block()
    assert np.isneginf(scores[0]).tolist() == [False, True, False]


def test_als_has_nothing_for_a_customer_whose_items_it_has_not_seen():
    """The second took only what the fit has not seen, the third gave all back: a list of theirs would be any items."""
    y = np.array([[1, 0], [0, 0], [0.5, 1]], dtype=np.float32)
    scored = FactorSide(y, alpha=1.0, regularisation=0.1).score(
        only_block([[(0, 1.0), (1, 2.0)], [(1, 2.0)], [(2, 0)]])
    )
    scores = scored.block()
    assert np.isneginf(scores).tolist() == [[False, True, False], [True] * 3, [True] * 3]
    found, values = best(scores, 2, scored.exact)
    assert found.tolist() == [[0, 2], [NONE, NONE], [NONE, NONE]]
    assert np.isnan(values[1:]).all()


def test_item_cf_sums_similarities_by_log_weight():
    similar = np.array([[0, 0.5, 0.2], [0.5, 0, 0], [0, 0, 0]], dtype=np.float32)
    scored = NeighbourSide(sparse.csr_array(similar)).score(only_block([[(0, np.e**2 - 1), (1, np.e - 1)]]))
    assert scored.block()[0] == pytest.approx([0.5, 1.0, 0.4])
    assert scored.contributions(np.array([[2, 0]]))[0, :, :2] == pytest.approx(np.array([[0.4, 0.0], [0.0, 0.5]]))


def test_item_cf_scores_a_candidate_by_its_own_nearest_items():
    # 0 is nearest to 1 and to 2, whose nearest is 0; but nearest to 0 is 1 alone
    near = pa.table({"item": [0, 1, 2], "other": [1, 0, 0], "rank": [1, 1, 1], "similarity": [0.6, 0.6, 0.4]})
    scored = neighbour_side(near, 3).score(only_block([[(0, 1.0)], [(2, 1.0)]])).block()
    assert scored[0] == pytest.approx([-np.inf, 0.6 * np.log(2), 0.4 * np.log(2)])
    assert np.isneginf(scored[1]).all()  # 2 is nobody's nearest, so it speaks for nobody


def test_popularity_fills_with_the_favourite_category_first():
    popularity = Popularity(np.array([5.0, 9.0, 0.0, 1.0]), np.array([0, 1, 1, 1]))
    masked = np.zeros((2, 4), dtype=bool)
    masked[1, 1] = True
    filled = popularity.fill(masked, np.array([[-1], [1]]), 3)
    assert filled.items.tolist() == [[1, 0, 3], [3, 0, -1]]
    assert [popularity.steps[step] for step in filled.steps[1, :2]] == ["popular_in_category", "popular"]


def test_own_history_offers_what_was_taken_by_weight():
    scored = OwnHistorySide(4).score(only_block([[(2, 3.0), (0, 1.0)]]))
    assert scored.block()[0].tolist() == [1.0, -np.inf, 3.0, -np.inf]
    chosen = np.array([[2, 0, 1]])
    assert scored.exact(chosen).tolist() == [[3.0, 1.0, 0.0]]
    assert scored.contributions(chosen).sum(axis=2).tolist() == [[3.0, 1.0, 0.0]]


def compared(noise, **ndcg):
    """Figures of 128 customers with these means, and around them noise of an engine's own, the same up and down."""
    rows = {}
    for number, (engine, value) in enumerate(ndcg.items()):
        sign = np.where((np.arange(128) >> number) & 1, 1, -1)  # of no two engines alike: their noise does not cancel
        rows[engine] = value + noise * sign
    steps = np.round(np.array(list(rows.values())) * STEPS).astype(np.int64)
    return {e: Figures(128, 128, {"ndcg@20": v}) for e, v in ndcg.items()}, Paired(
        tuple(rows), 128, *paired_sums(steps)
    )


PLAIN = {"als": 0.2, "graph_filter": 0.3, "item_cf": 0.1, "own_history": 0.0, "popular": 0.1}


@pytest.mark.parametrize(
    ("ndcg", "incumbent", "expected"),
    [
        ({}, None, "graph_filter"),
        ({"graph_filter": 0.2, "item_cf": 0.2}, None, "als"),
        ({"popular": 0.4}, None, "popular"),
        ({"popular": 0.3}, None, "popular"),
        ({"item_cf": 0.4}, None, "item_cf"),
        ({"own_history": 0.4}, None, "own_history"),
        ({"blend": 0.4}, None, "blend"),
        ({"blend": 0.3}, None, "graph_filter"),
        ({"live": 0.4}, "live", "live"),
        ({"live": 0.2}, "live", "graph_filter"),
        ({"live": 0.3}, "live", "live"),  # as good: it stays
        ({"live": 0.4, "popular": 0.5}, "live", "popular"),
        ({}, "als", "graph_filter"),
        ({"als": 0.3}, "graph_filter", "graph_filter"),
        ({}, "popular", "graph_filter"),
    ],
)
def test_the_best_engine_serves_unless_popular_is_as_good_or_the_live_one(ndcg, incumbent, expected):
    figures, paired = compared(0.0, **{**PLAIN, **ndcg})
    assert serving_engine(figures, paired, incumbent) == expected


@pytest.mark.parametrize(
    ("noise", "incumbent", "expected"),
    [
        (0.05, None, "blend"),
        (0.05, "als", "blend"),
        (0.21, None, "graph_filter"),  # the blend's gain of .05 is not sure, the engine's over popular of .2 is
        (0.21, "live", "live"),  # nor is its gain of .04 over the live one
        (0.21, "als", "als"),
        (0.56, "als", "als"),
        (0.56, "live", "live"),
        (0.56, "item_cf", "graph_filter"),  # which does not surely beat popular itself
        (0.56, "popular", "graph_filter"),
        (1.0, "als", "popular"),
        (1.0, None, "popular"),
    ],
)
def test_noise_chooses_nothing(noise, incumbent, expected):
    """Of 128 customers whose figures go up and down by the noise, a gain is sure above 2 * noise * sqrt(2 / 127)."""
    ndcg = {"als": 0.27, "graph_filter": 0.3, "item_cf": 0.1, "own_history": 0.0, "popular": 0.1, "blend": 0.35}
    ndcg |= {"live": 0.26} if incumbent == "live" else {}
    figures, paired = compared(noise, **ndcg)
    assert serving_engine(figures, paired, incumbent) == expected


def test_without_figures_als_serves():
    assert serving_engine({}, None) == "als"
    assert serving_engine({"als": Figures(0), "popular": Figures(0)}, None, "live") == "als"
