from math import log2

import numpy as np
import pytest

from profiling_spark.recommend.evaluate import ndcg, recall


def plain(hits, truth):
    """Recall and NDCG of one customer from their definitions."""
    gain = sum(1 / log2(rank + 1) for rank, hit in enumerate(hits, start=1) if hit)
    ideal = sum(1 / log2(rank + 1) for rank in range(1, min(truth, len(hits)) + 1))
    return sum(hits) / truth, gain / ideal


def test_recall_and_ndcg_by_hand():
    hits = np.array([[True, False, True]])
    # 2 of 4 found; gain 1 + 1/2, ideal 1 + 1/log2(3) + 1/2
    assert recall(hits, np.array([4])) == pytest.approx([0.5])
    assert ndcg(hits, np.array([4])) == pytest.approx([1.5 / (1.5 + 1 / log2(3))])


def test_recall_and_ndcg_match_the_plain_definitions():
    rng = np.random.default_rng(3)
    hits = rng.random((200, 20)) < 0.2
    truths = hits.sum(axis=1) + rng.integers(1, 40, 200)
    expected = [plain(list(row), int(n)) for row, n in zip(hits, truths, strict=True)]
    assert list(zip(recall(hits, truths), ndcg(hits, truths), strict=True)) == [pytest.approx(e) for e in expected]
