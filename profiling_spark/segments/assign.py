"""The model at work: nearest segment, distance and reason for each customer, and the segments' means.

Workers load this module, so it imports nothing heavy (scikit-learn, SciPy and pyspark.ml take seconds of each worker).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from profiling_spark.prepare import Preparation, Reduction, as_doubles, matrix_of
from profiling_spark.prepare.wording import Language, chosen_sentences

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# of a customer, columns of `features` for `moments`: amounts on flagged rows, and what they are compared with
AMOUNTS = ("_flagged", "_spent")
_DIGITS = 9  # stored figures: sums of doubles differ in the last digits with the order of partial sums


def squared_distances(rows: Floats, centres: Floats) -> Floats:
    """Rows by centres. Added up feature by feature: a matrix product would round by the size of the batch."""
    total = np.zeros((len(rows), len(centres)))
    for j in range(rows.shape[1]):
        total += (rows[:, j, None] - centres[None, :, j]) ** 2
    return total


@dataclass(frozen=True)
class Centres:
    """What assigns a customer, all from the stored model.

    `origin` and `deviation`: mean and standard deviation of the prepared features, 0 and 1 where they are standardised.

    The centres are in the prepared space also where clusters were found among components. Then they lie in the span of
    the components, so that what is left of a customer outside it is as far from every centre.
    """

    preparation: Preparation
    centres: Floats
    origin: Floats
    deviation: Floats
    reduction: Reduction | None = None

    def differences(self) -> list[dict[str, float]]:
        """Of each centre from the average customer, by feature, in standard deviations."""
        apart = (self.centres - self.origin) / self.deviation
        return [dict(zip(self.preparation.names, map(float, row), strict=True)) for row in apart]

    def space(self, prepared: Floats) -> Floats:
        """Where distances are measured: the components, without a reduction the prepared features."""
        return self.reduction.transform(prepared) if self.reduction else prepared

    def nearest(self, raw: Floats) -> tuple[Ints, Floats, Floats]:
        """(row of the nearest centre, Euclidean distance to it, prepared features) of each customer.

        `raw`: rows by the preparation's inputs, NaN where missing.
        """
        prepared = self.preparation.matrix(raw)
        squared = squared_distances(self.space(prepared), self.space(self.centres))
        nearest = squared.argmin(axis=1)
        return nearest, np.sqrt(squared[np.arange(len(raw)), nearest]), prepared


def strongest_features(prepared: Floats, centre: Floats, origin: Floats) -> Ints:
    """The two features that put each customer there most, the stronger first: rows by 2.

    A feature's contribution is how much nearer it brings the customer to the own centre than to the average customer
    (the origin): (z - o)^2 - (z - c)^2. With components too: their sum over the features is the same but for what lies
    outside the components' span, and that is the same for every centre.
    """
    contribution = (prepared - origin) ** 2 - (prepared - centre) ** 2
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
        raw = matrix_of(batch, preparation.inputs)
        nearest, distance, prepared = self.model.nearest(raw)
        shown = preparation.shown(raw)
        two = strongest_features(prepared, self.model.centres[nearest], self.model.origin)
        first, second = (
            chosen_sentences(preparation.names, two[:, n], shown, preparation.typical, self.language) for n in (0, 1)
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
    """user_id, cluster (row of the centres), distance, reason; `features` has the preparation's inputs."""
    columns = features.select("user_id", *as_doubles(model.preparation.inputs))
    return columns.mapInArrow(Assign(model, language), Assign.schema)


@dataclass(frozen=True)
class Moments:
    """Of each cluster with a customer: how many, per feature the mean and the population's figures, and the share of
    its amounts that rests on flagged rows (None without amounts).
    """

    clusters: list[int]
    sizes: list[int]
    means: list[dict[str, float]]
    population: dict[str, float]
    deviation: dict[str, float]
    flagged: list[float | None]


@dataclass(frozen=True)
class _Tag:
    """The cluster and, numbered, the features as reasons quote them; AMOUNTS as they are."""

    model: Centres

    def __call__(self, batches: Iterator[Any]) -> Iterator[Any]:
        preparation = self.model.preparation
        titles = ["_cluster", *(f"_{j}" for j in range(len(preparation.names))), *AMOUNTS]
        for batch in batches:
            if batch.num_rows:
                raw = matrix_of(batch, preparation.inputs)
                nearest, _, _ = self.model.nearest(raw)
                shown = [pa.array(values, from_pandas=True) for values in preparation.shown(raw).T]  # NaN is null
                amounts = [batch.column(name) for name in AMOUNTS]
                yield pa.RecordBatch.from_arrays([pa.array(nearest.astype(np.int32)), *shown, *amounts], names=titles)


def moments(features: DataFrame, model: Centres) -> Moments:
    """Sizes and means over the known values, in one pass. NaN where no customer of the cluster has the feature."""
    names = model.preparation.names
    schema = ", ".join(
        ["_cluster int", *(f"_{j} double" for j in range(len(names))), *(f"{name} double" for name in AMOUNTS)]
    )
    amounts = [F.col(n) if n in features.columns else F.lit(None).cast("double").alias(n) for n in AMOUNTS]
    tagged = features.select(*as_doubles(model.preparation.inputs), *amounts).mapInArrow(_Tag(model), schema)
    figures = [
        f(f"_{j}").alias(f"{kind}{j}")
        for j in range(len(names))
        for kind, f in (("n", F.count), ("mean", F.avg), ("var", F.var_pop))
    ]
    share = F.try_divide(F.sum("_flagged"), F.sum("_spent")).alias("flagged")
    rows = (
        tagged.groupBy("_cluster").agg(F.count(F.lit(1)).alias("_users"), share, *figures).orderBy("_cluster").collect()
    )
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
    flagged = [None if r["flagged"] is None else _rounded(r["flagged"]) for r in rows]
    return Moments([r["_cluster"] for r in rows], [r["_users"] for r in rows], means, population, deviation, flagged)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
