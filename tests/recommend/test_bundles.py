"""Bundles against plain Python on random orders."""

from datetime import date, timedelta
from itertools import combinations
from math import prod

import numpy as np
import pytest
from recommend_shop import AS_OF, events

from profiling_spark.config.settings import Bundles
from profiling_spark.contracts.gold import BUNDLES
from profiling_spark.recommend.bots import Bots
from profiling_spark.recommend.bundles import bundles, order_items
from profiling_spark.recommend.interactions import HistoryParams
from profiling_spark.recommend.job import _write_bundles
from profiling_spark.storage import as_frame

SETTINGS = Bundles(min_orders=4, max_items=5, most=1000)


def counted(baskets):
    """(items, orders with all of them) of every pair and triple in enough orders, most orders first, pairs first."""
    counts = {}
    for basket in baskets:
        for size in (1, 2, 3):
            for items in combinations(sorted(basket), size):
                counts[items] = counts.get(items, 0) + 1
    return counts


@pytest.mark.parametrize("is_few", [True, False])
def test_pairs_and_triples_are_those_that_counting_finds(spark, monkeypatch, is_few):
    if not is_few:
        monkeypatch.setattr("profiling_spark.recommend.bundles.FEW_LINES", 0)
    rng = np.random.default_rng(3)
    baskets = [set(rng.choice(list("abcdefg"), size=rng.integers(1, 5), replace=False).tolist()) for _ in range(60)]
    baskets += [set("xyz")] * 4 + [set("xy")] * 2 + [set("abcdef")] * 9  # the last ones are too large
    rows = [(f"u{n % 7}", f"o{n}", item) for n, basket in enumerate(baskets) for item in sorted(basket)]
    lines = spark.createDataFrame(rows, "user_id string, order_id string, item_id string")
    found = bundles(lines, SETTINGS, as_of=AS_OF)
    fitting = [basket for basket in baskets if len(basket) <= 5]
    counts, total = counted(fitting), len(fitting)
    sets = [(items, n) for items, n in counts.items() if len(items) > 1 and n >= 4]
    expected = sorted(sets, key=lambda s: (-s[1], len(s[0]), s[0]))
    itemsets = [tuple(i for i in r[:3] if i) for r in found.select("item_1_id", "item_2_id", "item_3_id").rows()]
    assert list(zip(itemsets, found["orders"], strict=True)) == expected
    assert ("x", "y", "z") in itemsets
    assert found["rank"].to_list() == list(range(1, len(expected) + 1))
    for items, row in zip(itemsets, found.to_dicts(), strict=True):
        share = counts[items] / total
        assert row["support"] == pytest.approx(share)
        assert row["lift"] == pytest.approx(share / prod(counts[i,] / total for i in items))
        best = {i: counts[items] / counts[tuple(j for j in items if j != i)] for i in items}
        assert row["confidence"] == pytest.approx(max(best.values()))
        assert row["added_item_id"] == min(i for i in items if best[i] == max(best.values()))
    few = bundles(lines, Bundles(min_orders=4, max_items=5, most=3), as_of=AS_OF)
    assert few.equals(found.head(3))


def test_an_order_is_what_one_customer_bought_under_one_number(spark):
    rows = [("u", "a", "purchase", 9), ("u", "b", "purchase", 9), ("u", "b", "purchase", 9), ("u", "c", "view", 9),
            ("v", "a", "purchase", 9), ("v", None, "purchase", 9), ("v", "d", "purchase", 400)]  # fmt: skip
    numbers = ["1", "1", "1", "1", "1", "1", "1"]
    frame = spark.createDataFrame(events(rows).drop("age", "order_id").to_arrow().append_column("order_id", [numbers]))
    found = order_items(frame, since=date(2026, 1, 1), before=AS_OF)
    assert sorted(tuple(r) for r in found.collect()) == [("u", "1", "a"), ("u", "1", "b"), ("v", "1", "a")]


def test_where_none_are_found_those_of_an_earlier_run_of_the_date_go(tables, make_context):
    early = AS_OF - timedelta(days=1)
    earlier = [(day, 1, "a", "b", None, 9, 0.5, 2.0, 0.9, "b") for day in (early, AS_OF)]
    tables.append(BUNDLES, as_frame(BUNDLES, earlier))
    ctx = make_context(as_of=AS_OF)
    nobody = Bots(ctx.spark.createDataFrame([], "user_id string"), 0)
    assert _write_bundles(ctx, HistoryParams.of(ctx.settings, AS_OF), nobody) == 0
    assert ctx.tables.rows(BUNDLES).rows() == earlier[:1]
