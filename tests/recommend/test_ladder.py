"""The steps after the engine: last visit, popular in groups; and places for new items. No Spark."""

from datetime import date, timedelta

import polars as pl
import pytest
from recommend_shop import AS_OF, PARAMS, events
from test_serve import CATALOGUE, ITEMS, catalogue_of, lists_of, served

from profiling_spark.contracts.gold import USER_RECOMMENDATIONS
from profiling_spark.recommend.history.interactions import UNITS
from profiling_spark.recommend.history.sessions import last_session
from profiling_spark.recommend.lists import reasons
from profiling_spark.recommend.lists.catalogue import new_items
from profiling_spark.recommend.outcome import Counted, added_up

TOP = [
    ("segment", "3", "e", 4 * UNITS),
    ("attributes", "female/26-35", "d", 3 * UNITS),
    ("attributes", "female/26-35", "e", UNITS),
    ("attributes", "male/26-35", "b", UNITS),
    ("region", "Hunan", "c", 2 * UNITS),
]
MEMBER = {"u": {"segment": "3", "attributes": "female/26-35", "region": "Hunan"}}
SHOES = catalogue_of(
    ("p", "q", "r", "s", "t"),
    ("Pump", "Red pump", "Sandal", "Red sandal", "Cup"),
    ("shoes", "shoes", "boots", "boots", "cups"),
    (5.0, 4.0, 3.0, 2.0, 1.0),
)


def test_each_step_of_the_ladder_fills_what_the_one_before_left():
    found = served([], top=TOP, member_of=MEMBER, n=5)
    assert lists_of(found) == [
        ("e", "popular_in_segment", "popular with customers like you"),
        ("d", "popular_in_group", "popular with women 26-35"),
        ("c", "popular_in_region", "popular in Hunan"),
        ("a", "popular", "popular with all customers"),
        ("b", "popular", "popular with all customers"),
    ]
    assert found["score"].to_list() == [4.0, 3.0, 2.0, 5.0, 4.0]


def test_a_step_counts_the_customers_in_whose_lists_it_stands_at_any_place():
    """u: c by its favourite category, then a and b; v, of whom nothing is known: a, b and c; w opted out: the same."""
    rows = [("u", "d", "view", 10), ("u", "d", "view", 9), ("u", "e", "view", 3)]
    lists = served(rows, users=("u", "v", "w"), opted_out=("w",), top=TOP, n=3).drop("as_of", strict=False)
    found, report = Counted(lambda events, sides: lists, AS_OF)(pl.DataFrame(), {})
    kept = lists.filter(pl.col("rank") > 0)
    assert found.equals(kept.with_columns(as_of=pl.lit(AS_OF)).select(USER_RECOMMENDATIONS.names))
    first, users = {"popular": 2, "popular_in_category": 1}, {"popular": 3, "popular_in_category": 1}
    assert report == {
        "places": {"popular": 8, "popular_in_category": 1}, "users": users, "first": first, "removed": {}, "lists": 3,
    }  # fmt: skip
    twice = added_up([report, {**report, "removed": {"price": 2}}])
    assert (twice["lists"], dict(twice["first"]), dict(twice["removed"])) == (
        6, {"popular": 4, "popular_in_category": 2}, {"price": 2}
    )  # fmt: skip


def test_the_favourite_category_comes_before_the_groups():
    rows = [("u", "d", "view", 10), ("u", "d", "view", 9), ("u", "e", "view", 3)]
    steps = [r[:2] for r in lists_of(served(rows, top=TOP, member_of=MEMBER, n=5))]
    assert steps == [("c", "popular_in_category"), ("a", "popular"), ("b", "popular")]


def test_groups_say_nothing_to_who_opted_out_or_is_in_none():
    everyone = [("a", "popular"), ("b", "popular"), ("c", "popular")]
    assert [r[:2] for r in lists_of(served([], top=TOP, member_of=MEMBER, opted_out=("u",)))] == everyone
    other = {"u": {"segment": "4", "attributes": "female/", "region": None}}
    assert [r[:2] for r in lists_of(served([], top=TOP, member_of=other))] == everyone


@pytest.mark.parametrize(
    ("attributes", "en", "zh"),
    [
        ("female/26-35", "women 26-35", "26-35岁的女性顾客"),
        ("male/", "men", "男性顾客"),
        ("/over 65", "customers over 65", "65岁以上的顾客"),
        ("male/65+", "men 65+", "65+的男性顾客"),
    ],
)
def test_a_group_is_named_by_the_customers_own_attributes(attributes, en, zh):
    assert (reasons.people("en", attributes), reasons.people("zh", attributes)) == (en, zh)


