"""Which features speak for a score."""

import numpy as np

from profiling_spark.scores.reasons import strongest_reasons

NAMES = ("views_30d", "views_90d", "recency_days", "refunds_90d")
TYPICAL = np.array([5.0, 15.0, 12.0, 0.0])


def reasons(raw: list[float], added: list[float], above: bool) -> list[int]:
    return strongest_reasons(NAMES, np.array([raw]), TYPICAL, np.array([added]), np.array([above]))[0].tolist()


def test_above_the_average_what_raised_it_speaks_windows_together() -> None:
    # views 0.05 + 0.06 beat recency's 0.1; the 90 days added more
    assert reasons([1.0, 3.0, 41.0, 2.0], [0.05, 0.06, 0.10, -0.2], above=True) == [1, 2, -1]


def test_below_the_average_what_lowered_it_speaks() -> None:
    assert reasons([9.0, 30.0, 2.0, 2.0], [-0.05, -0.01, -0.10, 0.2], above=False) == [2, 0, -1]


def test_a_typical_value_speaks_last() -> None:
    assert reasons([1.0, 3.0, 12.0, 2.0], [0.01, 0.0, 0.10, 0.02], above=True) == [3, 0, 2]


def test_there_is_always_a_first_reason() -> None:
    assert reasons([1.0, 3.0, 41.0, 2.0], [0.0, 0.0, 0.0, 0.0], above=True)[0] >= 0
