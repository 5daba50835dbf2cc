"""The job on small shops: what it learns, what it writes, and that a second run changes nothing."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from pyspark.ml.recommendation import ALS
from pyspark.sql import functions as F
from recommend_shop import AS_OF, events, group_of, tasteful
from recording_progress import RecordingProgress

from profiling_spark import models
from profiling_spark.buckets import bucket_of
from profiling_spark.config import Settings
from profiling_spark.config.settings import Recommend
from profiling_spark.contracts.features import user_features_table
from profiling_spark.contracts.gold import (
    BUNDLES,
    ITEM_AUDIENCE,
    ITEM_NEIGHBOURS,
    REPEAT_CATEGORIES,
    USER_RECOMMENDATIONS,
)
from profiling_spark.contracts.operations import LIVE_MODELS, MODEL_RUNS
from profiling_spark.contracts.silver import EVENTS, ITEMS, USERS
from profiling_spark.recommend.engines import ENGINES
from profiling_spark.recommend.engines.als import FactorSide
from profiling_spark.recommend.engines.item_cf import cosine_neighbours
from profiling_spark.recommend.history.time_split import time_cutoff
from profiling_spark.recommend.job import recommend_items
from profiling_spark.recommend.matrix.item_side import padded_blocks
from profiling_spark.recommend.store import live_of, load, wanted
from profiling_spark.storage import Tables

RECOMMEND = {"rank": 8, "iterations": 3, "top_n": 5, "neighbours": 6, "min_pairs": 50}
RECOMMEND |= {"audience": {"item_ids": ["g0i00", "g1i00"], "customers": 8}, "bundles": {"min_orders": 3}}
TABLES = (USER_RECOMMENDATIONS, ITEM_NEIGHBOURS, ITEM_AUDIENCE, BUNDLES, REPEAT_CATEGORIES, MODEL_RUNS, LIVE_MODELS)


@pytest.fixture
def settings(tables) -> Settings:
    return Settings.model_validate({"storage": {"root": tables.root}, "buckets": 2, "recommend": RECOMMEND})


def write_shop(
    tables,
    settings,
    rows,
    *,
    extra_users=(),
    opted_out=(),
    titles=None,
    stocks=None,
    provinces=None,
    as_of=AS_OF,
    bots=(),
    categories=None,
):
    """Events, users, items and the features' user ids of one as_of. All that a customer bought is one order."""
    spark = tables.spark
    frame = (
        events(rows, categories)
        .with_row_index("n")
        .with_columns(event_id=pl.col("n").cast(pl.String), order_id=pl.col("user_id"))
    )
    bought = spark.createDataFrame(frame.drop("n", "age").to_arrow())
    tables.replace_all(EVENTS, contract_rows(EVENTS, bought, user_bucket=bucket_of("user_id", settings.buckets)))
    ids = sorted({user for user, *_ in rows} | set(extra_users))
    known = [(u, u in opted_out, (provinces or {}).get(u)) for u in ids]
    users = spark.createDataFrame(known, "user_id string, personalisation_opt_out boolean, province string")
    long_ago = F.lit(datetime(2020, 1, 1, tzinfo=UTC))
    times = {"valid_from": long_ago, "version_time": long_ago, "delivered_at": long_ago, "confirmed_at": long_ago}
    tables.replace_all(USERS, contract_rows(USERS, users, **times, source=F.lit("crm")))
    described = [(i, t, (stocks or {}).get(i)) for i, t in sorted((titles or {"none": "none"}).items())]
    items = spark.createDataFrame(described, "item_id string, title string, stock long")
    tables.replace_all(ITEMS, contract_rows(ITEMS, items, **times, source=F.lit("shop")))
    features = user_features_table(settings.windows_days)
    is_bot = F.when(F.col("user_id").isin(*bots), F.lit(True))  # else null, as a release without bots wrote
    tables.replace_slice(features, contract_rows(features, users, as_of=F.lit(as_of), is_bot=is_bot), as_of=as_of)


def contract_rows(table, frame, **columns):
    """All columns of the contract; what the frame lacks is null."""
    frame = frame.withColumns(columns)
    absent = {c.name: F.lit(None).cast(c.data_type) for c in table.columns if c.name not in frame.columns}
    return frame.withColumns(absent).select(*(F.col(c.name).cast(c.data_type).alias(c.name) for c in table.columns))


def newest(tables):
    """A reader without pinned versions."""
    return Tables(tables.spark, tables.root, run_id="reader")


def values(tables):
    return {t.name: sorted(map(tuple, newest(tables).read(t).collect()), key=str) for t in TABLES}


def lists(tables, as_of=AS_OF):
    found = {}
    for r in newest(tables).read(USER_RECOMMENDATIONS, as_of=as_of).orderBy("user_id", "rank").collect():
        found.setdefault(r["user_id"], []).append(r)
    return found


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


