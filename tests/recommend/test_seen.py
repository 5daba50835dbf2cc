"""What a customer knows: what may be offered again, how many in a list, and why. No Spark."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError
from recommend_shop import AS_OF, PARAMS, events
from scipy import sparse
from test_serve import CATALOGUE, lists_of, served

from profiling_spark.config.policy import RecommendPolicy
from profiling_spark.recommend.engines.item_cf import NeighbourSide
from profiling_spark.recommend.engines.stored import StoredSide
from profiling_spark.recommend.history.interactions import interactions
from profiling_spark.recommend.history.seen import STATES, take_known
from profiling_spark.recommend.matrix.item_side import SparseScores

# a speaks most for itself, then for d; c for b; no two rows are alike
SIMILAR = np.eye(5, dtype=np.float32)
SIMILAR[0, 3], SIMILAR[2, 1] = 0.5, 0.3
SIDE = StoredSide(own=NeighbourSide(sparse.csr_array(SIMILAR)))
OFTEN = "items of its category are often bought again"
ALL = dict.fromkeys(STATES, "again")


def day(age):
    return (AS_OF - timedelta(days=age)).isoformat()


def test_what_was_looked_at_and_not_bought_is_offered_with_a_reason_of_its_own():
    rows = [("u", "a", "view", 10), ("u", "a", "view", 12), ("u", "c", "purchase", 10), ("u", "c", "view", 5)]
    found = served(rows, side=SIDE, n=4).sort("rank")
    assert lists_of(found)[:3] == [
        ("a", "item_cf", f"you looked at it on {day(10)}"),
        ("b", "item_cf", "because you bought Cake"),
        ("d", "item_cf", "because you viewed Apple"),
    ]
    assert found["again"].to_list()[:3] == [True, False, False]
    assert found["title"].to_list()[:3] == ["Apple", "Bread", "Date"]
    assert "c" not in found["item_id"].to_list()  # bought, and only looked at since


@pytest.mark.parametrize(
    ("rows", "state", "age"),
    [
        ([("view", 3), ("cart", 9), ("view", 1)], "cart", 9),
        ([("purchase", 9), ("refund", 5)], "refund", 5),
        ([("purchase", 9), ("purchase", 7), ("refund", 5)], "purchase", 9),  # the later one came back
        ([("refund", 5)], "refund", 5),  # of a purchase before the window
        ([("review", 5), ("view", 2)], "review", 5),
        ([("ad_click", 4)], "other", 4),
        ([("favorite", 4), ("view", 1)], "favorite", 4),
    ],
)
def test_what_binds_most_is_the_state(rows, state, age):
    pair = interactions(events([("u", "a", kind, when) for kind, when in rows]), PARAMS).to_dicts()[0]
    assert (STATES[pair["state"]], str(pair["state_date"])) == (state, day(age))
    assert str(pair["last_date"]) == day(min(when for _, when in rows))


def test_each_event_type_is_masked_offered_or_marked_by_the_settings():
    rows = [("u", "a", "cart", 10)]
    again = lists_of(served(rows, side=SIDE, n=2))
    assert again[0] == ("a", "item_cf", f"still in your cart: you put it there on {day(10)} and have not bought it")
    offered = served(rows, side=SIDE, n=2, rules={"seen": {"cart": "offered"}})
    assert lists_of(offered)[0] == ("a", "item_cf", "because you put Apple in the cart")
    assert not offered["again"].any()
    masked = lists_of(served(rows, side=SIDE, n=2, rules={"seen": {"cart": "masked"}}))
    assert masked[0] == ("d", "item_cf", "because you put Apple in the cart")
    with pytest.raises(ValidationError, match="'masked', 'offered' or 'again'"):
        RecommendPolicy(seen={"cart": "sometimes"})


@pytest.mark.parametrize(
    ("kind", "en", "zh"),
    [
        ("purchase", f"you bought it on {{}}; {OFTEN}", "您于{}购买过，此类商品常被再次购买"),
        ("favorite", "you saved it on {}", "您于{}收藏过"),
        ("view", "you looked at it on {}", "您于{}浏览过"),
        ("review", "you reviewed it on {}", "您于{}评价过"),
    ],
)  # fmt: skip
def test_reasons_of_known_items(kind, en, zh):
    # a view of the day before makes a history where the event itself weighs nothing
    rows = [("u", "a", "view", 10), ("u", "a", kind, 10)]
    for language, words in (("en", en), ("zh", zh)):
        found = served(rows, side=SIDE, n=2, rules={"seen": ALL}, language=language)
        assert lists_of(found)[0][2] == words.format(day(10))


def test_at_least_half_of_a_list_is_new_to_the_customer_unless_the_settings_say_otherwise():
    rows = [("u", item, "view", 10) for item in "abce"]
    # b, for which c speaks too, has the best score; d, the only one that is new, the least
    assert [r[0] for r in lists_of(served(rows, side=SIDE, n=4))] == ["b", "d"]
    shares = {1.0: ["b", "a", "c", "e"], 0.0: ["d"], 0.3: ["d"]}
    for share, items in shares.items():
        assert [r[0] for r in lists_of(served(rows, side=SIDE, n=4, rules={"most_seen_share": share}))] == items, share


def test_a_known_item_that_has_no_place_after_all_keeps_no_other_out():
    """a is known, and alone it would be all of the list; b, of its category, for which there is one place, is left."""
    few = replace(CATALOGUE, weights=(5.0, 4.0, 0.0, 0.0, 0.0))
    rules = {"repeat_categories": ("x",), "max_per_category": 1}
    found = served([("u", "a", "purchase", 10)], side=None, n=2, catalogue=few, rules=rules)
    assert [r[:2] for r in lists_of(found.filter(pl.col("rank") > 0))] == [("b", "popular_in_category")]
    # beside one that is new it stays, and b does not fit
    few = replace(CATALOGUE, weights=(5.0, 4.0, 0.0, 1.0, 0.0))
    found = served([("u", "a", "purchase", 10)], side=None, n=2, catalogue=few, rules=rules)
    assert [r[:2] for r in lists_of(found.filter(pl.col("rank") > 0))] == [("a", "last_session"), ("d", "popular")]


@pytest.mark.parametrize(("share", "known"), [(0.9, 3), (0.5, 2)])
def test_what_steering_moves_is_counted_once_where_a_list_is_filled_again(share, known):
    """a, b and c are known, of which one falls out at half a list; e, the cheapest, comes before the more popular d."""
    rows, preferences = [("u", item, "view", 10) for item in "abc"], {"u": 0.1}
    catalogue = replace(CATALOGUE, weights=(5.0, 4.0, 3.0, 2.0, 1.5), price_percentiles=(0.9, 0.8, 0.7, 0.9, 0.1))
    rules = {"most_seen_share": share, "price_steering": {"strength": 1.0}}
    found = served(rows, n=6, catalogue=catalogue, rules=rules, preferences=preferences)
    assert [r[0] for r in lists_of(found.filter(pl.col("rank") > 0))] == [*"abc"[:known], "e", "d"]
    assert found.filter(pl.col("rank") == 0).select("engine", "score").rows() == [("price_steering", 2.0)]


def test_nothing_is_offered_again_within_the_cool_down():
    rows = [("u", "a", "view", 10), ("u", "a", "login", 2)]
    assert "a" in served(rows, side=SIDE, n=4, rules={"cool_down_days": 2})["item_id"]
    assert "a" not in served(rows, side=SIDE, n=4, rules={"cool_down_days": 3})["item_id"]


def test_what_was_bought_in_a_category_of_repeat_purchases_is_offered_again_and_what_came_back_is_not():
    rows = [("u", "a", "purchase", 10), ("v", "a", "purchase", 10), ("v", "a", "refund", 9), ("v", "c", "view", 9)]
    found = served(rows, side=SIDE, users=("u", "v"), n=4, rules={"repeat_categories": ("x",)})
    first = found.filter(pl.col("user_id") == "u").sort("rank").row(0, named=True)
    words = f"you bought it on {day(10)}; {OFTEN}"
    assert (first["item_id"], first["again"], first["reason"]) == ("a", True, words)
    assert "a" not in found.filter(pl.col("user_id") == "v")["item_id"]


def test_the_score_never_rises_with_the_rank_of_an_engine():
    rows = [("u", "a", "purchase", 10), ("u", "c", "view", 3), ("u", "b", "cart", 3)]
    found = served(rows, side=SIDE, n=5)
    for _, part in found.sort("rank").group_by("engine", maintain_order=True):
        assert part["score"].is_sorted(descending=True)


def test_known_items_leave_the_block_with_their_scores():
    dense = np.array([[1.0, 2.0, 3.0], [4.0, -np.inf, 6.0]], dtype=np.float32)
    few = SparseScores(
        np.array([[0, 2, -1], [1, 2, -1]]), np.array([[1, 3, -np.inf], [5, 6, -np.inf]], dtype=np.float32)
    )
    row, column = np.array([0, 0, 1]), np.array([1, 2, 2])
    known = take_known(dense, row, column)
    assert known.columns[:, :2].tolist() == [[1, 2], [2, -1]]
    assert known.scores[:, :2].tolist() == [[2.0, 3.0], [6.0, -np.inf]]
    assert dense.tolist() == [[1.0, -np.inf, -np.inf], [4.0, -np.inf, -np.inf]]
    # of a few scored items one that is not among them has no score
    known = take_known(few, row, column)
    assert known.scores[:, :2].tolist() == [[-np.inf, 3.0], [6.0, -np.inf]]
    assert few.scores.tolist() == [[1.0, -np.inf, -np.inf], [5.0, -np.inf, -np.inf]]
