"""Probabilities that can be believed and never fall as the score rises."""

import json

import numpy as np
import pytest

from profiling_spark.scores.calibrate import ISOTONIC_FROM, fit_calibration
from profiling_spark.scores.calibration import Calibration

GRID = np.linspace(0, 1, 1001)


def planted(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores that are twice as sure as they should be."""
    rng = np.random.default_rng(seed)
    score = rng.random(rows)
    logit = np.log(np.clip(score, 1e-9, 1 - 1e-9) / np.clip(1 - score, 1e-9, 1))
    return score, (rng.random(rows) < 1 / (1 + np.exp(-logit / 2))).astype(float)


@pytest.mark.parametrize(("rows", "kind"), [(300, "platt"), (ISOTONIC_FROM, "isotonic")])
def test_it_is_monotone_and_inside_zero_and_one(rows: int, kind: str) -> None:
    calibration = fit_calibration(*planted(rows))

    found = calibration.probability(GRID)

    assert calibration.kind == kind
    assert (np.diff(found) >= 0).all()
    assert found.min() >= 0.0001
    assert found.max() <= 0.9999


@pytest.mark.parametrize("rows", [900, 5000])
def test_it_is_nearer_to_the_truth_than_the_score(rows: int) -> None:
    calibration = fit_calibration(*planted(rows))
    score, label = planted(5000, seed=1)

    brier = ((calibration.probability(score) - label) ** 2).mean()

    assert brier < ((score - label) ** 2).mean()


def test_a_score_that_points_the_wrong_way_gives_everyone_the_mean() -> None:
    score, label = planted(300)

    calibration = fit_calibration(1 - score, label)

    np.testing.assert_allclose(calibration.probability(GRID), np.round(label.mean(), 4), atol=1e-4)


def test_one_class_leaves_the_score_as_it_is() -> None:
    assert fit_calibration(np.array([0.2, 0.4]), np.zeros(2)) == Calibration("none")


def test_it_survives_json() -> None:
    for rows in (300, ISOTONIC_FROM):
        calibration = fit_calibration(*planted(rows))
        assert Calibration.from_json(json.loads(json.dumps(calibration.to_json()))) == calibration
