"""RFM: cut points and scores at ties and at the edges, the rule table over all 125 scores."""

from decimal import Decimal
from itertools import product

import polars as pl
import pytest
from histories import Row, event, event_frame, histories, params
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from profiling_spark.features import RFM_EVENT_COLUMNS, RfmCuts, fit_cuts, rfm_measures, user_features, with_rfm
from profiling_spark.features.rfm import GROUP_RULES, GROUPS, MONEY


def measures(rows: list[tuple[int | None, int, str]]) -> pl.DataFrame:
    schema = {"recency_days": pl.Int32(), "frequency": pl.Int64(), "monetary": MONEY}
    return pl.DataFrame([(r, f, Decimal(m)) for r, f, m in rows], schema=schema, orient="row")


def scores(sample: pl.DataFrame, cuts: RfmCuts | None = None) -> list[tuple[int | None, ...]]:
    return with_rfm(sample, cuts or fit_cuts(sample)).select("r_score", "f_score", "m_score").rows()


def test_five_customers_get_the_five_scores() -> None:
    sample = measures([(n, n, str(n)) for n in (3, 1, 5, 2, 4)])
    assert fit_cuts(sample) == RfmCuts((1, 2, 3, 4), (1, 2, 3, 4), tuple(map(Decimal, (1, 2, 3, 4))), 5)
    assert scores(sample) == [(3, 3, 3), (5, 1, 1), (1, 5, 5), (4, 2, 2), (2, 4, 4)]


def test_a_cut_point_is_the_smallest_value_with_its_share_at_or_below() -> None:
    assert fit_cuts(measures([(n, n, str(n)) for n in range(1, 8)])).frequency == (
        2,
        3,
        5,
        6,
    )  # of 7: 1.4, 2.8, 4.2, 5.6


def test_equal_values_get_equal_scores_and_a_tie_falls_to_its_small_end() -> None:
    sample = measures([(1, 1, "1")] * 3 + [(2, 2, "2"), (9, 3, "9")])  # cut points 1, 1, 1, 2
    assert scores(sample) == [(5, 1, 1)] * 3 + [(2, 4, 4), (1, 5, 5)]


def test_all_equal_and_one_customer() -> None:
    for sample in (measures([(7, 2, "5.5")] * 10), measures([(7, 2, "5.5")])):
        found = with_rfm(sample, fit_cuts(sample))
        assert set(found.select("r_score", "f_score", "m_score", "rfm_score", "rfm_group").rows()) == {
            (5, 1, 1, 7, "new")
        }


def test_two_customers() -> None:
    assert scores(measures([(1, 1, "1"), (2, 2, "2")])) == [(5, 1, 1), (3, 3, 3)]  # cut points 1, 1, 2, 2


def test_zero_and_negative_money_is_ordered_like_any_other() -> None:
    sample = measures([(1, 1, m) for m in ("-3.0001", "-3", "0", "0.0001", "8")])
    assert [m for _, _, m in scores(sample)] == [1, 2, 3, 4, 5]


def test_who_never_bought_has_no_scores_and_moves_no_cut_point() -> None:
    buyers = [(n, n, str(n)) for n in (1, 2, 3, 4, 5)]
    sample = measures([*buyers, (None, 0, "0"), (None, 0, "-7")])
    assert fit_cuts(sample) == fit_cuts(measures(buyers))
    found = with_rfm(sample, fit_cuts(sample)).tail(2)
    assert found.select("r_score", "f_score", "m_score", "rfm_score", "rfm_group").rows() == [(None,) * 5] * 2


def test_nobody_bought() -> None:
    sample = measures([(None, 0, "0")])
    cuts = fit_cuts(sample)
    assert cuts == RfmCuts((), (), (), 0)
    assert scores(sample, cuts) == [(None, None, None)]
    assert RfmCuts.from_rows(cuts.rows()) == cuts


def test_cuts_survive_their_table_and_score_new_customers() -> None:
    cuts = fit_cuts(measures([(n, n, f"{n}.0001") for n in range(1, 11)]))
    assert RfmCuts.from_rows(reversed(cuts.rows())) == cuts
    assert scores(measures([(0, 99, "-1"), (99, 1, "99")]), cuts) == [(5, 5, 1), (1, 1, 5)]


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(-5, 5).map(str)), min_size=1, max_size=40))
@settings(max_examples=40, deadline=None)
def test_scores_follow_the_order_of_the_values(rows: list[tuple[int | None, int, str]]) -> None:
    found = with_rfm(measures(rows), fit_cuts(measures(rows)))
    for measure, score, falls in (("recency_days", "r_score", True), ("frequency", "f_score", False)):
        ordered = found.select(measure, score).unique().sort(measure, descending=falls)
        assert ordered[measure].is_unique().all()
        assert ordered[score].is_sorted()
        assert ordered[score].is_between(1, 5).all()


@pytest.mark.parametrize("combination", list(product(range(1, 6), repeat=3)))
def test_every_combination_of_scores_belongs_to_one_rule(combination: tuple[int, int, int]) -> None:
    def inside(value: int, ends: tuple[int, int]) -> bool:
        return ends[0] <= value <= ends[1]

    r, f, m = combination
    hits = [rule.group for rule in GROUP_RULES if inside(r, rule.r) and inside(f, rule.f) and inside(m, rule.m)]
    assert len(hits) == 1


def test_groups_are_the_eight_named_ones_and_scored_alike() -> None:
    named = ["champions", "loyal", "potential", "new", "at_risk", "cannot_lose", "hibernating", "lost"]
    assert sorted(GROUPS) == sorted(named)
    cuts = RfmCuts((1, 2, 3, 4), (1, 2, 3, 4), tuple(map(Decimal, (1, 2, 3, 4))), 5)
    sample = measures(
        [(1, 5, "5"), (3, 5, "1"), (3, 1, "5"), (1, 1, "5"), (5, 3, "1"), (5, 5, "5"), (4, 1, "1"), (5, 1, "1")]
    )
    assert with_rfm(sample, cuts)["rfm_group"].to_list() == [
        "champions", "loyal", "potential", "new", "at_risk", "cannot_lose", "hibernating", "lost",
    ]  # fmt: skip


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=histories())
def test_the_sample_for_the_cuts_has_the_features_own_values(rows: list[Row]) -> None:
    frame = event_frame(rows)
    sample = rfm_measures(frame.select(RFM_EVENT_COLUMNS), params=params())
    cuts = fit_cuts(sample)
    features = user_features(frame, params=params(), rfm_cuts=cuts)
    assert_frame_equal(sample, features.filter(pl.col("frequency") > 0).select(sample.columns), check_exact=True)
    assert features.filter(pl.col("frequency") > 0)["rfm_group"].null_count() == 0


def test_without_cuts_there_are_no_scores() -> None:
    found = user_features(event_frame([event("purchase", 1, amount="1")]), params=params())
    assert found.select("recency_days", "frequency", "r_score", "rfm_group").rows() == [(1, 1, None, None)]
