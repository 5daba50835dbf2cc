"""What stands for a missing value: a number, or what a regression on the other features expects."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import Column
from pyspark.sql import functions as F

from profiling_spark.prepare.sample import known

if TYPE_CHECKING:  # workers load this room, and need no settings
    from profiling_spark.config.features import CustomFeature
    from profiling_spark.config.prepare import Missing

Floats = NDArray[np.float64]

# For these, and for configured features of measure recency, a missing value means "it never happened": that is longer
# ago than anyone's, not the middle.
NEVER_HAPPENED = ("recency_days", "days_since_last_event", "interpurchase_days")
RIDGE = 1.0  # of standardised features: enough where windows of one feature nearly repeat each other
LEAST_KNOWN = 10  # rows with a value; a regression on fewer is noise


@dataclass(frozen=True)
class Term:
    """One feature in a regression: its value, `fill` where missing, times `weight`."""

    name: str
    fill: float
    weight: float


@dataclass(frozen=True)
class Regression:
    """A linear expectation in the features' own units, kept within the known values `low` to `high`."""

    intercept: float
    terms: tuple[Term, ...]
    low: float
    high: float

    def column(self) -> Column:
        """As a Spark expression over the raw features."""
        total = F.lit(self.intercept)
        for term in self.terms:
            total = total + F.lit(term.weight) * F.coalesce(known(term.name), F.lit(term.fill))
        return F.greatest(F.least(total, F.lit(self.high)), F.lit(self.low))

    def values(self, raw: Mapping[str, Floats]) -> Floats:
        """The same on arrays. Added up term by term: a matrix product would round by the size of the batch."""
        total = np.full(len(next(iter(raw.values()))), self.intercept)
        for term in self.terms:
            value = raw[term.name]
            total = total + term.weight * np.where(np.isnan(value), term.fill, value)
        kept: Floats = np.clip(total, self.low, self.high)
        return kept


@dataclass(frozen=True)
class Fill:
    """For a missing value: what `regression` expects, without one `constant`."""

    constant: float
    regression: Regression | None = None

    def column(self, value: Column) -> Column:
        """As a Spark expression of a double that is null where missing."""
        return F.coalesce(value, self.regression.column() if self.regression else F.lit(self.constant))

    def values(self, value: Floats, raw: Mapping[str, Floats]) -> Floats:
        """The same on arrays in which NaN is the missing value."""
        return np.where(np.isnan(value), self.regression.values(raw) if self.regression else self.constant, value)


def never_happened(custom: Sequence[CustomFeature]) -> tuple[str, ...]:
    """Columns whose missing value means that it never happened, the configured ones among them."""
    return (*NEVER_HAPPENED, *(f.name for f in custom if f.measure == "recency"))


def simple_fill(name: str, values: Floats, rule: Missing, never: Collection[str] = NEVER_HAPPENED) -> float:
    """The number that fills by `rule.simple`, from the known values of a sample.

    The mode is the most frequent value, of equals the smallest. `never`: see `never_happened`.
    """
    if rule.simple == "constant":
        assert rule.value is not None  # for mypy: the settings refuse a constant without a value
        return rule.value
    if rule.simple == "mean":
        return float(values.mean())
    if rule.simple == "mode":
        found, counts = np.unique(values, return_counts=True)
        return float(found[counts.argmax()])
    if rule.simple == "auto" and name in never:
        return float(values.max() + 1)
    return float(np.median(values))


def fit_regression(target: Floats, others: Mapping[str, Floats], fills: Mapping[str, float]) -> Regression | None:
    """Ridge regression (Hoerl and Kennard 1970) of the known values of `target` on the other features.

    `others`: raw columns of the same rows, NaN where missing, filled by `fills`. Minimises the squared error plus RIDGE
    times the squared weights of the standardised features, as scikit-learn's Ridge does. None where fewer than
    LEAST_KNOWN values are known or no other feature varies among those rows.
    """
    rows = ~np.isnan(target)
    if rows.sum() < LEAST_KNOWN:
        return None
    columns = {n: np.where(np.isnan(v), fills[n], v)[rows] for n, v in others.items()}
    names = [n for n, v in columns.items() if v.min() < v.max()]
    if not names:
        return None
    x, y = np.column_stack([columns[n] for n in names]), target[rows]
    mean, sd = x.mean(axis=0), x.std(axis=0)
    z = (x - mean) / sd
    weights = np.linalg.solve(z.T @ z + RIDGE * np.eye(len(names)), z.T @ (y - y.mean())) / sd
    terms = tuple(Term(n, fills[n], float(w)) for n, w in zip(names, weights, strict=True))
    return Regression(float(y.mean() - mean @ weights), terms, float(y.min()), float(y.max()))
