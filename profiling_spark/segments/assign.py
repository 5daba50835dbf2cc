"""The model at work: nearest segment, distance and reason for each customer, and the segments' means.

Workers load this module, so it imports nothing heavy (scikit-learn, SciPy and pyspark.ml take seconds of each worker).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from profiling_spark.prepare import Preparation, as_doubles, matrix_of
from profiling_spark.prepare.wording import Language, chosen_sentences

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_DIGITS = 9  # stored figures: sums of doubles differ in the last digits with the order of partial sums


def squared_distances(rows: Floats, centres: Floats) -> Floats:
    """Rows by centres. Added up feature by feature: a matrix product would round by the size of the batch."""
    total = np.zeros((len(rows), len(centres)))
    for j in range(rows.shape[1]):
        total += (rows[:, j, None] - centres[None, :, j]) ** 2
    return total


@dataclass(frozen=True)
class Centres:
    """What assigns a customer: preparation and centres, both from the stored model."""

    preparation: Preparation
    centres: Floats

    def nearest(self, raw: Floats) -> tuple[Ints, Floats, Floats]:
        """(row of the nearest centre, Euclidean distance to it, prepared features) of each customer."""
        prepared = self.preparation.matrix(raw)
        squared = squared_distances(prepared, self.centres)
        nearest = squared.argmin(axis=1)
        return nearest, np.sqrt(squared[np.arange(len(raw)), nearest]), prepared


def strongest_features(prepared: Floats, centre: Floats) -> Ints:
    """The two features that put each customer there most, the stronger first: rows by 2.

    A feature's contribution is how much nearer it brings the customer to the own centre than to the average customer
    (the origin): z^2 - (z - c)^2.
    """
    contribution = prepared**2 - (prepared - centre) ** 2
    strongest: Ints = np.argsort(-contribution, axis=1, kind="stable")[:, :2]
    return strongest


@dataclass(frozen=True)
class Assign:
    """Arrow batches of (user_id, features) in; user_id, cluster, distance and reason out."""

    model: Centres
    language: Language

    schema = "user_id string, cluster int, distance double, reason string"

    def __call__(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            if batch.num_rows:
                yield self._one(batch)

    def _one(self, batch: Any) -> Any:
        preparation = self.model.preparation
        raw = matrix_of(batch, preparation.names)
        nearest, distance, prepared = self.model.nearest(raw)
        two = strongest_features(prepared, self.model.centres[nearest])
        first, second = (
            chosen_sentences(preparation.names, two[:, n], raw, preparation.typical, self.language) for n in (0, 1)
        )
        return pa.RecordBatch.from_arrays(
            [
                batch.column("user_id").cast(pa.string()),
                pa.array(nearest.astype(np.int32)),
                pa.array(distance),
                pa.array(first + ("; " if self.language == "en" else "；") + second, pa.string()),
            ],
            names=["user_id", "cluster", "distance", "reason"],
        )


def assigned(features: DataFrame, model: Centres, language: Language) -> DataFrame:
    """user_id, cluster (row of the centres), distance, reason."""
    columns = features.select("user_id", *as_doubles(model.preparation.names))
    return columns.mapInArrow(Assign(model, language), Assign.schema)


@dataclass(frozen=True)
class Moments:
    """Of each cluster with a customer: how many, and per feature the mean and the population's figures."""

    clusters: list[int]
    sizes: list[int]
    means: list[dict[str, float]]
    population: dict[str, float]
    deviation: dict[str, float]


@dataclass(frozen=True)
class _Tag:
    """Adds the cluster to each row of features."""

    model: Centres

    def __call__(self, batches: Iterator[Any]) -> Iterator[Any]:
        names = self.model.preparation.names
        for batch in batches:
            if batch.num_rows:
                nearest, _, _ = self.model.nearest(matrix_of(batch, names))
                columns = [pa.array(nearest.astype(np.int32)), *(batch.column(n) for n in names)]
                yield pa.RecordBatch.from_arrays(columns, names=["_cluster", *names])


def moments(features: DataFrame, model: Centres) -> Moments:
    """Sizes and means over the known values, in one pass. NaN where no customer of the cluster has the feature."""
    names = model.preparation.names
    schema = ", ".join(["_cluster int", *(f"`{n}` double" for n in names)])
    tagged = features.select(*as_doubles(names)).mapInArrow(_Tag(model), schema)
    figures = [
        f(n).alias(f"{kind}{j}")
        for j, n in enumerate(names)
        for kind, f in (("n", F.count), ("mean", F.avg), ("var", F.var_pop))
    ]
    rows = tagged.groupBy("_cluster").agg(F.count(F.lit(1)).alias("_users"), *figures).orderBy("_cluster").collect()
    means: list[dict[str, float]] = [{} for _ in rows]
    population, deviation = {}, {}
    for j, name in enumerate(names):
        n = np.array([r[f"n{j}"] for r in rows], dtype=np.float64)
        mean, variance = (np.array([r[f"{k}{j}"] for r in rows], dtype=np.float64) for k in ("mean", "var"))
        known = n > 0
        total = n[known].sum()
        overall = (n[known] * mean[known]).sum() / total if total else np.nan
        spread = (n[known] * (variance[known] + (mean[known] - overall) ** 2)).sum() / total if total else np.nan
        population[name], deviation[name] = _rounded(overall), _rounded(float(np.sqrt(spread)))
        for i, value in enumerate(mean):
            means[i][name] = _rounded(value)
    return Moments([r["_cluster"] for r in rows], [r["_users"] for r in rows], means, population, deviation)


def prepared_differences(centres: Floats, names: Sequence[str]) -> list[dict[str, float]]:
    """A centre's coordinates are its differences from the average customer, in standard deviations."""
    return [dict(zip(names, map(float, centre), strict=True)) for centre in centres]


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
