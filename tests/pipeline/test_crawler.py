"""A crawler among sixty customers with ids beyond 2^53, and errors of quantity: found, and nothing rests on them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from profiling_spark.config import Settings
from profiling_spark.context import Context
from profiling_spark.contracts.features import ITEM_FEATURES, RFM_CUTS, user_features_table
from profiling_spark.contracts.gold import SEGMENTS, USER_RECOMMENDATIONS, USER_SEGMENTS
from profiling_spark.contracts.silver import EVENTS
from profiling_spark.features.job import build_features
from profiling_spark.ingest.job import ingest
from profiling_spark.recommend.job import recommend_items
from profiling_spark.segments.job import segment_users
from profiling_spark.storage import Tables

CRAWLER, FIRST_USER, FIRST_ITEM = 7777777777777777777, 9007199254740993, 1844674407370955161
CRAWLED, ABSURD = FIRST_ITEM + 24, FIRST_ITEM + 99
AS_OF = date(2025, 7, 1)
SETTINGS = {
    "buckets": 2,
    "windows_days": [30],
    "sources": {
        "log": {
            "format": "json",
            "path": "events.jsonl",
            "target": "events",
            "columns": {
                "event_time": "timestamp_millis(try_cast(ts as bigint))",
                "user_id": "uid",
                "event_type": "act",
                "item_id": "sku",
                "quantity": "n",
                "unit_price": "price",
            },
            "event_types": {"view": "view", "cart": "cart", "buy": "purchase"},
        }
    },
    "ingest": {
        "rules": [
            {"name": "many", "when": "quantity > 50"},
            {"name": "absurd", "when": "quantity > 500", "features": "leave_out"},
        ]
    },
    "segments": {"k": 4},
    # too few pairs for an engine: popular items serve
    "recommend": {"bot_events_per_day": 50, "top_n": 5, "min_pairs": 1000},
}


def lines() -> list[str]:
    """Four events of each customer over sixty days, a purchase of every second; sixty views and a purchase of the
    crawler within a minute, twenty days before the end. The last customer bought an absurd number of what nobody else
    took, the first a great one of something usual."""
    kinds = ("view", "view", "cart", "buy")
    rows = []
    for n in range(60):
        for k, kind in enumerate(kinds[: 4 - n % 2]):
            ago = 1 + (7 * n + 17 * k) % (20 if n % 3 else 60)
            rows.append((FIRST_USER + n, FIRST_ITEM + (3 * n + 5 * k) % 24, kind, ago, n))
    rows += [(CRAWLER, CRAWLED - n % 3 // 2, "view", 20, n) for n in range(59)]
    rows += [(CRAWLER, CRAWLED, "buy", 20, 59)]
    rows += [(FIRST_USER + 59, ABSURD, "buy", 3, 901), (FIRST_USER, FIRST_ITEM, "buy", 3, 100)]
    end = datetime(2025, 7, 1, tzinfo=UTC)
    return [
        json.dumps(
            {
                "ts": int((end - timedelta(days=ago, seconds=-s)).timestamp() * 1000),
                "uid": u,
                "sku": i,
                "act": a,
                "n": s if s > 60 else 1,
                "price": "2.5",
            }
        )
        for u, i, a, ago, s in rows
    ]


@pytest.fixture(scope="module")
def ran(spark, tmp_path_factory) -> Context:
    folder = tmp_path_factory.mktemp("crawler")
    (folder / "events.jsonl").write_text("\n".join(lines()), encoding="utf-8")
    root = str(folder / "lake")
    settings = Settings.model_validate(SETTINGS | {"storage": {"root": root}, "data_root": str(folder)})
    context = Context(settings, spark, Tables(spark, root, run_id="run"), datetime.now(UTC))
    for stage in (ingest, build_features, segment_users, recommend_items):
        stage(context)
    return context


def users(ran: Context, table, **where) -> set[str]:
    return {r["user_id"] for r in ran.tables.read(table, **where).select("user_id").collect()}


def test_a_crawler_is_found_and_nothing_rests_on_it(ran):
    assert ran.as_of == AS_OF
    people = {str(FIRST_USER + n) for n in range(60)}
    features = user_features_table((30,))
    everyone = people | {str(CRAWLER)}
    assert users(ran, features, as_of=AS_OF) == everyone
    bots = ran.tables.read(features, as_of=AS_OF).where("is_bot").collect()
    assert [(r["user_id"], r["views_30d"]) for r in bots] == [(str(CRAWLER), 59)]
    # twenty days before, it had not come yet; the cut points are those of the thirty buyers
    assert ran.tables.read(features, as_of=AS_OF - timedelta(days=20)).where("is_bot").isEmpty()
    assert {r["customers"] for r in ran.tables.read(RFM_CUTS, as_of=AS_OF).collect()} == {30}

    items = {r["item_id"]: r for r in ran.tables.read(ITEM_FEATURES, as_of=AS_OF).collect()}
    assert len(items) == 25
    assert (items[str(CRAWLED)]["views"], items[str(CRAWLED)]["purchases"], items[str(CRAWLED)]["buyers"]) == (0, 0, 0)
    assert items[str(CRAWLED)]["popularity_rank"] == 25
    assert sum(r["views"] for r in items.values()) == 120

    assert users(ran, USER_SEGMENTS) == people
    lists = ran.tables.read(USER_RECOMMENDATIONS).where(f"user_id = '{CRAWLER}'").orderBy("rank").collect()
    assert len(lists) == 5
    assert {r["engine"] for r in lists} == {"popular"}
    assert str(CRAWLED) not in {r["item_id"] for r in ran.tables.read(USER_RECOMMENDATIONS).collect()}


def test_rows_left_out_stay_in_events_alone_and_kept_ones_are_named(ran):
    flags = ran.tables.read(EVENTS).where("flags is not null").select("user_id", "flags").collect()
    first, last = str(FIRST_USER), str(FIRST_USER + 59)
    assert {r["user_id"]: {*r["flags"].split(",")} for r in flags} == {first: {"many"}, last: {"many", "absurd"}}
    features = {r["user_id"]: r for r in ran.tables.read(user_features_table((30,)), as_of=AS_OF).collect()}
    assert [float(features[first][c]) for c in ("monetary", "flagged_amount", "flagged_amount_30d")] == [
        252.5,
        250,
        250,
    ]
    assert [features[last][c] for c in ("purchases_30d", "flagged_amount", "carts_30d")] == [0, 0, 1]
    assert features[str(FIRST_USER + 2)]["flagged_amount"] == 0
    assert ran.tables.read(ITEM_FEATURES).where(f"item_id = '{ABSURD}'").isEmpty()
    assert str(ABSURD) not in {r["item_id"] for r in ran.tables.read(USER_RECOMMENDATIONS).collect()}

    own = ran.tables.read(USER_SEGMENTS).where(f"user_id = '{first}'").first()["segment_id"]
    segments = {r["segment_id"]: r for r in ran.tables.read(SEGMENTS).collect()}
    assert {i for i, r in segments.items() if r["flagged"]} == {own}
    assert segments[own]["flagged"] > 0.2
    for name, part in (
        ("description_en", "of the amount rests on flagged rows (many)"),
        ("description_zh", "（many）"),
    ):
        assert {i for i, r in segments.items() if part in r[name]} == {own}
