"""Preparation: what is filled, what is dropped, and that Spark and NumPy do the same."""

import json

import numpy as np
import pytest
from pyspark.sql import SparkSession

from profiling_spark.config import Settings
from profiling_spark.errors import ConfigError, ModelError
from profiling_spark.prepare import Preparation, collect_sample, numeric_features
from profiling_spark.prepare.fit import fit_preparation
from profiling_spark.prepare.impute import never_happened

NAN = float("nan")


def test_missing_is_the_median_and_never_happened_is_longer_than_anyone() -> None:
    raw = np.array([[1.0, 5.0], [2.0, NAN], [9.0, 7.0], [NAN, 40.0]])

    fitted = fit_preparation(raw, ["views_30d", "recency_days"], standardise=False)

    assert fitted.matrix(raw)[3, 0] == 2.0
    assert fitted.matrix(raw)[1, 1] == 41.0


def test_a_configured_recency_that_never_happened_is_longer_than_anyone_too() -> None:
    settings = Settings.model_validate(
        {
            "custom_features": [
                {
                    "name": "ad_days",
                    "measure": "recency",
                    "event_types": ["ad_click"],
                    "unit": "days",
                    "description": "d",
                },
                {"name": "ads", "measure": "count", "event_types": ["ad_click"], "unit": "ads", "description": "d"},
            ]
        }
    )
    raw = np.array([[5.0, 5.0], [NAN, NAN], [7.0, 7.0], [40.0, 40.0]])

    fitted = fit_preparation(
        raw, ["ad_days", "ads_30d"], standardise=False, never=never_happened(settings.custom_features)
    )

    assert fitted.matrix(raw)[1].tolist() == [41.0, 7.0]
    assert "recency_days" in never_happened(settings.custom_features)


def test_features_that_say_nothing_are_dropped_with_a_note() -> None:
    raw = np.array([[1.0, NAN, 3.0], [2.0, NAN, 3.0]])

    fitted = fit_preparation(raw, ["a", "b", "c"])

    assert fitted.names == ("a",)
    assert fitted.dropped == {"b": "no customer has a value", "c": "the same value for every customer"}


def test_skewed_features_go_through_the_signed_logarithm() -> None:
    skewed = np.array([-1.0, 0.0, 1.0, 2.0, 3.0, 1000.0])
    even = np.arange(6.0)

    fitted = fit_preparation(np.column_stack([skewed, even]), ["skewed", "even"])

    assert [f.scale.log for f in fitted.features] == [True, False]
    prepared = fitted.matrix(np.column_stack([skewed, even]))
    np.testing.assert_allclose(prepared.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(prepared.std(axis=0), 1)
    logs = np.sign(skewed) * np.log1p(np.abs(skewed))
    np.testing.assert_allclose(prepared[:, 0], (logs - logs.mean()) / logs.std())


def test_raw_is_the_inverse_of_matrix() -> None:
    raw = np.array([[-3.0, 1.0], [500.0, 2.0], [0.0, 3.0], [2.0, 4.0], [1.0, 5.0]])
    fitted = fit_preparation(raw, ["a", "b"])

    np.testing.assert_allclose(fitted.raw(fitted.matrix(raw)), raw, atol=1e-9)


def test_it_survives_json() -> None:
    fitted = fit_preparation(np.array([[1.0, NAN], [2.0, NAN]]), ["a", "b"])

    assert Preparation.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted


def test_another_form_of_json_is_a_model_error() -> None:
    with pytest.raises(ModelError, match="preparation"):
        Preparation.from_json({"features": [{"nom": "a"}]})


def test_spark_expressions_and_numpy_give_the_same(spark: SparkSession) -> None:
    rows = [("a", 1, -5.0), ("b", None, 900.0), ("c", 7, None), ("d", 3, NAN), ("e", 4, 1.0), ("f", 5, 2.0)]
    frame = spark.createDataFrame(rows, "user_id string, recency_days int, net_amount_30d double").coalesce(1)
    names = ["recency_days", "net_amount_30d"]
    raw = np.array([[NAN if v is None else v for v in r[1:]] for r in rows], dtype=np.float64)
    fitted = fit_preparation(raw, names)

    found = frame.select(*fitted.columns()).toPandas().to_numpy()

    np.testing.assert_allclose(found, fitted.matrix(raw), rtol=1e-12)


def test_a_sample_is_the_same_in_any_partitions_and_exact_below_the_limit(spark: SparkSession) -> None:
    frame = spark.range(500).selectExpr("concat('u', id) AS user_id", "cast(id AS decimal(28,4)) AS a")

    whole = collect_sample(frame, ["a"], rows=500)
    part = collect_sample(frame.repartition(7), ["a"], rows=500, limit=100, extra=["user_id"])

    assert sorted(whole.raw[:, 0]) == list(range(500))
    assert 60 <= len(part) <= 140
    again = collect_sample(frame.coalesce(1), ["a"], rows=500, limit=100, extra=["user_id"])
    assert part.extra["user_id"].tolist() == again.extra["user_id"].tolist()
    np.testing.assert_array_equal(part.raw, again.raw)


def test_a_feature_that_is_no_number_is_a_config_error(spark: SparkSession) -> None:
    frame = spark.createDataFrame([], "user_id string, views_30d bigint, city string")

    with pytest.raises(ConfigError, match=r"segments\.features.*city \(string\), typo \(no such column\)"):
        numeric_features(frame, ["views_30d", "city", "typo"], setting="segments.features")
