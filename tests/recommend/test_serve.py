"""The serving kernel on a bucket: lists, fallback steps and reasons. No Spark."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recommend_shop import PARAMS, events
from scipy import sparse

from profiling_spark.config.settings import RecommendPolicy
from profiling_spark.recommend.als import FactorSide
from profiling_spark.recommend.item_cf import NeighbourSide
from profiling_spark.recommend.serve import Catalogue, Serve
from profiling_spark.recommend.stored import StoredSide


def shelf(items, titles, categories, weights, *, brands=None, prices=None, stocks=None):
    """A catalogue; what is not given is not known."""
    unknown = (None,) * len(items)
    return Catalogue(items, titles, categories, weights, brands or unknown, prices or unknown, stocks or unknown)


ITEMS = ("a", "b", "c", "d", "e")
CATALOGUE = shelf(
    ITEMS, ("Apple", "Bread", "Cake", "Date", "Egg"), ("x", "x", "y", "y", None), (5.0, 4.0, 3.0, 2.0, 1.0)
)
# a, b and c speak for each other; d and e for nothing
SIMILAR = np.zeros((5, 5), dtype=np.float32)
SIMILAR[0, 1] = SIMILAR[1, 0] = 0.9
SIMILAR[0, 2] = SIMILAR[2, 0] = 0.3
NEIGHBOURS = StoredSide(copy=NeighbourSide(sparse.csr_array(SIMILAR)))


def served(rows, *, side=NEIGHBOURS, users=("u",), opted_out=(), n=3, language="en", catalogue=CATALOGUE, rules=None):
    frame = pl.DataFrame({"user_id": users, "is_opted_out": [u in opted_out for u in users]})
    categories = dict(zip(catalogue.item_ids, catalogue.categories, strict=True))
    kernel = Serve(catalogue, side, PARAMS, n, language, RecommendPolicy(**(rules or {})))
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
    gone = shelf(ITEMS, CATALOGUE.titles, CATALOGUE.categories, (5.0, 0.0, 3.0, 2.0, 1.0))
    assert [r[0] for r in told(served([("u", "a", "view", 10)], catalogue=gone, n=5))] == ["c", "d", "e"]


def test_an_item_newer_than_the_model_is_offered_as_popular():
    longer = shelf((*ITEMS, "f"), (*CATALOGUE.titles, "Fig"), (*CATALOGUE.categories, None), (5.0, 4, 3, 2, 1, 9))
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
    catalogue = shelf(names, tuple(n.upper() for n in names), tuple(f"c{n % 3}" for n in range(count)), weights)
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


def removed(frame):
    return {r["engine"]: r["score"] for r in frame.filter(pl.col("rank") == 0).to_dicts()}


def test_what_is_out_of_stock_or_barred_is_not_offered_and_counted():
    stocked = shelf(*(getattr(CATALOGUE, n) for n in ("item_ids", "titles", "categories", "weights")),
                    stocks=(9, 0, None, 5, 5))  # fmt: skip
    found = served([("u", "a", "view", 10)], catalogue=stocked, rules={"bar_categories": ("y",)}, n=5)
    assert [r[0] for r in told(found.filter(pl.col("rank") > 0))] == ["e"]
    # of what item_cf ranks first, b is out of stock and c of the barred category
    assert removed(found) == {"out_of_stock": 1, "category": 1}


def test_what_was_bought_comes_again_in_categories_of_repeat_purchases():
    rows = [("u", "a", "purchase", 10), ("u", "c", "purchase", 10)]
    found = served(rows, rules={"repeat_categories": ("y",)}, n=5)
    assert {r[0] for r in told(found)} == {"b", "c", "d", "e"}


def test_no_more_than_so_many_of_a_category():
    found = served([("u", "d", "view", 10)], rules={"max_per_category": 1}, n=5)
    assert [r[0] for r in told(found.filter(pl.col("rank") > 0))] == ["c", "a", "e"]
    assert removed(found) == {"per_category": 1}


def test_prices_stay_near_what_the_customer_pays():
    priced = shelf(*(getattr(CATALOGUE, n) for n in ("item_ids", "titles", "categories", "weights")),
                   prices=(10.0, 20.0, 30.0, 41.0, 40.0))  # fmt: skip
    rows = [("u", i, "purchase", 10) for i in "abc"]
    found = served(rows, catalogue=priced, rules={"price_range": (0.5, 2.0)}, users=("u", "v"), n=5)
    lists = found.filter(pl.col("rank") > 0)
    assert [r[0] for r in told(lists.filter(pl.col("user_id") == "u"))] == ["e"]
    assert len(lists.filter(pl.col("user_id") == "v")) == 5
    assert removed(found) == {"price": 1}


@st.composite
def random_policies(draw):
    names = st.sampled_from([(), ("c0",), ("c0", "c1")])
    return {
        "in_stock": draw(st.booleans()),
        "repeat_categories": draw(names),
        "bar_categories": draw(names),
        "max_per_category": draw(st.sampled_from([None, 1, 3])),
        "max_per_brand": draw(st.sampled_from([None, 2])),
    }


def most_that_fit(items, limits):
    """How many of the items a list can hold by going down any ranking; categories and brands do not nest here, so only
    where one of them is limited is this the greatest number."""
    taken = {}
    for kinds, most in limits:
        for item in items:
            taken.setdefault(kinds[item], []).append(item)
        return sum(min(len(group), most) for group in taken.values())
    return len(items)


@given(shop=random_shops(), rules=random_policies(), n=st.integers(1, 12), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=100)
def test_lists_of_any_shop_obey_its_policy(shop, rules, n, seed):
    bare, side, rows, users = shop
    rng = np.random.default_rng(seed)
    items = bare.item_ids
    brands = tuple(f"b{k}" for k in rng.integers(0, 3, len(items)))
    stocks = tuple(int(k) for k in rng.integers(0, 3, len(items)))
    catalogue = shelf(items, bare.titles, bare.categories, bare.weights, brands=brands, stocks=stocks)
    found = served(rows, side=side, users=users, n=n, catalogue=catalogue, rules=rules)
    of = {i: (w, c, b, s) for i, w, c, b, s in zip(items, bare.weights, bare.categories, brands, stocks, strict=True)}
    on_offer = {
        i for i, (w, c, _, s) in of.items()
        if w > 0 and c not in rules["bar_categories"] and not (rules["in_stock"] and s == 0)
    }  # fmt: skip
    for user in users:
        seen = {i for v, i, _, _ in rows if v == user and of[i][1] not in rules["repeat_categories"]}
        mine = found.filter((pl.col("user_id") == user) & (pl.col("rank") > 0))
        listed = mine["item_id"].to_list()
        assert mine["rank"].to_list() == list(range(1, len(listed) + 1))
        assert len(set(listed)) == len(listed)
        assert set(listed) <= on_offer - seen
        limits = []
        for place, most in ((1, rules["max_per_category"]), (2, rules["max_per_brand"])):
            if most is not None:
                kinds = {i: of[i][place] for i in of}
                assert all(sum(kinds[i] == kind for i in listed) <= most for kind in set(kinds.values()))
                limits.append((kinds, most))
        if len(limits) < 2:
            assert len(listed) == min(n, most_that_fit(on_offer - seen, limits))
        else:  # nothing that is left over would fit
            open_items = on_offer - seen - set(listed)
            fits = [i for i in open_items if all(sum(k[j] == k[i] for j in listed) < m for k, m in limits)]
            assert len(listed) == n or not fits
    again = served(rows[::-1], side=side, users=users[::-1], n=n, catalogue=catalogue, rules=rules)
    assert again.rows() == found.rows()