def test_an_engine_that_loses_to_the_live_one_is_not_promoted(tables, settings, make_context):
    rows = tasteful(120, 6, 20, seed=1)
    write_shop(tables, settings, rows)
    recommend_items(make_context(settings=settings, as_of=AS_OF))
    before = newest(tables).read(LIVE_MODELS).collect()
    band = {"vectors": 1, "exponent": 0.5, "ratio": 1.0}
    poor = {"rank": 2, "iterations": 1, "alpha": 0.001, "regularisation": 50.0, "als_trials": 0, "neighbours": 1,
            "graph_filter": {"neighbours": 1, "bands": [band]}}  # fmt: skip
    worse = settings.model_copy(update={"recommend": Recommend.model_validate({**RECOMMEND, **poor})})
    done = recommend_items(make_context(settings=worse, as_of=AS_OF))
    assert done.facts["recall_at_20_live"] > done.facts["recall_at_20_als"]
    assert "nothing is better than the live model beyond noise" in done.lines[0]
    assert newest(tables).read(LIVE_MODELS).collect() == before
    promoted = (
        newest(tables).read(MODEL_RUNS, as_of=AS_OF).where("promoted").select("model", "model_version").distinct()
    )
    assert [tuple(r) for r in promoted.collect()] == [("live", before[0]["model_version"])]
    assert done.facts["model_version"] == before[0]["model_version"]
    # what has won need not be compared again the next day
    tomorrow = AS_OF + timedelta(days=1)
    write_shop(tables, settings, rows, as_of=tomorrow)
    again = recommend_items(make_context(settings=worse, as_of=tomorrow))
    assert (again.facts["fitted"], again.facts["model_version"]) == (False, before[0]["model_version"])
    assert newest(tables).read(MODEL_RUNS, as_of=tomorrow).isEmpty()
    # when it has grown old it is compared again, and fitted anew with its own settings
    later = AS_OF + timedelta(days=worse.recommend.max_age_days)
    write_shop(tables, settings, rows, as_of=later)
    anew = recommend_items(make_context(settings=worse, as_of=later))
    assert anew.facts["fitted"]
    assert anew.facts["model_version"] != before[0]["model_version"]
    live = newest(tables).read(LIVE_MODELS).first()
    assert (live["model_version"], live["since"]) == (anew.facts["model_version"], later)
    assert "nothing is better than the live model beyond noise" in anew.lines[0]


def test_als_serves_by_the_settings_that_its_trials_found(tables, settings, make_context, monkeypatch):
    monkeypatch.setattr("profiling_spark.recommend.judge.choose.serving_engine", lambda *_: "als")
    start = {"rank": 3, "iterations": 3, "regularisation": 1.0, "alpha": 0.05}
    asked = settings.model_copy(update={"recommend": Recommend.model_validate({**RECOMMEND, **start, "als_trials": 9})})
    write_shop(tables, asked, tasteful(260, 6, 20, seed=1))
    done = recommend_items(make_context(settings=asked, as_of=AS_OF))
    trials, chosen = done.facts["als_trials"], done.facts["als"]
    assert {name: trials[0][name] for name in start} == start
    assert 1 < len(trials) <= 9
    best = max(trials, key=lambda trial: trial["ndcg_at_20"])
    assert {name: best[name] for name in chosen} == chosen
    assert best["ndcg_at_20"] > trials[0]["ndcg_at_20"]
    assert f"{len(trials)} trials" in done.lines[1]
    # the trials ask others of the half that chooses, by the factors that the comparison's own fit comes near to
    rows = newest(tables).read(MODEL_RUNS, as_of=AS_OF).where("model = 'als' AND metric = 'ndcg_at_20'")
    compared = {r["split"]: r["value"] for r in rows.where("customers = 'all'").collect()}
    assert compared["validation"] == pytest.approx(best["ndcg_at_20"], rel=0.25)
    reader = newest(tables)
    live = models.load_live(reader, reader.read(LIVE_MODELS).first().asDict())
    assert live.declaration["als"] == chosen
    assert live.declaration["params"]["alpha"] == 0.05  # what was asked for: the next run needs no new fit
    side = load(reader, live, candidates=0).side
    assert (side.alpha, side.regularisation) == (chosen["alpha"], chosen["regularisation"])
    assert side.factors.shape[1] == chosen["rank"]
    assert not recommend_items(make_context(settings=asked, as_of=AS_OF)).facts["fitted"]
    # beside other settings it takes part with those that were found, and nothing is searched for it
    known = live_of(live, Recommend(), wanted(asked))
    assert (known.engine, known.is_same) == ("als", True)
    assert not live_of(live, Recommend(), wanted(settings)).is_same
    again = known.settings
    assert {name: getattr(again, name) for name in chosen} == chosen
    assert again.als_trials == 0


