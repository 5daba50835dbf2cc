from dataclasses import replace
from datetime import UTC, date, datetime

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from recommend_shop import AS_OF, PARAMS, events, noon

from profiling_spark.recommend.history.interactions import (
    UNITS,
    favourite_category,
    interactions,
    split_interactions,
    train_as_of,
)


def weights(rows, params=PARAMS):
    found = interactions(events(rows), params)
    return {(r["user_id"], r["item_id"]): (r["units"] / UNITS, r["is_history"]) for r in found.to_dicts()}


def test_weights_decay_by_half_each_half_life():
    # 10 days: half of 1; 20 days: a quarter of 8; 30 days: an eighth of 4
    rows = [("u", "a", "view", 10), ("u", "a", "purchase", 20), ("u", "b", "cart", 30)]
    assert weights(rows) == {("u", "a"): (2.5, True), ("u", "b"): (0.5, True)}


def test_a_refunded_item_leaves_the_history_but_stays_seen():
    rows = [("u", "a", "purchase", 10), ("u", "a", "refund", 10), ("u", "b", "view", 10)]
    assert weights(rows) == {("u", "a"): (0.0, False), ("u", "b"): (0.5, True)}


def test_only_days_of_the_window_count():
    short = replace(PARAMS, since=AS_OF.replace(month=6))
    rows = [("u", "old", "view", 31), ("u", "edge", "view", 30), ("u", "today", "view", 0), ("u", "last", "view", 1)]
    assert {item for _, item in weights(rows, short)} == {"edge", "last"}


def test_events_without_weight_are_seen_and_impressions_are_not():
    rows = [("u", "a", "review", 10), ("u", "b", "ad_view", 10), ("u", None, "search", 10)]
    assert weights(rows) == {("u", "a"): (0.0, False)}


def test_the_history_is_cut_to_the_strongest_items_and_the_rest_stays_seen():
    rows = [("u", "weak", "view", 10), ("u", "strong", "purchase", 10), ("u", "fair", "cart", 10)]
    found = weights(rows, replace(PARAMS, items=2))
    assert {item for (_, item), (_, kept) in found.items() if kept} == {"strong", "fair"}
    assert len(found) == 3


def test_the_kind_is_the_strongest_event():
    found = interactions(events([("u", "a", "purchase", 90), ("u", "a", "view", 1), ("u", "b", "view", 1)]), PARAMS)
    assert [PARAMS.kinds[k] for k in found["kind"]] == ["purchase", "view"]


def test_the_order_of_rows_changes_nothing():
    rows = [("u", f"i{n % 7}", ["view", "cart"][n % 2], n + 1) for n in range(40)]
    # an item that has moved from one category to another
    moved = events(rows).with_columns(category=pl.when(pl.col("age") % 3 > 0).then(pl.lit("a")).otherwise(pl.lit("b")))
    found = interactions(moved, PARAMS)
    assert_frame_equal(found, interactions(moved.reverse(), PARAMS))
    assert found["category"].to_list() == ["a"] * 7


def test_the_split_learns_before_the_cutoff_and_tests_on_what_was_not_seen_by_then():
    rows = [
        ("u", "both", "view", 30),
        ("u", "both", "purchase", 5),
        ("u", "new", "view", 10),  # exactly at the cutoff: test
        ("u", "past", "view", 20),
        ("u", "refund_only", "refund", 3),
    ]
    found = split_interactions(events(rows), PARAMS, cutoff=noon(10), timezone="UTC")
    assert found.filter("is_train")["item_id"].to_list() == ["both", "past"]
    assert found.filter("is_truth")["item_id"].to_list() == ["new"]
    assert found.filter("is_test")["item_id"].to_list() == ["both", "new"]
    # aged from the day after the last moment before the cutoff, which is 9 days before as_of
    past = found.row(by_predicate=pl.col("item_id") == "past", named=True)
    assert past["train_units"] / UNITS == pytest.approx(0.5 ** (11 / 10), abs=1e-6)


@pytest.mark.parametrize(
    ("cutoff", "timezone", "as_of"),
    [
        # the last moment before midnight is still of the day that ends, by the business's clock
        (datetime(2026, 6, 21, tzinfo=UTC), "UTC", date(2026, 6, 21)),
        (datetime(2026, 6, 21, 0, 1, tzinfo=UTC), "UTC", date(2026, 6, 22)),
        (datetime(2026, 6, 20, 16, tzinfo=UTC), "Asia/Shanghai", date(2026, 6, 21)),
        (datetime(2026, 6, 20, 16, 1, tzinfo=UTC), "Asia/Shanghai", date(2026, 6, 22)),
    ],
)
def test_the_split_ages_from_the_day_after_the_last_moment_before_it(cutoff, timezone, as_of):
    assert train_as_of(cutoff, timezone) == as_of


def test_what_comes_after_the_cutoff_changes_nothing_that_is_learned():
    rows = [("u", "a", "view", 30), ("u", "b", "cart", 20)]
    later = [("u", "a", "refund", 2), ("u", "c", "purchase", 1)]
    learned = [
        split_interactions(events(r), PARAMS, cutoff=noon(10), timezone="UTC")
        .filter("is_train")
        .select("user_id", "item_id", "train_units")
        for r in (rows, rows + later)
    ]
    assert_frame_equal(*learned)


def test_the_favourite_category_goes_by_events_then_by_name():
    categories = {"a": "shoes", "b": "books", "c": "books"}
    rows = [
        ("u", "a", "view", 1),
        ("u", "b", "view", 1),
        ("v", "a", "view", 1),
        ("v", "a", "view", 2),
        ("v", "c", "view", 1),
    ]
    assert favourite_category(events(rows, categories), PARAMS).rows() == [("u", "books"), ("v", "shoes")]
