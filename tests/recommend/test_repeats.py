"""Which categories' items are bought again and again. No Spark."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recommend_shop import PARAMS, events
from scipy import stats

from profiling_spark.config.policy import RecommendPolicy
from profiling_spark.recommend.history.interactions import interactions
from profiling_spark.recommend.history.pairs import Bought
from profiling_spark.recommend.lists.repeats import NAMED, repeat_categories, repeated, wilson_low

CATEGORIES = ("tea", "tea", "phones", None, "luck")
BOUGHT = Bought(np.array([60, 40, 200, 50, 3]), np.array([30, 10, 8, 50, 3]))


def found_of(**rules):
    return repeat_categories(CATEGORIES, BOUGHT, RecommendPolicy(**rules))


def test_a_category_is_repeated_where_its_share_surely_reaches_what_is_asked():
    found = found_of(repeat_share=0.3)
    rows = {r["category"]: r for r in found.to_dicts()}
    assert list(rows) == ["luck", "phones", "tea"]
    assert {c: (r["pairs"], r["again"], r["share"]) for c, r in rows.items()} == {
        "luck": (3, 3, 1.0), "phones": (200, 8, 0.04), "tea": (100, 40, 0.4),
    }  # fmt: skip
    # 40 of 100: surely 32.3 %; 3 of 3: surely 52.6 %
    assert rows["tea"]["share_low"] == pytest.approx(0.3230, abs=1e-3)
    assert rows["luck"]["share_low"] == pytest.approx(0.5258, abs=1e-3)
    assert repeated(found) == ("tea",)
    assert repeated(found_of(repeat_share=0.35)) == ()
    assert repeated(found_of(repeat_share=0.03)) == ("tea",)  # of phones surely 2.3 %
    assert repeated(found_of(repeat_share=0.02)) == ("phones", "tea")
    assert rows["luck"]["reason"].endswith("; fewer than 20 purchases say too little")
    assert rows["tea"]["reason"] == (
        "bought on two days or more: 40 of 100 purchases of an item by a customer, 40.0 %; surely 32.3 %, "
        "30 % are asked for"
    )


def test_named_categories_are_repeated_and_barred_ones_never():
    found = found_of(repeat_categories=("phones", "bread"), bar_categories=("tea",), repeat_share=0.3)
    assert repeated(found) == ("bread", "phones")
    rows = {r["category"]: r for r in found.to_dicts()}
    assert (rows["bread"]["pairs"], rows["bread"]["share"], rows["bread"]["reason"]) == (0, None, NAMED)
    assert rows["tea"]["reason"].endswith("; the category is barred")


def test_a_shop_without_categories_or_purchases_has_none():
    nothing = np.zeros(2, dtype=np.int64)
    assert repeat_categories((None, None), Bought(nothing + 5, nothing + 5), RecommendPolicy()).is_empty()
    assert repeat_categories(("tea", "tea"), Bought(nothing, nothing), RecommendPolicy()).is_empty()


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_bound_is_wilsons(counts):
    hits, tries = counts
    theirs = stats.binomtest(hits, tries).proportion_ci(confidence_level=0.9, method="wilson").low
    assert wilson_low(np.array([hits]), np.array([tries]))[0] == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize(
    ("rows", "buys"),
    [
        ([("view", 9), ("cart", 8)], 0),
        ([("purchase", 9), ("purchase", 9)], 1),  # twice on one day
        ([("purchase", 9), ("purchase", 4), ("view", 1)], 2),
        ([("purchase", 9), ("purchase", 7), ("refund", 5)], 1),  # the later one came back
        ([("purchase", 400), ("purchase", 3)], 1),  # the first is before the window
    ],
)
def test_days_are_counted_on_which_it_was_bought_and_kept(rows, buys):
    pair = interactions(events([("u", "a", kind, when) for kind, when in rows]), PARAMS)
    assert pair["buys"].to_list() == [buys]
    assert pair["buys"].dtype in (pl.UInt32, pl.Int64)
