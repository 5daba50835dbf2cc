"""The search for a blend, on customers and engines made so that the best one is known. No Spark."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from profiling_spark.recommend.engines.blend import blend_side
from profiling_spark.recommend.engines.blend_search import MOST_SCORES, customers_for, search_blend, search_weights
from profiling_spark.recommend.engines.item_cf import NeighbourSide
from profiling_spark.recommend.engines.own_history import OwnHistorySide
from profiling_spark.recommend.judge.in_process import Judge
from profiling_spark.recommend.judge.protocols import AS_SERVED, Judged, as_served

ITEMS, CUSTOMERS = 60, 80
RNG = np.random.default_rng(7)


def judge(after, protocol=AS_SERVED):
    """Customers of two seen items (customer, and the next number) and the items after them, of `after(customer)`."""
    rows = []
    for customer in range(CUSTOMERS):
        first = customer % ITEMS
        seen = {first: 1.0, (first + 1) % ITEMS: 2.0}
        later = set(after(customer))
        rows += [(customer, i, seen.get(i, 0.0), i in seen, i in later) for i in sorted(seen.keys() | later)]
    pairs = pl.DataFrame(rows, schema=["user", "item", "weight", "is_seen", "is_open"], orient="row")
    pairs = pairs.with_columns(is_masked=pl.lit(value=False))
    past = pairs.filter("is_seen")
    truths = np.bincount(pairs.filter("is_open")["user"].to_numpy(), minlength=CUSTOMERS)
    columns = (past["user"].to_numpy(), past["item"].to_numpy(), past["weight"].to_numpy())
    return Judge(protocol, columns, Judged.of(pairs, (protocol,)), truths, np.ones(ITEMS, dtype=bool))


def shifted(by, noise):
    """An engine that speaks for the item `by` places after each past one, among noise that is as large."""
    matrix = RNG.random((ITEMS, ITEMS)).astype(np.float32) * noise
    place = np.arange(ITEMS)
    matrix[place, (place + by) % ITEMS] += 1
    return NeighbourSide(sparse.csr_array(matrix))


def test_engines_that_know_different_things_are_blended():
    asked = judge(lambda c: [(c + 11) % ITEMS, (c + 31) % ITEMS])
    sides = {"near": shifted(10, 0.8), "far": shifted(30, 0.8), "noise": shifted(0, 3.0)}
    found = search_blend(sides, asked)
    assert found.weights.keys() == {"near", "far"}
    assert sum(found.weights.values()) == 1
    assert found.is_blend
    alone = {name: asked.ndcg(side) for name, side in sides.items()}
    assert found.alone == pytest.approx(max(alone.values()))
    assert found.ndcg > found.alone * 1.05
    blend = blend_side([sides[name] for name in found.weights], tuple(found.weights.values()))
    assert asked.ndcg(blend) == pytest.approx(found.ndcg)


def test_an_engine_that_knows_nothing_is_left_out():
    found = search_blend({"noise": shifted(0, 9.0), "good": shifted(10, 0.01)}, judge(lambda c: [(c + 11) % ITEMS]))
    assert (found.weights, found.is_blend) == ({"good": 1.0}, False)
    assert found.ndcg == found.alone


def test_what_was_looked_at_is_offered_beside_what_is_new_where_that_is_taken():
    """Half of what they take they had looked at: the engine of the own history alone has nothing else, and under the
    cap of the policy it fills no list."""
    asked = judge(lambda c: [c % ITEMS, (c + 11) % ITEMS], as_served(0.5))
    sides = {"near": shifted(10, 0.8), "own_history": OwnHistorySide(ITEMS)}
    assert asked.ndcg(sides["own_history"]) == 0
    found = search_blend(sides, asked)
    assert found.weights.keys() == sides.keys()
    lifted = judge(lambda c: [c % ITEMS], as_served(1.0))
    assert search_blend(sides, lifted).weights == {"own_history": 1.0}


def test_customers_are_as_many_as_their_scores_have_room():
    assert customers_for(1000, 800) == 800
    assert customers_for(10**6, 800) == 0  # 16 could be asked, which is too few
    assert customers_for(200_000, 800) == MOST_SCORES // 200_000
    assert customers_for(100, 0) == 0
    assert customers_for(100, 49) == 0


@given(st.integers(1, 4), st.randoms(use_true_random=False))
def test_the_walk_ends_where_no_neighbour_gains_or_the_trials_do(engines, random):
    values, asked = {}, []

    def value(weights):
        assert sum(weights) == 4
        asked.append(weights)
        return values.setdefault(weights, random.random())

    found = search_weights([f"e{n}" for n in range(engines)], value)
    assert len(asked) == len(set(asked)) <= 24  # nothing is tried twice
    best = tuple(round(4 * found.weights.get(f"e{n}", 0.0)) for n in range(engines))
    assert (found.ndcg, sum(best)) == (values[best], 4)
    assert found.alone == max(values[tuple(4 * (n == own) for n in range(engines))] for own in range(engines))
    assert found.alone <= found.ndcg
    if len(asked) < 24:
        moves = [(a, b) for a in range(engines) for b in range(engines) if a != b and best[a]]
        near = [tuple(w - (n == a) + (n == b) for n, w in enumerate(best)) for a, b in moves]
        assert all(values[weights] <= found.ndcg * 1.005 for weights in near)
