"""Small cases whose answers can be worked out by hand. AS_OF is Friday, 5 April 2024; windows are 3, 7 and 30 days."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from histories import (
    ALL_TYPES,
    AS_OF,
    AUTUMN,
    AUTUMN_SWITCH,
    BERLIN,
    EVENT_SCHEMA,
    SPRING_SWITCH,
    WINDOWS,
    Row,
    event,
    event_frame,
    local,
    params,
    review_frame,
    user_frame,
)

from profiling_spark.contracts.features import user_features_columns
from profiling_spark.errors import ConfigError, ContractError
from profiling_spark.features import EVENT_COLUMNS, FeatureParams, many_dates, user_features

SPARK_TYPES = {
    pl.Int64(): "bigint",
    pl.Int32(): "int",
    pl.Float64(): "double",
    pl.String(): "string",
    pl.Boolean(): "boolean",
    pl.Date(): "date",
    pl.Decimal(28, 4): "decimal(28,4)",
    pl.Decimal(18, 4): "decimal(18,4)",
}


def only(rows: list[Row], **given: Any) -> dict[str, Any]:
    """The one customer's features."""
    settings = {"params": params(), **given}
    return user_features(event_frame(rows), **settings).row(0, named=True)


@pytest.mark.parametrize(
    ("days_ago", "counts"),
    [
        (-1, None),
        (0, None),
        (1, (1, 1, 1)),
        (3, (1, 1, 1)),
        (4, (0, 1, 1)),
        (7, (0, 1, 1)),
        (30, (0, 0, 1)),
        (31, (0, 0, 0)),
    ],
)
def test_a_window_holds_its_first_day_and_not_as_of(days_ago: int, counts: tuple[int, ...] | None) -> None:
    found = user_features(event_frame([event("view", days_ago)]), params=params())
    if counts is None:
        assert found.is_empty()
    else:
        assert found.select("views_3d", "views_7d", "views_30d").rows() == [counts]


def test_one_event() -> None:
    found = only([event("login", 2)])
    assert (found["days_since_last_event"], found["tenure_days"], found["active_days_3d"]) == (2, 2, 1)
    assert (found["logins_3d"], found["activity_3d"], found["sessions_3d"]) == (1, 1, 0)
    assert (found["recency_days"], found["frequency"], found["monetary"]) == (None, 0, Decimal(0))
    assert (found["purchase_frequency_3d"], found["consumption_power_3d"], found["view_to_cart_3d"]) == (
        0.0,
        None,
        None,
    )
    assert (found["favorite_hour"], found["favorite_category"], found["interpurchase_days"]) == (12, None, None)


def test_only_refunds() -> None:
    found = only([event("refund", 1, amount="10.25", order_id="r"), event("refund", 1, amount="0.5", order_id="r")])
    assert (found["refunds_3d"], found["purchases_3d"], found["recency_days"]) == (1, 0, None)
    assert (found["net_amount_3d"], found["monetary"]) == (Decimal("-10.75"), Decimal("-10.75"))
    assert (found["refund_share_3d"], found["purchase_amount_3d"]) == (None, Decimal(0))


def test_no_events_and_no_attributes_is_an_empty_table_with_the_contracts_types() -> None:
    found = user_features(event_frame([]), params=params(), users=user_frame([]))
    want = [(c.name, c.type) for c in user_features_columns(params().windows)]
    assert found.is_empty()
    assert [(name, SPARK_TYPES[kind]) for name, kind in found.schema.items()] == want


def test_a_customer_with_attributes_only_has_zeros_and_unknowns() -> None:
    users = user_frame([{"user_id": "silent", "valid_from": local(AS_OF - timedelta(days=1)), "age": 18}])
    popular = {3: ["i"], 7: ["i"], 30: ["i"]}
    found = only([], users=users, popular_items=popular, reviews=review_frame([]))
    assert (found["user_id"], found["age"], found["age_band"]) == ("silent", 18, "18-25")
    assert (found["views_30d"], found["purchase_amount_30d"], found["activity_30d"], found["reviews_30d"]) == (
        0,
        0,
        0,
        0,
    )
    assert (found["frequency"], found["popular_item_viewer_3d"], found["session_seconds_3d"]) == (0, False, 0.0)
    unknown = (
        "tenure_days",
        "days_since_last_event",
        "recency_days",
        "night_share_3d",
        "mean_rating_30d",
        "gender_code",
    )
    assert [found[name] for name in unknown] == [None] * len(unknown)


