"""Bounds beyond which a value is an outlier: fitted once, stored, and the same in Spark and NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import Column
from pyspark.sql import functions as F

if TYPE_CHECKING:  # workers load this room, and need no settings
    from profiling_spark.config.prepare import Outliers

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bounds:
    """Values below `low` or above `high` are outliers, in the feature's own unit; the bounds themselves are not.

    clip: they become the bound. null: they become missing, and are filled as missing values are. flag: they stay.
    """

    low: float
    high: float
    action: Literal["clip", "null", "flag"]

    def outside(self, value: Column) -> Column:
        """Whether it is an outlier; a null is none."""
        return F.coalesce((value < F.lit(self.low)) | (value > F.lit(self.high)), F.lit(False))

    def treated(self, value: Column) -> Column:
        """As a Spark expression of a double that is null where missing."""
        if self.action == "clip":
            return F.when(value < F.lit(self.low), self.low).when(value > F.lit(self.high), self.high).otherwise(value)
        return F.when(~self.outside(value), value) if self.action == "null" else value

    def outside_values(self, raw: Floats) -> NDArray[np.bool_]:
        """`outside` on an array in which NaN is the missing value."""
        found: NDArray[np.bool_] = (raw < self.low) | (raw > self.high)
        return found

    def treated_values(self, raw: Floats) -> Floats:
        """`treated` on an array in which NaN is the missing value."""
        if self.action == "clip":
            return np.clip(raw, self.low, self.high)
        return np.where(self.outside_values(raw), np.nan, raw) if self.action == "null" else raw


def fit_bounds(known: Floats, rule: Outliers) -> Bounds | None:
    """Bounds from the known values of a sample; None where none are asked for or none are sensible.

    iqr: q1 - f (q3 - q1) to q3 + f (q3 - q1), quartiles with linear interpolation (Tukey, Exploratory Data Analysis,
    1977). z_score: mean -/+ f standard deviations (of the population). Where the quartiles coincide, as for counts that
    are mostly 0, fences would call every other value an outlier: there are none then.
    """
    if rule.method == "none":
        return None
    if rule.method == "iqr":
        first, third = (float(q) for q in np.quantile(known, [0.25, 0.75]))
        low, high, spread = first, third, third - first
    else:
        low = high = float(known.mean())
        spread = float(known.std())
    if spread <= 0:
        return None
    return Bounds(low - rule.reach * spread, high + rule.reach * spread, rule.action)
