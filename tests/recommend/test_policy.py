"""The shop's rules over random catalogues: by plain Python, one customer and one item at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recommend_shop import sparse_of

from profiling_spark.config.policy import RecommendPolicy
from profiling_spark.recommend.lists.policy import policy_of, select_capped
from profiling_spark.recommend.matrix.top_n import NONE

quick = settings(deadline=None, max_examples=100)
NAMES = (None, "a", "b", "c")


def shop_policy(rules, categories, brands=None, prices=None, stocks=None):
    unknown = [None] * len(categories)
    return policy_of(
        RecommendPolicy(**rules), categories=categories, brands=brands or unknown, prices=prices or unknown,
        stocks=stocks or unknown, price_percentiles=unknown, are_ended=[False] * len(categories),
    )  # fmt: skip


@st.composite
def shops(draw):
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    items, rows = draw(st.integers(1, 40)), draw(st.integers(1, 5))
    names = [[NAMES[n] for n in rng.integers(0, len(NAMES), items)] for _ in range(2)]
    stocks = [None if n == 3 else int(n) for n in rng.integers(0, 4, items)]
    rules = {
        "in_stock": draw(st.booleans()),
        "bar_categories": draw(st.sampled_from([(), ("a",)])),
        "allow_brands": draw(st.sampled_from([(), ("a", "b")])),
        "max_per_category": draw(st.sampled_from([None, 1, 2])),
        "max_per_brand": draw(st.sampled_from([None, 1, 3])),
    }
    scores = np.round(rng.normal(size=(rows, items)), 1).astype(np.float32)
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    return rules, names, stocks, scores


def is_barred(rules, category, brand, stock):
    allowed = rules["allow_brands"]
    return (
        (rules["in_stock"] and stock == 0)
        or category in rules["bar_categories"]
        or (len(allowed) > 0 and brand not in allowed)
    )


def by_hand(rules, names, row, n, before=()):
    """Go down one ranking and take what still fits."""
    (categories, brands), chosen = names, []
    for item in sorted(np.flatnonzero(np.isfinite(row)).tolist(), key=lambda i: (-round(float(row[i]), 9), i)):
        fits = all(
            most is None or kinds[item] is None or sum(kinds[i] == kinds[item] for i in [*before, *chosen]) < most
            for kinds, most in ((categories, rules["max_per_category"]), (brands, rules["max_per_brand"]))
        )
        if fits and len(chosen) < n:
            chosen.append(item)
    return chosen + [NONE] * (n - len(chosen))


@quick
@given(shop=shops(), n=st.integers(1, 12))
def test_lists_are_what_going_down_the_ranking_by_hand_gives(shop, n):
    rules, names, stocks, scores = shop
    policy = shop_policy(rules, names[0], brands=names[1], stocks=stocks)
    barred = [is_barred(rules, *item) for item in zip(*names, stocks, strict=True)]
    assert policy.is_barred.tolist() == barred
    scores[:, policy.is_barred] = -np.inf
    exact = scores.astype(np.float64)
    expected = [by_hand(rules, names, row, n) for row in exact]
    found, values = select_capped(scores, n, lambda c: np.take_along_axis(exact, c, axis=1), policy.caps)
    assert found.tolist() == expected
    np.testing.assert_array_equal(np.isnan(values), found == NONE)
    assert values[found != NONE] == pytest.approx(
        np.take_along_axis(exact, np.maximum(found, 0), axis=1)[found != NONE]
    )


@quick
@given(shop=shops(), n=st.integers(1, 12), seed=st.integers(0, 99))
def test_lists_of_a_few_scored_items_are_those_of_all_where_the_others_are_out_of_the_running(shop, n, seed):
    rules, names, _, scores = shop
    policy = shop_policy(rules, names[0], brands=names[1])
    scores[np.random.default_rng(seed).random(scores.shape) < 0.4] = -np.inf
    exact = scores.astype(np.float64)
    select = lambda c: np.take_along_axis(exact, c, axis=1)  # noqa: E731
    found, values = select_capped(sparse_of(scores), n, select, policy.caps)
    whole, wanted = select_capped(scores, n, select, policy.caps)
    assert found.tolist() == whole.tolist()
    np.testing.assert_array_equal(values, wanted)


@quick
@given(shop=shops(), n=st.integers(1, 8), seed=st.integers(0, 99))
def test_what_a_list_has_already_counts(shop, n, seed):
    rules, names, _, scores = shop
    policy = shop_policy(rules, names[0], brands=names[1])
    begun = np.random.default_rng(seed).permutation(scores.shape[1])[:3]
    listed = np.tile(np.r_[begun, NONE], (len(scores), 1))
    scores[:, begun] = -np.inf
    exact = scores.astype(np.float64)
    expected = [by_hand(rules, names, row, n, before=begun.tolist()) for row in exact]
    select = lambda c: np.take_along_axis(exact, c, axis=1)  # noqa: E731
    assert select_capped(scores, n, select, policy.caps, listed=listed)[0].tolist() == expected


def test_prices_outside_the_own_habit():
    prices = [10.0, 20.0, 36.0, 9.0, 41.0, None, 40.0]
    policy = shop_policy({"price_range": (0.5, 2.0)}, [None] * 7, prices=prices)
    bought = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (2, 1), (2, 5)]
    users, items = (np.array(column) for column in zip(*bought, strict=True))
    habits = policy.habits(users, items, 4)
    # the first has three prices with the median 20 (the mean is 22), so 10 to 40 is the range; two prices are no habit
    assert habits[0] == 20
    assert np.isnan(habits[1:]).all()
    assert policy.outside(habits, np.arange(7)[None, :]).tolist() == [
        [False, False, False, True, True, False, False],
        *[[False] * 7] * 3,
    ]
    assert np.isnan(shop_policy({}, [None] * 7, prices=prices).habits(users, items, 4)).all()


def test_what_each_rule_took_is_counted_once():
    rules = {"bar_categories": ("b",), "max_per_category": 1, "price_range": (0.5, 2.0)}
    categories = ["a", "a", "b", "c", "c"]
    policy = shop_policy(rules, categories, stocks=[1, 1, 0, 0, 5], prices=[20.0, 41.0, 90.0, 20.0, 20.0])
    before = np.array([[0, 1, 2, 3, NONE]])
    # 1 was one too many of a; 2 is out of stock and of a barred category; 3 is out of stock
    counts = policy.counted(before, np.array([np.nan]), np.array([[0, 4, NONE, NONE, NONE]]))
    assert counts == {"not_listed": 0, "out_of_stock": 2, "category": 0, "brand": 0, "price": 0, "per_category": 1}
    # with a usual price of 20, 1 is too dear
    assert policy.counted(before, np.array([20.0]), np.array([[0, 4, NONE, NONE, NONE]]))["price"] == 1
