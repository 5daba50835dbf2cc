"""The serving kernel on a bucket: lists, fallback steps and reasons. No Spark."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recommend_shop import PARAMS, events
from scipy import sparse

from profiling_spark.config.policy import RecommendPolicy
from profiling_spark.recommend.engines.als import FactorSide
from profiling_spark.recommend.engines.item_cf import NeighbourSide
from profiling_spark.recommend.engines.stored import StoredSide
from profiling_spark.recommend.lists.catalogue import Catalogue
from profiling_spark.recommend.lists.groups import group_steps
from profiling_spark.recommend.lists.serve import Goods, Offer, Serve

GAP = timedelta(minutes=30)
TOP = {"kind": pl.String, "name": pl.String, "item_id": pl.String, "units": pl.Int64}


def catalogue_of(
    items, titles, categories, weights, *, brands=None, prices=None, stocks=None, new=(), percentiles=None
):
    """A catalogue; what is not given is not known."""
    unknown = (None,) * len(items)
    are_new = tuple(i in new for i in items)
    return Catalogue(
        items, titles, categories, weights, unknown, brands or unknown, prices or unknown, stocks or unknown, are_new,
        percentiles or unknown, (False,) * len(items),
    )  # fmt: skip


ITEMS = ("a", "b", "c", "d", "e")
CATALOGUE = catalogue_of(
    ITEMS, ("Apple", "Bread", "Cake", "Date", "Egg"), ("x", "x", "y", "y", None), (5.0, 4.0, 3.0, 2.0, 1.0)
)
# a, b and c speak for each other; d and e for nothing
SIMILAR = np.zeros((5, 5), dtype=np.float32)
SIMILAR[0, 1] = SIMILAR[1, 0] = 0.9
SIMILAR[0, 2] = SIMILAR[2, 0] = 0.3
NEIGHBOURS = StoredSide(own=NeighbourSide(sparse.csr_array(SIMILAR)))


def served(
    rows, *, side=NEIGHBOURS, users=("u",), opted_out=(), bots=(), n=3, language="en", catalogue=CATALOGUE, rules=None,
    top=(), member_of=None, new_share=0.0, gap=GAP, columns=None, preferences=None,
):  # fmt: skip
    """Lists from (user, item, event type, age) rows. `top`: (kind, group, item, units) of popular items in groups;
    `member_of`: groups of each user by kind; `columns`: further columns of the events; `preferences`: of prices."""
    groups = group_steps(pl.DataFrame(list(top), schema=TOP, orient="row"), catalogue.item_ids)
    named = {kind: [(member_of or {}).get(u, {}).get(kind) for u in users] for kind in groups}
    general = {"is_opted_out": [u in opted_out for u in users], "is_bot": [u in bots for u in users]}
    frame = pl.DataFrame({"user_id": users, **general})
    prefers = [(preferences or {}).get(u) for u in users]
    frame = frame.with_columns(pl.Series("price_preference", prefers, dtype=pl.Float64))
    frame = frame.with_columns(pl.Series(kind, names, dtype=pl.String) for kind, names in named.items())
    categories = dict(zip(catalogue.item_ids, catalogue.categories, strict=True))
    rows = events(rows, categories).with_columns(search_text=pl.lit(None, pl.String)).with_columns(**(columns or {}))
    offer = Offer(n, new_share, gap, language, RecommendPolicy(**(rules or {})))
    kernel = Serve(Goods(catalogue, catalogue.content(), groups), side, PARAMS, offer)
    return kernel(rows, {"users": frame})


def lists_of(frame):
    return [(r["item_id"], r["engine"], r["reason"]) for r in frame.sort("user_id", "rank").to_dicts()]


def test_the_engine_comes_first_and_popular_items_fill_the_list():
    assert lists_of(served([("u", "a", "purchase", 10)], n=4)) == [
        ("b", "item_cf", "because you bought Apple"),
        ("c", "item_cf", "because you bought Apple"),
        ("d", "popular", "popular with all customers"),
        ("e", "popular", "popular with all customers"),
    ]


def test_a_customer_with_nothing_gets_the_popular_items():
    assert [r[:2] for r in lists_of(served([]))] == [("a", "popular"), ("b", "popular"), ("c", "popular")]


def test_a_customer_known_by_category_only_gets_its_popular_items_first():
    # the last visit, to e, is like nothing
    rows = [("u", "d", "view", 10), ("u", "d", "view", 9), ("u", "e", "view", 3)]
    assert lists_of(served(rows, n=3)) == [
        ("c", "popular_in_category", "popular in y"),
        ("a", "popular", "popular with all customers"),
        ("b", "popular", "popular with all customers"),
    ]


def test_a_customer_who_opted_out_gets_the_same_list_as_everyone_else_who_did():
    rows = [("u", "a", "purchase", 10), ("v", "c", "purchase", 10)]
    found = served(rows, users=("u", "v"), opted_out=("u", "v"))
    lists = [lists_of(found.filter(pl.col("user_id") == u)) for u in ("u", "v")]
    assert lists[0] == lists[1]
    assert [r[:2] for r in lists[0]] == [("a", "popular"), ("b", "popular"), ("c", "popular")]


def test_a_refunded_item_neither_speaks_nor_comes_back():
    rows = [("u", "a", "purchase", 10), ("u", "a", "refund", 9)]
    found = lists_of(served(rows, n=5))
    assert "a" not in [item for item, _, _ in found]
    assert {engine for _, engine, _ in found} <= {"popular", "popular_in_category"}


def test_an_item_nobody_takes_now_is_not_offered():
    gone = catalogue_of(ITEMS, CATALOGUE.titles, CATALOGUE.categories, (5.0, 0.0, 3.0, 2.0, 1.0))
    assert [r[0] for r in lists_of(served([("u", "a", "view", 10)], catalogue=gone, n=5))] == ["c", "d", "e"]


def test_an_item_newer_than_the_model_is_offered_as_popular():
    titles, categories = (*CATALOGUE.titles, "Fig"), (*CATALOGUE.categories, None)
    longer = catalogue_of((*ITEMS, "f"), titles, categories, (5.0, 4, 3, 2, 1, 9))
    found = lists_of(served([("u", "a", "view", 10), ("u", "f", "view", 10)], catalogue=longer, n=5))
    assert [r[0] for r in found] == ["b", "c", "d", "e"]
    assert lists_of(served([], catalogue=longer, n=1))[0][0] == "f"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("purchase", "因为您购买过Apple"),
        ("cart", "因为您把Apple加入过购物车"),
        ("view", "因为您浏览过Apple"),
    ],
)
def test_reasons_in_chinese(kind, words):
    assert lists_of(served([("u", "a", kind, 10)], language="zh"))[0][2] == words


def removed(frame):
    return {r["engine"]: r["score"] for r in frame.filter(pl.col("rank") == 0).to_dicts()}


def test_what_is_out_of_stock_or_barred_is_not_offered_and_counted():
    stocked = catalogue_of(*(getattr(CATALOGUE, n) for n in ("item_ids", "titles", "categories", "weights")),
                    stocks=(9, 0, None, 5, 5))  # fmt: skip
    found = served([("u", "a", "purchase", 10)], catalogue=stocked, rules={"bar_categories": ("y",)}, n=5)
    assert [r[0] for r in lists_of(found.filter(pl.col("rank") > 0))] == ["e"]
    # of what item_cf ranks first, b is out of stock and c of the barred category
    assert removed(found) == {"out_of_stock": 1, "category": 1}


def test_what_was_bought_comes_again_in_categories_of_repeat_purchases():
    rows = [("u", "a", "purchase", 10), ("u", "c", "purchase", 10)]
    found = served(rows, rules={"repeat_categories": ("y",)}, n=5)
    assert {r[0] for r in lists_of(found)} == {"b", "c", "d", "e"}


def test_no_more_than_so_many_of_a_category():
    found = served([("u", "d", "view", 10)], rules={"max_per_category": 1}, n=5, gap=None)
    assert [r[0] for r in lists_of(found.filter(pl.col("rank") > 0))] == ["c", "a", "e"]
    assert removed(found) == {"per_category": 1}


def test_prices_stay_near_what_the_customer_pays():
    priced = catalogue_of(*(getattr(CATALOGUE, n) for n in ("item_ids", "titles", "categories", "weights")),
                   prices=(10.0, 20.0, 30.0, 41.0, 40.0))  # fmt: skip
    rows = [("u", i, "purchase", 10) for i in "abc"]
    found = served(rows, catalogue=priced, rules={"price_range": (0.5, 2.0)}, users=("u", "v"), n=5)
    lists = found.filter(pl.col("rank") > 0)
    assert [r[0] for r in lists_of(lists.filter(pl.col("user_id") == "u"))] == ["e"]
    assert len(lists.filter(pl.col("user_id") == "v")) == 5
    assert removed(found) == {"price": 1}


@st.composite
def random_policies(draw):
    names = st.sampled_from([(), ("c0",), ("c0", "c1")])
    repeated = draw(names)
    return {
        "in_stock": draw(st.booleans()),
        "repeat_categories": repeated,
        "bar_categories": [c for c in draw(names) if c not in repeated],  # both cannot be meant
        "max_per_category": draw(st.sampled_from([None, 1, 3])),
        "max_per_brand": draw(st.sampled_from([None, 2])),
        "price_steering": {"strength": draw(st.sampled_from([0.0, 0.25, 1.0]))},
    }


@st.composite
def random_shops(draw):
    """A catalogue with new, sold-out and forgotten items, an engine that may know only some, customers with groups."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    count, users = draw(st.integers(1, 25)), draw(st.integers(1, 8))
    names = tuple(f"i{n:02d}" for n in range(count))
    catalogue = catalogue_of(
        names,
        tuple(n.upper() for n in names),
        tuple(f"c{n % 3}" for n in range(count)),
        tuple(float(w) for w in rng.integers(0, 4, count)),
        brands=tuple(f"b{k}" for k in rng.integers(0, 3, count)),
        stocks=tuple(int(k) for k in rng.integers(0, 3, count)),
        new={n for n in names if rng.random() < 0.3},
        percentiles=tuple(None if k == 5 else k / 4 for k in rng.integers(0, 6, count).tolist()),
    )
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
    ids = tuple(f"u{n}" for n in range(users))
    side = StoredSide(own=FactorSide(factors, alpha=1.0, regularisation=0.1)) if draw(st.booleans()) else None
    top = [
        (kind, name, item, 9 - place)
        for kind, group in (("segment", ("0", "1")), ("attributes", ("female/",)), ("region", ("Hunan",)))
        for name in group
        for place, item in enumerate(rng.permutation(names)[: rng.integers(0, 4)])
    ]
    member_of = {u: {"segment": str(rng.integers(3)), "region": "Hunan"} for u in ids if rng.random() < 0.7}
    options = {"side": side, "users": ids, "top": top, "member_of": member_of, "catalogue": catalogue}
    options["preferences"] = {u: float(rng.choice([0.1, 0.5, 0.9])) for u in ids if rng.random() < 0.7}
    return rows, options | {"new_share": draw(st.sampled_from([0.0, 0.25, 0.5]))}


