"""The serving kernel on a bucket: lists, fallback steps and reasons. No Spark."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recommend_shop import PARAMS, events
from scipy import sparse

from profiling_spark.recommend.als import FactorSide
from profiling_spark.recommend.item_cf import NeighbourSide
from profiling_spark.recommend.serve import Catalogue, Serve
from profiling_spark.recommend.stored import StoredSide

ITEMS = ("a", "b", "c", "d", "e")
CATALOGUE = Catalogue(
    ITEMS, ("Apple", "Bread", "Cake", "Date", "Egg"), ("x", "x", "y", "y", None), (5.0, 4.0, 3.0, 2.0, 1.0)
)
# a, b and c speak for each other; d and e for nothing
SIMILAR = np.zeros((5, 5), dtype=np.float32)
SIMILAR[0, 1] = SIMILAR[1, 0] = 0.9
SIMILAR[0, 2] = SIMILAR[2, 0] = 0.3
NEIGHBOURS = StoredSide(copy=NeighbourSide(sparse.csr_array(SIMILAR)))


def served(rows, *, side=NEIGHBOURS, users=("u",), opted_out=(), n=3, language="en", catalogue=CATALOGUE):
    frame = pl.DataFrame({"user_id": users, "is_opted_out": [u in opted_out for u in users]})
    categories = dict(zip(catalogue.item_ids, catalogue.categories, strict=True))
    kernel = Serve(catalogue, side, PARAMS, n, language)
    return kernel(events(rows, categories), {"users": frame})


def told(frame):
    return [(r["item_id"], r["engine"], r["reason"]) for r in frame.sort("user_id", "rank").to_dicts()]


def test_the_engine_comes_first_and_popular_items_fill_the_list():
    assert told(served([("u", "a", "purchase", 10)], n=4)) == [
        ("b", "item_cf", "because you bought Apple"),
        ("c", "item_cf", "because you bought Apple"),
        ("d", "popular", "popular with all customers"),
        ("e", "popular", "popular with all customers"),
    ]


def test_a_customer_with_nothing_gets_the_popular_items():
    assert [r[:2] for r in told(served([]))] == [("a", "popular"), ("b", "popular"), ("c", "popular")]


def test_a_customer_known_by_category_only_gets_its_popular_items_first():
    rows = [("u", "d", "view", 10)]
    assert told(served(rows, n=3)) == [
        ("c", "popular_in_category", "popular in y"),
        ("a", "popular", "popular with all customers"),
        ("b", "popular", "popular with all customers"),
    ]


def test_a_customer_who_opted_out_gets_the_same_list_as_everyone_else_who_did():
    rows = [("u", "a", "purchase", 10), ("v", "c", "purchase", 10)]
    found = served(rows, users=("u", "v"), opted_out=("u", "v"))
    lists = [told(found.filter(pl.col("user_id") == u)) for u in ("u", "v")]
    assert lists[0] == lists[1]
    assert [r[:2] for r in lists[0]] == [("a", "popular"), ("b", "popular"), ("c", "popular")]


def test_a_refunded_item_neither_speaks_nor_comes_back():
    rows = [("u", "a", "purchase", 10), ("u", "a", "refund", 9)]
    found = told(served(rows, n=5))
    assert "a" not in [item for item, _, _ in found]
    assert {engine for _, engine, _ in found} <= {"popular", "popular_in_category"}


def test_an_item_nobody_takes_now_is_not_offered():
    gone = Catalogue(ITEMS, CATALOGUE.titles, CATALOGUE.categories, (5.0, 0.0, 3.0, 2.0, 1.0))
    assert [r[0] for r in told(served([("u", "a", "view", 10)], catalogue=gone, n=5))] == ["c", "d", "e"]


def test_an_item_newer_than_the_model_is_offered_as_popular():
    longer = Catalogue((*ITEMS, "f"), (*CATALOGUE.titles, "Fig"), (*CATALOGUE.categories, None), (5.0, 4, 3, 2, 1, 9))
    found = told(served([("u", "a", "view", 10), ("u", "f", "view", 10)], catalogue=longer, n=5))
    assert [r[0] for r in found] == ["b", "c", "d", "e"]
    assert told(served([], catalogue=longer, n=1))[0][0] == "f"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("purchase", "因为您购买过Apple"),
        ("cart", "因为您把Apple加入过购物车"),
        ("view", "因为您浏览过Apple"),
    ],
)
def test_reasons_in_chinese(kind, words):
    assert told(served([("u", "a", kind, 10)], language="zh"))[0][2] == words


@st.composite
def random_shops(draw):
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    count, users = draw(st.integers(1, 25)), draw(st.integers(1, 8))
    names = tuple(f"i{n:02d}" for n in range(count))
    weights = tuple(float(w) for w in rng.integers(0, 4, count))
    catalogue = Catalogue(names, tuple(n.upper() for n in names), tuple(f"c{n % 3}" for n in range(count)), weights)
    factors = rng.normal(size=(draw(st.integers(1, count)), 3)).astype(np.float32)
    rows = [
        (
            f"u{rng.integers(users)}",
            names[rng.integers(count)],
            str(rng.choice(["view", "purchase", "refund"])),
            int(age),
        )
        for age in rng.integers(1, 300, draw(st.integers(0, 40)))
    ]
    side = StoredSide(copy=FactorSide(factors, alpha=1.0, regularisation=0.1))
    return catalogue, side, rows, tuple(f"u{n}" for n in range(users))


@given(shop=random_shops(), n=st.integers(1, 12))
@settings(deadline=None, max_examples=50)
def test_lists_of_any_shop(shop, n):
    catalogue, side, rows, users = shop
    found = served(rows, side=side, users=users, n=n, catalogue=catalogue)
    on_offer = {i for i, w in zip(catalogue.item_ids, catalogue.weights, strict=True) if w > 0}
    seen = {u: {i for v, i, _, _ in rows if v == u} for u in users}
    for user in users:
        mine = found.filter(pl.col("user_id") == user).to_dicts()
        items = [r["item_id"] for r in mine]
        assert [r["rank"] for r in mine] == list(range(1, len(mine) + 1))
        assert len(set(items)) == len(items) == min(n, len(on_offer - seen[user]))
        assert set(items) <= on_offer - seen[user]
        for r in mine:
            past = [i for i in seen[user] if r["reason"].endswith(f" {i.upper()}")]
            assert (r["engine"] == "als") == bool(past)
    again = served(rows[::-1], side=side, users=users[::-1], n=n, catalogue=catalogue)
    assert again.rows() == found.rows()
