"""Configured features: small cases worked out by hand, a plain-Python reference, and what must never matter.

AS_OF is Friday, 5 April 2024; windows are 3, 7 and 30 days.
"""

import pickle
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
import reference
from custom_reference import Feature, custom_values, own_features
from histories import (
    AS_OF,
    BERLIN,
    EVENT_SCHEMA,
    WINDOWS,
    Row,
    event,
    event_frame,
    histories,
    local,
    params,
    user_frame,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from profiling_spark.config import Settings
from profiling_spark.config.features import CustomFeature
from profiling_spark.errors import ConfigError
from profiling_spark.features import EVENT_COLUMNS, FeatureParams, event_columns, many_dates, user_features

few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def configured(*features: Feature) -> tuple[CustomFeature, ...]:
    """As they come out of the settings."""
    given = [{"unit": "units", "description": "for the test", **f} for f in features]
    return Settings.model_validate({"windows_days": WINDOWS, "custom_features": given}).custom_features


def own(rows: list[Row], *features: Feature, **changes: Any) -> dict[str, Any]:
    """The one customer's features."""
    build = user_features(event_frame(rows), params=params(custom=configured(*features), **changes))
    return build.row(0, named=True)


def count(name: str = "n", types: tuple[str, ...] = ("view",), **rest: Any) -> Feature:
    return {"name": name, "measure": "count", "event_types": types, **rest}


def ratio(name: str, numerator: str, denominator: str, **rest: Any) -> Feature:
    return {"name": name, "measure": "ratio", "numerator": numerator, "denominator": denominator, **rest}


@pytest.mark.parametrize(("days_ago", "counts"), [(1, (1, 1, 1)), (3, (1, 1, 1)), (4, (0, 1, 1)), (7, (0, 1, 1))])
def test_a_count_holds_the_first_day_of_its_window(days_ago: int, counts: tuple[int, ...]) -> None:
    found = own(
        [event("view", days_ago, channel="app"), event("view", 1, channel="web")], count(where={"channel": "app"})
    )
    assert tuple(found[f"n_{w}d"] for w in WINDOWS) == counts


def test_windows_are_those_given_and_the_whole_history_has_no_ending() -> None:
    rows = [event("view", 1), event("view", 500), event("purchase", 2, order_id="o"), event("purchase", 400)]
    found = own(
        rows,
        count("one", windows_days=[7]),
        count("ever", windows_days="all"),
        count("bought", ("purchase",), windows_days="all"),
    )
    assert [name for name in found if name.startswith(("one", "ever", "bought"))] == ["one_7d", "ever", "bought"]
    assert (found["one_7d"], found["ever"], found["bought"]) == (1, 2, 2)


def test_purchases_count_as_orders_with_a_matching_line() -> None:
    basket = [event("purchase", 1, order_id="o", item_id=i, amount="2") for i in ("a", "b", "a")]
    basket += [event("purchase", 5, order_id="p", item_id="a"), event("purchase", 5, order_id="p", item_id="z")]
    basket += [event("purchase", 2, item_id="a"), event("purchase", 2, item_id="a"), event("purchase", 1, item_id="z")]
    found = own(basket, count(types=("purchase",), where={"item_id": ["a", "b"]}))
    assert (found["n_3d"], found["n_7d"]) == (3, 4)


def test_events_and_orders_of_several_types_add_up() -> None:
    rows = [event("view", 1), event("search", 1), event("purchase", 1, order_id="o"), event("refund", 1, order_id="o")]
    rows += [event("purchase", 2, order_id="o"), event("cart", 1)]
    assert own(rows, count(types=("view", "search", "purchase", "refund")))["n_3d"] == 4


def test_a_sum_is_exact_and_an_unknown_amount_adds_nothing() -> None:
    rows = [event("purchase", 1, amount="0.1001", channel="app") for _ in range(3)]
    rows += [event("purchase", 1, amount="99999999999999.9999", channel="app"), event("purchase", 1, channel="app")]
    rows += [event("purchase", 1, amount="5", channel="web"), event("purchase", 1, amount="5")]
    spent = {"name": "spent", "measure": "sum", "column": "amount", "event_types": ["purchase"]}
    assert own(rows, {**spent, "where": {"channel": "app"}})["spent_3d"] == Decimal("100000000000000.3002")
    seconds = {"name": "s", "measure": "sum", "column": "duration_seconds", "event_types": ["view"]}
    views = [event("view", 1, duration_seconds=t) for t in (0.1, 0.2, None, float("nan"))]
    assert own(views, seconds)["s_3d"] == 0.3


def test_distinct_values() -> None:
    rows = [event("view", d, city=c) for d, c in ((1, "x"), (2, "x"), (5, "y"), (1, None), (40, "z"))]
    cities = {"name": "cities", "measure": "distinct", "column": "city", "event_types": ["view"]}
    found = own(
        rows, cities, {**cities, "name": "days", "column": "event_date"}, {**cities, "name": "h", "column": "hour"}
    )
    assert [found[f"cities_{w}d"] for w in WINDOWS] == [1, 2, 2]
    assert [found[f"days_{w}d"] for w in WINDOWS] == [2, 3, 3]
    assert found["h_30d"] == 1


def test_a_share_of_orders_of_money_and_of_values() -> None:
    rows = [event("purchase", 1, order_id="o", amount="3", channel="app", item_id="a")]
    rows += [event("purchase", 1, order_id="p", amount="1", channel="web", item_id="b") for _ in range(3)]
    rows += [event("purchase", 9, order_id="q", amount="6", channel="app", item_id="b")]
    app = {"measure": "share", "event_types": ["purchase"], "where": {"channel": "app"}}
    found = own(
        rows, {"name": "o", **app}, {"name": "a", "column": "amount", **app}, {"name": "i", "column": "item_id", **app}
    )
    assert (found["o_3d"], found["a_3d"], found["i_3d"]) == (0.5, 0.5, 0.5)
    assert (found["o_30d"], found["a_30d"], found["i_30d"]) == (2 / 3, 0.75, 1.0)


def test_a_share_of_nothing_is_null() -> None:
    share = {"name": "s", "measure": "share", "event_types": ["view"], "where": {"channel": "app"}}
    found = own([event("view", 5)], share)
    assert (found["s_3d"], found["s_7d"]) == (None, 0.0)


def test_recency_is_of_the_last_match_ever() -> None:
    rows = [event("purchase", 200, amount="700"), event("purchase", 90, amount="500"), event("purchase", 1, amount="1")]
    big = {"name": "big", "measure": "recency", "event_types": ["purchase"], "where": {"amount": {"min": 500}}}
    assert own(rows, big)["big"] == 90
    assert own(rows[2:], big)["big"] is None


def test_a_ratio_takes_the_same_window_of_both_or_what_has_none() -> None:
    rows = [
        event("view", 1, channel="app"),
        event("view", 5),
        event("login", 1),
        event("login", 5),
        event("purchase", 6),
    ]
    found = own(
        rows,
        ratio("rate", "app_views", "logins"),
        count("app_views", where={"channel": "app"}),
        ratio("of_ever", "views", "frequency", windows_days=[7]),
        ratio("per_day", "frequency", "tenure_days", windows_days="all"),
        ratio("none", "views", "refunds", windows_days=[7]),
    )
    assert (found["rate_3d"], found["rate_7d"], found["of_ever_7d"]) == (1.0, 0.5, 2.0)
    assert (found["per_day"], found["none_7d"]) == (1 / 6, None)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"hour": {"min": 22, "max": 5}}, 3),  # 22:00, 05:59 and 00:30
        ({"hour": {"min": 5, "max": 22}}, 4),
        ({"hour": [6, 21]}, 2),
        ({"weekday": {"min": 6, "max": 7}}, 1),
        ({"weekday": {"min": 7, "max": 3}}, 1),  # over Sunday: 31 March, and neither Thursday nor Wednesday
        ({"weekday": 4}, 4),
        ({"amount": {"min": 9.99}}, 2),
        ({"amount": {"min": 9.99, "max": 9.99}}, 1),
        ({"amount": [9.99, 10]}, 2),
        ({"amount": {"max": 9.9899}}, 0),
        ({"third_party_payment": True}, 1),
        ({"third_party_payment": False}, 1),
        ({"duration_seconds": {"min": 0.3}}, 1),
        ({"unit_price": 0.000001}, 1),
        ({"quantity": {"max": 2}, "device": "pc"}, 1),
        ({"channel": "nobody's"}, 0),
    ],
)
def test_conditions_are_exact_inclusive_and_blind_to_the_unknown(where: dict[str, Any], expected: int) -> None:
    day = AS_OF - timedelta(days=1)  # Thursday
    rows = [
        event("view", at=local(day, "22:00:00"), amount="9.99", third_party_payment=True),
        event("view", at=local(day, "05:59:59"), amount="10", third_party_payment=False),
        event("view", at=local(day, "06:00:00"), duration_seconds=0.1 + 0.2, unit_price="0.000001"),
        event("view", at=local(day, "21:59:59"), quantity="2", device="pc", duration_seconds=0.2),
        event("view", at=local(AS_OF - timedelta(days=5), "00:30:00"), quantity="2.0001", device="pc"),
    ]
    assert own(rows, count(where=where))["n_7d"] == expected


