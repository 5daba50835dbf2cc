"""Principal components: beside NumPy's SVD and scikit-learn, signs that never turn, and the stored form."""

import json

import numpy as np
import pytest
from sklearn.decomposition import PCA

from profiling_spark.errors import InputError, ModelError
from profiling_spark.prepare.fit import fit_preparation
from profiling_spark.prepare.reduce import Reduction, fit_reduction
from profiling_spark.segments.assign import squared_distances


def prepared(rows=500, features=12, seed=2):
    """Standardised features of three hidden traits and some noise."""
    rng = np.random.default_rng(seed)
    traits = rng.normal(size=(rows, 3)) * [3.0, 2.0, 1.0]
    raw = traits @ rng.normal(size=(3, features)) + 0.5 * rng.normal(size=(rows, features))
    return fit_preparation(raw, [f"f{j}" for j in range(features)]).matrix(raw)


@pytest.mark.parametrize("components", [5, 10])
def test_it_agrees_with_scikit_learn_up_to_sign(components):
    matrix = prepared()
    reference = PCA(components).fit(matrix)

    found = fit_reduction(matrix, components=components)

    signs = np.sign((np.array(found.loadings) * reference.components_).sum(axis=1))
    np.testing.assert_allclose(found.loadings, reference.components_ * signs[:, None], atol=1e-8)
    np.testing.assert_allclose(found.explained_variance_ratio, reference.explained_variance_ratio_, rtol=1e-8)
    np.testing.assert_allclose(found.transform(matrix), reference.transform(matrix) * signs, atol=1e-8)


def test_components_are_uncorrelated_and_their_variance_is_that_of_the_singular_values():
    matrix = prepared()
    singular = np.linalg.svd(matrix - matrix.mean(axis=0), compute_uv=False)

    reduced = fit_reduction(matrix, components=5).transform(matrix)

    np.testing.assert_allclose(np.cov(reduced.T), np.diag(singular[:5] ** 2 / (len(matrix) - 1)), atol=1e-9)


def test_new_rows_are_placed_by_the_mean_of_the_fitted_ones():
    matrix = prepared() + 3.0
    found = fit_reduction(matrix, components=5)
    np.testing.assert_allclose(found.transform(matrix.mean(axis=0, keepdims=True)), np.zeros((1, 5)), atol=1e-9)
    np.testing.assert_allclose(found.transform(matrix[:1]), found.transform(matrix)[:1], atol=1e-12)


def test_the_largest_loading_is_positive_and_turning_the_data_turns_nothing():
    matrix = prepared()
    found = np.array(fit_reduction(matrix, components=5).loadings)
    assert (found[np.arange(5), np.abs(found).argmax(axis=1)] > 0).all()
    np.testing.assert_allclose(np.array(fit_reduction(-matrix, components=5).loadings), found, atol=1e-9)


def test_of_equally_large_loadings_the_first_is_positive():
    x = np.array([1.0, -2.0, 3.0, -2.0])
    found = fit_reduction(np.column_stack([x, -x]), components=1)
    np.testing.assert_allclose(found.loadings, [[np.sqrt(0.5), -np.sqrt(0.5)]])
    assert found.explained_variance_ratio == pytest.approx((1.0,))


def test_no_more_components_than_directions():
    x = np.array([[1.0, 2.0, 1.0], [2.0, 1.0, 2.0], [4.0, 9.0, 4.0], [0.0, 3.0, 0.0]])  # the third repeats the first
    found = fit_reduction(x, components=10)
    assert found.names == ("component_1", "component_2")
    assert sum(found.explained_variance_ratio) == pytest.approx(1)
    distances = np.linalg.norm(x[:, None] - x[None], axis=2)
    reduced = found.transform(x)
    np.testing.assert_allclose(np.linalg.norm(reduced[:, None] - reduced[None], axis=2), distances, atol=1e-9)


def test_restored_rows_have_the_same_components_and_the_nearest_centre_is_the_same_in_both_spaces():
    matrix = prepared()
    found = fit_reduction(matrix, components=5)
    centres = found.restored(found.transform(matrix[:4]))

    np.testing.assert_allclose(found.transform(centres), found.transform(matrix[:4]), atol=1e-9)
    among_components = squared_distances(found.transform(matrix), found.transform(centres)).argmin(axis=1)
    np.testing.assert_array_equal(squared_distances(matrix, centres).argmin(axis=1), among_components)


def test_it_survives_json():
    found = fit_reduction(prepared(), components=5)
    assert Reduction.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"mean": [0.0], "loadings": "x", "explained_variance_ratio": [1.0]},
        {"mean": [0.0, 0.0], "loadings": [[1.0]], "explained_variance_ratio": [1.0]},
        {"mean": [0.0], "loadings": [[1.0]], "explained_variance_ratio": [0.5, 0.5]},
    ],
)
def test_another_form_of_json_is_a_model_error(stored):
    with pytest.raises(ModelError, match="reduction"):
        Reduction.from_json(stored)


def test_another_number_of_features_is_a_model_error():
    with pytest.raises(ModelError, match="expected 12 prepared features, found 3"):
        fit_reduction(prepared(), components=5).transform(np.zeros((2, 3)))


def test_nothing_that_varies_is_refused():
    with pytest.raises(InputError, match="found 4 equal rows"):
        fit_reduction(np.ones((4, 3)), components=5)
