"""How many segments: the most that the data supports, judged on a sample with scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

STARTS = 4  # best of so many random starts: a single one ends in another valley every time
SILHOUETTE_ROWS = 2000  # the pairwise distances of so many rows fit in 32 MB


@dataclass(frozen=True)
class Candidate:
    """One k. Stability: the smaller adjusted Rand index of two seeds and two halves. Spread: mean squared distance."""

    k: int
    stability: float
    silhouette: float
    spread: float


def judge(rows: Floats, k: int, *, seed: int) -> Candidate:
    """Fit k clusters with two seeds, and on each half of the rows (which come in random order)."""
    half = len(rows) // 2
    # several threads add partial sums in any order
    with threadpool_limits(limits=1):
        first, second = _fit(rows, k, seed), _fit(rows, k, seed + 1)
        labels = first.labels_
        agreements = [adjusted_rand_score(labels, second.labels_)]
        if all(_different(part) > k for part in (rows[:half], rows[half:])):
            left, right = _fit(rows[:half], k, seed), _fit(rows[half:], k, seed)
            agreements.append(adjusted_rand_score(left.predict(rows), right.predict(rows)))
        judged = silhouette(rows[:SILHOUETTE_ROWS], labels[:SILHOUETTE_ROWS])
    return Candidate(k, float(min(agreements)), judged or 0.0, float(first.inertia_) / len(rows))


def silhouette(rows: Floats, labels: Labels) -> float | None:
    """Mean Euclidean silhouette; None where it is not defined (fewer than 2 clusters, or as many as rows)."""
    clusters = len(np.unique(labels))
    if not 2 <= clusters < len(rows):
        return None
    return float(silhouette_score(rows, labels, metric="euclidean"))


def scan(rows: Floats, *, k_min: int, k_max: int, seed: int) -> list[Candidate]:
    """Every k that the rows can bear: more different rows than clusters."""
    return [judge(rows, k, seed=seed) for k in range(k_min, min(k_max, _different(rows) - 1) + 1)]


def largest_supported(candidates: list[Candidate], *, min_stability: float, tolerance: float) -> Candidate:
    """The largest k that is stable and whose silhouette is within `tolerance` (a share) of the best stable one.

    Where no k is stable, the one with the best silhouette: silhouette alone usually picks the fewest.
    """
    stable = [c for c in candidates if c.stability >= min_stability]
    if not stable:
        return max(candidates, key=lambda c: (c.silhouette, -c.k))
    best = max(c.silhouette for c in stable)
    return max((c for c in stable if c.silhouette >= best - tolerance * abs(best)), key=lambda c: c.k)


def _fit(rows: Floats, k: int, seed: int) -> KMeans:
    return KMeans(n_clusters=k, n_init=STARTS, random_state=seed).fit(rows)


def _different(rows: Floats) -> int:
    return len(np.unique(rows, axis=0))
