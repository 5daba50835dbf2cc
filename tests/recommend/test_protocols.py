"""What a list leaves out and what is to be found in it, by each protocol."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recommend_shop import PARAMS, dense, events, noon, sparse_of

from profiling_spark.config.policy import Seen
from profiling_spark.recommend.history.interactions import split_interactions
from profiling_spark.recommend.history.seen import masked_states
from profiling_spark.recommend.judge.protocols import (
    ALL_ITEMS,
    AS_SERVED,
    NEW_ITEMS,
    Judged,
    Protocol,
    as_served,
    in_order,
    with_masks,
)
from profiling_spark.recommend.matrix.top_n import NONE

# of user 0 and 1: item, seen, masked, in the test part
PAIRS = pl.DataFrame(
    [
        (0, 0, True, True, True),
        (0, 2, True, False, True),
        (0, 3, True, False, False),
        (0, 4, False, False, True),
        (1, 1, True, True, False),
        (1, 4, True, False, True),
    ],
    schema=["user", "item", "is_seen", "is_masked", "is_test"],
    orient="row",
).with_columns(
    is_truth=pl.col("is_test") & ~pl.col("is_seen"), is_open=pl.col("is_test") & ~pl.col("is_masked"),
    is_candidate=pl.col("item").is_in([1, 3]), is_wanted=pl.col("is_test"),
)  # fmt: skip
# no two items or users alike
SCORES = np.array([[9.0, 1, 8, 7, 2], [1, 9, 2, 3, 8]], dtype=np.float32)
AMONG = Protocol("among_given", "is_wanted", None, candidates="is_candidate")


class Given:
    """An engine's scores of a block."""

    def __init__(self, scores):
        self.scores = scores

    def exact(self, chosen):
        return np.take_along_axis(self.scores.astype(np.float64), chosen, axis=1)


def listed(protocols, scores=SCORES, pairs=PAIRS, k=3, make=np.copy):
    """The lists by each protocol, all on the same scores."""
    judged, users, block = Judged.of(pairs, protocols), np.arange(len(scores)), make(scores)
    return {
        p.name: [[int(i) for i in row if i != NONE] for row in judged.lists(p, users, block, Given(scores), k)]
        for p in in_order(protocols)
    }


@pytest.mark.parametrize("make", [np.copy, sparse_of])
def test_lists_by_hand(make):
    found = listed((NEW_ITEMS, AS_SERVED, ALL_ITEMS), make=make)
    assert found["all_items"] == [[0, 2, 3], [1, 4, 3]]
    assert found["as_served"] == [[2, 3, 4], [4, 3, 2]]  # 0 and 1 were bought
    assert found["new_items"] == [[4, 1], [3, 2, 0]]
    judged, users = Judged.of(PAIRS, (NEW_ITEMS, AS_SERVED, ALL_ITEMS)), np.arange(2)
    sizes = {p.name: judged.hits(p, users, np.array([[2], [4]]))[1].tolist() for p in (NEW_ITEMS, AS_SERVED, ALL_ITEMS)}
    assert sizes == {"new_items": [1, 0], "as_served": [2, 1], "all_items": [3, 1]}
    hits = judged.hits(AS_SERVED, users, np.array([[2, 4, NONE], [1, 4, 0]]))[0]
    assert hits.tolist() == [[True, True, False], [False, True, False]]


def test_a_cap_keeps_a_share_of_the_list_for_what_was_never_seen():
    half = listed((NEW_ITEMS, as_served(0.5)), k=4)
    # of user 0 two are fresh (4, 1) and two known (2, 3); of user 1 three are fresh and one is known
    assert half["as_served"] == [[2, 3, 4, 1], [4, 3, 2, 0]]
    assert half["new_items"] == [[4, 1], [3, 2, 0]]
    third = listed((as_served(1 / 3),), k=4)
    assert third["as_served"] == [[2, 4, 1], [4, 3, 2, 0]]
    assert listed((as_served(0.0),), k=4)["as_served"] == [[4, 1], [3, 2, 0]]


def test_test_items_are_ranked_among_the_given_ones_alone():
    # user 0: wanted 0, 2, 4, given 3; user 1: wanted 4, given 1
    assert listed((AMONG,), k=5)["among_given"] == [[0, 2, 3, 4], [1, 4]]
    assert listed((AMONG,), k=5, make=sparse_of)["among_given"] == [[0, 2, 3, 4], [1, 4]]


@st.composite
def shops(draw):
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    users, items = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    state = rng.integers(0, 4, (users, items))  # 0: no row, 1: fresh, 2: known, 3: masked
    row, item = np.nonzero(state)
    kind = state[row, item]
    pairs = pl.DataFrame(
        {"user": row, "item": item, "is_seen": kind > 1, "is_masked": kind == 3, "is_test": rng.random(len(row)) < 0.5}
    ).with_columns(
        is_truth=pl.col("is_test") & ~pl.col("is_seen"), is_open=pl.col("is_test") & ~pl.col("is_masked")
    )  # fmt: skip
    scores = np.round(rng.normal(size=(users, items)), draw(st.sampled_from([0, 3]))).astype(np.float32)
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    return pairs, scores, state


