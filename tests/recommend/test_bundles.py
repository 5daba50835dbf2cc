"""Bundles against plain Python on random orders."""

from dataclasses import replace
from datetime import date, timedelta
from itertools import combinations
from math import log, prod

import numpy as np
import polars as pl
import pytest
from job_shop import contract_rows
from pyspark.sql import functions as F
from recommend_shop import A_BUNDLE, AS_OF, events

from profiling_spark.config.settings import Bundles
from profiling_spark.contracts.gold import BUNDLES
from profiling_spark.contracts.silver import EVENTS
from profiling_spark.recommend.extras.bundles import bundles, order_items
from profiling_spark.recommend.history.bots import Bots
from profiling_spark.recommend.history.interactions import HistoryParams
from profiling_spark.recommend.job import _write_bundles
from profiling_spark.recommend.lists.catalogue import with_titles
from profiling_spark.storage import as_frame

SETTINGS = Bundles(min_orders=4, max_items=5, most=1000)


def counted(baskets):
    """Orders with all of the items, by the items, of every item, pair and triple."""
    counts = {}
    for basket in baskets:
        for size in (1, 2, 3):
            for items in combinations(sorted(basket), size):
                counts[items] = counts.get(items, 0) + 1
    return counts


def ratio(both, first, second, orders):
    """Dunning's G2 cell by cell; None where the two meet no more often than chance."""
    if both * orders <= first * second:
        return None
    table = np.array([[both, first - both], [second - both, orders - first - second + both]], dtype=float)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / orders
    return 2 * sum(n * log(n / e) for n, e in zip(table.ravel(), expected.ravel(), strict=True) if n)


def least_ratio(items, counts, orders):
    """The least over all ways to part an item from the rest."""
    rests = [(counts[i,], counts[tuple(j for j in items if j != i)]) for i in items]
    ratios = [ratio(counts[items], *parts, orders) for parts in rests]
    return None if None in ratios else round(min(ratios), 6)


def lines_of(spark, baskets):
    rows = [(f"u{n % 7}", f"o{n}", item) for n, basket in enumerate(baskets) for item in sorted(basket)]
    return spark.createDataFrame(rows, "user_id string, order_id string, item_id string")


def sets_of(found):
    return [tuple(i for i in r if i) for r in found.select("item_1_id", "item_2_id", "item_3_id").rows()]


@pytest.mark.parametrize("is_few", [True, False])
def test_pairs_and_triples_are_those_that_counting_finds(spark, monkeypatch, is_few):
    if not is_few:
        monkeypatch.setattr("profiling_spark.recommend.extras.bundles.FEW_LINES", 0)
    rng = np.random.default_rng(3)
    baskets = [set(rng.choice(list("abcdefg"), size=rng.integers(1, 5), replace=False).tolist()) for _ in range(60)]
    baskets += [set("xyz")] * 4 + [set("xy")] * 2 + [set("abcdef")] * 9  # the last ones are too large
    baskets += [set("pq")] * 4 + [set("rs")] * 4 + [set("p")]
    lines = lines_of(spark, baskets)
    found = bundles(lines, SETTINGS, as_of=AS_OF)
    fitting = [basket for basket in baskets if len(basket) <= 5]
    counts, total = counted(fitting), len(fitting)
    sets = {items: least_ratio(items, counts, total) for items, n in counts.items() if len(items) > 1 and n >= 4}
    positive = [items for items, least in sets.items() if least is not None]
    assert len(sets) > len(positive) > 5
    expected = sorted(positive, key=lambda s: (-sets[s], -counts[s], len(s), s))
    assert sets_of(found) == expected
    assert expected[0] == ("x", "y")
    assert ("x", "y", "z") in expected
    assert found["rank"].to_list() == list(range(1, len(expected) + 1))
    for items, row in zip(expected, found.to_dicts(), strict=True):
        share = counts[items] / total
        assert row["orders"] == counts[items]
        assert row["support"] == pytest.approx(share)
        assert row["lift"] == pytest.approx(share / prod(counts[i,] / total for i in items))
        assert row["log_likelihood_ratio"] == pytest.approx(sets[items], abs=2e-6)
        best = {i: counts[items] / counts[tuple(j for j in items if j != i)] for i in items}
        assert row["confidence"] == pytest.approx(max(best.values()))
        assert row["added_item_id"] == min(i for i in items if best[i] == max(best.values()))
    few = bundles(lines, Bundles(min_orders=4, max_items=5, most=3), as_of=AS_OF)
    assert few.equals(found.head(3))


