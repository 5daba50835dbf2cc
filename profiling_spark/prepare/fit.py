"""Fit a preparation on a sample of training rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from profiling_spark.config.prepare import Outliers, Prepare
from profiling_spark.prepare.encode import Encoding
from profiling_spark.prepare.fitted import Feature, Flag, Preparation, Raw, earlier, is_earlier
from profiling_spark.prepare.impute import NEVER_HAPPENED, Fill, fit_regression, simple_fill
from profiling_spark.prepare.outliers import fit_bounds
from profiling_spark.prepare.scale import Scale, fit_scale

Floats = NDArray[np.float64]

_NONE = Outliers(method="none")
_DEFAULT = Prepare(outliers=_NONE)
NO_VALUE, NO_SPREAD = "no customer has a value", "the same value for every customer"


def fit_preparation(
    raw: Floats,
    names: Sequence[str],
    *,
    rules: Prepare = _DEFAULT,
    encodings: Sequence[Encoding] = (),
    standardise: bool = True,
    never: Collection[str] = NEVER_HAPPENED,
) -> Preparation:
    """Parameters from a sample (rows: customers, NaN where missing).

    `names` are the raw columns: features, and for each whose missing values are carried forward `earlier(name)`. A
    feature without a known value or without spread has no information and is dropped, with a note; so is a flag. With
    `standardise` off (trees need no scale) the rules `auto` of scaling and outliers leave features as they are. No
    outliers of encoded text columns are looked for. `never`: see `never_happened`.
    """
    by_name = {name: raw[:, j] for j, name in enumerate(names)}
    encoded = {n for e in encodings for n in e.names}
    flags: list[Flag] = []
    features, dropped = [], {}
    for name in names:
        if is_earlier(name):
            continue
        values = by_name[name]
        if np.isnan(values).all():
            dropped[name] = NO_VALUE
            continue
        outliers = _NONE if name in encoded else rules.outliers_for(name, standardise=standardise)
        feature = _unscaled(name, values, rules, outliers, never)
        features.append(replace(feature, carried=earlier(name) in by_name))
        flags += _flags(feature, flag_missing=rules.missing_of(name).flag and not _is_one_hot(name, encodings))
    features = [_with_regression(f, features, by_name, rules) for f in features]
    return _scaled(features, flags, by_name, rules, dropped, encodings, standardise=standardise)


def _unscaled(name: str, values: Floats, rules: Prepare, outliers: Outliers, never: Collection[str]) -> Feature:
    """Bounds, and the fill from the values that they leave."""
    there = values[~np.isnan(values)]
    bounds = fit_bounds(there, outliers)
    treated = bounds.treated_values(there) if bounds else there
    left = treated[~np.isnan(treated)]
    fill = Fill(simple_fill(name, left, rules.missing_of(name), never))
    return Feature(name, float(np.median(there)), fill, bounds=bounds)


def _flags(feature: Feature, *, flag_missing: bool) -> list[Flag]:
    found = [Flag(feature.name, "missing", 0.0)] if flag_missing else []
    if feature.bounds and feature.bounds.action == "flag":
        found.append(Flag(feature.name, "outlier", 0.0, bounds=feature.bounds))
    return found


def _with_regression(feature: Feature, others: Sequence[Feature], raw: Raw, rules: Prepare) -> Feature:
    """Where its rule is `model`: on all features but those filled by regression themselves."""
    if rules.missing_of(feature.name).strategy != "model":
        return feature
    predictors = [o for o in others if rules.missing_of(o.name).strategy != "model"]
    target = raw[feature.name]
    regression = fit_regression(
        feature.bounds.treated_values(target) if feature.bounds else target,
        {o.name: raw[o.name] for o in predictors},
        {o.name: o.fill.constant for o in predictors},
    )
    return replace(feature, fill=Fill(feature.fill.constant, regression))


def _scaled(
    features: Sequence[Feature],
    flags: Sequence[Flag],
    raw: Raw,
    rules: Prepare,
    dropped: dict[str, str],
    encodings: Sequence[Encoding],
    *,
    standardise: bool,
) -> Preparation:
    """Scales of what varies among the sample."""

    def scale(column: str, filled: Floats) -> Scale:
        method = rules.scaling_of(column)
        return fit_scale(filled, "none" if method == "auto" and not standardise else method)

    kept_features: list[Feature] = []
    kept_flags: list[Flag] = []
    for feature in features:
        filled = feature.filled(raw)
        if filled.min() == filled.max():
            dropped[feature.name] = NO_SPREAD
        else:
            kept_features.append(replace(feature, scale=scale(feature.name, filled)))
    for flag in flags:
        filled = flag.filled(raw)
        if filled.min() == filled.max():
            dropped[flag.name] = NO_SPREAD
        else:
            median = float(np.median(filled))
            kept_flags.append(replace(flag, scale=scale(flag.source, filled), typical=median))
    names = {f.name for f in kept_features} | {f.source for f in kept_flags}
    used = tuple(e for e in encodings if names & set(e.names))
    return Preparation(tuple(kept_features), dropped, tuple(kept_flags), used)


def _is_one_hot(name: str, encodings: Sequence[Encoding]) -> bool:
    """Whether it belongs to several features of one column, which are all 0 where it is missing: it has no null."""
    return any(e.method == "one_hot" and name in e.names for e in encodings)