def test_null_where_no_source_gives_the_type_with_the_column_and_0_where_one_does() -> None:
    features = (
        count("any", ("view", "search")),
        count("device", ("view", "purchase"), where={"device": "pc"}),
        {"name": "late", "measure": "recency", "event_types": ["view"], "where": {"hour": 23}},
        ratio("rate", "device", "any", windows_days=[3]),
        {"name": "spent", "measure": "sum", "column": "amount", "event_types": ["purchase"], "windows_days": [3]},
    )
    names = ("any_3d", "device_3d", "late", "rate_3d", "spent_3d")

    def found(**changes: Any) -> tuple[Any, ...]:
        values = own([event("view", 1)], *features, **changes)
        return tuple(values[n] for n in names)

    assert found() == (1, 0, None, 0.0, Decimal(0))
    only_views = frozenset({"view"})
    assert found(supplied=only_views) == (1, 0, None, 0.0, None)
    assert found(supplied=only_views, columns={"view": frozenset({"channel"})}) == (1, None, None, None, None)
    assert found(supplied=frozenset({"purchase"}), columns={"purchase": frozenset({"device", "amount"})}) == (
        None, 0, None, None, Decimal(0),
    )  # fmt: skip


def test_a_customer_with_attributes_only_has_zeros_and_unknowns() -> None:
    users = user_frame([{"user_id": "silent", "valid_from": local(AS_OF - timedelta(days=1)), "income": Decimal(8)}])
    custom = configured(
        count(types=("view", "purchase")),
        {"name": "s", "measure": "share", "event_types": ["view"], "where": {"hour": 1}},
        {"name": "r", "measure": "recency", "event_types": ["view"]},
        ratio("of_income", "views", "income"),
    )
    row = user_features(event_frame([]), params=params(custom=custom), users=users).row(0, named=True)
    assert (row["n_3d"], row["s_3d"], row["r"], row["of_income_3d"]) == (0, None, None, 0.0)