@pytest.mark.parametrize("is_few", [True, False])
def test_what_is_surely_together_stands_before_what_is_frequent(spark, monkeypatch, is_few):
    """Of 40 orders 30 have milk, 20 bread and 16 both, where chance gives 15; pen and ink go together in 4 of 5."""
    if not is_few:
        monkeypatch.setattr("profiling_spark.recommend.extras.bundles.FEW_LINES", 0)
    baskets = [{"milk", "bread"}] * 16 + [{"milk"}] * 14 + [{"bread"}] * 4
    baskets += [{"ink", "pen"}] * 4 + [{"pen"}, {"other"}]
    found = bundles(lines_of(spark, baskets), SETTINGS, as_of=AS_OF)
    assert sets_of(found) == [("ink", "pen"), ("bread", "milk")]
    both = found.select("orders", "lift", "confidence", "added_item_id").rows()
    assert both == [(4, 8.0, 1.0, "pen"), (16, pytest.approx(16 / 15), pytest.approx(0.8), "milk")]
    # 2 * (4 ln 8 + 0 + 1 ln(1 / 4.5) + 35 ln(35 / 31.5)), and 2 * (16 ln(16 / 15) + 4 ln(4 / 5) + 14 ln(14 / 15)
    # + 6 ln(6 / 5))
    assert found["log_likelihood_ratio"].to_list() == pytest.approx([21.002614, 0.536143], abs=2e-6)
    one = bundles(lines_of(spark, baskets), Bundles(min_orders=4, max_items=5, most=1), as_of=AS_OF)
    assert one.equals(found.head(1))


def test_a_strong_pair_beside_what_everyone_buys_is_no_triple_and_what_avoids_each_other_no_pair(spark):
    """Of 16 orders 8 have the bag, among them 4 of the 8 with pen and ink: as many as chance. Tea and coffee stand in 8
    each, and 3 times together, where chance gives 4."""
    baskets = [{"pen", "ink", "bag"}] * 4 + [{"pen", "ink"}] * 4 + [{"bag"}] * 4 + [{"other"}] * 4
    found = bundles(lines_of(spark, baskets), Bundles(min_orders=3, max_items=5, most=9), as_of=AS_OF)
    assert sets_of(found) == [("ink", "pen")]
    assert found["log_likelihood_ratio"].to_list() == pytest.approx([2 * 16 * log(2)], abs=1e-6)
    baskets = [{"tea", "coffee"}] * 3 + [{"tea"}] * 5 + [{"coffee"}] * 5 + [{"other"}] * 3
    assert bundles(lines_of(spark, baskets), Bundles(min_orders=3, max_items=5, most=9), as_of=AS_OF).is_empty()


def test_equal_ratios_stand_in_the_order_of_ids_however_their_items_are_named(spark):
    """7 orders have the one and 3 the other of each pair, 2 both: now the first, now the second is the frequent one."""
    baskets = [{f"{n}a", f"{n}b"} for n in "213" for _ in range(2)]
    baskets += [{f"{n}{'ab'[n == '1']}"} for n in "213" for _ in range(5)] + [{f"{n}{'ba'[n == '1']}"} for n in "213"]
    found = bundles(lines_of(spark, baskets), Bundles(min_orders=2, max_items=5, most=9), as_of=AS_OF)
    assert sets_of(found) == [("1a", "1b"), ("2a", "2b"), ("3a", "3b")]
    assert found["log_likelihood_ratio"].n_unique() == 1


