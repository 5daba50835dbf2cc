"""Figures against scikit-learn's, and by hand."""

import numpy as np
import pytest
from sklearn import metrics

from profiling_spark.prepare import Sample
from profiling_spark.prepare.fit import fit_preparation
from profiling_spark.scores.calibrate import fit_calibration
from profiling_spark.scores.evaluate import best_threshold, figures
from profiling_spark.scores.fit import _judged
from profiling_spark.scores.forest import Forest


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
    # all of them: 2 hits of 4; the last alone: 1 of 2 leavers. Of equals the highest
    assert best_threshold(np.array([1.0, 0.0, 0.0, 1.0]), score[:4]) == 4.0


def test_held_out_customers_judge_what_others_decided() -> None:
    """Each share would give another rate, threshold and calibration. The tree: up to 5 quiet days 0.2, up to 10 0.5,
    else 0.9."""
    tree = Forest(
        feature=np.zeros(5, dtype=np.int64),
        threshold=np.array([10.0, 5.0, 0.0, 0.0, 0.0]),
        left=np.array([1, 2, 2, 3, 4]),
        right=np.array([4, 3, 2, 3, 4]),
        value=np.array([0.5, 0.35, 0.2, 0.5, 0.9]),
        roots=np.array([0]),
        depth=2,
    )
    name = "days_since_last_event"
    shares = {
        "train": [(2, 0), (4, 1), (12, 1), (20, 1)],
        "calibration": [(3, 0), (8, 0), (15, 1)],
        "holdout": [(1, 0), (3, 0), (7, 1), (9, 0), (30, 1)],
    }
    rows = [(days, label, share) for share, customers in shares.items() for days, label in customers]
    raw = np.array([[days] for days, _, _ in rows], dtype=np.float64)
    extra = {"label": np.array([label for _, label, _ in rows]), "split": np.array([share for *_, share in rows])}

    judged = _judged(tree, fit_preparation(raw, [name], standardise=False), Sample(raw, extra), [name])

    assert judged["threshold"] == 0.9  # train would say 0.2, the held-out ones 0.5
    assert judged["recency_threshold_days"] == 4  # the held-out ones: 7
    of_others = fit_calibration(np.array([0.2, 0.5, 0.9]), np.array([0.0, 0.0, 1.0]))
    assert judged["calibration"] == of_others.to_json()
    found = {(f["model"], f["metric"]): f["value"] for f in judged["figures"]}
    assert {found[model, "rows"] for model in ("random_forest", "majority", "recency")} == {5}
    assert {found[model, "rate"] for model in ("random_forest", "majority", "recency")} == {0.4}
    assert (found["random_forest", "precision"], found["random_forest", "recall"]) == (1.0, 0.5)
    # three of four of the training share left, so that all are called leavers
    assert (found["majority", "accuracy"], found["majority", "recall"]) == (0.4, 1.0)
    assert found["majority", "brier"] == pytest.approx((2 * 0.25**2 + 3 * 0.75**2) / 5)
    assert (found["recency", "precision"], found["recency", "recall"]) == (pytest.approx(2 / 3), 1.0)
    assert found["recency", "auc"] == pytest.approx(5 / 6)
