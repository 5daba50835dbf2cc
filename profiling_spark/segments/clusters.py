"""The clusters themselves: MLlib's fit, distances, and ids that stay with a segment from fit to fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pyspark.ml.clustering import KMeans, KMeansModel
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy.optimize import linear_sum_assignment

from profiling_spark.prepare import Preparation, Reduction, sorted_for_fit
from profiling_spark.segments.assign import squared_distances

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SEEDS = 3  # starts that are tried when one ends in a bad valley
GOOD_ENOUGH = 1.02  # of the sample's reference: how much wider the clusters may be


def fit_kmeans(
    features: DataFrame,
    preparation: Preparation,
    reduction: Reduction | None,
    *,
    k: int,
    seed: int,
    max_iterations: int,
    partitions: int,
    sample: Floats,
    reference: float | None,
) -> KMeansModel:
    """MLlib KMeans on all customers, in rows and partitions that never change; among components with a reduction.

    One start is enough where its clusters are as tight on the sample as those found there with several starts
    (`reference`: mean squared distance); else up to SEEDS starts, the tightest wins.
    """
    numbered = [f"_{j}" for j in range(len(preparation.names))]
    columns = [c.alias(n) for c, n in zip(preparation.columns(), numbered, strict=True)]
    rows = features.select("user_id", *columns).transform(sorted_for_fit, partitions)
    if reduction:
        components = reduction.columns([F.col(n) for n in numbered])
        numbered = list(reduction.names)
        rows = rows.select(*(c.alias(n) for c, n in zip(components, numbered, strict=True)))
    vectors = VectorAssembler(inputCols=numbered, outputCol="_vector").transform(rows).select("_vector")
    best: tuple[float, KMeansModel] | None = None
    for start in range(SEEDS):
        # measured: random starts find clusters as tight as k-means|| with half the jobs; on so few columns the block
        # solver that "auto" may take is slower
        kmeans = KMeans(
            featuresCol="_vector",
            k=k,
            seed=seed + start,
            maxIter=max_iterations,
            initMode="random",
            solver="row",
        )
        model = kmeans.fit(vectors)
        spread = mean_squared_distance(sample, centres_of(model))
        if best is None or spread < best[0]:
            best = (spread, model)
        if reference is not None and best[0] <= reference * GOOD_ENOUGH:
            break
    assert best is not None  # for mypy: SEEDS is positive
    return best[1]


def centres_of(model: KMeansModel) -> Floats:
    """Centres in the space of the fit, one row a cluster; equal ones are one."""
    return np.unique(np.array(model.clusterCenters(), dtype=np.float64), axis=0)


def mean_squared_distance(rows: Floats, centres: Floats) -> float:
    """Of each row to its nearest centre."""
    return float(squared_distances(rows, centres).min(axis=1).mean())


def segment_ids(centres: Floats, sizes: Ints, previous: Floats | None, previous_ids: Sequence[int]) -> list[int]:
    """The id of each cluster.

    Without a previous fit: 1 is the largest. With one (its centres in the same prepared space): the assignment with the
    smallest sum of distances keeps the ids; clusters left over get numbers above them, the largest first.
    """
    ids = [0] * len(centres)
    if previous is not None:
        rows, columns = linear_sum_assignment(np.sqrt(squared_distances(centres, previous)))
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            ids[row] = previous_ids[column]
    free = max(previous_ids, default=0) + 1
    for row in sorted((r for r in range(len(ids)) if ids[r] == 0), key=lambda r: (-int(sizes[r]), tuple(centres[r]))):
        ids[row], free = free, free + 1
    return ids
