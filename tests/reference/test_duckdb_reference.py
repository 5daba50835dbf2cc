"""The DuckDB reference itself, on histories small enough to work out by hand. No Spark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from duckdb_raw import load_rees46
from duckdb_raw_sql import Counts, prepare
from duckdb_reference import SUPPLIED_COLUMNS, SUPPLIED_TYPES, feature_names, reference_features

AS_OF = date(2026, 7, 1)
WINDOWS = (7, 30, 90)
ALL = SUPPLIED_TYPES | SUPPLIED_COLUMNS
FEATURES_PAGE = Path(__file__).resolve().parents[2] / "docs" / "features.md"


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    """Empty events, users, items and reviews."""
    connection = duckdb.connect(config={"threads": 1})
    prepare(connection)
    connection.execute(
        """CREATE TABLE users (user_id VARCHAR, valid_from TIMESTAMP, gender VARCHAR, age INTEGER, age_band VARCHAR,
        birth_date DATE, occupation VARCHAR, income DECIMAL(18,4), province VARCHAR, city VARCHAR,
        registered_at TIMESTAMP)"""
    )
    connection.execute("CREATE TABLE reviews (user_id VARCHAR, rating DOUBLE, review_time TIMESTAMP)")
    yield connection
    connection.close()


def put(con: duckdb.DuckDBPyConnection, table: str, **row: Any) -> None:
    columns = ", ".join(row)
    con.execute(f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(row))})", list(row.values()))


def happens(con: duckdb.DuckDBPyConnection, user: str, kind: str, at: str, **rest: Any) -> None:
    """An event at a UTC time; its date is the UTC day unless `event_date` says otherwise."""
    number = con.execute("SELECT count(*) FROM events").fetchall()[0][0]
    known = {"event_id": f"e{number}", "event_time": at, "event_date": at[:10], "user_id": user, "event_type": kind}
    put(con, "events", **(known | rest))


def found(con: duckdb.DuckDBPyConnection, **options: Any) -> dict[str, dict[str, Any]]:
    """Feature rows by user, in UTC, with every type supplied unless `supplied` says otherwise."""
    chosen = {"users": "users", "items": "items", "reviews": "reviews", "timezone": "UTC", "supplied": ALL} | options
    table = reference_features("events", as_of=AS_OF, windows=WINDOWS, connection=con, **chosen)
    return {row["user_id"]: row for row in table.to_pylist()}


def test_columns_and_types_are_those_of_the_documentation(con: duckdb.DuckDBPyConnection) -> None:
    rows = re.findall(r"^\| `(\w+(?:_\{w\}d)?)` \|[^|]+\|[^|]+\| ([\w(),]+) \|", FEATURES_PAGE.read_text(), re.M)
    listed = [(name.replace("{w}", str(w)), kind) for name, kind in rows for w in (WINDOWS if "{w}" in name else (7,))]
    # conflicts between sources of attributes: the reference knows one source
    listed.remove(("attribute_conflicts", "string"))
    table = reference_features("events", "users", "items", "reviews", AS_OF, WINDOWS, "UTC", connection=con)
    arrow = {"bigint": "int64", "int": "int32", "boolean": "bool"}
    kinds = [(f.name, str(f.type)) for f in table.schema][1:]
    assert kinds == [(n, re.sub(r"^decimal\((\d+),", r"decimal128(\1, ", arrow.get(k, k))) for n, k in listed]
    assert [n for n, _ in kinds] == feature_names(WINDOWS)


def test_a_window_ends_the_day_before_as_of_and_has_its_length(con: duckdb.DuckDBPyConnection) -> None:
    for day in ("2026-07-01", "2026-06-30", "2026-06-24", "2026-06-23", "2026-06-01", "2026-05-31", "2026-04-01"):
        happens(con, "u", "view", f"{day} 12:00:00", item_id="i")
    row = found(con)["u"]
    assert [row[f"views_{w}d"] for w in WINDOWS] == [2, 4, 5]
    assert (row["days_since_last_event"], row["tenure_days"]) == (1, 91)


def test_days_and_hours_are_of_the_business_timezone(con: duckdb.DuckDBPyConnection) -> None:
    # Saturday 22:00 and Sunday 06:00 in Shanghai
    happens(con, "u", "view", "2026-06-27 14:00:00")
    happens(con, "u", "view", "2026-06-27 22:00:00", event_date="2026-06-28")
    put(con, "reviews", user_id="u", rating=4, review_time="2026-06-30 16:30:00")  # July 1st there
    put(con, "reviews", user_id="u", rating=None, review_time="2026-06-23 16:30:00")  # June 24th there
    row = found(con, timezone="Asia/Shanghai")["u"]
    assert (row["night_share_7d"], row["weekend_share_7d"], row["favorite_hour"]) == (0.5, 1.0, 6)
    assert (row["reviews_7d"], row["mean_rating_7d"], row["active_days_7d"]) == (1, None, 2)


def test_nothing_happened_is_0_and_not_supplied_is_null(con: duckdb.DuckDBPyConnection) -> None:
    happens(con, "u", "view", "2026-06-30 12:00:00")
    put(con, "users", user_id="v", valid_from="2026-06-01", birth_date="2000-07-01", gender="female")
    put(con, "users", user_id="v", valid_from="2026-06-02", birth_date="2000-07-02", age_band="own")
    put(con, "users", user_id="w", valid_from="2026-07-01", age=3)
    rows = found(con, supplied=["view", "purchase", "refund"], reviews=None)
    assert sorted(rows) == ["u", "v"]
    zero, none = ("views_7d", "purchases_7d", "purchase_amount_7d", "active_days_7d", "frequency", "monetary"), (
        "logins_7d", "sessions_7d", "session_seconds_7d", "reviews_7d", "night_share_7d", "view_to_purchase_7d",
        "consumption_power_7d", "recency_days", "r_score", "days_since_last_event", "gender_code", "discount_share_7d",
    )  # fmt: skip
    assert [rows["v"][c] for c in zero] == [0] * len(zero)
    assert [rows["v"][c] for c in none] == [None] * len(none)
    assert (rows["v"]["age"], rows["v"]["age_band"], rows["u"]["age"]) == (25, "18-25", None)
    assert (rows["v"]["popular_item_viewer_7d"], rows["u"]["activity_7d"]) == (False, 1)


def test_orders_refunds_and_discounts(con: duckdb.DuckDBPyConnection) -> None:
    happens(con, "u", "purchase", "2026-06-20 12:00:00", order_id="a", amount="90.1", discount="9.9", flags="f")
    happens(con, "u", "purchase", "2026-06-29 12:00:00", order_id="b", amount="10", discount=None)
    happens(con, "u", "purchase", "2026-06-29 12:00:00", order_id="b", amount=None)
    happens(con, "u", "purchase", "2026-06-30 12:00:00", amount="0.0001", discount="0")
    happens(con, "u", "refund", "2026-06-30 12:00:00", order_id="a", amount="90.1", flags="many_pieces")
    row = found(con)["u"]
    assert [row[f"purchases_{w}d"] for w in WINDOWS] == [2, 3, 3]
    assert (row["purchase_amount_7d"], row["net_amount_7d"]) == (Decimal("10.0001"), Decimal("-80.0999"))
    flagged = [row[f"flagged_amount{w}"] for w in ("", "_7d", "_30d")]
    assert flagged == [Decimal("90.1"), 0, Decimal("90.1")]
    assert (row["monetary"], row["frequency"], row["refunds_7d"]) == (Decimal("10.0001"), 3, 1)
    assert row["refund_share_7d"] == pytest.approx(90.1 / 10.0001)
    assert (row["discount_share_7d"], row["discount_share_30d"]) == (0, pytest.approx(9.9 / 110.0001))
    assert row["consumption_power_30d"] == pytest.approx(100.1001 / 3)
    assert (row["recency_days"], row["interpurchase_days"]) == (1, 5.0)


def test_favourites_tie_to_the_smaller_and_prices_rank_in_their_category(con: duckdb.DuckDBPyConnection) -> None:
    for item, price in (("i1", 1), ("i2", 2), ("i3", 5)):
        put(con, "items", item_id=item, valid_from="1970-01-01", category="B", list_price=price)
    happens(con, "u", "view", "2026-06-30 12:00:00", category="b", brand="x", channel="web", item_id="i9")
    happens(con, "u", "purchase", "2026-06-30 12:00:00", category="B", brand="x", channel="web", item_id="i2")
    happens(con, "u", "purchase", "2026-06-29 12:00:00", category="B", brand="y", item_id="i3")
    happens(con, "u", "view", "2026-06-29 12:00:00", category="b", brand="y", channel="app")
    happens(con, "u", "search", "2026-06-29 12:00:00", category="b", channel="app")
    row = found(con)["u"]
    favorites = [row[f"favorite_{name}"] for name in ("category", "brand", "channel", "hour")]
    assert favorites == ["B", "x", "app", 12]
    assert row["price_preference"] == 0.75  # i2 at 0.5, i3 at 1
    assert (row["category_breadth_7d"], row["brand_breadth_7d"], row["items_bought_7d"]) == (1, 2, 2)
    assert row["popular_item_viewer_7d"] is True


def test_scores_count_the_cuts_below_and_equal_values_score_equally(con: duckdb.DuckDBPyConnection) -> None:
    # amounts 1 1 2 3 4: cuts at the 1st to 4th value, 1 1 2 3; dates and orders are equal, so their cuts lie at them
    for user, amount in zip("abcde", (1, 1, 2, 3, 4), strict=True):
        happens(con, user, "purchase", "2026-06-30 12:00:00", amount=amount)
    happens(con, "f", "refund", "2026-06-30 12:00:00", amount=7)
    rows = found(con, rfm_rules=[("big", "m_score = 5"), ("other", "true")])
    assert [rows[u]["m_score"] for u in "abcdef"] == [1, 1, 3, 4, 5, None]
    assert [(rows[u]["r_score"], rows[u]["f_score"], rows[u]["rfm_group"]) for u in "aef"] == [
        (5, 1, "other"), (5, 1, "big"), (None, None, None),
    ]  # fmt: skip
    assert (rows["f"]["monetary"], rows["f"]["frequency"], rows["e"]["rfm_score"]) == (Decimal(-7), 0, 11)


def test_every_line_of_rees46_is_accepted_repeated_or_cut_in_half(
    shared_data: Path, con: duckdb.DuckDBPyConnection
) -> None:
    loaded = load_rees46(shared_data / "rees46", con)
    assert loaded.counts == {"clicks": Counts(read=17435, accepted=17429, repeated=5, rejected=1, ignored=0)}


def test_bots_and_impressions(con: duckdb.DuckDBPyConnection) -> None:
    for user, count in (("robot", 3), ("person", 2)):
        for item in range(count):
            happens(con, user, "purchase", "2026-06-20 12:00:00", amount=item, item_id=f"of {user}")
            happens(con, user, "ad_view", "2026-06-21 12:00:00")
    happens(con, "robot", "view", "2026-06-30 12:00:00", item_id="i")
    happens(con, "shown", "ad_view", "2026-06-30 12:00:00")
    rows = found(con, bot_events_per_day=2)
    assert [(u, r["is_bot"], r["popular_item_viewer_7d"]) for u, r in rows.items()] == [
        ("person", False, False), ("robot", True, False), ("shown", False, False),
    ]  # fmt: skip
    days = ("days_since_last_event", "tenure_days", "active_days_30d", "ad_views_30d")
    assert [rows["person"][c] for c in days] == [11, 11, 1, 2]
    assert [rows["shown"][c] for c in days] == [None, None, 0, 1]
    assert (rows["person"]["m_score"], rows["robot"]["m_score"]) == (1, 5)
    assert not found(con, bot_events_per_day=2, bot_days=10)["robot"]["is_bot"]
