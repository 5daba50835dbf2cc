"""How good the scores are on customers whom nobody fitted on, beside what needs no model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_auc_score

from profiling_spark.models import Figure

Floats = NDArray[np.float64]


def best_threshold(label: Floats, score: Floats) -> float:
    """The score from which predicting label 1 gives the best F1; of equals the highest."""
    precision, recall, thresholds = precision_recall_curve(label, score)
    total = precision[:-1] + recall[:-1]
    f1 = np.divide(2 * precision[:-1] * recall[:-1], total, out=np.zeros_like(total), where=total > 0)
    return float(thresholds[np.flatnonzero(f1 == f1.max())[-1]])


def figures(
    model: str, label: Floats, score: Floats, *, positive: NDArray[np.bool_], probability: Floats | None
) -> list[Figure]:
    """Figures of one model on held-out customers; a figure without a denominator is null.

    `score` orders them (auc), `positive` is the yes or no, `probability` what brier judges (a rule has none).
    """
    is_churn = label == 1
    hits = float((positive & is_churn).sum())
    precision = _ratio(hits, positive.sum())
    recall = _ratio(hits, is_churn.sum())
    both = (precision or 0.0) + (recall or 0.0)
    values: dict[str, float | None] = {
        "accuracy": _ratio(float((positive == is_churn).sum()), len(label)),
        "precision": precision,
        "recall": recall,
        "f1": 2 * (precision or 0.0) * (recall or 0.0) / both if both > 0 else None,
        "auc": float(roc_auc_score(label, score)) if 0 < is_churn.sum() < len(label) else None,
        "brier": None if probability is None or len(label) == 0 else float(((probability - label) ** 2).mean()),
        "rate": _ratio(float(is_churn.sum()), len(label)),
        "rows": float(len(label)),
    }
    return [Figure(model, "holdout", metric, value, len(label)) for metric, value in values.items()]


def _ratio(top: float, below: float) -> float | None:
    return float(top) / float(below) if below else None
