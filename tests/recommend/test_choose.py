"""The comparison of engines: halves, groups and both protocols, against plain Python on a small shop."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import functions as F

from profiling_spark.config import load_settings
from profiling_spark.contracts.operations import EVERYONE
from profiling_spark.recommend.engines.own_history import OwnHistorySide
from profiling_spark.recommend.engines.popular import PopularSide
from profiling_spark.recommend.judge.choose import (
    NEW_PAIRS,
    SEARCHED,
    TEST,
    VALIDATION,
    history_counts,
    judged_customers,
    light_to,
    with_searched,
)
from profiling_spark.recommend.judge.evaluate import Evaluated, Figures, Training, evaluate
from profiling_spark.recommend.judge.figures import figure_rows
from profiling_spark.recommend.judge.intervals import STEPS, Paired, paired_sums, poisson_weights
from profiling_spark.recommend.judge.protocols import ALL_ITEMS, AS_SERVED, NEW_ITEMS, with_masks

ITEMS = ("a", "b", "c", "d", "e", "f")
# user: (items before the split, items after it); with 3 items or fewer a customer is new
SHOP = {
    "ann": ("abc", "ad"),
    "bob": ("abcd", "e"),
    "cat": ("abcdf", "abe"),
    "dan": ("abcde", "f"),
    "eve": ("f", "a"),
    "fay": ("", "a"),  # nothing to learn from: cannot be judged
    "gus": ("ab", ""),  # nothing to be found
}
BOUGHT = {"ann": "a", "bob": "abcd", "cat": "af", "dan": "e"}  # of the items before the split
SCHEMA = (
    "user_id string, item_id string, train_units long, is_train boolean, is_masked boolean, is_truth boolean, "
    "is_test boolean"
)
GENDER = {"ann": 1, "bob": 0, "cat": 1}
UNIT = 2**20


@pytest.fixture(scope="module")
def pairs(spark):
    rows = []
    for user, (before, after) in SHOP.items():
        for item in sorted({*before, *after}):
            is_train, is_test = item in before, item in after
            units = UNIT if is_train else None
            rows.append((user, item, units, is_train, item in BOUGHT.get(user, ""), is_test and not is_train, is_test))
    frame = spark.createDataFrame(rows, SCHEMA).withColumns({"is_bought": F.col("is_masked"), "category": F.lit(None)})
    return with_masks(frame).coalesce(1).persist()


def training():
    taken = np.array([sum(item in before for before, _ in SHOP.values()) for item in ITEMS])
    return Training(ITEMS, taken > 0, taken, 6)


def plain_recall(users, ranked, protocol):
    """Mean over the users of the share of their truth in `ranked`, which is the same for all; 6 items fit in a list."""
    found = []
    for user in users:
        before, after = SHOP[user]
        masked = {NEW_ITEMS: before, AS_SERVED: BOUGHT.get(user, ""), ALL_ITEMS: ""}[protocol]
        truth = [item for item in after if item not in masked]
        if before and truth:
            offered = [item for item in ranked if item not in masked][:5]
            found.append(sum(item in offered for item in truth) / len(truth))
    return np.mean(found)


def test_groups_are_judged_on_their_own_customers(spark, pairs):
    taken = training().customers_of
    ranked = [ITEMS[n] for n in sorted(range(6), key=lambda n: (-taken[n], n))]
    of = {"ann": [TEST, "female"], "cat": [TEST, "female"], "bob": [TEST], "eve": [VALIDATION], "fay": [TEST]}
    customers = spark.createDataFrame(list(of.items()), "user_id string, groups array<string>")
    sides = {"popular": PopularSide(taken.astype(float)), "own_history": OwnHistorySide(6)}
    every = (NEW_ITEMS, AS_SERVED, ALL_ITEMS)
    found = evaluate(pairs, sides, training(), every, customers)
    for protocol in every:
        alone = evaluate(pairs, sides, training(), (protocol,), customers)
        assert {name for name, _, _ in alone.figures} == {protocol.name}
        assert alone.figures.items() <= found.figures.items()
        for group in (TEST, VALIDATION, "female"):
            members = [user for user, groups in of.items() if group in groups and user != "fay"]
            figures = found.of(protocol, group)["popular"]
            assert figures.users == len(members)
            assert figures.values["recall@5"] == pytest.approx(plain_recall(members, ranked, protocol))
    # by hand: what ann bought is out, the rest of what she saw is in; of cat's truth a is out
    assert plain_recall(["ann"], ranked, AS_SERVED) == 1
    again = evaluate(pairs, sides, training(), (ALL_ITEMS,)).of(ALL_ITEMS, EVERYONE)["own_history"]
    # cat took a and b again: 2 of her 3
    assert again.values["recall@5"] == pytest.approx(np.mean([1 / 2, 0, 2 / 3, 0, 0]))
    assert again.values["share_served"] == 1
    served = evaluate(pairs, sides, training(), (AS_SERVED,)).of(AS_SERVED, EVERYONE)["own_history"]
    # a is bought: of cat's b and e she had seen b; ann has d left, which she never saw
    assert served.values["recall@5"] == pytest.approx(np.mean([0, 0, 1 / 2, 0, 0]))


def test_gains_are_paired_over_the_same_customers(spark, pairs):
    """Every customer's own NDCG, from evaluations of one customer at a time, against the sums of all."""
    taken = training().customers_of.astype(float)
    sides = {"popular": PopularSide(taken), "last": PopularSide(7 - taken)}
    whole = evaluate(pairs.repartition(3, "user_id"), sides, training(), (ALL_ITEMS,), replicates=40)
    own = {}
    for user in SHOP:
        one = evaluate(pairs.where(f"user_id = '{user}'"), sides, training(), (ALL_ITEMS,)).of(ALL_ITEMS, EVERYONE)
        if one:
            own[user] = [one[name].ndcg for name in sides]
    values = np.array(list(own.values()))
    paired = whole.paired["all_items", EVERYONE]
    gain = paired.gain("popular", "last")
    difference = values[:, 0] - values[:, 1]
    assert (paired.engines, paired.users) == (("popular", "last"), 5)
    assert gain.mean == pytest.approx(difference.mean(), abs=1e-5)
    half = 2.776445 * difference.std(ddof=1) / np.sqrt(5)
    assert (gain.low, gain.high) == pytest.approx((gain.mean - half, gain.mean + half), abs=1e-5)
    drawn = poisson_weights(list(own), 40).astype(float)
    expected = (drawn * values[:, [0]]).sum(axis=0) / drawn.sum(axis=0)
    assert whole.of(ALL_ITEMS, EVERYONE)["popular"].replicates["ndcg@20"] == pytest.approx(expected, abs=1e-5)


