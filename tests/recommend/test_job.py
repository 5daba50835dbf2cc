"""The job on small shops: what it learns, what it writes, and that a second run changes nothing."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from job_shop import lists, newest, settings_for, values, write_shop
from pyspark.ml.recommendation import ALS
from recommend_shop import AS_OF, group_of, tasteful
from recording_progress import RecordingProgress

from profiling_spark.config import Settings
from profiling_spark.contracts.gold import (
    BUNDLES,
    ITEM_AUDIENCE,
    ITEM_NEIGHBOURS,
    REPEAT_CATEGORIES,
    USER_RECOMMENDATIONS,
)
from profiling_spark.contracts.operations import LIVE_MODELS, MODEL_RUNS
from profiling_spark.recommend.engines import ENGINES
from profiling_spark.recommend.engines.als import FactorSide
from profiling_spark.recommend.engines.item_cf import cosine_neighbours
from profiling_spark.recommend.history.time_split import time_cutoff
from profiling_spark.recommend.job import recommend_items
from profiling_spark.recommend.matrix.item_side import padded_blocks


@pytest.fixture
def settings(tables) -> Settings:
    return settings_for(tables)


def test_planted_tastes_are_found_and_a_second_run_changes_nothing(tables, settings, make_context):
    rows = tasteful(120, 6, 20, seed=1)
    newcomer = [("zoe", f"g1i{n:02d}", "view", n + 1) for n in range(3)]
    titles = {f"g1i{n:02d}": f"Title {n}" for n in range(20)}
    provinces = {f"u{n:03d}": "Hunan" for n in range(0, 120, 3)} | {"local": "Hunan", "private": "Hunan"}
    extra = {"extra_users": ("nobody", "private", "local"), "opted_out": ("private",), "provinces": provinces}
    extra["categories"] = {item: f"kind {group_of(item)}" for _, item, *_ in rows}
    write_shop(tables, settings, rows, titles=titles, **extra)
    done = recommend_items(make_context(settings=settings, as_of=AS_OF))
    assert done.facts["recall_at_20_als"] > 1.5 * done.facts["recall_at_20_popular"]
    assert done.facts["engine"] in ENGINES
    figures_are_of_halves_and_groups(tables)
    found, first = lists(tables), values(tables)
    assert {len(own) for own in found.values()} == {5}
    offers = [(f"g{int(u[1:]) % 6}", group_of(r["item_id"])) for u, own in found.items() if u[0] == "u" for r in own]
    assert np.mean([own == offered for own, offered in offers]) > 0.9
    assert {r["engine"] for r in found["nobody"]} == {"popular"}
    assert [r["item_id"] for r in found["private"]] == [r["item_id"] for r in found["nobody"]]
    assert done.facts["users_served"] == 123
    steps_are_those_of_the_lists(done, found)
    assert {(r["engine"], r["reason"]) for r in found["local"]} == {("popular_in_region", "popular in Hunan")}
    # customers of Hunan take items of the groups 0 and 3 only
    assert {group_of(r["item_id"]) for r in found["local"]} == {"g0", "g3"}
    buyers = {(user, item) for user, item, kind, _ in rows if kind == "purchase"}
    best = newest(tables).read(ITEM_AUDIENCE).orderBy("item_id", "rank").collect()
    assert [(r["item_id"], r["rank"]) for r in best] == [(i, n) for i in ("g0i00", "g1i00") for n in range(1, 9)]
    assert not buyers & {(r["user_id"], r["item_id"]) for r in best}
    assert np.mean([f"g{int(r['user_id'][1:]) % 6}" == group_of(r["item_id"]) for r in best]) > 0.9
    together = newest(tables).read(BUNDLES).where("rank = 1").first()
    assert together["orders"] >= 3
    assert group_of(together["item_1_id"]) == group_of(together["item_2_id"])
    assert together["lift"] > 1
    repeats = newest(tables).read(REPEAT_CATEGORIES).orderBy("category").collect()
    buys = {}
    for user, item, kind, age in rows:
        if kind == "purchase":
            buys.setdefault(("kind " + group_of(item), user, item), set()).add(age)
    expected = {c: [len(days) for (own, *_), days in buys.items() if own == c] for c, *_ in buys}
    assert {r["category"]: (r["pairs"], r["again"]) for r in repeats} == {
        c: (len(days), sum(n > 1 for n in days)) for c, days in expected.items()
    }
    assert not any(r["is_repeated"] for r in repeats)
    near = {(r["item_id"], r["title"]) for r in newest(tables).read(ITEM_NEIGHBOURS).collect()}
    assert near == {(item, titles.get(item)) for item in {item for _, item, *_ in rows}}
    near = newest(tables).read(ITEM_NEIGHBOURS).select("neighbour_item_id", "neighbour_title").distinct().collect()
    assert {tuple(r) for r in near} == {(r[0], titles.get(r[0])) for r in near}

    ctx = make_context(settings=settings, as_of=AS_OF)
    ctx.progress = recorded = RecordingProgress()
    again = recommend_items(ctx)
    assert not again.facts["fitted"]
    assert values(tables) == first
    assert (recorded.done_before, recorded.done(), recorded.total, recorded.unit) == (0, 123, 123, "customers")

    # a customer who came since, with three views: served by the stored model
    next_day = AS_OF + timedelta(days=1)
    write_shop(tables, settings, rows + newcomer, titles=titles, as_of=next_day)
    served = recommend_items(make_context(settings=settings, as_of=next_day))
    assert not served.facts["fitted"]
    zoe = lists(tables, next_day)["zoe"]
    assert [group_of(r["item_id"]) for r in zoe] == ["g1"] * 5
    assert {r["reason"] for r in zoe} <= {f"because you viewed Title {n}" for n in range(3)}
    assert lists(tables) == found


def steps_are_those_of_the_lists(done, found):
    """Customers and places of every step, not only of the first places."""
    engine, steps = done.facts["engine"], done.facts["steps"]
    assert steps.keys() >= {engine, "popular_in_region", "popular"}
    for step, told in steps.items():
        places = [user for user, own in found.items() for r in own if r["engine"] == step]
        assert told == {"users": len(set(places)), "places": len(places)}, step
    assert sum(told["places"] for told in steps.values()) == sum(map(len, found.values())) == done.rows_out
    assert steps["popular"] == {"users": 2, "places": 10}  # nobody, and who opted out
    assert f"{engine} {steps[engine]['users']} ({steps[engine]['places']} places)" in done.lines[2]


def figures_are_of_halves_and_groups(tables):
    rows = newest(tables).read(MODEL_RUNS, as_of=AS_OF).where("metric = 'recall_at_20'").collect()
    users = {(r["model"], r["split"], r["customers"]): r["rows"] for r in rows}
    assert {model for model, *_ in users} - {"blend"} == {*ENGINES, "popular", "own_history"}
    halves = {model: (users[model, "validation", "all"], users[model, "test", "all"]) for model, *_ in users}
    assert len(set(halves.values())) == 1
    assert min(halves["als"]) > 30
    for model, (_, judged) in halves.items():
        assert users[model, "test", "light"] + users[model, "test", "heavy"] == judged  # nobody here is new
    value = {(r["model"], r["split"], r["customers"]): r["value"] for r in rows}
    assert value["own_history", "test", "all"] == 0
    assert value["own_history", "test_all_items", "all"] > 0
    gains = newest(tables).read(MODEL_RUNS, as_of=AS_OF).where("metric LIKE 'ndcg_gain%'").collect()
    served = {r["model"]: {} for r in gains}
    for r in (r for r in gains if r["split"] == "validation_as_served"):
        served[r["model"]][r["metric"]] = r["value"]
    assert "popular" not in served
    best = max(served, key=lambda model: served[model]["ndcg_gain_at_20"])
    assert served[best]["ndcg_gain_low_at_20"] > 0  # it serves, so popular is beaten beyond noise
    assert all(f["ndcg_gain_low_at_20"] <= f["ndcg_gain_at_20"] <= f["ndcg_gain_high_at_20"] for f in served.values())


def test_few_customers_get_popular_items(tables, settings, make_context):
    write_shop(tables, settings, [("u", "a", "view", 9), ("v", "a", "view", 9), ("v", "b", "view", 9)])
    done = recommend_items(make_context(settings=settings, as_of=AS_OF))
    assert not done.skipped
    assert {u: [r["item_id"] for r in own] for u, own in lists(tables).items()} == {"u": ["b"]}
    assert newest(tables).read(LIVE_MODELS).count() == 0


def test_what_is_out_of_stock_is_not_offered_and_counted(tables, settings, make_context):
    rows = [("u", "a", "view", 9), ("v", "a", "view", 9), ("v", "b", "view", 9), ("w", "c", "view", 9)]
    write_shop(tables, settings, rows, titles={"a": "A", "b": "B", "c": "C"}, stocks={"b": 0, "c": 7})
    done = recommend_items(make_context(settings=settings, as_of=AS_OF))
    assert {u: [r["item_id"] for r in own] for u, own in lists(tables).items()} == {
        "u": ["c"],
        "v": ["c"],
        "w": ["a"],
    }
    assert done.facts["removed_by_policy"] == {"out_of_stock": 2}  # of the lists of u and w
    assert done.rows_out == 3


def test_without_any_item_the_task_is_skipped(tables, settings, make_context):
    write_shop(tables, settings, [("u", None, "login", 3)])
    done = recommend_items(make_context(settings=settings, as_of=AS_OF))
    assert "no customer took an item" in done.skipped
    assert newest(tables).read(USER_RECOMMENDATIONS).count() == 0


def test_folding_in_gives_mllibs_own_user_factors(spark):
    rng = np.random.default_rng(5)
    rows = [(u, int(i), float(rng.integers(1, 6))) for u in range(30) for i in rng.choice(15, 6, replace=False)]
    rows = sorted(rows)
    ratings = spark.createDataFrame(rows, "user int, item int, rating float").coalesce(1)
    fitted = ALS(
        userCol="user", itemCol="item", ratingCol="rating", implicitPrefs=True, rank=4, maxIter=3, regParam=0.2,
        alpha=1.5, seed=1, numUserBlocks=1, numItemBlocks=1,
    ).fit(ratings)  # fmt: skip
    factors = np.zeros((15, 4), dtype=np.float32)
    for r in fitted.itemFactors.collect():
        factors[r["id"]] = r["features"]
    side = FactorSide(factors, alpha=1.5, regularisation=0.2)
    users, items, weights = (np.array(column) for column in zip(*rows, strict=True))
    theirs = {r["id"]: r["features"] for r in fitted.userFactors.collect()}
    for who, block in padded_blocks(users, items, weights.astype(np.float64), rows=7):
        expected = np.array([theirs[int(u)] for u in who]) @ factors.T
        assert side.score(block).block() == pytest.approx(expected, abs=2e-4)


def test_item_neighbours_are_cosines(spark):
    unit = 2**20
    taken = {"u": {"a": 3.0, "b": 1.0}, "v": {"a": 1.0, "c": 2.0}, "w": {"b": 7.0, "c": 1.0, "a": 1.0}}
    rows = [(u, i, int(w * unit), True) for u, row in taken.items() for i, w in row.items()]
    pairs = spark.createDataFrame(rows, "user_id string, item_id string, units bigint, is_history boolean").coalesce(1)
    found = cosine_neighbours(pairs, ("a", "b", "c"), units="units", is_used="is_history", neighbours=1, blocks=2)
    matrix = np.array([[row.get(i, 0.0) for i in "abc"] for row in taken.values()])
    strength = np.log1p(matrix)
    norms = np.sqrt((strength**2).sum(axis=0))
    cosine = strength.T @ strength / norms / norms[:, None] - np.eye(3)
    assert found.column("item").to_pylist() == [0, 1, 2]
    assert found.column("other").to_pylist() == cosine.argmax(axis=1).tolist()
    assert found.column("similarity").to_pylist() == pytest.approx(cosine.max(axis=1).tolist())


def test_the_cutoff_is_a_whole_minute_that_leaves_the_share(spark):
    start = datetime(2026, 6, 1, 10, 0, 30, tzinfo=UTC)
    times = [start + timedelta(minutes=m) for m in range(10)]
    frame = spark.createDataFrame(
        pa.table({"event_time": times, "event_date": [t.date() for t in times], "item_id": ["a"] * 10,
                  "event_type": ["view"] * 10})
    )  # fmt: skip
    options = {"since": date(2026, 1, 1), "before": AS_OF, "event_types": ("view",)}
    assert time_cutoff(frame, share=0.2, **options) == datetime(2026, 6, 1, 10, 8, tzinfo=UTC)
    assert time_cutoff(frame, share=0.01, **options) == datetime(2026, 6, 1, 10, 9, tzinfo=UTC)
    assert time_cutoff(frame.limit(0), share=0.2, **options) is None
