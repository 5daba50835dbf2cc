"""The comparison of engines: halves, groups and both protocols, against plain Python on a small shop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling_spark.contracts.operations import EVERYONE
from profiling_spark.recommend.choose import NEW_PAIRS, TEST, VALIDATION, grouped, history_counts, light_to
from profiling_spark.recommend.evaluate import ALL_ITEMS, NEW_ITEMS, Figures, Training, evaluate
from profiling_spark.recommend.figures import figure_rows
from profiling_spark.recommend.own_history import OwnHistorySide
from profiling_spark.recommend.popular import PopularSide

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
GENDER = {"ann": 1, "bob": 0, "cat": 1}
UNIT = 2**20


@pytest.fixture(scope="module")
def pairs(spark):
    rows = []
    for user, (before, after) in SHOP.items():
        for item in sorted({*before, *after}):
            is_train, is_test = item in before, item in after
            rows.append((user, item, UNIT if is_train else None, is_train, is_test and not is_train, is_test))
    schema = "user_id string, item_id string, train_units long, is_train boolean, is_truth boolean, is_test boolean"
    return spark.createDataFrame(rows, schema).coalesce(1).persist()


def training():
    taken = np.array([sum(item in before for before, _ in SHOP.values()) for item in ITEMS])
    return Training(ITEMS, taken > 0, taken, 6)


def plain_recall(users, ranked, *, masks_seen):
    """Mean over the users of the share of their truth in `ranked`, which is the same for all; 6 items fit in a list."""
    found = []
    for user in users:
        before, after = SHOP[user]
        truth = [item for item in after if not (masks_seen and item in before)]
        if before and truth:
            offered = [item for item in ranked if not (masks_seen and item in before)][:5]
            found.append(sum(item in offered for item in truth) / len(truth))
    return np.mean(found)


def test_groups_are_judged_on_their_own_customers(spark, pairs):
    taken = training().customers_of
    ranked = [ITEMS[n] for n in sorted(range(6), key=lambda n: (-taken[n], n))]
    of = {"ann": [TEST, "female"], "cat": [TEST, "female"], "bob": [TEST], "eve": [VALIDATION]}
    customers = spark.createDataFrame(list(of.items()), "user_id string, groups array<string>")
    sides = {"popular": PopularSide(taken.astype(float)), "own_history": OwnHistorySide(6)}
    # dan in one of them only: each protocol has its own customers, though all are ranked together
    only = spark.createDataFrame([*of.items(), ("dan", [TEST])], "user_id string, groups array<string>")
    both = evaluate(pairs, sides, training(), {NEW_ITEMS: customers, ALL_ITEMS: only})
    assert both["all_items", "popular", TEST].users == both["new_items", "popular", TEST].users + 1
    for protocol in (NEW_ITEMS, ALL_ITEMS):
        found = evaluate(pairs, sides, training(), {protocol: customers})
        assert {protocol_ for protocol_, _, _ in found} == {protocol.name}
        assert protocol is ALL_ITEMS or found.items() <= both.items()
        for group in (TEST, VALIDATION, "female"):
            members = [user for user, groups in of.items() if group in groups]
            figures = found[protocol.name, "popular", group]
            assert figures.users == len(members)
            expected = plain_recall(members, ranked, masks_seen=protocol.masks_seen)
            assert figures.values["recall@5"] == pytest.approx(expected)
    # cat took a and b again: 2 of her 3
    again = evaluate(pairs, sides, training(), {ALL_ITEMS: None})["all_items", "own_history", EVERYONE]
    assert again.values["recall@5"] == pytest.approx(np.mean([1 / 2, 0, 2 / 3, 0, 0]))
    assert again.values["share_served"] == 1


def test_what_a_customer_gave_back_is_no_new_item(spark, pairs):
    """bob had bought f and given it back: it is no history, and all the same he has seen it."""
    given_back = [("bob", "f", 0, False, False, False)]
    rows = pairs.where("user_id = 'bob'").unionByName(spark.createDataFrame(given_back, pairs.schema)).coalesce(1)
    taken = training().customers_of
    assert taken[5] > taken[4]  # f is more popular than e, the one item that he took then
    found = evaluate(rows, {"popular": PopularSide(taken.astype(float))}, training(), {NEW_ITEMS: None})
    assert found["new_items", "popular", EVERYONE].values["mrr@5"] == 1


def test_a_customer_is_in_one_half_and_in_the_groups_that_fit(spark, pairs):
    attributes = spark.createDataFrame(
        [(u, GENDER.get(u), "26-35" if u == "bob" else None) for u in SHOP],
        "user_id string, gender_code int, age_band string",
    )
    judged = pairs.where("is_train").select("user_id").distinct()
    counts = history_counts(pairs)
    assert counts.tolist() == [0, 1, 1, 1, 1, 2]
    found = {r["user_id"]: r["groups"] for r in grouped(judged, pairs, attributes, counts=counts, salt=5).collect()}
    assert found.keys() == SHOP.keys() - {"fay"}
    expected = {
        "ann": ["new", "female"],
        "bob": ["light", "male", "age 26-35"],
        "cat": ["heavy", "female"],
        "dan": ["heavy"],
        "eve": ["new"],
        "gus": ["new"],
    }
    tested = {user: groups for user, groups in found.items() if groups != [VALIDATION]}
    assert 0 < len(tested) < len(found)
    assert tested == {user: [TEST, *expected[user]] for user in tested}


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
    rows = {(r.split, r.customers, r.metric): (r.value, r.rows) for r in figure_rows(found)}
    assert rows["test", EVERYONE, "recall_at_20"] == (0.5, 8)
    assert rows["test", EVERYONE, "coverage_at_5"] == (0.25, 8)
    assert rows["test", "new", "recall_at_20"] == (0.5, 2)
    assert ("test", "new", "coverage_at_5") not in rows
    assert rows["validation_all_items", EVERYONE, "ndcg_at_10"] == (None, 9)
    assert {r.rows for r in figure_rows({})} == {0}
