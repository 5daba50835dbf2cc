"""Fewer numbers with almost the same information: principal components, fitted once and stored with the preparation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import Column
from pyspark.sql import functions as F

from profiling_spark.errors import InputError, ModelError

Floats = NDArray[np.float64]

_NO_VARIANCE = 1e-12  # of the whole: directions below are rounding, they would differ from machine to machine
_AS_LARGE = 1 - 1e-9  # loadings so near to the largest count as equal to it, and the first of them decides the sign


@dataclass(frozen=True)
class Reduction:
    """Prepared features x -> loadings · (x - mean), the component of most variance first.

    `loadings` is components by features, each of length 1, its largest loading positive. `explained_variance_ratio` is
    each component's share of the variance of all features, 0 to 1.
    """

    mean: tuple[float, ...]
    loadings: tuple[tuple[float, ...], ...]
    explained_variance_ratio: tuple[float, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the components in the order of the vector."""
        return tuple(f"component_{i}" for i in range(1, len(self.loadings) + 1))

    def transform(self, prepared: Floats) -> Floats:
        """Components of the prepared matrix (rows: customers). Raises ModelError for another number of features."""
        if prepared.shape[1] != len(self.mean):
            raise ModelError(f"reduction: expected {len(self.mean)} prepared features, found {prepared.shape[1]}")
        reduced: Floats = (prepared - np.array(self.mean)) @ np.array(self.loadings).T
        return reduced

    def restored(self, reduced: Floats) -> Floats:
        """The prepared features nearest to the mean that have these components: the inverse for rows in their span."""
        prepared: Floats = np.array(self.mean) + reduced @ np.array(self.loadings)
        return prepared

    def columns(self, prepared: Sequence[Column]) -> list[Column]:
        """Components as Spark expressions over the prepared features, in the order of the loadings."""
        return [
            sum((F.lit(w) * (c - F.lit(m)) for w, c, m in zip(row, prepared, self.mean, strict=True)), F.lit(0.0))
            for row in self.loadings
        ]

    def to_json(self) -> dict[str, Any]:
        """As stored with the model, beside its preparation."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Reduction:
        """The inverse of `to_json`. Raises ModelError where the stored form is another."""
        try:
            found = cls(
                tuple(map(float, stored["mean"])),
                tuple(tuple(map(float, row)) for row in stored["loadings"]),
                tuple(map(float, stored["explained_variance_ratio"])),
            )
        except (KeyError, TypeError, ValueError) as err:
            raise ModelError(f"reduction: expected the fields that this version stores, found {err!r}") from err
        widths = sorted({len(row) for row in found.loadings})
        if widths != [len(found.mean)] or len(found.loadings) != len(found.explained_variance_ratio):
            raise ModelError(
                f"reduction: expected {len(found.explained_variance_ratio)} components of {len(found.mean)} loadings, "
                f"found {len(found.loadings)} of {widths}"
            )
        return found


def fit_reduction(prepared: Floats, *, components: int) -> Reduction:
    """At most `components` principal components (Pearson 1901) of a standardised sample (`Preparation.matrix`).

    Fewer where the sample has fewer directions of any variance, as with 8 features and 10 components: then nothing is
    lost. Raises InputError where nothing varies.
    """
    mean = prepared.mean(axis=0)
    centred = prepared - mean
    variance, directions = np.linalg.eigh(centred.T @ centred / max(len(prepared) - 1, 1))
    total = float(variance.sum())
    if total <= 0:
        raise InputError(
            f"reduction: expected features that differ between customers, found {len(prepared)} equal rows"
        )
    share = variance[::-1] / total
    kept = min(components, int((share > _NO_VARIANCE).sum()))
    loadings = directions[:, ::-1].T[:kept]
    return Reduction(
        tuple(mean.tolist()),
        tuple(tuple((row * _sign(row)).tolist()) for row in loadings),
        tuple(share[:kept].tolist()),
    )


def _sign(loadings: Floats) -> float:
    size = np.abs(loadings)
    return float(np.sign(loadings[np.flatnonzero(size >= size.max() * _AS_LARGE)[0]]))