def test_the_kernel_is_given_what_configured_features_read_and_no_more() -> None:
    custom = configured(
        count(where={"device": "pc", "hour": 3, "weekday": 2, "channel": "app"}),
        {"name": "q", "measure": "sum", "column": "quantity", "event_types": ["purchase"]},
        {"name": "c", "measure": "distinct", "column": "city", "event_types": ["view"], "windows_days": "all"},
    )
    assert event_columns(()) == EVENT_COLUMNS
    assert event_columns(custom) == (*EVENT_COLUMNS, "city", "device", "quantity")
    rows = event_frame([event("view", 1)])
    assert set(rows.columns) == set(EVENT_SCHEMA)
    assert user_features(rows.select(event_columns(custom)), params=params(custom=custom)).height == 1


def test_parameters_travel_to_spark_workers_whole() -> None:
    sent = params(custom=configured(count(where={"channel": ["a", "b"], "amount": {"min": 1.5}})))
    received = pickle.loads(pickle.dumps(sent))
    assert received == sent
    assert isinstance(received, FeatureParams)


def with_own(given: list[Feature]) -> FeatureParams:
    return params(custom=configured(*given))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=histories(40), features=own_features())
def test_every_configured_feature_equals_the_reference(rows: list[Row], features: list[Feature]) -> None:
    found = user_features(event_frame(rows), params=with_own(features))
    built_in = reference.features(rows, as_of=AS_OF, windows=WINDOWS, timezone=BERLIN, supplied=params().supplied)
    for row in found.to_dicts():
        own = [e for e in rows if e["user_id"] == row["user_id"]]
        wanted = custom_values(features, built_in[row["user_id"]], own, as_of=AS_OF, zone=ZoneInfo(BERLIN))
        assert {n for n in row if n.startswith("own_")} == set(wanted)
        for name, value in wanted.items():
            close = pytest.approx(value, rel=1e-12, abs=1e-12) if isinstance(value, float) else value
            assert row[name] == close, (row["user_id"], name)
            assert not isinstance(value, Decimal) or isinstance(row[name], Decimal), name


