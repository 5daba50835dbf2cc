"""The search for settings, on functions whose best place is known."""

from __future__ import annotations

import math

import pytest

from profiling_spark.recommend.engines.settings_search import Axis, search

X, Y = Axis("x", 2.0), Axis("y", 2.0)


def hill(**top):
    """1 at `top`, less with each doubling away from it, and by twice as much above it as below."""

    def judge(values):
        away = [math.log2(values[name] / at) for name, at in top.items()]
        return 1 - sum(0.1 * abs(a) * (2 if a > 0 else 1) for a in away)

    return judge


def tried(found, key):
    return [trial.values[key] for trial in found.trials]


def test_a_grid_widens_while_its_edge_wins():
    found = search({"x": 1.0}, [X], hill(x=8.0), budget=20)
    assert (tried(found, "x"), found.best.values, found.widened) == ([1, 2, 4, 8, 16], {"x": 8}, ("x",))
    assert not found.is_cut
    assert found.in_words() == "5 trials; the edge of the grid won and it was widened: x"


def test_it_goes_down_where_up_is_no_better_and_one_step_widens_nothing():
    found = search({"x": 1.0}, [X], hill(x=0.5), budget=20)
    assert (tried(found, "x"), found.best.values, found.widened) == ([1, 2, 0.5, 0.25], {"x": 0.5}, ())


def test_settings_that_depend_on_each_other_are_gone_through_again():
    def ridge(values):  # with y at 1 the best x is 2, and with y at its best then, 4, another
        x, y = math.log2(values["x"]), math.log2(values["y"])
        return 20 - 2 * (x - y) ** 2 - (x + y - 4) ** 2

    found = search({"x": 1.0, "y": 1.0}, [X, Y], ridge, budget=30)
    assert found.best.values == {"x": 4, "y": 4}
    assert len({tuple(t.values.items()) for t in found.trials}) == len(found.trials)


def test_the_budget_ends_it_and_the_best_so_far_is_chosen():
    found = search({"x": 1.0, "y": 1.0}, [X, Y], hill(x=64.0, y=2.0), budget=4)
    assert (tried(found, "x"), found.best.values["x"], found.is_cut) == ([1, 2, 4, 8], 8, True)
    assert found.in_words().endswith("; the budget ended first")
    alone = search({"x": 3.0}, [X], hill(x=64.0), budget=0)
    assert (tried(alone, "x"), alone.best.values) == ([3], {"x": 3})


def test_a_gain_that_is_noise_moves_nothing():
    found = search({"x": 1.0}, [X], lambda values: 0.2 + 0.0009 * (values["x"] > 1), budget=9)
    assert found.best.values == {"x": 1}
    worse_than_zero = search({"x": 1.0}, [X], lambda values: -1 / values["x"], budget=4)
    assert worse_than_zero.best.values == {"x": 8}


@pytest.mark.parametrize(
    ("axis", "start", "expected"),
    [
        (Axis("x", 2.0, most=5), 2.0, [2, 4]),
        (Axis("x", 1.6, least=2, is_whole=True), 5, [5, 8, 13, 21, 34]),
        (Axis("x", 4.0, along=("y",)), 1.0, [1, 4, 16, 64, 256]),
        (Axis("x", 2.0), 0.0, [0]),
    ],
)
def test_steps_are_geometric_within_their_bounds(axis, start, expected):
    found = search({"x": start, "y": 0.2}, [axis], lambda values: 1 + values["x"], budget=5)
    assert tried(found, "x") == expected
    assert tried(found, "y")[-1] == (pytest.approx(51.2) if axis.along else 0.2)
