"""Probabilities that can be believed: calibration fitted on customers whom the model did not see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from profiling_spark.scores.calibration import Calibration, logit

Floats = NDArray[np.float64]

ISOTONIC_FROM = 1000  # rows: with fewer, isotonic steps follow the noise


def fit_calibration(score: Floats, label: Floats) -> Calibration:
    """Isotonic from ISOTONIC_FROM rows on, else Platt's sigmoid; the score itself where only one class is there."""
    if len(np.unique(label)) < 2:
        return Calibration("none")
    if len(score) >= ISOTONIC_FROM:
        fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(score, label)
        return Calibration("isotonic", tuple(fitted.X_thresholds_.tolist()), tuple(fitted.y_thresholds_.tolist()))
    model = LogisticRegression(C=100.0).fit(logit(score)[:, None], label)
    slope = float(model.coef_[0, 0])
    if slope <= 0:  # a score that points the wrong way has no information: everyone gets the mean
        return Calibration("platt", (0.0,), (float(logit(np.array([label.mean()]))[0]),))
    return Calibration("platt", (slope,), (float(model.intercept_[0]),))
