"""Which engine serves: by lists as they are served, beyond noise, with the settings that were found."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from job_shop import RECOMMEND, lists, newest, settings_for, values, write_shop
from recommend_shop import AS_OF, tasteful

from profiling_spark import models
from profiling_spark.config import Settings
from profiling_spark.config.settings import Recommend
from profiling_spark.contracts.gold import (
    ITEM_NEIGHBOURS,
    REPEAT_CATEGORIES,
)
from profiling_spark.contracts.operations import LIVE_MODELS, MODEL_RUNS
from profiling_spark.recommend.engines import ENGINES
from profiling_spark.recommend.job import recommend_items
from profiling_spark.recommend.store import live_of, load, wanted


@pytest.fixture
def settings(tables) -> Settings:
    return settings_for(tables)


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
    # of the neighbours that its fit has kept only as many as the settings ask for now
    assert newest(tables).read(ITEM_NEIGHBOURS).agg({"rank": "max"}).first()[0] == 1
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
    # its fit kept one neighbour of an item, whatever the settings say for which it was made
    back = recommend_items(make_context(settings=settings, as_of=later))
    assert (back.facts["fitted"], back.facts["model_version"]) == (False, anew.facts["model_version"])
    assert newest(tables).read(ITEM_NEIGHBOURS, as_of=later).agg({"rank": "max"}).first()[0] == RECOMMEND["neighbours"]


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