def test_what_a_customer_gave_back_is_no_new_item(spark, pairs):
    """bob had bought f and given it back: it is no history, and all the same he has seen it."""
    given_back = spark.createDataFrame([("bob", "f", 0, False, True, False, False)], SCHEMA)
    given_back = with_masks(given_back.withColumns({"is_bought": F.lit(False), "category": F.lit(None)}))
    rows = pairs.where("user_id = 'bob'").unionByName(given_back).coalesce(1)
    taken = training().customers_of
    assert taken[5] > taken[4]  # f is more popular than e, the one item that he took then
    found = evaluate(rows, {"popular": PopularSide(taken.astype(float))}, training(), (NEW_ITEMS, AS_SERVED))
    assert found.of(NEW_ITEMS, EVERYONE)["popular"].values["mrr@5"] == 1
    assert found.of(AS_SERVED, EVERYONE)["popular"].values["mrr@5"] == 1


def test_a_customer_is_in_one_half_and_in_the_groups_that_fit(spark, pairs):
    attributes = spark.createDataFrame(
        [(u, GENDER.get(u), "26-35" if u == "bob" else None) for u in SHOP],
        "user_id string, gender_code int, age_band string",
    )
    counts = history_counts(pairs)
    assert counts.tolist() == [0, 1, 1, 1, 1, 2]
    asked = load_settings([], ["seed=5"])
    found = {r["user_id"]: r["groups"] for r in judged_customers(pairs, asked, attributes, counts=counts).collect()}
    assert found.keys() == SHOP.keys() - {"fay", "gus"}
    few = load_settings([], ["seed=5", "recommend.evaluation_users=3"])
    first = [r["user_id"] for r in judged_customers(pairs, few, attributes, counts=counts).collect()]
    assert first == list(found)[:3]
    expected = {
        "ann": ["new", "female"],
        "bob": ["light", "male", "age 26-35"],
        "cat": ["heavy", "female"],
        "dan": ["heavy"],
        "eve": ["new"],
    }
    tested = {user: groups for user, groups in found.items() if groups != [VALIDATION]}
    assert 0 < len(tested) < len(found)
    assert tested == {user: [TEST, *expected[user]] for user in tested}