@given(shops(), st.integers(1, 6), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.booleans())
def test_lists_are_those_of_going_down_the_ranking(shop, k, share, is_sparse):
    """Of a list that ends up with f fresh items at most f * share / (1 - share) are known, the best of them."""
    pairs, scores, state = shop
    make = sparse_of if is_sparse else np.copy
    found = listed((NEW_ITEMS, as_served(share), ALL_ITEMS), scores, pairs, k, make)
    for user, row in enumerate(scores):
        ranked = sorted(np.flatnonzero(np.isfinite(row)).tolist(), key=lambda i: (-round(float(row[i]), 9), i))
        assert found["all_items"][user] == ranked[:k]
        assert found["new_items"][user] == [i for i in ranked if state[user, i] < 2][:k]
        most, left, own = int(k * share + 1e-9), k, []
        for item in [i for i in ranked if state[user, i] < 3]:
            is_known = state[user, item] == 2
            if left and not (is_known and most == 0 and share < 1):
                own.append(item)
                left, most = left - 1, most - is_known
        if share < 1:
            fresh = sum(state[user, i] < 2 for i in own)
            kept = int(fresh * share / (1 - share) + 1e-9)
            known = [i for i in own if state[user, i] == 2][:kept]
            own = [i for i in own if state[user, i] < 2 or i in known]
        assert found["as_served"][user] == own
    assert dense(make(scores), scores.shape[1]).shape == scores.shape


def test_what_the_policy_masks_is_known_at_the_split():
    """u bought a, looked at b, and both again after the cutoff; c came back whole; d was first bought then."""
    rows = [
        ("u", "a", "purchase", 9), ("u", "b", "view", 9), ("u", "c", "purchase", 9), ("u", "c", "refund", 8),
        ("u", "a", "view", 2), ("u", "b", "purchase", 2), ("u", "c", "view", 2), ("u", "d", "purchase", 2),
    ]  # fmt: skip
    split = split_interactions(events(rows), PARAMS, cutoff=noon(5), timezone="UTC")
    found = {r["item_id"]: (r["is_masked"], r["is_bought"], r["buys"], r["train_buys"]) for r in split.to_dicts()}
    assert found == {
        "a": (True, True, 1, 1), "b": (False, False, 1, 0), "c": (True, False, 0, 0), "d": (False, False, 1, 0),
    }  # fmt: skip
    offered = replace(PARAMS, masked=masked_states(Seen(refund="offered", view="masked")))
    again = split_interactions(events(rows), offered, cutoff=noon(5), timezone="UTC")
    assert {r["item_id"] for r in again.to_dicts() if r["is_masked"]} == {"a", "b"}
    assert split_interactions(events(rows), PARAMS, cutoff=None, timezone="UTC")["is_masked"].sum() == 0


def test_nothing_is_offered_while_it_cools_down():
    """u looked at a two days before the cutoff and at b nine days before it, and bought c, which is bought again."""
    rows = [("u", "a", "view", 7), ("u", "b", "view", 14), ("u", "c", "purchase", 7), ("u", "a", "purchase", 2)]
    asked = replace(PARAMS, cool_down_days=4)
    found = split_interactions(events(rows), asked, cutoff=noon(5), timezone="UTC").to_dicts()
    assert {r["item_id"]: (r["is_masked"], r["is_bought"]) for r in found} == {
        "a": (True, False), "b": (False, False), "c": (True, False),
    }  # fmt: skip
    plain = split_interactions(events(rows), PARAMS, cutoff=noon(5), timezone="UTC").to_dicts()
    assert {r["item_id"] for r in plain if r["is_masked"]} == {"c"}


def test_what_is_bought_again_is_not_masked(spark):
    rows = [
        ("a", 8, True, True, True), ("b", 8, True, True, True), ("c", 8, True, False, True),
        ("d", 8, True, True, True), ("e", None, False, False, True),
    ]  # fmt: skip
    schema = "item_id string, train_units long, is_masked boolean, is_bought boolean, is_test boolean"
    pairs = spark.createDataFrame(rows, schema)
    again = with_masks(pairs, ("a", "c", "e"))
    assert {r["item_id"]: (r["is_seen"], r["is_masked"], r["is_open"]) for r in again.collect()} == {
        "a": (True, False, True),
        "b": (True, True, False),
        "c": (True, True, False),  # it came back: no purchase that is made again
        "d": (True, True, False),
        "e": (False, False, True),
    }
    plain = {r["item_id"]: r["is_masked"] for r in with_masks(pairs).collect()}
    assert plain == {"a": True, "b": True, "c": True, "d": True, "e": False}
