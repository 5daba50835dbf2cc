"""Ratings against plain Python, NumPy's correlation and planted tastes."""

import math
from statistics import mean

import numpy as np
import pytest
from pyspark.sql import functions as F

from profiling_spark.config import Settings
from profiling_spark.errors import InputError
from profiling_spark.recommend.engines.explicit_mf import (
    biases_of,
    pearson_neighbours,
    rating_errors,
    tuned_factors,
    with_bias,
    with_factors,
)

RATED = [
    *(("u", item, rating) for item, rating in {"a": 5.0, "b": 3.0}.items()),
    *(("v", item, rating) for item, rating in {"a": 4.0, "b": 0.0, "c": 4.0}.items()),
    *(("w", item, rating) for item, rating in {"a": 1.0, "b": 2.0, "c": 1.0}.items()),
    *(("x", item, rating) for item, rating in {"a": 4.0, "c": 5.0}.items()),
]


def frame_of(spark, rows):
    return spark.createDataFrame(rows, "user_id string, item_id string, rating double")


def plain_biases(rows):
    mu = mean(r for _, _, r in rows)
    items, users = {}, {}
    for item in {i for _, i, _ in rows}:
        above = [r - mu for _, i, r in rows if i == item]
        items[item] = sum(above) / (25 + len(above))
    for user in {u for u, _, _ in rows}:
        left = [r - mu - items[i] for u, i, r in rows if u == user]
        users[user] = sum(left) / (10 + len(left))
    return lambda user, item: mu + items.get(item, 0.0) + users.get(user, 0.0)


def test_biases_are_damped_means(spark):
    known = frame_of(spark, RATED)
    asked = [("u", "c", 0.0), ("nobody", "a", 0.0), ("v", "nothing", 0.0)]
    found = with_bias(frame_of(spark, asked), *biases_of(known)).collect()
    expected = plain_biases(RATED)
    assert {(r["user_id"], r["item_id"]): r["bias"] for r in found} == {
        (u, i): pytest.approx(expected(u, i)) for u, i, _ in asked
    }


def test_similar_items_correlate_over_those_who_rated_both(spark):
    found = pearson_neighbours(frame_of(spark, RATED).repartition(3), ("a", "b", "c"), neighbours=5).collect()
    by_item = {item: {u: r for u, i, r in RATED if i == item} for item in "abc"}
    expected = {}
    for one in "abc":
        for other in "abc":
            both = sorted(by_item[one].keys() & by_item[other].keys())
            left, right = [by_item[one][u] for u in both], [by_item[other][u] for u in both]
            correlation = np.corrcoef(left, right)[0, 1]
            if one != other and correlation > 0:
                expected[one, other] = pytest.approx(correlation * len(both) / (len(both) + 100))
    assert {(r["item_id"], r["other_id"]): r["similarity"] for r in found} == expected
    assert ("a", "c") in expected
    assert ("b", "c") not in expected  # over v and w the one falls where the other rises


def test_factors_find_what_biases_cannot_say(spark):
    """Two tastes that like opposite halves of the items: every mean is the same."""
    rng = np.random.default_rng(4)
    rows = [
        (f"u{u:02d}", f"i{i:02d}", 4.0 if (u + i) % 2 else 2.0)
        for u in range(40)
        for i in rng.choice(20, 12, replace=False)
    ]
    is_test = rng.random(len(rows)) < 0.2
    train = frame_of(spark, [row for row, out in zip(rows, is_test, strict=True) if not out])
    test_rows = [row for row, out in zip(rows, is_test, strict=True) if out]
    settings = Settings.model_validate(
        {"recommend": {"explicit_mf": {"rank": 4, "iterations": 10, "regularisation": 0.01}}}
    )
    count, found = rating_errors(train, frame_of(spark, test_rows), settings)
    predicted = plain_biases([row for row, out in zip(rows, is_test, strict=True) if not out])
    off = [r - predicted(u, i) for u, i, r in test_rows]
    assert count == len(test_rows)
    assert found["biases"] == {
        "rmse": pytest.approx(math.sqrt(mean(e * e for e in off))),
        "mae": pytest.approx(mean(abs(e) for e in off)),
    }
    assert 0.9 < found["mean"]["mae"] < 1.1
    assert found["explicit_mf"]["rmse"] < 0.3
    assert found["item_cf"]["rmse"] < 0.5


def planted(seed):
    """Ratings 3 + p_u q_i + noise of 0.3 by two planted factors, of 60 customers and 30 items, 15 each."""
    rng = np.random.default_rng(seed)
    p, q = rng.normal(size=(60, 2)), rng.normal(size=(30, 2))
    return [
        (f"u{u:02d}", f"i{i:02d}", float(3 + p[u] @ q[i] + 0.3 * rng.normal()))
        for u in range(60)
        for i in rng.choice(30, 15, replace=False)
    ]


def test_its_settings_are_its_own_and_found_on_held_out_ratings(spark):
    rng = np.random.default_rng(6)
    rows = planted(6)
    is_test = rng.random(len(rows)) < 0.2
    train, test = (
        frame_of(spark, [row for row, out in zip(rows, is_test, strict=True) if out == wanted])
        .withColumn("weight", F.lit(None).cast("double"))
        .withColumn("time", F.lit(None).cast("timestamp"))
        .withColumn("event_type", F.lit(None).cast("string"))
        for wanted in (False, True)
    )
    # implicit settings that would leave nothing of the ratings: they do not count here
    start = Settings.model_validate({"recommend": {"rank": 2, "regularisation": 90.0, "als_trials": 6}})
    start = with_factors(start, {"rank": 2, "iterations": 8, "regularisation": 1.6})
    noted = []
    found = tuned_factors(train, start, share=0.25, note=noted.append)
    assert tuple(noted) == found.trials
    assert len(found.trials) <= 6
    assert found.best.values["regularisation"] <= 0.4
    assert found.best.value > found.trials[0].value
    errors = rating_errors(train, test, with_factors(start, found.best.values))[1]
    rmse = {name: off["rmse"] for name, off in errors.items()}
    assert rmse["explicit_mf"] < 0.8 * min(rmse["biases"], rmse["item_cf"])
    assert rmse["explicit_mf"] < rating_errors(train, test, start)[1]["explicit_mf"]["rmse"]


def test_a_file_without_ratings_is_refused(spark):
    rated, bare = frame_of(spark, RATED), frame_of(spark, [("u", "a", None)])
    with pytest.raises(InputError, match="expected a column rating in the test file"):
        rating_errors(rated, bare, Settings())
