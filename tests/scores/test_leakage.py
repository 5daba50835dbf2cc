"""The leakage check: by hand, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.sql import Row
from sklearn.metrics import roc_auc_score

from profiling_spark.errors import ContractError
from profiling_spark.scores.leakage import leaking_features, require_past


def ages(last: int | None, recency: int | None, tenure: int | None) -> Row:
    return Row(_least_days_since_last_event=last, _least_recency_days=recency, _least_tenure_days=tenure)


def test_the_day_before_is_the_latest_that_features_may_see() -> None:
    require_past(ages(1, 1, 1), as_of="2026-06-01")
    require_past(ages(3, None, 40), as_of="2026-06-01")
    with pytest.raises(ContractError, match=r"as of 2026-06-01.* found days_since_last_event of 0 days"):
        require_past(ages(0, 4, 40), as_of="2026-06-01")
    with pytest.raises(ContractError, match=r"recency_days of -2 days"):
        require_past(ages(1, -2, 40), as_of="2026-06-01")


def test_a_feature_that_gives_the_label_away_is_named() -> None:
    draw = np.random.default_rng(7)
    label = (draw.random(400) < 0.3).astype(float)
    honest = draw.normal(size=400) + label
    planted = -label + draw.normal(scale=0.01, size=400)
    missing = np.where(label == 1, np.nan, draw.normal(size=400))  # known for those who stayed only
    values = np.column_stack([honest, planted, missing])
    found = leaking_features(values, label, ["honest", "planted", "missing"], suspicious_auc=0.97)
    assert found == {"missing": 1.0, "planted": 1.0}
    every = leaking_features(values, label, ["honest", "planted", "missing"], suspicious_auc=0.5)
    assert every["honest"] == pytest.approx(roc_auc_score(label, honest), abs=1e-4)


def test_ties_count_half_and_one_class_leaks_nothing() -> None:
    label = np.array([0.0, 0.0, 1.0, 1.0])
    values = np.array([[1.0], [2.0], [2.0], [3.0]])
    assert leaking_features(values, label, ["x"], suspicious_auc=0.5) == {"x": 0.875}
    assert leaking_features(values, np.ones(4), ["x"], suspicious_auc=0.5) == {}
