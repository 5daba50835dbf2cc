"""Which customers ALS learns from, and where it is fitted."""

import numpy as np
import polars as pl
import pytest
from test_als_tuning import settings_of, shop

from profiling_spark.recommend.engines import als_fit
from profiling_spark.recommend.engines.als_fit import fit_engine, most_pairs, some_customers
from profiling_spark.recommend.engines.als_here import fit_here


def test_a_sample_has_whole_customers_the_same_each_time(spark):
    pairs = shop(spark, customers=200).where("is_train")  # five pairs each
    some = some_customers(pairs, 1000, 400, seed=3)
    sizes = {r["user_id"]: r["count"] for r in some.groupBy("user_id").count().collect()}
    assert set(sizes.values()) == {5}
    assert 60 <= len(sizes) <= 100  # of 80 to be expected
    again = some_customers(pairs.repartition(7), 1000, 400, seed=3)
    assert {r["user_id"] for r in again.collect()} == set(sizes)
    assert {r["user_id"] for r in some_customers(pairs, 1000, 400, seed=4).collect()} != set(sizes)
    assert some_customers(pairs, 400, 400, seed=3) is pairs


def test_a_fit_learns_from_as_many_pairs_as_its_catalogue_asks_for(spark, monkeypatch):
    pairs, seen = shop(spark, customers=200), []

    def fitted(known, asked, *, seed):
        seen.append(np.bincount(known.users))
        return fit_here(known, asked, seed=seed)

    monkeypatch.setattr(als_fit, "fit_here", fitted)
    items = tuple(sorted(pl.DataFrame(pairs.select("item_id").distinct().toArrow())["item_id"]))

    def fit(**settings):
        return fit_engine(pairs, items, settings_of(**settings), units="train_units", is_used="is_train")

    everyone = fit(rank=3)
    monkeypatch.setattr(als_fit, "LEAST_PAIRS", 100)
    some = fit(rank=3, als_pairs=5)
    assert most_pairs(settings_of(als_pairs=5).recommend, len(items)) == 5 * len(items)
    assert (len(seen[0]), set(seen[1].tolist())) == (200, {5})
    assert 0.5 < len(seen[1]) * 5 / (5 * len(items)) < 1.5
    assert everyone.factors.shape == some.factors.shape == (len(items), 3)
    by_mllib = fit(rank=3, als_pairs=0)
    assert len(seen) == 2
    assert by_mllib.factors.shape == (len(items), 3)
    # the same objective: alike in what they make of two items of one taste and of two
    for side in (everyone, by_mllib):
        likeness = side.factors @ side.factors.T
        groups = np.array([item[:2] for item in items])
        is_same = groups[:, None] == groups[None, :]
        assert likeness[is_same].mean() > likeness[~is_same].mean() + 3 * abs(likeness[~is_same].mean())


@pytest.mark.parametrize(("items", "most"), [(10, 1_000_000), (20_000, 1_000_000), (40_000, 2_000_000)])
def test_a_large_catalogue_asks_for_more(items, most):
    assert most_pairs(settings_of().recommend, items) == most
