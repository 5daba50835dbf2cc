"""What a model does to a feature before it looks at it: fitted once, stored with the model, applied everywhere.

The same parameters work as Spark expressions (`columns`, one select) and on NumPy matrices (`matrix`, Arrow batches).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import Column
from pyspark.sql import functions as F

from profiling_spark.errors import ModelError

Floats = NDArray[np.float64]

SKEWED = 1.0  # absolute skewness from which a feature goes through the signed logarithm
# For these a missing value means "it never happened": that is longer ago than anyone's, not the middle.
NEVER_HAPPENED = ("recency_days", "days_since_last_event", "interpurchase_days")


@dataclass(frozen=True)
class Scaling:
    """One feature: null -> `fill`, then sign(x) * log1p(|x|) where `log`, then (x - mean) / sd.

    `typical` is the median of the known values in the feature's own unit; reasons quote it.
    """

    name: str
    fill: float
    typical: float
    log: bool = False
    mean: float = 0.0
    sd: float = 1.0

    def column(self) -> Column:
        """As a Spark expression over the table's column."""
        value = F.coalesce(F.nanvl(F.col(self.name).cast("double"), F.lit(None).cast("double")), F.lit(self.fill))
        if self.log:
            value = F.signum(value) * F.log1p(F.abs(value))
        return ((value - F.lit(self.mean)) / F.lit(self.sd)).alias(self.name)

    def values(self, raw: Floats) -> Floats:
        """The same on an array in which NaN is the missing value."""
        value = np.where(np.isnan(raw), self.fill, raw)
        if self.log:
            value = np.sign(value) * np.log1p(np.abs(value))
        scaled: Floats = (value - self.mean) / self.sd
        return scaled

    def raw(self, scaled: Floats) -> Floats:
        """Back to the feature's own unit."""
        value: Floats = scaled * self.sd + self.mean
        return np.sign(value) * np.expm1(np.abs(value)) if self.log else value


@dataclass(frozen=True)
class Preparation:
    """The features of a model in the order of its vector, and why others were left out."""

    features: tuple[Scaling, ...]
    dropped: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of the vector."""
        return tuple(f.name for f in self.features)

    @property
    def typical(self) -> Floats:
        """Medians of the known values, in the features' own units."""
        return np.array([f.typical for f in self.features])

    def columns(self) -> list[Column]:
        """Prepared features, for one select."""
        return [f.column() for f in self.features]

    def matrix(self, raw: Floats) -> Floats:
        """Prepared features of the raw matrix (rows: customers, columns: `names`, NaN where missing)."""
        return np.column_stack([f.values(raw[:, j]) for j, f in enumerate(self.features)])

    def raw(self, prepared: Floats) -> Floats:
        """The inverse of `matrix` for known values."""
        return np.column_stack([f.raw(prepared[:, j]) for j, f in enumerate(self.features)])

    def to_json(self) -> dict[str, Any]:
        """As stored with the model."""
        return {"features": [asdict(f) for f in self.features], "dropped": dict(self.dropped)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Preparation:
        """The inverse of `to_json`. Raises ModelError where the stored form is another."""
        try:
            return cls(tuple(Scaling(**f) for f in stored["features"]), dict(stored["dropped"]))
        except (KeyError, TypeError) as err:
            raise ModelError(
                f"preparation: expected features and dropped as this version stores them, found {err}"
            ) from err


def fit_preparation(raw: Floats, names: Sequence[str], *, standardise: bool = True) -> Preparation:
    """Parameters from a sample (rows: customers, NaN where missing).

    A feature without a known value or without spread says nothing and is dropped, with a note. Missing is filled with
    the median of the known, for things that never happened with their maximum + 1. With `standardise` off (trees need
    no scale) only the filling is done.
    """
    features, dropped = [], {}
    for j, name in enumerate(names):
        known = raw[~np.isnan(raw[:, j]), j]
        if len(known) == 0:
            dropped[name] = "no customer has a value"
            continue
        fill = float(known.max() + 1) if name in NEVER_HAPPENED else float(np.median(known))
        scaling = Scaling(name, fill, float(np.median(known)))
        filled = scaling.values(raw[:, j])
        if filled.min() == filled.max():
            dropped[name] = "the same value for every customer"
            continue
        features.append(_scaled(scaling, filled) if standardise else scaling)
    return Preparation(tuple(features), dropped)


def _scaled(scaling: Scaling, filled: Floats) -> Scaling:
    log = abs(_skewness(filled)) >= SKEWED
    value = np.sign(filled) * np.log1p(np.abs(filled)) if log else filled
    return Scaling(scaling.name, scaling.fill, scaling.typical, log, float(value.mean()), float(value.std()))


def _skewness(values: Floats) -> float:
    """Third standardised moment (population form)."""
    centred = values - values.mean()
    return float((centred**3).mean() / values.std() ** 3)
