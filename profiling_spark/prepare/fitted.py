"""What a model does to a feature before it looks at it: fitted once, stored with the model, applied everywhere.

The same parameters work as Spark expressions (`columns`, one select) and on NumPy matrices (`matrix`, Arrow batches).
Order of the steps: outliers, missing values, scaling. docs/preparation.md has the settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import Column
from pyspark.sql import functions as F

from profiling_spark.errors import ModelError
from profiling_spark.prepare.encode import Encoding
from profiling_spark.prepare.impute import Fill, Regression, Term
from profiling_spark.prepare.outliers import Bounds
from profiling_spark.prepare.sample import known
from profiling_spark.prepare.scale import UNSCALED, Scale

Floats = NDArray[np.float64]
Raw = Mapping[str, Floats]  # raw columns of the same rows by name, NaN where missing

_BEFORE = " before"  # no feature's name has a space


def earlier(name: str) -> str:
    """The column that holds the customer's last known value of an earlier as_of."""
    return name + _BEFORE


def is_earlier(column: str) -> bool:
    """Whether a raw column holds earlier values only, and is no feature itself."""
    return column.endswith(_BEFORE)


@dataclass(frozen=True)
class Feature:
    """One number of a model's vector: outliers treated, missing filled, scaled.

    `typical` is the median of the known values in the feature's own unit; reasons quote it. `carried`: a missing value
    is first looked for in the column `earlier(name)`.
    """

    name: str
    typical: float
    fill: Fill
    scale: Scale = UNSCALED
    bounds: Bounds | None = None
    carried: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        """Raw columns that it looks at."""
        terms = self.fill.regression.terms if self.fill.regression else ()
        return (self.name, *((earlier(self.name),) if self.carried else ()), *(t.name for t in terms))

    def column(self) -> Column:
        """As a Spark expression over the raw columns."""
        values = [known(self.name), *([known(earlier(self.name))] if self.carried else [])]
        treated = [self.bounds.treated(v) for v in values] if self.bounds else values
        return self.scale.column(self.fill.column(F.coalesce(*treated))).alias(self.name)

    def filled(self, raw: Raw) -> Floats:
        """All but the scaling, in the feature's own unit."""
        values = [raw[self.name], *([raw[earlier(self.name)]] if self.carried else [])]
        treated = [self.bounds.treated_values(v) for v in values] if self.bounds else values
        first = treated[0] if len(treated) == 1 else np.where(np.isnan(treated[0]), treated[1], treated[0])
        return self.fill.values(first, raw)

    def shown(self, raw: Raw) -> Floats:
        """As reasons quote it: the customer's own value, NaN where missing."""
        return raw[self.name]


@dataclass(frozen=True)
class Flag:
    """One number of a model's vector: 1 where `source` was missing (or an outlier) before anything was done, else 0."""

    source: str
    what: Literal["missing", "outlier"]
    typical: float
    scale: Scale = UNSCALED
    bounds: Bounds | None = None

    @property
    def name(self) -> str:
        """`views_30d missing`; of a text column, its own name without the category."""
        return f"{self.source.partition('=')[0]} {self.what}"

    @property
    def reads(self) -> tuple[str, ...]:
        """Raw columns that it looks at."""
        return (self.source,)

    def column(self) -> Column:
        """As a Spark expression over the raw columns."""
        value = known(self.source)
        is_so = value.isNull() if self.bounds is None else self.bounds.outside(value)
        return self.scale.column(is_so.cast("double")).alias(self.name)

    def filled(self, raw: Raw) -> Floats:
        """0 or 1."""
        value = raw[self.source]
        is_so = np.isnan(value) if self.bounds is None else self.bounds.outside_values(value)
        return is_so.astype(np.float64)

    def shown(self, raw: Raw) -> Floats:
        """As reasons quote it: 0 or 1."""
        return self.filled(raw)


@dataclass(frozen=True)
class Preparation:
    """A model's vector: the features, then the flags, in this order; and why other features were left out.

    `encodings` make the raw columns named `column=category` of text columns; every other raw column is numeric.
    """

    features: tuple[Feature, ...]
    dropped: Mapping[str, str]
    flags: tuple[Flag, ...] = ()
    encodings: tuple[Encoding, ...] = ()

    @property
    def parts(self) -> tuple[Feature | Flag, ...]:
        """Features and flags in the order of the vector."""
        return (*self.features, *self.flags)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of the vector."""
        return tuple(p.name for p in self.parts)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Raw columns that it is made from, in the order that `matrix` takes; without any rule the same as `names`."""
        own = dict.fromkeys(p.reads[0] for p in self.parts)
        others = dict.fromkeys(name for p in self.parts for name in p.reads[1:])
        return tuple({**own, **others})

    @property
    def typical(self) -> Floats:
        """Medians of the known values, in the features' own units."""
        return np.array([p.typical for p in self.parts])

    def columns(self) -> list[Column]:
        """The vector's numbers, for one select over the raw columns."""
        return [p.column() for p in self.parts]

    def matrix(self, raw: Floats) -> Floats:
        """Rows by `names`, from raw rows by `inputs` (NaN where missing)."""
        by_name = self._by_name(raw)
        return np.column_stack([p.scale.values(p.filled(by_name)) for p in self.parts])

    def shown(self, raw: Floats) -> Floats:
        """Rows by `names` in the features' own units, NaN where missing, from raw rows by `inputs`."""
        by_name = self._by_name(raw)
        return np.column_stack([p.shown(by_name) for p in self.parts])

    def scaled(self, shown: Floats) -> Floats:
        """Rows by `names`, from complete rows by `names` in the features' own units: the scaling alone."""
        return np.column_stack([p.scale.values(shown[:, j]) for j, p in enumerate(self.parts)])

    def raw(self, prepared: Floats) -> Floats:
        """The inverse of `scaled`."""
        return np.column_stack([p.scale.raw(prepared[:, j]) for j, p in enumerate(self.parts)])

    def to_json(self) -> dict[str, Any]:
        """As stored with the model."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Preparation:
        """The inverse of `to_json`. Raises ModelError where the stored form is another."""
        try:
            return cls(
                tuple(Feature(**{**f, "fill": _fill(f["fill"]), **_parts(f)}) for f in stored["features"]),
                dict(stored["dropped"]),
                tuple(Flag(**{**f, **_parts(f)}) for f in stored["flags"]),
                tuple(Encoding(**{**e, "categories": tuple(e["categories"])}) for e in stored["encodings"]),
            )
        except (KeyError, TypeError) as err:
            raise ModelError(
                f"preparation: expected features, flags and encodings as this version stores them, found {err!r}"
            ) from err

    def _by_name(self, raw: Floats) -> Raw:
        return {name: raw[:, j] for j, name in enumerate(self.inputs)}


def _parts(stored: Mapping[str, Any]) -> dict[str, Any]:
    bounds = stored["bounds"]
    return {"scale": Scale(**stored["scale"]), "bounds": None if bounds is None else Bounds(**bounds)}


def _fill(stored: Mapping[str, Any]) -> Fill:
    found = stored["regression"]
    if found is None:
        return Fill(stored["constant"])
    return Fill(stored["constant"], Regression(**{**found, "terms": tuple(Term(**t) for t in found["terms"])}))
