"""Steering by price: by hand on small lists, and against plain Python on random shops."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import sparse
from test_serve import CATALOGUE, catalogue_of, lists_of, random_policies, random_shops, removed, served

from profiling_spark.config.policy import PriceSteering
from profiling_spark.recommend.engines.item_cf import NeighbourSide
from profiling_spark.recommend.engines.stored import StoredSide
from profiling_spark.recommend.lists.steering import DEPTH, LOW_PRICE, QUALITY_FIRST, Steering, steered

DEAR = ", in the upper half of its category's prices, as you often choose"
CHEAP = ", in the lower half of its category's prices, as you often choose"
NAMES = ("item_ids", "titles", "categories", "weights")
PRICED = catalogue_of(*(getattr(CATALOGUE, n) for n in NAMES), percentiles=(0.0, 0.5, 1.0, 0.1, None))


def rules(strength):
    return {"price_steering": {"strength": strength}}


def test_who_is_steered_where_to():
    steering = Steering(PriceSteering(strength=0.5), np.array([0.0, 0.25, 0.5, 0.75, 1.0, np.nan]))
    ends = steering.ends(np.array([0.0, 0.35, 0.36, 0.64, 0.65, 1.0, np.nan]))
    assert ends.tolist() == [LOW_PRICE, LOW_PRICE, 0, 0, QUALITY_FIRST, QUALITY_FIRST, 0]
    items = np.tile(np.arange(6), (3, 1))
    assert steering.gains(np.array([LOW_PRICE, 0, QUALITY_FIRST]), items).tolist() == [
        [0.5, 0.25, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0.25, 0.5, 0],
    ]
    off = Steering(PriceSteering(strength=0.0), steering.percentiles)
    assert not off.ends(np.array([0.0, 1.0])).any()
    with pytest.raises(ValidationError, match=r"low 0\.7 must be below high 0\.6"):
        PriceSteering(low=0.7, high=0.6)


def test_candidates_change_places_by_their_steered_scores():
    scores = np.array([[10.0, 9.0, 8.0, np.nan], [-1.0, -2.0, -2.1, -9.0]])
    gains = np.array([[0.0, 0.1, 0.5, 0.0], [0.0, 0.0, 0.2, 0.9]])
    # 10, 9.9, 12; and -1, -2, -1.68, -0.9: a negative score rises too
    value, order = steered(scores, gains, 2)
    assert order.tolist() == [[2, 0], [3, 0]]
    assert value[0, :3] == pytest.approx([10.0, 9.9, 12.0])
    assert value[1] == pytest.approx([-1.0, -2.0, -1.68, -0.9])
    # equal ones stay in order, and nothing leaves its step
    value, order = steered(np.array([[1.0, 1.0, 4.0, 3.0]]), np.array([[0.0, 0.0, 0.0, 1.0]]), 4,
                           steps=np.array([[0, 0, 1, 1]]))  # fmt: skip
    assert (order.tolist(), value.tolist()) == ([[0, 1, 3, 2]], [[1.0, 1.0, 4.0, 6.0]])


def test_a_quality_first_customer_gets_the_dearer_of_two_good_items_first():
    # b, in the middle of its prices, has 0.9 and c, the dearest, 0.6 of what a says: c must count 1.5 times and more
    rows = [(u, "a", "purchase", 10) for u in ("high", "low", "mid", "none", "private")]
    prefers = {"high": 0.9, "low": 0.1, "mid": 0.5, "private": 0.9}
    near = np.zeros((5, 5), dtype=np.float32)
    near[0, 1], near[0, 2] = 0.9, 0.6
    options = {"side": neighbours(near), "users": tuple(u for u, *_ in rows), "preferences": prefers, "n": 2}
    options |= {"catalogue": PRICED, "opted_out": ("private",)}
    found = served(rows, rules=rules(0.75), **options)
    lists = {u: lists_of(found.filter((pl.col("user_id") == u) & (pl.col("rank") > 0))) for u in options["users"]}
    assert lists["high"] == [
        ("c", "item_cf", "because you bought Apple" + DEAR),
        ("b", "item_cf", "because you bought Apple"),
    ]
    plain = [("b", "item_cf", "because you bought Apple"), ("c", "item_cf", "because you bought Apple")]
    assert lists["low"] == lists["mid"] == lists["none"] == plain
    assert [r[:2] for r in lists["private"]] == [("a", "popular"), ("b", "popular")]
    assert removed(found) == {"price_steering": 2}
    # the score is what ranks: what the past items add up to, by log(1 + 4), and what the price adds
    high = found.filter(pl.col("user_id") == "high").sort("rank")["score"].to_list()
    assert high == pytest.approx([0.6 * 1.75 * np.log(5), 0.9 * np.log(5)])
    # 0.6 * 1.4 is less than 0.9
    weak = lists_of(served(rows, rules=rules(0.4), **options).filter(pl.col("user_id") == "high"))
    assert weak == [plain[0], (*plain[1][:2], plain[1][2] + DEAR)]
    chinese = served(rows, rules=rules(1.0), language="zh", **options).filter(pl.col("user_id") == "high")
    assert lists_of(chinese)[0][2] == "因为您购买过Apple，在同类中价位较高，符合您的偏好"


def neighbours(similar):
    """The engine that scores by these similarities."""
    return StoredSide(own=NeighbourSide(sparse.csr_array(similar)))


def test_popular_items_are_steered_within_their_step():
    rows = [("u", "c", "view", 10), ("u", "c", "view", 9)]
    options = {"catalogue": PRICED, "side": None, "gap": None, "n": 4}
    # d is of the favourite category; then a 5, b 4 and e 1 of everyone
    assert [r[0] for r in lists_of(served(rows, **options))] == ["d", "a", "b", "e"]
    low = served(rows, preferences={"u": 0.2}, rules=rules(1.0), **options)
    assert [r[0] for r in lists_of(low.filter(pl.col("rank") > 0))] == ["d", "a", "b", "e"]
    cheap = catalogue_of(*(getattr(CATALOGUE, n) for n in NAMES), percentiles=(0.5, 0.25, 1.0, None, 0.0))
    found = [served(rows, preferences={"u": 0.2}, rules=rules(s), **options | {"catalogue": cheap}) for s in (0.4, 1.0)]
    lists = [lists_of(frame.filter(pl.col("rank") > 0)) for frame in found]
    # b counts 4 * 1.2, then 4 * 1.5; e, the cheapest, at most 2
    assert [[r[0] for r in each] for each in lists] == [["d", "a", "b", "e"], ["d", "b", "a", "e"]]
    assert lists[1][1] == ("b", "popular", "popular with all customers" + CHEAP)


@given(shop=random_shops(), policy=random_policies(), n=st.integers(1, 6), seed=st.integers(0, 999))
@settings(deadline=None, max_examples=60)
def test_lists_are_what_sorting_by_hand_gives(shop, policy, n, seed):
    rows, options = shop
    rng = np.random.default_rng(seed)
    options = options | {"new_share": 0.0, "gap": None} | priced(options, rng)
    opted_out = options["users"][-1:]
    strength = float(rng.choice([0.25, 1.0]))
    more = {"opted_out": opted_out, **options}
    # of known items a list has so many by its length, which a deep list cannot show
    policy = policy | {"most_seen_share": 0.0}
    found = served(rows, n=n, rules=policy | rules(strength), **more)
    plain = served(rows, n=n, rules=policy | rules(0.0), **more)
    deep = served(rows, n=DEPTH * n, rules=policy | rules(0.0), **more)
    percentile = dict(zip(options["catalogue"].item_ids, options["catalogue"].price_percentiles, strict=True))
    changed = 0
    for user in options["users"]:
        prefers = None if user in opted_out else options["preferences"].get(user)
        steered, before, candidates = (listed(frame, user) for frame in (found, plain, deep))
        if prefers is None or 0.35 < prefers < 0.65:
            assert steered == before
            continue
        end = -1 if prefers <= 0.35 else 1
        # the engine's part of a list, and where it has nothing for a customer the steps of popularity
        if before and before[0]["engine"] == "als":
            candidates = [r for r in candidates if r["engine"] == "als"]
        expected = by_hand(candidates, percentile, end, strength)[: min(n, len(candidates))]
        assert [r["item_id"] for r in steered[: len(expected)]] == [r["item_id"] for r in expected]
        for r, plain_row in zip(steered[: len(expected)], expected, strict=True):
            more_by = strength * gain(percentile[r["item_id"]], end)
            assert r["score"] == pytest.approx(plain_row["score"] + more_by * abs(plain_row["score"]), abs=1e-8)
        assert len(steered) == len(before)
        words = DEAR if end == 1 else CHEAP
        for r in steered[: len(expected)]:
            assert r["reason"].endswith(words) == (gain(percentile[r["item_id"]], end) > 0)
        changed += sum(a["item_id"] != b["item_id"] for a, b in zip(steered, before, strict=True))
    counted = removed(found).get("price_steering", 0)
    assert (counted == 0) <= (changed == 0)
    assert removed(found).keys() - {"price_steering"} == removed(plain).keys()
    # whoever else is served changes nothing
    for some in (options["users"][::2], options["users"][1::2]):
        part = served(rows, n=n, rules=policy | rules(strength), **more | {"users": some})
        assert [listed(part, user) for user in some] == [listed(found, user) for user in some]


def priced(options, rng):
    """Random percentiles of the catalogue's items and preferences of its customers; some are not known."""
    catalogue = options["catalogue"]
    values = [None if k == 5 else k / 4 for k in rng.integers(0, 6, len(catalogue.item_ids)).tolist()]
    known = catalogue_of(
        *(getattr(catalogue, n) for n in NAMES), brands=catalogue.brands, stocks=catalogue.stocks,
        percentiles=tuple(values),
    )  # fmt: skip
    prefers = {u: float(rng.choice([0.0, 0.35, 0.5, 0.65, 1.0])) for u in options["users"] if rng.random() < 0.8}
    return {"catalogue": known, "preferences": prefers}


def listed(frame, user):
    return frame.filter((pl.col("user_id") == user) & (pl.col("rank") > 0)).sort("rank").to_dicts()


def gain(percentile, end):
    return 0.0 if percentile is None else max(0.0, end * (2 * percentile - 1))


def by_hand(candidates, percentile, end, strength):
    """The candidates by their steered scores, each within its step."""
    steps = {engine: n for n, engine in reversed(list(enumerate(r["engine"] for r in candidates)))}

    def key(row):
        more = strength * gain(percentile[row["item_id"]], end)
        return steps[row["engine"]], -(row["score"] + more * abs(row["score"])), row["rank"]

    return sorted(candidates, key=key)
