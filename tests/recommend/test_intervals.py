"""Intervals against SciPy's paired test, and the bootstrap against what it stands for. No Spark."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from profiling_spark.recommend.judge.intervals import STEPS, Gain, Paired, interval, paired_sums, poisson_weights


def paired(*values):
    """Of figures by engine, a row each, in engines a, b, c."""
    steps = np.round(np.array(values) * STEPS).astype(np.int64)
    return Paired(tuple("abc"[: len(values)]), steps.shape[1], *paired_sums(steps))


def test_a_gain_by_hand():
    """Differences .5, 0, .25, .25: mean .25, standard deviation sqrt(.125 / 3), t(3) at 97.5 % is 3.1824."""
    found = paired([0.5, 0.5, 0.25, 0.75], [0.0, 0.5, 0.0, 0.5])
    half = 3.182446 * np.sqrt(0.125 / 3 / 4)
    gain = found.gain("a", "b")
    assert (gain.mean, gain.low, gain.high) == pytest.approx((0.25, 0.25 - half, 0.25 + half), abs=1e-6)
    back = found.gain("b", "a")
    assert (back.mean, back.low, back.high) == pytest.approx((-0.25, -0.25 - half, -0.25 + half), abs=1e-6)


@given(st.integers(0, 10_000), st.integers(2, 40))
def test_a_gain_is_that_of_the_paired_t_test(seed, customers):
    rng = np.random.default_rng(seed)
    values = np.round(rng.random((3, customers)) * STEPS) / STEPS
    found = paired(*values).gain("c", "a")
    theirs = stats.ttest_rel(values[2], values[0]).confidence_interval(0.95)
    assert found.mean == pytest.approx((values[2] - values[0]).mean(), abs=1e-9)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-6)


def test_sums_add_up_over_parts_of_the_customers():
    rng = np.random.default_rng(1)
    values = np.round(rng.random((3, 50)) * STEPS).astype(np.int64)
    whole = paired_sums(values)
    parts = [paired_sums(values[:, :13]), paired_sums(values[:, 13:])]
    assert (parts[0][0] + parts[1][0]).tolist() == whole[0].tolist()
    assert (parts[0][1] + parts[1][1]).tolist() == whole[1].tolist()


def test_one_customer_and_equal_engines():
    one = paired([0.5], [0.25]).gain("a", "b")
    assert one == Gain(0.25, -np.inf, np.inf)
    assert paired([0.5, 0.25], [0.5, 0.25]).gain("a", "b") == Gain(0.0, 0.0, 0.0)


def test_the_bootstrap_draws_a_customer_by_its_id_alone():
    users = [f"u{n}" for n in range(400)]
    drawn = poisson_weights(users, 200)
    assert (poisson_weights(users[7:9], 200) == drawn[7:9]).all()
    assert drawn.mean() == pytest.approx(1, abs=0.02)
    assert drawn.var() == pytest.approx(1, abs=0.03)
    shares = np.bincount(drawn.ravel(), minlength=3)[:3] / drawn.size
    assert shares == pytest.approx(stats.poisson(1).pmf([0, 1, 2]), abs=0.01)


def test_the_interval_of_the_bootstrap_is_that_of_the_mean():
    values = np.random.default_rng(2).random(600)
    drawn = poisson_weights([f"u{n}" for n in range(600)], 2000).astype(float)
    low, high = interval((drawn * values[:, None]).sum(axis=0) / drawn.sum(axis=0))
    half = 1.96 * values.std() / np.sqrt(600)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=half * 0.1)
    assert interval(np.array([0.5, np.nan, 0.5])) == (0.5, 0.5)