def states_by_hand(rows):
    """What a customer did with each item that binds most, from (item, event type, age): refunds take the latest."""
    found = {}
    for item in {i for i, _, _ in rows}:
        kept, kinds = 0, set()
        # of one day a refund follows the purchases
        for _, kind, _ in sorted((r for r in rows if r[0] == item), key=lambda r: (-r[2], r[1] == "refund")):
            kinds.add(kind)
            kept = max(kept - 1, 0) if kind == "refund" else kept + (kind == "purchase")
        found[item] = "purchase" if kept else "refund" if kinds & {"refund", "purchase"} else "view"
    return found


@given(shop=random_shops(), rules=random_policies(), n=st.integers(1, 12))
@settings(deadline=None, max_examples=80)
def test_lists_of_any_shop_obey_its_policy(shop, rules, n):
    rows, options = shop
    catalogue, share = options["catalogue"], options["new_share"]
    opted_out = options["users"][-1:]
    found = served(rows, n=n, rules=rules, opted_out=opted_out, **options)
    items = catalogue.item_ids
    of = {"max_per_category": dict(zip(items, catalogue.categories, strict=True)),
          "max_per_brand": dict(zip(items, catalogue.brands, strict=True))}  # fmt: skip
    allowed = {
        i for i, c, s in zip(items, catalogue.categories, catalogue.stocks, strict=True)
        if c not in rules["bar_categories"] and not (rules["in_stock"] and s == 0)
    }  # fmt: skip
    taken = allowed & {i for i, w in zip(items, catalogue.weights, strict=True) if w > 0}
    new = allowed & {i for i, is_new in zip(items, catalogue.are_new, strict=True) if is_new}
    for user in options["users"]:
        state = {} if user in opted_out else states_by_hand([r[1:] for r in rows if r[0] == user])
        touched = set(state)
        repeated = {i for i in items if of["max_per_category"][i] in rules["repeat_categories"]}
        known = {i for i, did in state.items() if did == "view" or (did == "purchase" and i in repeated)}
        seen = touched - known
        own = found.filter((pl.col("user_id") == user) & (pl.col("rank") > 0)).sort("rank").to_dicts()
        listed = [r["item_id"] for r in own]
        assert [r["rank"] for r in own] == list(range(1, len(listed) + 1))
        assert len(set(listed)) == len(listed) <= n
        assert set(listed) <= (taken | new) - seen
        limits = [(of[rule], rules[rule]) for rule in of if rules[rule] is not None]
        assert all(sum(k[j] == k[i] for j in listed) <= most for k, most in limits for i in listed)
        again = [r for r in own if r["again"]]
        assert {r["item_id"] for r in again} == known & set(listed)
        assert len(again) <= min(n // 2, len(own) - len(again))
        assert {r["engine"] for r in again} <= {"als", "last_session"}
        # a list is shorter only where nothing that is left over would fit
        left = taken - touched - set(listed)
        fits = [i for i in left if all(sum(k[j] == k[i] for j in listed) < most for k, most in limits)]
        assert len(listed) == n or not fits or again
        for engine in {r["engine"] for r in own}:
            scores = [r["score"] for r in own if r["engine"] == engine]
            assert scores == sorted(scores, reverse=True), engine
        steps = {r["engine"] for r in own}
        assert len({"als", "last_session"} & steps) <= 1
        assert sum(r["engine"] == "content" for r in own) <= n * share
        for r in own:
            # who is named in a reason is something that this customer took, and no popular item names any
            past = [i for i in touched if f" {i.upper()}" in r["reason"]]
            assert (r["engine"] in {"als", "last_session", "content"}) == (bool(past) or r["again"])
            assert not (r["again"] and past)
            assert r["engine"] != "content" or r["item_id"] in new
        if user in opted_out:
            assert steps <= {"popular"}
    again = served(rows[::-1], n=n, rules=rules, opted_out=opted_out, **options | {"users": options["users"][::-1]})
    assert again.rows() == found.rows()
