"""Each step of the preparation beside scikit-learn's and SciPy's, and answers by hand."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import iqr, zscore
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.preprocessing import (
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)

from profiling_spark.config.prepare import Missing, Outliers, Prepare
from profiling_spark.prepare.encode import Encoding
from profiling_spark.prepare.fit import fit_preparation
from profiling_spark.prepare.fitted import earlier
from profiling_spark.prepare.impute import RIDGE, fit_regression, simple_fill
from profiling_spark.prepare.outliers import fit_bounds
from profiling_spark.prepare.scale import fit_scale

NAN = float("nan")


def prepared(raw: list[list[float]], names: list[str], **rules: Any) -> tuple[list[str], np.ndarray]:
    """(names of the vector, its rows), without scaling."""
    fitted = fit_preparation(np.array(raw), names, rules=Prepare.model_validate({"scaling": "none", **rules}))
    columns = [names.index(n) for n in fitted.inputs]
    return list(fitted.names), fitted.matrix(np.array(raw)[:, columns])


@pytest.mark.parametrize(
    ("strategy", "scikit"),
    [("mean", "mean"), ("median", "median"), ("mode", "most_frequent"), ("constant", "constant")],
)
def test_simple_fills_are_scikit_learns(strategy: str, scikit: str) -> None:
    values = np.array([3.0, NAN, 1.0, 1.0, 8.0, 3.0, NAN])  # 1 and 3 are equally frequent
    rule = Missing(strategy=strategy, value=-7.0 if strategy == "constant" else None)
    reference = SimpleImputer(strategy=scikit, fill_value=-7.0).fit_transform(values[:, None])[:, 0]

    fill = simple_fill("views_30d", values[~np.isnan(values)], rule)

    np.testing.assert_allclose(np.where(np.isnan(values), fill, values), reference)


def test_a_regression_is_scikit_learns_ridge_of_standardised_features() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(5, 3, 60), rng.normal(0, 9, 60)
    target = 2 * a - 0.5 * b + rng.normal(size=60)
    a[:4], target[10:20] = NAN, NAN
    filled = np.column_stack([np.where(np.isnan(a), 5.0, a), b])
    rows = ~np.isnan(target)
    z = StandardScaler().fit(filled[rows])
    reference = Ridge(alpha=RIDGE).fit(z.transform(filled[rows]), target[rows])

    found = fit_regression(target, {"a": a, "b": b}, {"a": 5.0, "b": 0.0})

    expected = np.clip(reference.predict(z.transform(filled)), target[rows].min(), target[rows].max())
    np.testing.assert_allclose(found.values({"a": a, "b": b}), expected)


def test_a_model_fills_what_follows_from_the_other_features_and_few_rows_fall_back() -> None:
    rows = [[float(i), 2.0 * i] for i in range(100)] + [[30.0, NAN]]
    rule = {"missing": {"strategy": "model", "otherwise": "mean"}}

    _, found = prepared(rows, ["a", "b"], columns={"b": rule})
    _, fallback = prepared([[1.0, 5.0], [2.0, 8.0], [3.0, NAN]], ["a", "b"], columns={"b": rule})

    assert found[-1, 1] == pytest.approx(60, abs=1)  # the ridge shrinks it a little
    assert fallback[-1, 1] == 6.5


def test_forward_fill_takes_the_earlier_value_then_its_other_strategy() -> None:
    rule = {"missing": {"strategy": "forward_fill", "otherwise": "mean", "flag": True}}

    names, found = prepared([[1.0, 9.0], [NAN, 9.0], [NAN, NAN], [5.0, NAN]], ["a", earlier("a")], columns={"a": rule})

    assert names == ["a", "a missing"]
    assert found.tolist() == [[1.0, 0.0], [9.0, 1.0], [3.0, 1.0], [5.0, 0.0]]


def test_a_flag_that_never_varies_is_dropped_with_a_note() -> None:
    fitted = fit_preparation(np.array([[1.0], [2.0]]), ["a"], rules=Prepare(missing=Missing(flag=True)))

    assert fitted.names == ("a",)
    assert fitted.dropped == {"a missing": "the same value for every customer"}


def test_iqr_fences_by_hand_and_by_scipy() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 100.0])  # quartiles 2.25 and 4.75

    bounds = fit_bounds(values, Outliers(method="iqr"))

    assert (bounds.low, bounds.high) == (-1.5, 8.5)
    assert bounds.high - np.quantile(values, 0.75) == 1.5 * iqr(values)
    assert bounds.treated_values(np.array([NAN, 100.0]))[1] == 8.5


def test_z_scores_are_scipys() -> None:
    values = np.random.default_rng(1).normal(10, 2, 500)

    bounds = fit_bounds(values, Outliers(method="z_score", factor=2.5, action="null"))

    np.testing.assert_array_equal(bounds.outside_values(values), np.abs(zscore(values)) > 2.5)
    np.testing.assert_array_equal(np.isnan(bounds.treated_values(values)), np.abs(zscore(values)) > 2.5)


def test_fences_of_mostly_equal_counts_are_left_out() -> None:
    assert fit_bounds(np.array([0.0, 0.0, 0.0, 0.0, 9.0]), Outliers(method="iqr")) is None


def test_outliers_are_clipped_for_segments_and_left_for_the_forest_unless_told_otherwise() -> None:
    raw = np.array([[float(n % 2)] for n in range(99)] + [[1000.0]])
    high = raw.mean() + 5 * raw.std()

    segments, forest = (
        fit_preparation(raw, ["a"], rules=Prepare(scaling="none"), standardise=standardise).matrix(raw)
        for standardise in (True, False)
    )

    assert segments[:, 0].tolist() == pytest.approx([*raw[:99, 0], high])
    np.testing.assert_array_equal(forest, raw)
    own = Prepare.model_validate({"scaling": "none", "columns": {"a": {"outliers": {"method": "none"}}}})
    np.testing.assert_array_equal(fit_preparation(raw, ["a"], rules=own).matrix(raw), raw)


def test_outliers_that_become_missing_are_filled_and_flagged_ones_stay() -> None:
    rows = [[v] for v in (1.0, 2.0, 3.0, 4.0, 5.0, 100.0)]

    names, nulled = prepared(rows, ["a"], outliers={"method": "iqr", "action": "null"})
    flagged_names, flagged = prepared(rows, ["a"], outliers={"method": "iqr", "action": "flag"})

    assert names == ["a"]
    assert nulled[-1, 0] == 3.0  # the median of what is left
    assert flagged_names == ["a", "a outlier"]
    assert flagged[-1].tolist() == [100.0, 1.0]
    assert flagged[:-1, 1].sum() == 0


@pytest.mark.parametrize(
    ("method", "reference"),
    [("standard", StandardScaler()), ("min_max", MinMaxScaler()), ("robust", RobustScaler())],
)
@pytest.mark.parametrize("values", [[1.0, 4.0, 2.0, 50.0, -3.0], [0.0, 0.0, 0.0, 0.0, 0.0, 9.0]])
def test_scalings_are_scikit_learns(method: Any, reference: Any, values: list[float]) -> None:
    column = np.array(values)

    scale = fit_scale(column, method)

    np.testing.assert_allclose(scale.values(column), reference.fit_transform(column[:, None])[:, 0])
    np.testing.assert_allclose(scale.raw(scale.values(column)), column)


def test_one_hot_is_scikit_learns_with_unknown_categories_ignored() -> None:
    seen, new = ["web", "app", "web"], ["app", "shop", "web"]
    reference = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(np.array(seen)[:, None])
    encoding = Encoding("channel", "one_hot", ("app", "web"))

    assert encoding.names == ("channel=app", "channel=web")
    np.testing.assert_array_equal(encoding.values(new), reference.transform(np.array(new)[:, None]))
    assert encoding.values([None]).tolist() == [[0.0, 0.0]]


def test_ordinal_is_scikit_learns_with_minus_one_for_unknown_categories() -> None:
    order = ("under 18", "18-25", "over 65")
    reference = OrdinalEncoder(categories=[list(order)], handle_unknown="use_encoded_value", unknown_value=-1)
    texts = ["18-25", "over 65", "26-35", "under 18"]

    found = Encoding("age_band", "ordinal", order).values([*texts, None])

    np.testing.assert_array_equal(found[:4], reference.fit([["18-25"]]).transform([[t] for t in texts]))
    assert np.isnan(found[4, 0])


def test_binary_is_0_and_1_and_anything_else_is_missing() -> None:
    found = Encoding("gender_code", "binary", ("0", "1")).values(["0", "1", "7", None])

    np.testing.assert_array_equal(found[:, 0], [0.0, 1.0, NAN, NAN])