def test_lines_of_an_order_are_one_purchase_and_lines_without_order_are_one_each() -> None:
    basket = [event("purchase", 1, order_id="o", amount="2", item_id=i) for i in ("a", "b", "a")]
    found = only([*basket, event("purchase", 5, amount="4", item_id="c"), event("purchase", 5, amount="1")])
    assert (found["purchases_3d"], found["purchases_7d"], found["frequency"]) == (1, 3, 3)
    assert (found["items_bought_3d"], found["items_bought_7d"]) == (2, 3)
    assert (found["purchase_amount_7d"], found["consumption_power_7d"]) == (Decimal(11), pytest.approx(11 / 3))
    assert found["interpurchase_days"] == 4.0


def test_an_order_over_two_days_counts_where_its_latest_line_lies() -> None:
    found = only([event("purchase", 4, order_id="o", amount="1"), event("purchase", 3, order_id="o", amount="1")])
    assert (found["purchases_3d"], found["purchases_7d"], found["frequency"]) == (1, 1, 1)


def test_money_is_exact() -> None:
    rows = [event("purchase", 1, amount="0.1001") for _ in range(3)]
    rows += [event("purchase", 1, amount="99999999999999.9999"), event("purchase", 1)]
    assert only(rows)["purchase_amount_3d"] == Decimal("100000000000000.3002")


def test_discount_share_is_of_the_undiscounted_value() -> None:
    rows = [event("purchase", 1, amount="7.5", discount="2.5"), event("purchase", 1, amount="10")]
    assert only(rows)["discount_share_3d"] == 0.125
    assert only(rows, params=params(has_discounts=False))["discount_share_3d"] is None
    assert only([event("purchase", 1, amount="0", discount="0")])["discount_share_3d"] is None


def test_sessions_and_seconds() -> None:
    rows = [
        event("view", d, session_id=s, duration_seconds=t) for d, s, t in ((1, "a", 0.1), (1, "a", 0.2), (5, "b", 60))
    ]
    found = only([*rows, event("view", 1, duration_seconds=float("nan"))])
    assert [found[f"sessions_{w}d"] for w in (3, 7)] == [1, 2]
    assert [found[f"session_seconds_{w}d"] for w in (3, 7)] == [0.3, 60.3]
    without = only(rows, params=params(has_sessions=False, has_durations=False))
    assert (without["sessions_3d"], without["session_seconds_3d"], without["purchases_per_session_3d"]) == (None,) * 3


def test_night_is_by_the_wall_clock_on_the_day_the_clocks_go_forward() -> None:
    sunday = date(2024, 3, 31)  # 01:00 UTC is 03:00 in Berlin; the hour from 2 to 3 does not exist
    times = [datetime(2024, 3, 31, hour, 59, 59, tzinfo=UTC) for hour in (0, 1, 3, 4, 19, 20)]
    found = only([event("view", at=time) for time in times])  # 01:59, 03:59, 05:59, 06:59, 21:59, 22:59
    assert (found["night_share_7d"], found["weekend_share_7d"]) == (4 / 6, 1.0)
    assert (found["favorite_hour"], found["active_days_7d"], found["tenure_days"]) == (1, 1, (AS_OF - sunday).days)


def test_the_hour_that_comes_twice_when_the_clocks_go_back_is_one_hour_of_a_day_of_25() -> None:
    # Sunday, 29 October 2023 in Berlin: 23:59:59 the day before, 00:00, 02:30 twice, 05:59:59, 22:00, 23:59:59, 00:00
    spoken = ((28, 21, 59, 59), (28, 22, 0, 0), (29, 0, 30, 0), (29, 1, 30, 0), (29, 4, 59, 59), (29, 21, 0, 0))
    times = [datetime(2023, 10, *at, tzinfo=UTC) for at in (*spoken, (29, 22, 59, 59), (29, 23, 0, 0))]
    found = only([event("view", at=time) for time in times], params=params(as_of=AUTUMN))
    assert [found[f"views_{w}d"] for w in WINDOWS] == [7, 8, 8]  # the first is four days old
    assert (found["active_days_3d"], found["tenure_days"], found["days_since_last_event"]) == (2, 4, 2)
    assert (found["favorite_hour"], found["night_share_3d"]) == (0, 1.0)  # hours 0 and 2 twice each: the smaller
    assert (found["weekend_share_3d"], found["weekend_share_7d"]) == (6 / 7, 7 / 8)


