"""The choice of k, and ids that stay."""

import numpy as np
import pytest

from profiling_spark.segments.choose import Candidate, largest_supported, scan, silhouette
from profiling_spark.segments.clusters import segment_ids


def blobs(centres: list[tuple[float, float]], each: int, spread: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(1)
    rows = np.concatenate([rng.normal(c, spread, (each, 2)) for c in centres])
    return rows[rng.permutation(len(rows))]


def test_the_planted_number_of_blobs_is_found() -> None:
    rows = blobs([(0, 0), (5, 0), (0, 5), (5, 5), (10, 10)], 40)

    found = largest_supported(scan(rows, k_min=2, k_max=8, seed=42), min_stability=0.8, tolerance=0.1)

    assert found.k == 5
    assert found.stability == pytest.approx(1.0)


def test_the_largest_stable_k_near_the_best_silhouette_wins() -> None:
    candidates = [
        Candidate(4, 1.0, 0.50, 1.0),
        Candidate(5, 0.9, 0.46, 1.0),
        Candidate(6, 0.7, 0.52, 1.0),  # not stable: nor is it the best that the others are measured by
        Candidate(7, 0.9, 0.44, 1.0),  # too far below 0.50
    ]
    assert largest_supported(candidates, min_stability=0.8, tolerance=0.1).k == 5


def test_where_nothing_is_stable_the_best_silhouette_wins() -> None:
    candidates = [Candidate(4, 0.1, 0.2, 1.0), Candidate(5, 0.3, 0.4, 1.0), Candidate(6, 0.2, 0.3, 1.0)]
    assert largest_supported(candidates, min_stability=0.8, tolerance=0.1).k == 5


def test_no_k_from_the_number_of_different_rows_on() -> None:
    rows = np.repeat([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [5.0, 5.0], [9.0, 9.0]], 20, axis=0)

    assert [c.k for c in scan(rows, k_min=2, k_max=9, seed=1)] == [2, 3, 4]


def test_silhouette_is_not_defined_for_one_cluster() -> None:
    assert silhouette(np.arange(6.0).reshape(3, 2), np.zeros(3, dtype=np.int64)) is None


def test_first_ids_go_by_size() -> None:
    centres = np.array([[0.0], [1.0], [2.0]])
    assert segment_ids(centres, np.array([5, 20, 10]), None, []) == [3, 1, 2]


def test_later_ids_follow_the_nearest_previous_centres_and_new_ones_count_on() -> None:
    previous = np.array([[10.0], [0.0]])
    centres = np.array([[0.3], [5.0], [9.0]])

    assert segment_ids(centres, np.array([5, 90, 10]), previous, [4, 7]) == [7, 8, 4]