def test_the_last_visit_serves_where_the_engine_knows_nothing_of_the_history():
    rows = [("u", "t", "view", 9), ("u", "p", "cart", 3), ("u", "r", "view", 3)]
    found = served(rows, side=None, catalogue=SHOES, n=4)
    # of category shoes is q, of boots s; the cart weighs more than the view; the cup was another visit
    new = [
        ("q", "last_session", "because you put Pump in the cart (same category)"),
        ("s", "last_session", "because you viewed Sandal (same category)"),
    ]
    cart = "still in your cart: you put it there on 2026-06-28 and have not bought it"
    assert lists_of(found) == [
        ("p", "last_session", cart), new[0], ("r", "last_session", "you looked at it on 2026-06-28"), new[1],
    ]  # fmt: skip
    assert lists_of(served(rows, side=None, catalogue=SHOES, n=4, rules={"most_seen_share": 0.0})) == new
    chinese = lists_of(served(rows, side=None, catalogue=SHOES, n=1, language="zh"))
    assert chinese[0][2] == "因为您把Pump加入过购物车（同类）"


def test_searches_and_categories_of_the_last_visit_speak_too():
    rows = [("u", None, "search", 3), ("v", None, "view", 3), ("w", None, "login", 3)]
    further = {"search_text": pl.Series(["RED things", None, None]), "category": pl.Series([None, "boots", None])}
    found = served(rows, catalogue=SHOES, users=("u", "v", "w"), columns=further, n=2)
    assert [r[:2] for r in lists_of(found)] == [
        ("q", "last_session"),
        ("s", "last_session"),
        ("r", "last_session"),
        ("s", "last_session"),
        ("p", "popular"),
        ("q", "popular"),
    ]
    assert lists_of(found)[0][2] == "because you searched for “RED things”"
    assert lists_of(found)[2][2] == "because you looked at boots"


def test_the_last_visit_ends_with_a_pause():
    rows = [("u", "a", "view", 3), ("u", "b", "view", 3), ("u", "b", "cart", 3), ("u", "c", "refund", 3)]
    minutes = pl.Series([0, 40, 70, 90])
    frame = events(rows).with_columns(
        search_text=pl.lit(None, pl.String), event_time=pl.col("event_time") + pl.duration(minutes=minutes)
    )
    last = last_session(frame, PARAMS, gap=timedelta(minutes=30))
    assert last.rows() == [("u", "item", "b", 5.0, PARAMS.kind_of("cart"))]
    longer = last_session(frame, PARAMS, gap=timedelta(minutes=40))
    assert longer["text"].to_list() == ["a", "b"]


def test_new_items_get_their_places_by_what_they_share_with_the_history():
    brands = ("x", "y", "x", "y", "x", "x", "y")
    catalogue = catalogue_of(
        (*ITEMS, "f", "g"), (*CATALOGUE.titles, "Fig", "Grape"), (None,) * 7, (5.0, 4, 3, 2, 1, 0, 0),
        brands=brands, new=("e", "f", "g"),
    )  # fmt: skip
    rows = [("u", "a", "purchase", 10), ("v", "d", "view", 10)]
    found = lists_of(served(rows, users=("u", "v"), catalogue=catalogue, new_share=0.5, n=4))
    # every other place; e and f are of the same brand as a, so alike that the number decides
    assert [r[:2] for r in found] == [
        ("b", "item_cf"), ("e", "content"), ("c", "item_cf"), ("f", "content"),
        ("b", "last_session"), ("g", "content"), ("d", "last_session"), ("a", "popular"),
    ]  # fmt: skip
    assert found[1][2] == "because you bought Apple (new, same brand)"
    assert [r[0] for r in lists_of(served(rows, catalogue=catalogue, new_share=0.0, n=4))] == ["b", "c", "d", "e"]
    barred = served(rows, catalogue=catalogue, new_share=0.5, n=4, rules={"bar_brands": ("x",)})
    assert [r[0] for r in lists_of(barred.filter(pl.col("rank") > 0))] == ["b", "d"]


def test_what_is_new():
    day = lambda n: AS_OF - timedelta(days=n)  # noqa: E731
    listed = {"old": day(400), "fresh": day(9), "relisted": day(5), "untaken": day(3), "static": None}
    first = {"old": day(300), "fresh": day(8), "relisted": day(200), "static": day(7), "unlisted": day(2)}

    def found(listed, first):
        described = pl.DataFrame({"item_id": list(listed), "listed": list(listed.values())})
        dates = pl.DataFrame({"item_id": list(first), "first_date": list(first.values())},
                             schema={"item_id": pl.String, "first_date": pl.Date})  # fmt: skip
        return new_items(described.cast({"listed": pl.Date}), dates, as_of=AS_OF, days=30)

    assert found(listed, first) == {"fresh", "untaken", "static", "unlisted"}
    # events that begin in these days do not tell when an item came, a catalogue that begins in them neither
    for begin in (20, 30):
        recent: dict[str, date] = {item: max(when, day(begin)) for item, when in first.items()}
        assert found(listed, recent) == {"fresh", "relisted", "untaken"}, begin
    assert found({"relisted": day(5), "untaken": day(3)}, first) == {"fresh", "static", "unlisted"}