@pytest.mark.parametrize(("as_of", "switch"), [(AS_OF, SPRING_SWITCH), (AUTUMN, AUTUMN_SWITCH)])
def test_a_session_across_a_change_of_the_clocks_is_one(as_of: date, switch: datetime) -> None:
    around = [switch + timedelta(minutes=m) for m in (-30, -1, 0, 30)]
    rows = [event("view", at=time, session_id="s", duration_seconds=60) for time in around]
    found = only(rows, params=params(as_of=as_of))
    assert (found["sessions_7d"], found["session_seconds_7d"], found["active_days_7d"]) == (1, 240.0, 1)
    assert (found["night_share_7d"], found["weekend_share_7d"]) == (1.0, 1.0)


def test_midnight_in_the_business_timezone_decides_the_day() -> None:
    last_second, first_second = (datetime(2024, 3, 31, 21, 59, 59, tzinfo=UTC) + timedelta(seconds=s) for s in (0, 1))
    assert only([event("view", at=last_second)])["tenure_days"] == 5
    assert only([event("view", at=first_second)])["tenure_days"] == 4


def test_favourites_by_count_and_ties_by_the_smaller_name() -> None:
    views = [event("view", 1, category=c, brand=b) for c, b in (("b", "y"), ("a", "y"), ("b", "x"), ("a", None))]
    found = only([*views, event("search", 1, category="z", channel="web"), event("view", 91, category="b", brand="x")])
    assert (found["favorite_category"], found["favorite_brand"], found["favorite_channel"]) == ("a", "y", "web")


def test_favourites_look_90_days_back_whatever_the_windows() -> None:
    assert only([event("view", 90, category="c")])["favorite_category"] == "c"
    assert only([event("view", 91, category="c")])["favorite_category"] is None


def test_popular_items_are_the_windows_own() -> None:
    rows = [event("view", 2, item_id="i"), event("cart", 1, item_id="j"), event("view", 5, item_id="old")]
    found = only(rows, popular_items={3: ["j", "old", "nobody's"], 7: ["i"], 30: []})
    assert [found[f"popular_item_viewer_{w}d"] for w in (3, 7, 30)] == [False, True, False]


def test_price_preference_leaves_out_unknown_items() -> None:
    prices = pl.DataFrame({"item_id": ["a", "b", "c"], "price_percentile": [0.0, 0.5, None]})
    rows = [event("purchase", 40, item_id=i) for i in ("a", "b", "b", "c", "unlisted", None)]
    assert only(rows, item_prices=prices)["price_preference"] == pytest.approx(1 / 3)
    assert only(rows)["price_preference"] is None


def test_of_two_sources_the_one_that_is_believed_first_wins_each_attribute_it_knows() -> None:
    day = local(AS_OF - timedelta(days=3))
    crm = {"user_id": "u", "valid_from": day, "source": "crm", "city": "Ulm", "age": 30, "income": None}
    bureau = {"user_id": "u", "valid_from": day, "source": "bureau", "city": "Bonn", "age": 30, "income": Decimal(9)}
    older = {**bureau, "valid_from": day - timedelta(days=1), "occupation": "baker"}
    for order, city in ((("crm", "bureau"), "Ulm"), (("bureau",), "Bonn")):
        found = only([], users=user_frame([older, bureau, crm]), params=params(precedence=order))
        assert (found["city"], found["age"], found["income"], found["occupation"]) == (city, 30, Decimal(9), None)
        assert found["attribute_conflicts"] == f"city: {order[0]}"
    assert only([], users=user_frame([crm]))["attribute_conflicts"] is None


