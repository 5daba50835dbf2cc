"""Nights with a stored model, on lakes with history: new customers and events, models of another release."""

from __future__ import annotations

from datetime import timedelta

import pytest
from job_shop import RECOMMEND, lists, newest, settings_for, values, write_shop
from recommend_shop import AS_OF, group_of, tasteful

from profiling_spark import models
from profiling_spark.config import Settings
from profiling_spark.config.settings import Recommend
from profiling_spark.contracts.gold import ITEM_NEIGHBOURS
from profiling_spark.recommend.job import recommend_items

TOMORROW = AS_OF + timedelta(days=1)
ROWS = tasteful(120, 6, 20, seed=1)
# customers who join what no one took together before
JOINERS = [(f"x{n:02d}", item, "purchase", 2) for n in range(40) for item in ("g0i00", "g1i00", "g2i00")]


@pytest.fixture
def settings(tables) -> Settings:
    """Without any search: what it finds is not asked here."""
    quick = {**RECOMMEND, "als_trials": 0, "blend_users": 0, "graph_filter": {"trials": 0}}
    return settings_for(tables).model_copy(update={"recommend": Recommend.model_validate(quick)})


def neighbours(tables, as_of):
    columns = ("item_id", "rank", "neighbour_item_id", "similarity")
    return sorted(map(tuple, newest(tables).read(ITEM_NEIGHBOURS, as_of=as_of).select(*columns).collect()))


def test_a_night_serves_new_customers_and_keeps_the_neighbours_of_the_fit(tables, settings, make_context):
    write_shop(tables, settings, ROWS)
    assert recommend_items(make_context(settings=settings, as_of=AS_OF)).facts["fitted"]
    fitted = neighbours(tables, AS_OF)
    newcomer = [("zoe", f"g1i{n:02d}", "view", n + 1) for n in range(3)]
    write_shop(tables, settings, [*ROWS, *JOINERS, *newcomer], as_of=TOMORROW)
    night = recommend_items(make_context(settings=settings, as_of=TOMORROW))
    assert (night.facts["fitted"], night.facts["users_served"]) == (False, 161)
    assert neighbours(tables, TOMORROW) == fitted
    own = lists(tables, TOMORROW)["zoe"]
    assert sum(group_of(r["item_id"]) == "g1" for r in own) >= 4
    before = values(tables)
    recommend_items(make_context(settings=settings, as_of=TOMORROW))
    assert values(tables) == before
    # another fit finds the joiners
    anew = make_context(settings=settings, as_of=TOMORROW)
    anew.refit = True
    assert recommend_items(anew).facts["fitted"]
    first = [r for r in neighbours(tables, TOMORROW) if r[0] == "g0i00" and r[1] <= 2]
    assert {r[2] for r in first} == {"g1i00", "g2i00"}
    assert neighbours(tables, AS_OF) == fitted


def test_a_model_without_neighbours_has_them_found_that_night(tables, settings, make_context, monkeypatch):
    """As an earlier release stored it; it serves until it is fitted anew."""
    write_shop(tables, settings, ROWS)
    with monkeypatch.context() as earlier:
        finish = models.finish

        def finish_without(tables, task, version, declaration):
            return finish(tables, task, version, {k: v for k, v in declaration.items() if k != "neighbours"})

        earlier.setattr(models, "finish", finish_without)
        recommend_items(make_context(settings=settings, as_of=AS_OF))
    fitted = neighbours(tables, AS_OF)
    assert fitted
    write_shop(tables, settings, [*ROWS, *JOINERS], as_of=TOMORROW)
    night = recommend_items(make_context(settings=settings, as_of=TOMORROW))
    assert not night.facts["fitted"]
    found = neighbours(tables, TOMORROW)
    assert found != fitted
    anew = make_context(settings=settings, as_of=TOMORROW)
    anew.refit = True
    recommend_items(anew)
    assert neighbours(tables, TOMORROW) == found