def looked_at_then_bought(customers, items, *, seed):
    """Everyone looks at eight items on eight days and then buys the last one; no taste is like another."""
    rng = np.random.default_rng(seed)
    rows = []
    for customer in range(customers):
        seen = rng.choice(items, size=8, replace=False)
        rows += [(f"u{customer:03d}", f"i{item:03d}", "view", 50 - 5 * n) for n, item in enumerate(seen)]
        rows.append((f"u{customer:03d}", f"i{seen[-1]:03d}", "purchase", 3))
    return rows


def test_the_engine_is_chosen_as_it_serves(tables, settings, make_context):
    """Nobody takes anything new, so that by new items there is nothing to choose; where lists may be all known, the own
    history serves, alone or in a blend."""
    policy = {"most_seen_share": 1.0}
    asked = settings.model_copy(
        update={"recommend": Recommend.model_validate({**RECOMMEND, "als_trials": 0, "policy": policy})}
    )
    rows = looked_at_then_bought(140, 60, seed=3)
    write_shop(tables, asked, rows)
    done = recommend_items(make_context(settings=asked, as_of=AS_OF))
    assert done.facts["engine"] in ("own_history", "blend")
    assert done.facts["engine"] == "own_history" or "own_history" in done.facts["blend"]
    served = {e: done.facts[f"ndcg_as_served_at_20_{e}"] for e in (*ENGINES, "own_history", "popular")}
    assert served["own_history"] > 0.9 > served["popular"]
    assert "recall_at_20_als" not in done.facts
    found, first = lists(tables), values(tables)
    own = {u: [i for who, i, kind, _ in rows if who == u and kind == "view"] for u in found}
    assert all(found[u][0]["item_id"] == own[u][-2] and found[u][0]["again"] for u in found)  # the last is bought
    again = recommend_items(make_context(settings=asked, as_of=AS_OF))
    assert (again.facts["fitted"], again.facts["engine"]) == (False, done.facts["engine"])
    assert values(tables) == first
    # with the cap of the policy, which is another choice, at least half of each list is new
    write_shop(tables, settings, rows, as_of=AS_OF + timedelta(days=1))
    capped = recommend_items(make_context(settings=settings, as_of=AS_OF + timedelta(days=1)))
    assert capped.facts["fitted"]
    assert capped.facts["engine"] != "own_history"
    for listed in lists(tables, AS_OF + timedelta(days=1)).values():
        assert sum(r["again"] for r in listed) <= len(listed) / 2


def test_noise_lets_popular_items_serve(tables, settings, make_context):
    """A hundred customers who take what they take by chance: some engine has the best figure, and does not serve."""
    rng = np.random.default_rng(5)
    rows = [
        (f"u{u:03d}", f"i{item:02d}", "view", int(rng.integers(1, 60)))
        for u in range(100) for item in rng.integers(0, 40, 9)
    ]  # fmt: skip
    write_shop(tables, settings, rows)
    done = recommend_items(make_context(settings=settings, as_of=AS_OF))
    values = newest(tables).read(MODEL_RUNS, as_of=AS_OF).where("split = 'validation_as_served' AND customers = 'all'")
    ndcg = {r["model"]: r["value"] for r in values.where("metric = 'ndcg_at_20'").collect()}
    assert max(ndcg, key=ndcg.get) != "popular"
    assert done.facts["engine"] == "popular"
    assert "popular serves" in done.lines[0]


def test_what_is_bought_again_and_again_is_offered_again(tables, settings, make_context):
    rng = np.random.default_rng(6)
    rows, categories = [], {f"tea{n}": "tea" for n in range(8)} | {f"pot{n}": "pots" for n in range(8)}
    for customer in range(60):
        own = rng.choice(8, 3, replace=False)
        rows += [(f"u{customer:02d}", f"tea{n}", "purchase", age) for n in own for age in (50, 30, 10)]
        rows += [(f"u{customer:02d}", f"pot{n}", "purchase", 40 - n) for n in own[:2]]
    write_shop(tables, settings, rows, categories=categories)
    recommend_items(make_context(settings=settings, as_of=AS_OF))
    found = {r["category"]: r for r in newest(tables).read(REPEAT_CATEGORIES, as_of=AS_OF).collect()}
    assert {c: (r["pairs"], r["again"], r["is_repeated"]) for c, r in found.items()} == {
        "tea": (180, 180, True), "pots": (120, 0, False),
    }  # fmt: skip
    assert found["pots"]["reason"].startswith("bought on two days or more: 0 of 120 purchases")
    offered = [r for own in lists(tables).values() for r in own]
    again = [r for r in offered if r["again"]]
    bought = {(user, item) for user, item, *_ in rows}
    assert again
    assert {r["item_id"][:3] for r in again} == {"tea"}
    assert {(r["user_id"], r["item_id"]) for r in again} <= bought
    assert not [r for r in offered if r["item_id"][:3] == "pot" and (r["user_id"], r["item_id"]) in bought]


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