def test_the_last_version_before_as_of_counts_whole() -> None:
    versions = [
        {"user_id": "u", "valid_from": local(AS_OF, "23:59:59") - timedelta(days=1), "city": "Ulm", "gender": "female"},
        {"user_id": "u", "valid_from": local(AS_OF - timedelta(days=9)), "city": "Bonn", "occupation": "baker"},
        {"user_id": "u", "valid_from": local(AS_OF, "00:00:00"), "city": "Kiel", "gender": "male"},
    ]
    found = only([], users=user_frame(versions))
    assert (found["city"], found["gender_code"], found["occupation"]) == ("Ulm", 1, None)


@pytest.mark.parametrize(
    ("attributes", "age", "band"),
    [
        ({"age": 17}, 17, "under 18"),
        ({"age": 65, "birth_date": date(1999, 1, 1)}, 65, "56-65"),
        ({"age": 66}, 66, "over 65"),
        ({"birth_date": date(1998, 4, 5)}, 26, "26-35"),
        ({"birth_date": date(1998, 4, 6)}, 25, "18-25"),
        ({"birth_date": date(2024, 4, 6), "age_band": "20s"}, None, "20s"),
        ({"age_band": "35-44"}, None, "35-44"),
        ({}, None, None),
    ],
)
def test_age_and_band(attributes: Row, age: int | None, band: str | None) -> None:
    users = user_frame([{"user_id": "u", "valid_from": local(AS_OF - timedelta(days=1)), **attributes}])
    found = only([], users=users)
    assert (found["age"], found["age_band"]) == (age, band)


def test_registration_after_as_of_is_not_known_yet() -> None:
    days = []
    for registered in (local(AS_OF - timedelta(days=1), "00:00:00"), local(AS_OF, "00:00:00")):
        version = {"user_id": "u", "valid_from": local(AS_OF - timedelta(days=2)), "registered_at": registered}
        days.append(only([], users=user_frame([version]))["registered_days"])
    assert days == [1, None]


def test_reviews_are_counted_by_their_own_day_and_do_not_make_a_customer() -> None:
    times = (local(AS_OF, "00:00:00"), local(AS_OF - timedelta(days=3), "00:00:00"), local(AS_OF - timedelta(days=4)))
    stars = (1.0, 4.5, None)
    written = [{"user_id": "u", "rating": s, "review_time": t} for s, t in zip(stars, times, strict=True)]
    written += [{"user_id": "stranger", "rating": 5.0, "review_time": times[1]}]
    found = user_features(event_frame([event("view")]), params=params(), reviews=review_frame(written))
    assert found.select("user_id", "reviews_3d", "mean_rating_3d", "reviews_7d", "mean_rating_7d").rows() == [
        ("u", 1, 4.5, 2, 4.5)
    ]


def test_what_no_source_supplies_is_null_for_everyone() -> None:
    found = only([event("view", 1)], params=params(supplied=frozenset({"view", "cart"})))
    assert (found["logins_3d"], found["purchases_3d"], found["purchase_amount_3d"], found["frequency"]) == (None,) * 4
    assert (found["views_3d"], found["carts_3d"], found["activity_3d"], found["view_to_cart_3d"]) == (1, 0, 1, 0.0)
    silent = only([event("cart", 1)], params=params(supplied=frozenset({"cart"})))
    assert silent["activity_3d"] is None


def test_the_kernel_reads_the_columns_it_names_and_no_other() -> None:
    named = event_frame([event("view", 1)]).select(EVENT_COLUMNS)
    assert user_features(named, params=params()).height == 1
    assert set(EVENT_COLUMNS) < set(EVENT_SCHEMA)


def test_parameters_are_checked() -> None:
    for windows in ((), (0, 7), (7, 3), (7, 7)):
        with pytest.raises(ConfigError, match="rising numbers of days"):
            FeatureParams(AS_OF, windows, BERLIN, ALL_TYPES)
    with pytest.raises(ConfigError, match="IANA"):
        FeatureParams(AS_OF, (7,), "Berlin", ALL_TYPES)
    with pytest.raises(ConfigError, match="one tuple of windows"):
        many_dates(event_frame([]), [params(), params(windows=(7,))])
    with pytest.raises(ContractError, match=r"none for \[7, 30\]"):
        user_features(event_frame([]), params=params(), popular_items={3: []})
