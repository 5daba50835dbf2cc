"""Scaling of a filled feature: fitted once, stored, and the same in Spark and NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import Column
from pyspark.sql import functions as F

if TYPE_CHECKING:  # workers load this room, and need no settings
    from profiling_spark.config.prepare import Scaling

Floats = NDArray[np.float64]

SKEWED = 1.0  # absolute skewness from which a feature goes through the signed logarithm


@dataclass(frozen=True)
class Scale:
    """sign(x) * log1p(|x|) where `log`, then (x - centre) / width."""

    log: bool = False
    centre: float = 0.0
    width: float = 1.0

    def column(self, value: Column) -> Column:
        """As a Spark expression of a double without nulls."""
        if self.log:
            value = F.signum(value) * F.log1p(F.abs(value))
        return (value - F.lit(self.centre)) / F.lit(self.width)

    def values(self, value: Floats) -> Floats:
        """The same on an array."""
        if self.log:
            value = np.sign(value) * np.log1p(np.abs(value))
        scaled: Floats = (value - self.centre) / self.width
        return scaled

    def raw(self, scaled: Floats) -> Floats:
        """Back to the feature's own unit."""
        value: Floats = scaled * self.width + self.centre
        return np.sign(value) * np.expm1(np.abs(value)) if self.log else value


UNSCALED = Scale()


def fit_scale(filled: Floats, method: Scaling) -> Scale:
    """From the values of a sample, of which at least two differ.

    standard: mean 0, standard deviation 1 (of the population). min_max: 0 to 1. robust: median 0, quartiles 1 apart; as
    in scikit-learn undivided where the quartiles coincide. auto: standard, after the signed logarithm where SKEWED.
    """
    if method == "none":
        return UNSCALED
    if method == "min_max":
        return Scale(False, float(filled.min()), float(filled.max() - filled.min()))
    if method == "robust":
        first, middle, third = (float(q) for q in np.quantile(filled, [0.25, 0.5, 0.75]))
        return Scale(False, middle, third - first or 1.0)
    log = method == "auto" and abs(_skewness(filled)) >= SKEWED
    value = np.sign(filled) * np.log1p(np.abs(filled)) if log else filled
    return Scale(log, float(value.mean()), float(value.std()))


def _skewness(values: Floats) -> float:
    """Third standardised moment (population form)."""
    centred = values - values.mean()
    return float((centred**3).mean() / values.std() ** 3)
