"""Customers from whom nothing is learned: those who do too much to be people, and those with too little to say."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
from job_shop import RECOMMEND, TABLES, lists, newest, write_shop
from recommend_shop import A_BUNDLE, AS_OF, PARAMS, events, noon, tasteful
from test_serve import lists_of, served

from profiling_spark.config import Settings
from profiling_spark.contracts.gold import BUNDLES, USER_RECOMMENDATIONS
from profiling_spark.contracts.operations import MODEL_RUNS
from profiling_spark.recommend.history.interactions import split_interactions
from profiling_spark.recommend.job import recommend_items
from profiling_spark.recommend.store import JOB, TASK
from profiling_spark.storage import as_frame


def test_customers_with_few_items_do_not_teach_the_engines():
    rows = [("one", "a", "view", 20), ("one", "a", "purchase", 20), ("two", "a", "view", 20), ("two", "b", "view", 19)]
    rows += [("late", "a", "view", 20), ("late", "b", "view", 2)]  # the second item came after the cutoff
    rows += [("refunder", "a", "view", 20), ("refunder", "b", "purchase", 20), ("refunder", "b", "refund", 19)]
    strict = replace(PARAMS, min_items=2)
    found = split_interactions(events(rows), strict, cutoff=noon(10), timezone="UTC")
    taught = {c: sorted({*found.filter(c)["user_id"]}) for c in ("is_learned", "is_train_learned")}
    assert taught == {"is_learned": ["late", "two"], "is_train_learned": ["two"]}
    # they are judged and served all the same, and their weights count in what is popular
    assert found.filter("is_train")["user_id"].n_unique() == 4
    everyone = split_interactions(events(rows), PARAMS, cutoff=noon(10), timezone="UTC")
    assert found.drop("is_learned", "is_train_learned").equals(everyone.drop("is_learned", "is_train_learned"))
    assert everyone["is_learned"].equals(everyone["is_history"])
    unsplit = split_interactions(events(rows), strict, cutoff=None, timezone="UTC")
    assert unsplit["is_learned"].equals(found["is_learned"])
    assert not unsplit["is_train_learned"].any()


def test_a_bot_gets_the_general_list():
    rows = [("robot", item, "purchase", 10) for item in "abcde"]
    found = served(rows, users=("robot", "private"), bots=("robot",), opted_out=("private",), n=5)
    robots_list = lists_of(found.filter(pl.col("user_id") == "robot"))
    assert [r[:2] for r in robots_list] == [(item, "popular") for item in "abcde"]
    assert robots_list == lists_of(found.filter(pl.col("user_id") == "private"))


def test_a_bot_changes_nothing_for_the_others(tables, make_context):
    limits = {"bot_events_per_day": 40, "min_group_customers": 5}
    given = {"storage": {"root": tables.root}, "buckets": 2, "recommend": RECOMMEND | limits}
    settings = Settings.model_validate(given)
    rows = tasteful(40, 4, 10, seed=3)
    rows.append(("once", "g0i00", "purchase", 4))
    # a crawler takes something of everything on two days, more than anyone, and items that nobody else takes
    robot = [("robot", f"g{n % 4}i{n % 10:02d}", "purchase", age) for n in range(40) for age in (1, 50)]
    robot += [("robot", f"hidden{n}", "view", 1) for n in range(9)]
    everywhere = {u: "Hunan" for u, *_ in rows} | {"robot": "Hunan"}
    extra = {"extra_users": ("nobody", "robot"), "provinces": everywhere}
    write_shop(tables, settings, rows, **extra)
    alone = recommend_items(make_context(settings=settings, as_of=AS_OF))
    assert (alone.facts["bots"], alone.facts["few_items"]) == (0, 1)
    before = of_people(tables)

    write_shop(tables, settings, rows + robot, bots=("robot",), **extra)
    beside = recommend_items(make_context(settings=settings, as_of=AS_OF, refit=True))
    assert (beside.facts["bots"], beside.facts["few_items"]) == (1, 1)
    assert beside.lines[-1] == (
        "not learned from: customers with more than 40 events on a day (bots) 1, customers with fewer than 2 items 1"
    )
    assert of_people(tables) == before
    found = lists(tables)
    assert [(r["item_id"], r["engine"]) for r in found["robot"]] == popular_order(rows)[:5]
    assert found["once"][0]["engine"] != "popular"  # folded in


def test_where_only_bots_took_anything_the_task_is_skipped(tables, make_context):
    given = {"storage": {"root": tables.root}, "buckets": 1, "recommend": RECOMMEND | {"bot_events_per_day": 2}}
    settings = Settings.model_validate(given)
    write_shop(tables, settings, [("robot", item, "view", 3) for item in "abc"], bots=("robot",))
    # an earlier run of the date had found more
    figure = (AS_OF, JOB, TASK, "als", "test", "ndcg_at_20", "all", 0.5, "{}", AS_OF, 9, True, "als-x")
    tables.append(MODEL_RUNS, as_frame(MODEL_RUNS, [figure]))
    tables.append(BUNDLES, as_frame(BUNDLES, [(AS_OF, *A_BUNDLE)]))
    done = recommend_items(make_context(settings=settings, as_of=AS_OF))
    assert done.skipped.endswith("not learned from: customers with more than 2 events on a day (bots) 1")
    assert done.facts["bots"] == 1
    assert [t.name for t in TABLES if newest(tables).exists(t) and not newest(tables).read(t).isEmpty()] == []


def of_people(tables):
    """Every row of the job's tables but the bot's list."""
    found = {t.name: newest(tables).read(t) for t in TABLES}
    found[USER_RECOMMENDATIONS.name] = found[USER_RECOMMENDATIONS.name].where("user_id <> 'robot'")
    return {name: sorted(map(tuple, frame.collect()), key=str) for name, frame in found.items()}


def popular_order(rows):
    """(item, popular) by the decayed weights of these rows, ties by item."""
    weights = {"view": 1.0, "purchase": 8.0}
    total = {}
    for _, item, kind, age in rows:
        total[item] = total.get(item, 0.0) + round(weights[kind] * 0.5 ** (age / 45.0) * 2**20)
    return [(item, "popular") for item in sorted(total, key=lambda i: (-total[i], i))]
