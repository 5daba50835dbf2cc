"""Figures against scikit-learn's, and by hand."""

import numpy as np
import pytest
from sklearn import metrics

from profiling_spark.scores.evaluate import best_threshold, figures


def test_figures_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    label = (rng.random(500) < 0.3).astype(float)
    score = np.clip(label * 0.3 + rng.random(500) * 0.7, 0, 1)
    positive = score >= 0.5

    found = {f.metric: f.value for f in figures("m", label, score, positive=positive, probability=score)}

    assert found == {
        "accuracy": pytest.approx(metrics.accuracy_score(label, positive)),
        "precision": pytest.approx(metrics.precision_score(label, positive)),
        "recall": pytest.approx(metrics.recall_score(label, positive)),
        "f1": pytest.approx(metrics.f1_score(label, positive)),
        "auc": pytest.approx(metrics.roc_auc_score(label, score)),
        "brier": pytest.approx(metrics.brier_score_loss(label, score)),
        "rate": pytest.approx(label.mean()),
        "rows": 500,
    }


def test_what_has_no_denominator_is_null() -> None:
    label = np.array([0.0, 0.0])

    found = {f.metric: f.value for f in figures("m", label, label, positive=label > 0, probability=None)}

    assert [found[m] for m in ("precision", "recall", "f1", "auc", "brier")] == [None] * 5
    assert found["accuracy"] == 1.0


def test_the_best_threshold_has_the_best_f1() -> None:
    label = np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0])
    score = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])

    # from 3 on: 3 hits of 4, F1 6/7; from 5 on: 2 of 2 hits, F1 4/5
    assert best_threshold(label, score) == 3.0
