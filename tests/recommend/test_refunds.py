"""What refunds take back: by hand, and against a stack of single pieces in plain Python."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recommend_shop import AS_OF, PARAMS, noon

from profiling_spark.recommend.history.interactions import UNITS, interactions, split_interactions
from profiling_spark.recommend.history.refunds import with_taken
from profiling_spark.recommend.history.sessions import last_session

SCHEMA = {
    "item_id": pl.String,
    "event_type": pl.String,
    "age": pl.Int32,
    "order_id": pl.String,
    "quantity": pl.Decimal(18, 4),
}


def trade(*rows, user="u"):
    """Events of one customer: item, type, age in days, order, pieces."""
    frame = pl.DataFrame(list(rows), schema=SCHEMA, orient="row")
    day = (pl.lit(AS_OF) - pl.duration(days=pl.col("age"))).cast(pl.Date)
    return frame.with_columns(
        user_id=pl.lit(user),
        category=pl.lit(None, pl.String),
        search_text=pl.lit(None, pl.String),
        event_date=day,
        event_time=(day.cast(pl.Datetime("us")) + pl.duration(hours=12)).dt.replace_time_zone("UTC"),
    )


def taken(*rows):
    return with_taken(trade(*rows))["taken"].to_list()


def test_a_refund_takes_back_the_purchase_of_its_order_on_any_day():
    rows = [("a", "purchase", 300, "o1", 1), ("a", "purchase", 10, "o2", 1), ("a", "refund", 200, "o2", 1)]
    assert taken(*rows) == [0, 1, 0]
    # part of an order of two lines; what is beyond an order does not take from others
    assert taken(("a", "purchase", 9, "o", 3), ("a", "purchase", 9, "o", 1), ("a", "refund", 1, "o", 1)) == [
        *(0.25, 0.25, 0)
    ]
    assert taken(("a", "purchase", 9, "o", 2), ("a", "purchase", 5, "p", 2), ("a", "refund", 1, "o", 3)) == [1, 0, 0]


def test_without_its_order_a_refund_takes_the_latest_purchases_up_to_its_day():
    older, newer, later = (("a", "purchase", age, f"o{age}", n) for age, n in ((50, 4), (30, 2), (10, 2)))
    assert taken(later, older, newer, ("a", "refund", 20, "C1", 3)) == [0, 0.25, 1, 0]
    assert taken(older, ("a", "refund", 50, None, 1)) == [0.25, 0]
    # nothing before it, another item, no quantity anywhere: each event is a piece
    assert taken(("a", "refund", 60, None, 9), older, newer) == [0, 0, 0]
    assert taken(older, ("b", "refund", 1, None, 4)) == [0, 0]
    assert taken(("a", "purchase", 9, None, 5), ("a", "refund", 8, None, None), ("a", "purchase", 9, None, 2)) == [
        *(0.5, 0, 0.5)
    ]


def weights(frame, params=PARAMS):
    return {r["item_id"]: (r["units"] / UNITS, r["kind"]) for r in interactions(frame, params).to_dicts()}


def test_what_is_given_back_weighs_nothing_whenever_it_was_given_back():
    rows = [("a", "purchase", 20, "o", 2), ("a", "view", 10, None, None), ("a", "refund", 1, "o", 2)]
    view = PARAMS.kind_of("view")
    assert weights(trade(*rows)) == {"a": (0.5, view)}  # before: 0.5 + 8 / 4 - 8 * 0.93
    # the purchase lies before the window: the refund counts nothing
    assert weights(trade(*rows), replace(PARAMS, since=AS_OF - timedelta(days=15))) == {"a": (0.5, view)}
    half = [("a", "purchase", 20, "o", 2), ("a", "refund", 1, "o", 1)]
    assert weights(trade(*half)) == {"a": (1.0, PARAMS.kind_of("purchase"))}
    # a refund's weight is what it takes of the purchase's, or more, as of the purchase's day
    lenient, strict = ({**PARAMS.weights, "refund": w} for w in (-4.0, -12.0))
    assert weights(trade(*half), replace(PARAMS, weights=lenient))["a"][0] == 1.5
    assert weights(trade(rows[0], rows[2]), replace(PARAMS, weights=strict)) == {"a": (-1.0, -1)}


def test_the_split_and_the_last_visit_know_refunds():
    rows = [("a", "purchase", 20, "o", 1), ("a", "refund", 5, "o", 1), ("b", "view", 20, None, None)]
    rows += [("c", "purchase", 5, "p", 1), ("c", "refund", 4, "p", 1)]
    found = split_interactions(trade(*rows), PARAMS, cutoff=noon(10), timezone="UTC")
    known = {r["item_id"]: (r["is_history"], r["is_train"], r["is_test"]) for r in found.to_dicts()}
    assert known == {"a": (False, True, False), "b": (True, True, False), "c": (False, False, False)}
    rows = [("a", "view", 1, None, None), ("a", "refund", 1, None, 1), ("b", "purchase", 1, "o", 1)]
    rows += [("b", "refund", 1, "o", 1)]
    visit = last_session(trade(*rows), PARAMS, gap=timedelta(minutes=30))
    assert visit.select("text", "weight").rows() == [("a", 1.0)]


STRICT = replace(PARAMS, weights={**PARAMS.weights, "refund": -12.0})
VISIT = {"gap": timedelta(minutes=30)}


def test_the_last_visit_keeps_what_the_history_keeps_of_items_that_were_given_back():
    """A returned purchase weighs 8 - 12 = -4 on its own day, and weights halve in 10 days. a: -4 / 8 + view;
    b: 8 / 1024 - 4 / sqrt(2) + view; a view of yesterday weighs 0.93. Without decay a has lost more than it had, and b
    has not.
    """
    rows = [("a", "purchase", 30, "o", 1), ("a", "refund", 20, "o", 1), ("a", "view", 1, None, None)]
    rows += [("b", "purchase", 100, "p", 1), ("b", "purchase", 5, "q", 1), ("b", "refund", 4, "q", 1)]
    rows += [("b", "view", 1, None, None), ("c", "view", 1, None, None)]
    kept = interactions(trade(*rows), STRICT).filter("is_history")
    assert sorted(kept["item_id"]) == ["a", "c"]
    visit = last_session(trade(*rows), STRICT, **VISIT)
    assert visit.select("text", "weight").rows() == [("a", 1.0), ("c", 1.0)]
    # what came back in part speaks on, by the rest; of its kind, as in the history
    rows = [("d", "purchase", 1, "r", 4), ("d", "refund", 1, "r", 1), ("d", "view", 1, None, None)]
    visit = last_session(trade(*rows), STRICT, **VISIT)
    assert visit.select("text", "weight", "kind").rows() == [("d", 8 - 3 + 1, STRICT.kind_of("purchase"))]
    assert weights(trade(*rows), STRICT)["d"] == (pytest.approx(6 * 0.5**0.1, abs=1e-5), STRICT.kind_of("purchase"))
    # the purchase lies before the window, so that its refund takes nothing of the view
    old = [("e", "purchase", 90, "s", 1), ("e", "refund", 2, "s", 1), ("e", "view", 2, None, None)]
    assert last_session(trade(*old), replace(STRICT, since=AS_OF - timedelta(days=60)), **VISIT)["text"].item() == "e"


def test_in_a_visit_over_midnight_the_first_day_weighs_less_as_in_the_history():
    rows = [("a", "view", 4, None, None), ("b", "view", 3, None, None), ("b", "cart", 3, None, None)]
    late = trade(*rows).with_columns(event_time=pl.Series([noon(4), noon(4), noon(4)]))
    visit = last_session(late, PARAMS, **VISIT)
    first, second = visit["weight"].to_list()
    assert (first, second) == (pytest.approx(0.5**0.1), 5.0)
    history = weights(late)
    assert first / second == pytest.approx(history["a"][0] / history["b"][0], abs=1e-5)


def test_a_refund_without_an_item_is_no_browsing_of_its_category():
    rows = [(None, "view", 3, None, None), (None, "refund", 1, "o", 1)]
    frame = trade(*rows).with_columns(category=pl.Series(["boots", "cups"]))
    visit = last_session(frame, PARAMS, **VISIT)
    assert visit.rows() == [("u", "category", "boots", 1.0, -1)]


def stack(rows):
    """Pieces of each purchase that are left, by position: every piece by itself, whole numbers of them."""
    left = {n: float(r[4]) for n, r in enumerate(rows) if r[1] == "purchase"}
    orders = defaultdict(list)
    for n, r in enumerate(rows):
        orders[r[0], r[3]].append(n)
    loose = []
    for (_, order), members in orders.items():
        bought = [n for n in members if n in left]
        returned = [n for n in members if n not in left]
        if order is None or not bought:
            loose += returned
            continue
        total, back = sum(left[n] for n in bought), sum(rows[n][4] for n in returned)
        for n in bought:
            left[n] *= 1 - min(1, back / total)
    for n in sorted(loose, key=lambda n: -rows[n][2]):
        item, _, age, _, back = rows[n]
        for day in sorted({rows[m][2] for m in left if rows[m][0] == item and rows[m][2] >= age}):
            of_day = [m for m in left if rows[m][0] == item and rows[m][2] == day]
            total = sum(left[m] for m in of_day)
            used = min(back, total)
            back -= used
            for m in of_day:
                left[m] -= left[m] / total * used if total else 0
    return [1 - left[n] / r[4] if n in left else 0.0 for n, r in enumerate(rows)]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.sampled_from(("purchase", "purchase", "refund")),
            st.integers(1, 6),
            st.sampled_from((None, "o1", "o2", "C3")),
            st.integers(1, 4),
        ),
        max_size=12,
    )
)
def test_any_trade_equals_a_stack_of_pieces(rows):
    assert taken(*rows) == pytest.approx(stack(rows), abs=1e-3)
    backwards = taken(*rows[::-1])[::-1]
    assert backwards == taken(*rows)
