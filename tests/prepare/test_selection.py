"""Rankings: each method beside an independent reference, planted structure, and what says nothing comes last."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import chi2_contingency, pointbiserialr
from sklearn.feature_selection import RFE, chi2
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder

from profiling_spark.errors import ConfigError, InputError
from profiling_spark.prepare.fit import fit_preparation
from profiling_spark.prepare.selection import (
    LABEL_METHODS,
    METHODS,
    Ranking,
    bins,
    chi_square,
    contingency,
    eliminated,
    information_gain,
    lasso_coefficients,
    rank_features,
    select,
)

NAN = float("nan")
NAMES = [f"noise_{i:02d}" for i in range(10)] + ["telling_down", "telling_up"]


def shop(rows=2000, seed=3):
    """Ten skewed noise features, two that decide the label; every feature is missing for some."""
    rng = np.random.default_rng(seed)
    values = rng.gamma(0.8, 5.0, size=(rows, len(NAMES)))
    odds = 2.0 * np.log1p(values[:, 11]) - 1.5 * np.log1p(values[:, 10]) - 0.5
    label = (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(float)
    values[rng.random(values.shape) < 0.05] = NAN
    return values, label


@pytest.fixture(scope="module")
def ranked():
    values, label = shop()
    return rank_features(values, label, NAMES, seed=42)


def scores(rankings, method):
    return {r.feature: r.score for r in rankings if r.method == method}


@pytest.mark.parametrize("method", LABEL_METHODS)
def test_planted_features_are_on_top(ranked, method):
    top = [r.feature for r in ranked if r.method == method and r.rank <= 2]
    assert sorted(top) == ["telling_down", "telling_up"]
    assert sorted(select(ranked, keep=2, methods=[method])) == ["telling_down", "telling_up"]


def test_every_method_ranks_every_feature_once_from_the_highest_score(ranked):
    for method in METHODS:
        rows = [r for r in ranked if r.method == method]
        assert sorted(r.feature for r in rows) == NAMES
        assert [r.rank for r in rows] == list(range(1, len(NAMES) + 1))
        assert all(a.score >= b.score for a, b in pairwise(rows))


def test_the_same_rows_give_the_same_figures_in_any_order_of_columns(ranked):
    values, label = shop()
    turned = list(range(len(NAMES)))[::-1]
    assert rank_features(values.copy(), label.copy(), NAMES, seed=42) == ranked
    assert rank_features(values[:, turned], label, [NAMES[j] for j in turned], seed=42) == ranked


def test_variance_and_correlation_agree_with_libraries(ranked):
    values, label = shop()
    filled = np.where(np.isnan(values), np.nanmedian(values, axis=0), values)
    variances = MinMaxScaler().fit_transform(filled).var(axis=0)
    by_name = scores(ranked, "correlation")
    np.testing.assert_allclose([scores(ranked, "variance")[n] for n in NAMES], variances, rtol=1e-8)
    for j, name in enumerate(NAMES):
        assert by_name[name] == pytest.approx(abs(pointbiserialr(label, filled[:, j]).statistic), rel=1e-8)


def test_chi_square_and_information_gain_agree_with_libraries(ranked):
    values, label = shop()
    filled = np.where(np.isnan(values), np.nanmedian(values, axis=0), values)
    for j, name in enumerate(NAMES):
        tenths = bins(filled[:, j])
        table = contingency(tenths, label)
        statistic = chi2_contingency(table, correction=False).statistic
        by_indicators = chi2(OneHotEncoder().fit_transform(tenths.reshape(-1, 1)), label)[0].sum()
        assert scores(ranked, "chi_square")[name] == pytest.approx(statistic, rel=1e-8)
        assert by_indicators == pytest.approx(statistic, rel=1e-8)
        gain = mutual_info_score(tenths, label)
        assert scores(ranked, "information_gain")[name] == pytest.approx(gain, rel=1e-7)


def test_a_table_that_can_be_worked_out_by_hand():
    independent = np.array([[10.0, 30.0], [5.0, 15.0]])
    decided = np.array([[20.0, 0.0], [0.0, 20.0]])

    assert chi_square(independent) == information_gain(independent) == 0
    assert chi_square(decided) == 40  # four cells, each (20 - 10)^2 / 10 or (0 - 10)^2 / 10
    assert information_gain(decided) == pytest.approx(np.log(2))


def test_bins_are_tenths_and_equal_values_share_one():
    assert bins(np.arange(20.0)[::-1]).tolist() == sorted([*range(10)] * 2, reverse=True)
    for rare, common in ((0.0, 1.0), (1.0, 0.0)):  # a flag of 2 % is told apart on either side
        found = bins(np.array([rare] * 2 + [common] * 98))
        assert len(set(found[:2])) == len(set(found[2:])) == 1
        assert found[0] != found[2]


def test_elimination_agrees_with_scikit_learn_one_at_a_time():
    values, label = shop(rows=1000)
    prepared = fit_preparation(values, NAMES).matrix(values)
    reference = RFE(LogisticRegression(), n_features_to_select=1, step=1).fit(prepared, label)
    assert eliminated(prepared, label) == np.argsort(-reference.ranking_).tolist()


def test_of_many_features_a_round_drops_a_tenth():
    """Two nearly repeat each other: they go together, where dropping one would have doubled the weight of the other."""
    rng = np.random.default_rng(5)
    matrix = rng.normal(size=(4000, 40))
    matrix[:, 3] = matrix[:, 20] + 0.01 * rng.normal(size=4000)
    odds = matrix @ np.where(np.isin(np.arange(40), (3, 20)), 0.25, 0.4)
    label = (rng.random(4000) < 1 / (1 + np.exp(-odds))).astype(float)
    by_one = RFE(LogisticRegression(), n_features_to_select=36, step=1).fit(matrix, label)
    at_once = RFE(LogisticRegression(), n_features_to_select=36, step=4).fit(matrix, label)

    order = eliminated(matrix, label)

    assert sorted(order) == list(range(40))
    assert sorted(order[:4]) == np.flatnonzero(~at_once.support_).tolist()
    assert sorted(order[:4]) != np.flatnonzero(~by_one.support_).tolist()


def test_the_lasso_leaves_noise_out_and_is_near_the_coefficients_that_made_the_label():
    rng = np.random.default_rng(8)
    matrix = rng.normal(size=(3000, 20))
    odds = matrix[:, 4] - 0.5 * matrix[:, 9]
    label = (rng.random(3000) < 1 / (1 + np.exp(-odds))).astype(float)

    found = lasso_coefficients(matrix, label, seed=1)

    assert 0.6 < found[4] < 1.0  # shrunk towards 0, never beyond
    assert -0.5 < found[9] < -0.2
    assert np.flatnonzero(np.abs(found) > 0.1).tolist() == [4, 9]
    assert (found == 0).sum() >= 10
    np.testing.assert_allclose(found, lasso_coefficients(matrix, label, seed=2), atol=1e-2)


def test_the_path_starts_where_the_first_coefficient_leaves_0(monkeypatch):
    rng = np.random.default_rng(4)
    matrix = rng.normal(size=(400, 5))
    label = np.repeat([0.0, 1.0], 200)
    for multiple, alive in ((0.98, 0), (1.05, 1)):
        monkeypatch.setattr("profiling_spark.prepare.selection.LASSO_PATH", (multiple,))
        assert (lasso_coefficients(matrix, label, seed=1) != 0).sum() == alive


def test_a_label_that_nothing_moves_with_gives_the_lasso_nothing():
    matrix = np.array([[-1.0], [1.0]] * 20)
    label = np.repeat([0.0, 1.0], 20)
    assert lasso_coefficients(matrix, label, seed=1).tolist() == [0.0]


def test_features_without_values_or_spread_come_last_with_score_0():
    values, label = shop(rows=300)
    values = np.column_stack([np.full(300, NAN), np.full(300, 7.0), np.where(label == 1, 4.0, NAN), values])

    found = rank_features(values, label, ["a_missing", "b_constant", "c_one_value", *NAMES], seed=42)

    for method in METHODS:
        last = [(r.feature, r.rank, r.score) for r in found if r.method == method][-3:]
        assert last == [("a_missing", 13, 0.0), ("b_constant", 14, 0.0), ("c_one_value", 15, 0.0)]
    assert all(np.isfinite(r.score) for r in found)
    assert sorted(select(found, keep=100)) == NAMES


def test_without_any_usable_feature_the_order_is_by_name():
    found = rank_features(np.full((20, 2), NAN), np.array([0.0, 1.0] * 10), ["b", "a"], seed=1)
    assert found == [Ranking(m, n, place, 0.0) for m in METHODS for place, n in ((1, "a"), (2, "b"))]
    assert select(found, keep=2) == []


def test_never_happened_is_longer_ago_than_anyone():
    """Those without an order are the label; filled with the median they would hide among the others."""
    days = np.array([*range(1, 41), *[NAN] * 40])
    found = rank_features(days[:, None], np.isnan(days).astype(float), ["recency_days"], seed=1)
    assert scores(found, "information_gain")["recency_days"] == pytest.approx(np.log(2))


def test_a_feature_with_the_same_values_on_both_sides_scores_exactly_0():
    label = np.arange(600) % 2.0
    half = np.random.default_rng(1).normal(size=300) / 3
    same = np.column_stack([half, half[::-1]]).ravel()  # added up in another order: other last digits
    found = rank_features(same[:, None], label, ["same"], seed=42)
    for method in ("correlation", "chi_square", "information_gain"):
        assert scores(found, method)["same"] == 0, method


def test_repeated_columns_tie_and_go_by_name():
    values, label = shop(rows=400)
    twice = np.column_stack([values[:, 11], values[:, 0], values[:, 11]])
    found = rank_features(twice, label, ["z", "noise", "a"], seed=42)
    for method in ("variance", "correlation", "chi_square", "information_gain", "recursive_elimination"):
        order = [r.feature for r in found if r.method == method]
        assert order.index("a") < order.index("z"), method


def test_selection_goes_by_mean_rank_then_name():
    rows = [
        *(Ranking("lasso", n, i, s) for i, (n, s) in enumerate([("c", 0.9), ("b", 0.2), ("a", 0.0)], start=1)),
        *(Ranking("chi_square", n, i, s) for i, (n, s) in enumerate([("b", 9.0), ("c", 8.0), ("a", 0.0)], start=1)),
        Ranking("variance", "a", 1, 0.2),
    ]
    both = ("lasso", "chi_square")
    assert select(rows, keep=3, methods=both) == ["b", "c"]  # 1.5 each; a tells nothing by either
    assert select(rows, keep=1, methods=("lasso",)) == ["c"]
    assert select(rows, keep=5, methods=("variance", "lasso")) == ["c", "a", "b"]  # 1, (1 + 3) / 2, 2


@pytest.mark.parametrize(
    ("keep", "methods", "message"),
    [(0, ("lasso",), "at least 1, found 0"), (5, ("lassoo",), "found .*lassoo"), (5, (), r"found \[\]")],
)
def test_a_wrong_choice_is_a_config_error(keep, methods, message):
    with pytest.raises(ConfigError, match=message):
        select([], keep=keep, methods=methods)


def test_too_few_rows_of_a_label_are_refused():
    with pytest.raises(InputError, match="5 rows of each label, found 28 and 2"):
        rank_features(np.arange(30.0)[:, None], (np.arange(30) < 2).astype(float), ["a"], seed=1)