@few
@given(rows=histories(), features=own_features())
def test_built_in_features_do_not_move(rows: list[Row], features: list[Feature]) -> None:
    plain = user_features(event_frame(rows), params=params())
    found = user_features(event_frame(rows), params=with_own(features))
    assert found.columns[: plain.width] == plain.columns
    assert_frame_equal(found.select(plain.columns), plain, check_exact=True)


@few
@given(past=histories(), late=histories(), features=own_features())
def test_events_on_or_after_as_of_change_nothing(past: list[Row], late: list[Row], features: list[Feature]) -> None:
    past = [row for row in past if row["event_date"] < AS_OF]
    late = [row for row in late if row["event_date"] >= AS_OF]
    built = with_own(features)
    with_late, without = (user_features(event_frame(rows), params=built) for rows in ([*late, *past], past))
    assert_frame_equal(with_late, without, check_exact=True)


@few
@given(
    rows=histories(), features=own_features(), shifts=st.lists(st.integers(0, 40), min_size=1, max_size=3, unique=True)
)
def test_many_dates_are_separate_builds(rows: list[Row], features: list[Feature], shifts: list[int]) -> None:
    dates = [replace(with_own(features), as_of=AS_OF - timedelta(days=shift)) for shift in shifts]
    apart = [user_features(event_frame(rows), params=p) for p in dates]
    assert_frame_equal(many_dates(event_frame(rows), dates), pl.concat(apart), check_exact=True)


@few
@given(rows=histories(), features=own_features())
def test_buckets_and_order_of_rows_do_not_matter(rows: list[Row], features: list[Feature]) -> None:
    def build(only: tuple[str, ...], step: int) -> pl.DataFrame:
        part = [r for r in rows if r["user_id"] in only][::step]
        return user_features(event_frame(part), params=with_own(features))

    buckets = pl.concat([build(("u",), -1), build(("v", "客户"), -1)]).sort("user_id")
    assert_frame_equal(buckets, build(("u", "v", "客户"), 1), check_exact=True)


def test_dates_with_other_features_are_not_one_table() -> None:
    with pytest.raises(ConfigError, match="same configured features"):
        many_dates(event_frame([]), [params(), params(custom=configured(count()))])