@given(st.lists(st.sampled_from([(VALIDATION,), (TEST, "new"), (TEST,)]), max_size=400))
def test_every_second_one_who_chooses_is_there_for_the_search(groups):
    frame = pl.DataFrame(
        {"user_id": [f"u{n}" for n in range(len(groups))], "groups": [list(g) for g in groups]},
        schema={"user_id": pl.String, "groups": pl.List(pl.String)},
    )
    found = with_searched(frame)
    choosing = [n for n, g in enumerate(groups) if g == (VALIDATION,)]
    searched = choosing[1::2] if len(choosing) >= 100 else []
    expected = [[SEARCHED] if n in searched else list(g) for n, g in enumerate(groups)]
    assert found["groups"].to_list() == expected
    assert found["user_id"].to_list() == frame["user_id"].to_list()


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_light_customers_end_at_the_lower_median(sizes):
    known = sorted(size for size in sizes if size > NEW_PAIRS)
    found = light_to(np.bincount(sizes))
    assert found == (known[(len(known) - 1) // 2] if known else NEW_PAIRS)


def test_rows_have_every_figure_of_the_halves_and_the_ranking_of_groups():
    values = {"recall@20": 0.5, "coverage@5": 0.25}
    found = {
        ("new_items", "als", TEST): Figures(8, 8, values),
        ("new_items", "als", "new"): Figures(2, 2, values),
        ("all_items", "als", VALIDATION): Figures(9, 9, values),
    }
    sums = paired_sums(np.array([[STEPS // 2, STEPS // 4], [STEPS // 4, 0]]))
    pairs = {("as_served", VALIDATION): Paired(("als", "popular"), 2, *sums)}
    found |= {("as_served", name, VALIDATION): Figures(2, 2, values) for name in ("als", "popular")}
    made = figure_rows(Evaluated(found, pairs))
    rows = {(r.split, r.customers, r.metric): (r.value, r.rows) for r in made if r.model == "als"}
    assert rows["validation_as_served", EVERYONE, "ndcg_gain_at_20"] == (0.25, 2)
    assert rows["validation_as_served", EVERYONE, "ndcg_gain_low_at_20"] == (0.25, 2)
    assert not [r for r in made if r.model == "popular" and "gain" in r.metric]
    assert rows["test", EVERYONE, "recall_at_20"] == (0.5, 8)
    assert rows["test", EVERYONE, "coverage_at_5"] == (0.25, 8)
    assert rows["test", "new", "recall_at_20"] == (0.5, 2)
    assert ("test", "new", "coverage_at_5") not in rows
    assert rows["validation_all_items", EVERYONE, "ndcg_at_10"] == (None, 9)
    assert {r.rows for r in figure_rows(Evaluated())} == {0}