def test_an_order_is_what_one_customer_bought_under_one_number(spark):
    rows = [("u", "a", "purchase", 9), ("u", "b", "purchase", 9), ("u", "b", "purchase", 9), ("u", "c", "view", 9),
            ("v", "a", "purchase", 9), ("v", None, "purchase", 9), ("v", "d", "purchase", 400)]  # fmt: skip
    numbers = ["1", "1", "1", "1", "1", "1", "1"]
    frame = spark.createDataFrame(events(rows).drop("age", "order_id").to_arrow().append_column("order_id", [numbers]))
    found = order_items(frame, since=date(2026, 1, 1), before=AS_OF)
    assert sorted(tuple(r) for r in found.collect()) == [("u", "1", "a"), ("u", "1", "b"), ("v", "1", "a")]


DESCRIBED = pl.DataFrame({"item_id": ["a", "b", "c"], "title": ["Ale", None, "Cup"]})


def test_where_none_are_found_those_of_an_earlier_run_of_the_date_go(tables, make_context):
    early = AS_OF - timedelta(days=1)
    earlier = [(day, *A_BUNDLE) for day in (early, AS_OF)]
    tables.append(BUNDLES, as_frame(BUNDLES, earlier))
    ctx = make_context(as_of=AS_OF)
    nobody = Bots(ctx.spark.createDataFrame([], "user_id string"), 0)
    assert _write_bundles(ctx, HistoryParams.of(ctx.settings, AS_OF), nobody, DESCRIBED) == 0
    assert ctx.tables.rows(BUNDLES).rows() == earlier[:1]


def test_titles_stand_beside_ids_and_are_null_where_nobody_knows_them():
    rows = pl.DataFrame({"item_id": ["c", "b", "x", None], "other": ["a", "c", "b", "c"]})
    found = with_titles(rows, DESCRIBED, {"title": "item_id", "other_title": "other"})
    assert found.rows() == [("c", "a", "Cup", "Ale"), ("b", "c", None, "Cup"), ("x", "b", None, None),
                            (None, "c", None, "Cup")]  # fmt: skip


def test_a_table_of_the_release_before_is_read_and_continued(tables, make_context):
    """Its columns are those of 0.1.0: no titles, no log_likelihood_ratio."""
    new = ("log_likelihood_ratio", *(name for name in BUNDLES.names if name.endswith("_title")))
    before = replace(BUNDLES, columns=tuple(c for c in BUNDLES.columns if c.name not in new))
    early = AS_OF - timedelta(days=1)
    tables.append(before, as_frame(before, [(early, 1, "a", "b", None, 9, 0.5, 2.0, 0.9, "b")]))
    rows = [(user, item, "purchase", 9) for user in "uvwxy" for item in "ac"]
    rows += [(user, item, "purchase", 9) for user, item in zip("mnopq", "adbbb", strict=True)]
    frame = events(rows).drop("age").with_row_index("n").with_columns(event_id=pl.col("n").cast(pl.String),
                                                                     order_id=pl.col("user_id"))  # fmt: skip
    bought = tables.spark.createDataFrame(frame.drop("n").to_arrow())
    tables.replace_all(EVENTS, contract_rows(EVENTS, bought, user_bucket=F.lit(0)))
    ctx = make_context(as_of=AS_OF)
    nobody = Bots(ctx.spark.createDataFrame([], "user_id string"), 0)
    assert _write_bundles(ctx, HistoryParams.of(ctx.settings, AS_OF), nobody, DESCRIBED) == 1
    old, now = ctx.tables.rows(BUNDLES).sort("as_of").to_dicts()
    assert (old["item_1_id"], old["added_item_id"], {old[name] for name in new}) == ("a", "b", {None})
    assert [now[f"item_{n}_title"] for n in (1, 2, 3)] == ["Ale", "Cup", None]
    # of 10 orders 5 have c and 6 have a: 2 * (5 ln(5 / 3) + 1 ln(1 / 3) + 4 ln 2)
    assert (now["added_item_title"], now["log_likelihood_ratio"]) == ("Ale", pytest.approx(8.456209, abs=2e-6))
    assert [r["item_1_title"] for r in tables.read(BUNDLES, as_of=early).collect()] == [None]
