"""ALS fitted in this process, its judge, and the trials, against plain NumPy, MLlib and planted tastes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from pyspark.ml.recommendation import ALS

from profiling_spark.config import Settings
from profiling_spark.contracts.operations import EVERYONE
from profiling_spark.recommend.engines.als import FactorSide
from profiling_spark.recommend.engines.als_here import Learned, fit_here, learned
from profiling_spark.recommend.engines.als_tuning import Split, tuned_als, tuning_facts, tuning_lines
from profiling_spark.recommend.judge.evaluate import Training, evaluate
from profiling_spark.recommend.judge.in_process import judge_of
from profiling_spark.recommend.judge.protocols import ALL_ITEMS, NEW_ITEMS, as_served, with_masks
from profiling_spark.recommend.matrix.item_side import padded_blocks

UNIT = 2**20
SCHEMA = (
    "user_id string, item_id string, train_units long, is_train boolean, is_truth boolean, is_test boolean, "
    "is_masked boolean"
)


def settings_of(**recommend):
    return Settings.model_validate({"recommend": recommend})


def sparse_pairs(users, items, each, *, seed):
    rng = np.random.default_rng(seed)
    rows = [
        (u, int(i), float(rng.integers(1, 6))) for u in range(users) for i in rng.choice(items, each, replace=False)
    ]
    return sorted(rows)


def test_one_pass_solves_each_items_normal_equation():
    rows = sparse_pairs(7, 5, 2, seed=3)
    users, items, weights = (np.array(column) for column in zip(*rows, strict=True))
    asked = settings_of(rank=3, iterations=1, regularisation=0.3, alpha=2.0).recommend
    found = fit_here(Learned(users, items, weights, 6), asked, seed=9)
    x = np.random.default_rng(9).normal(size=(7, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    expected = np.zeros((6, 3))
    for item in range(6):
        own = [(u, w) for u, i, w in rows if i == item]
        normal = x.T @ x + 0.3 * len(own) * np.eye(3) + sum(2.0 * w * np.outer(x[u], x[u]) for u, w in own)
        expected[item] = np.linalg.solve(normal, sum(((1 + 2.0 * w) * x[u] for u, w in own), start=np.zeros(3)))
    # the factors are turned to their principal axes: products stay
    assert found @ found.T == pytest.approx(expected @ expected.T, abs=1e-5)
    assert found[5].tolist() == [0, 0, 0]  # which nobody took


def test_it_comes_to_what_mllib_comes_to(spark):
    """Two tastes, of 7 and 5 items, so that there is one best pair of factors; from other first factors."""
    rng = np.random.default_rng(5)
    taken = [(u, int(i)) for u in range(40) for i in (rng.permutation(7)[:4] if u % 3 else 7 + rng.permutation(5)[:3])]
    rows = sorted((u, i, float(rng.integers(1, 6))) for u, i in taken)
    frame = spark.createDataFrame(rows, "user int, item int, rating float").coalesce(1)
    theirs = ALS(
        userCol="user", itemCol="item", ratingCol="rating", implicitPrefs=True, rank=2, maxIter=12, regParam=0.2,
        alpha=1.5, seed=1, numUserBlocks=1, numItemBlocks=1,
    ).fit(frame)  # fmt: skip
    factors = {r["id"]: r["features"] for r in theirs.itemFactors.collect()}
    users, items, weights = (np.array(column) for column in zip(*rows, strict=True))
    asked = settings_of(rank=2, iterations=12, regularisation=0.2, alpha=1.5).recommend
    ours = fit_here(Learned(users, items, weights, 12), asked, seed=1)
    expected = np.array([factors[i] for i in range(12)], dtype=np.float32)
    # the length of items' factors against customers' is free for a while: scores are not
    for _, block in padded_blocks(users, items, weights, rows=99):
        found, wanted = (
            FactorSide(one, alpha=1.5, regularisation=0.2).score(block).block() for one in (ours, expected)
        )
        assert found == pytest.approx(wanted, abs=0.01)
        assert wanted.max() > 0.7


def test_rows_are_numbered_by_id_whatever_their_order():
    rows = pa.table({"user_id": ["v", "u", "v"], "item_id": ["c", "c", "a"], "units": [UNIT, 2 * UNIT, UNIT // 2]})
    found = learned(rows, ("a", "b", "c"), units="units")
    assert (found.users.tolist(), found.places.tolist()) == ([0, 1, 1], [2, 0, 2])
    assert (found.weights.tolist(), found.items) == ([2, 0.5, 1], 3)


def shop(spark, *, customers, groups=4, items=16, seed=1):
    """Customers who take items of one group only, which say nothing by how popular they are: 5 to learn, 2 to find."""
    rng = np.random.default_rng(seed)
    rows = []
    for c in range(customers):
        taken = rng.choice(items, 7, replace=False)
        rows += [
            (f"u{c:03d}", f"g{c % groups}i{i:02d}", UNIT if n < 5 else None, n < 5, n >= 5, n >= 5, n < 2)
            for n, i in enumerate(taken)
        ]
    return with_masks(spark.createDataFrame(rows, SCHEMA)).repartition(3, "user_id").persist()


def ids(pairs):
    return pl.DataFrame(pairs.select("user_id").distinct().toArrow())["user_id"]


def split_of(pairs, *, train_pairs=100, asked=None):
    asked = ids(pairs) if asked is None else asked
    items = tuple(sorted(r["item_id"] for r in pairs.select("item_id").distinct().collect()))
    return Split(pairs, items, np.ones(len(items), dtype=bool), "is_train", train_pairs, NEW_ITEMS, asked)


def judge_for(split, asked, protocol=NEW_ITEMS):
    return judge_of(split.pairs, asked, split.items, split.is_offered, protocol)


def test_the_judge_says_what_the_comparison_says(spark):
    pairs = shop(spark, customers=60)
    split = split_of(pairs)
    is_offered = split.is_offered.copy()
    is_offered[::5] = False
    split = replace(split, is_offered=is_offered)
    factors = np.random.default_rng(2).normal(size=(len(split.items), 4)).astype(np.float32)
    factors[3] = 0
    side = FactorSide(factors, alpha=1.0, regularisation=0.1)
    judged = ids(pairs.where("user_id < 'u045'"))
    taken = np.ones(len(split.items), dtype=np.int64)
    protocols = (NEW_ITEMS, as_served(0.25), ALL_ITEMS)
    training = Training(split.items, is_offered, taken, 60)
    theirs = evaluate(pairs.where("user_id < 'u045'"), {"als": side}, training, protocols)
    for protocol in protocols:
        judge, expected = judge_for(split, judged, protocol), theirs.of(protocol, EVERYONE)["als"]
        assert judge.customers == expected.users == 45
        assert judge.ndcg(side) == pytest.approx(expected.ndcg, abs=1e-9)
        assert 0 < judge.ndcg(side) < 1
    assert len({f.ndcg for f in theirs.figures.values()}) == 3


def test_who_has_no_history_or_nothing_to_find_is_not_asked(spark):
    rows = [
        ("ann", "a", UNIT, True, False, False, True), ("ann", "b", None, False, True, True, False),
        ("bob", "a", UNIT, True, False, False, True), ("cat", "a", None, False, True, True, False),
    ]  # fmt: skip
    pairs = with_masks(spark.createDataFrame(rows, SCHEMA))
    assert judge_for(split_of(pairs), ids(pairs)).customers == 1


MODULE = "profiling_spark.recommend.engines.als_tuning"
POOR = {"rank": 2, "iterations": 2, "regularisation": 40.0, "alpha": 0.01}


@pytest.mark.parametrize("way", ["here", "mllib"])
def test_trials_find_better_settings_in_their_budget(spark, way):
    pairs = shop(spark, customers=80)
    most = 12 if way == "here" else 4
    settings = settings_of(**POOR, als_trials=most, **({} if way == "here" else {"als_pairs": 0}))
    noted = []
    found = tuned_als(split_of(pairs), settings, note=noted.append)
    assert tuple(noted) == found.trials
    assert found.trials[0].values == POOR
    assert len(found.trials) <= most
    assert found.best.value == max(trial.value for trial in found.trials)
    assert found.best.value > (1.3 if way == "here" else 1.1) * found.trials[0].value
    facts = tuning_facts({"als": found})
    assert facts["als"] == found.best.values
    assert facts["als_trials"][0] == {**POOR, "ndcg_at_20": round(found.trials[0].value, 5)}
    (line,) = tuning_lines({"als": found})
    assert f"{len(found.trials)} trials" in line


def test_nightly_trials_learn_from_a_sample_of_the_customers(spark, monkeypatch):
    """Of each customer in it all pairs, the same ones each time; no trial is MLlib's, however large the shop."""
    pairs, seen = shop(spark, customers=80), []
    monkeypatch.setattr(f"{MODULE}.SAMPLE_PAIRS", 160)  # of 400: two customers of five
    monkeypatch.setattr(f"{MODULE}.fit_als", None)

    def fitted(known, asked, *, seed):
        seen.append(known)
        return fit_here(known, asked, seed=seed)

    monkeypatch.setattr(f"{MODULE}.fit_here", fitted)
    split = replace(split_of(pairs, train_pairs=400), is_sampled=True)
    assert tuned_als(split, settings_of(**POOR, als_trials=2, als_pairs=0)) is not None
    (sizes,) = {tuple(np.bincount(known.users).tolist()) for known in seen}
    assert set(sizes) == {5}
    assert 20 <= len(sizes) <= 44


def test_no_trials_where_none_are_wanted_or_too_few_can_tell(spark):
    pairs = shop(spark, customers=10)
    assert tuned_als(split_of(pairs), settings_of(als_trials=0)) is None
    assert tuned_als(split_of(pairs), settings_of()) is None
    assert tuned_als(split_of(pairs), settings_of(als_trials=1), least_customers=10) is not None
    assert (tuning_facts({}), tuning_lines({})) == ({}, [])
