"""Every figure against its definition in plain Python, on data small enough to count by hand."""

from itertools import permutations
from math import log2

import numpy as np
import pytest

from profiling_spark.recommend.judge import metrics
from profiling_spark.recommend.judge.evaluate import CUTS, NAMES, _Sums, customer_figures

LISTS = [["a", "b", "c"], ["a", "d", "b"], ["e", "a", "b"]]
ITEMS = "abcdef"
TAKEN_BY = {"a": 8, "b": 4, "c": 2, "d": 1, "e": 1, "f": 0}


def plain(hits, truth):
    """The ranking figures of one customer from their definitions."""
    at = [rank for rank, hit in enumerate(hits, start=1) if hit]
    gain = sum(1 / log2(rank + 1) for rank in at)
    ideal = sum(1 / log2(rank + 1) for rank in range(1, min(truth, len(hits)) + 1))
    precisions = [number / rank for number, rank in enumerate(at, start=1)]
    return {
        "recall": len(at) / truth,
        "ndcg": gain / ideal,
        "map": sum(precisions) / min(truth, len(hits)),
        "mrr": 1 / at[0] if at else 0.0,
        "hit_rate": float(bool(at)),
    }


def offered(lists):
    return np.array([sum(item in row for row in lists) for item in ITEMS])


def test_ranking_figures_by_hand():
    hits, truths = np.array([[False, True, True, False]]), np.array([5])
    # 2 of 5 found; precision 1/2 at rank 2, 2/3 at rank 3; the ideal list of four is all hits
    ideal = 1 + 1 / log2(3) + 1 / 2 + 1 / log2(5)
    expected = {
        "recall": 2 / 5,
        "ndcg": (1 / log2(3) + 1 / 2) / ideal,
        "map": (1 / 2 + 2 / 3) / 4,
        "mrr": 1 / 2,
        "hit_rate": 1.0,
    }
    assert {name: metric(hits, truths)[0] for name, metric in metrics.RANKING.items()} == pytest.approx(expected)


def test_ranking_figures_match_the_plain_definitions():
    rng = np.random.default_rng(3)
    hits = rng.random((200, 20)) < 0.1
    truths = hits.sum(axis=1) + rng.integers(1, 40, 200)
    expected = [plain(list(row), int(n)) for row, n in zip(hits, truths, strict=True)]
    for name, metric in metrics.RANKING.items():
        assert metric(hits, truths) == pytest.approx([row[name] for row in expected])


def test_figures_of_a_customer_are_those_at_every_cut():
    rng = np.random.default_rng(4)
    hits, truths = rng.random((101, 20)) < 0.2, rng.integers(20, 40, 101)
    expected = [[plain(list(r[:k]), int(n))[m] for k in CUTS for m in metrics.RANKING]
                for r, n in zip(hits, truths, strict=True)]  # fmt: skip
    assert customer_figures(hits, truths) == pytest.approx(np.array(expected))
    assert NAMES[:2] == ("recall@5", "ndcg@5")


def test_sums_are_exact_in_any_order():
    rng = np.random.default_rng(4)
    figures, drawn = rng.random((101, len(NAMES))), rng.poisson(1, (101, 7)).astype(np.uint8)
    found, order = np.full((101, 20), -1), rng.permutation(101)
    whole, halves = _Sums(3, 7), _Sums(3, 7)
    whole.add(found, figures, drawn)
    for part in (order[:33], order[33:]):
        halves.add(found[part], figures[part], drawn[part])
    assert (whole.ranking == halves.ranking).all()
    assert (whole.drawn == halves.drawn).all()
    assert whole.ranking / 2**40 == pytest.approx(figures.sum(axis=0))
    assert whole.drawn[:, 0] == pytest.approx(drawn.sum(axis=0))
    assert whole.drawn[:, 1:] / 2**20 == pytest.approx(drawn.T.astype(float) @ figures, abs=1e-3)


def test_coverage_is_the_share_of_items_in_any_list():
    assert metrics.coverage(offered(LISTS), len(ITEMS)) == 5 / 6


def test_diversity_is_the_mean_share_that_two_lists_do_not_have_in_common():
    shared = [len(set(one) & set(other)) / 3 for one, other in permutations(LISTS, 2)]
    assert metrics.diversity(offered(LISTS), 3) == pytest.approx(1 - np.mean(shared))
    assert metrics.diversity(offered(LISTS[:1] * 4), 4) == pytest.approx(0)


def test_novelty_is_the_mean_information_of_the_places():
    bits = [-log2(max(TAKEN_BY[item], 1) / 16) for row in LISTS for item in row]
    customers_of = np.array([TAKEN_BY[item] for item in ITEMS])
    assert metrics.novelty(offered(LISTS), customers_of, 16) == pytest.approx(np.mean(bits))


def test_popularity_bias_compares_what_is_offered_with_what_is_taken():
    taken = [TAKEN_BY[item] for item in ITEMS for _ in range(TAKEN_BY[item])]
    given = [TAKEN_BY[item] for row in LISTS for item in row]
    customers_of = np.array([TAKEN_BY[item] for item in ITEMS])
    assert metrics.popularity_bias(offered(LISTS), customers_of) == pytest.approx(np.mean(given) / np.mean(taken))
    assert metrics.popularity_bias(customers_of, customers_of) == pytest.approx(1)
