"""Does a training set know what it should not? Checked with every fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import Column, Row
from pyspark.sql import functions as F
from scipy.stats import rankdata

from profiling_spark.errors import ContractError

Floats = NDArray[np.float64]
# days from a customer's event to as_of: 1 is the day before, less would be an event that as_of must not see
_AGES = ("days_since_last_event", "recency_days", "tenure_days")


def youngest() -> list[Column]:
    """Aggregates over features that `require_past` looks at: the least age, in days, of what they were made from."""
    return [F.min(name).alias(f"_least_{name}") for name in _AGES]


def require_past(counted: Row, *, as_of: str) -> None:
    """Raises ContractError where a feature was made from events on or after the features' own as_of."""
    ages = {name: counted[f"_least_{name}"] for name in _AGES}
    wrong = {name: age for name, age in ages.items() if age is not None and age < 1}
    if wrong:
        found = ", ".join(f"{name} of {age} days" for name, age in wrong.items())
        raise ContractError(
            f"features as of {as_of}: expected none made from events on or after that date, found {found}; "
            "build the features of that date again"
        )


def leaking_features(values: Floats, label: Floats, names: Sequence[str], *, suspicious_auc: float) -> dict[str, float]:
    """Features that predict the label alone, too well to be true: name to AUC, the best first.

    `values` is rows by features, NaN where missing (missing rows rank lowest: that a value is missing can give the
    label away as well). A feature that points the other way counts by 1 - AUC.
    """
    positive = label == 1
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if not ones or not zeros:
        return {}
    found = {}
    for index, name in enumerate(names):
        ranks = rankdata(np.nan_to_num(values[:, index], nan=-np.inf))
        # Mann and Whitney: the share of pairs that the feature orders rightly
        auc = (ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros)
        strength = float(max(auc, 1 - auc))
        if strength > suspicious_auc:
            found[name] = round(strength, 4)
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))
