"""A source that is not required: its files may be absent, and until it delivers it counts as not supplied."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from ingest_shop import rows

from profiling_spark.config import Settings
from profiling_spark.contracts.features import user_features_table
from profiling_spark.contracts.silver import EVENTS, USERS
from profiling_spark.errors import InputError
from profiling_spark.features.job import build_features
from profiling_spark.ingest.job import ingest
from profiling_spark.storage import Tables

AS_OF = date(2026, 5, 4)
EVENT = {"event_id": "id", "event_time": "at", "user_id": "user", "event_type": "act"}
ORDERS = {"path": "orders*.csv", "target": "events", "columns": EVENT, "event_types": {"buy": "purchase"}}
CLICKS = {"path": "clicks*.csv", "target": "events", "columns": EVENT, "event_types": {"look": "view"}}
PEOPLE = {"path": "people*.csv", "target": "users", "columns": {"user_id": "id", "city": "city"}}
OPTIONAL = {"required": False}


def shop(tables: Tables, data: Path, **sources: dict[str, Any]) -> Settings:
    named = {name: {"format": "csv", **source} for name, source in sources.items()}
    base = {"storage": {"root": tables.root}, "data_root": str(data), "buckets": 1, "windows_days": [7]}
    return Settings.model_validate({**base, "sources": named})


def features(tables: Tables) -> list[dict[str, Any]]:
    found = (r for r in rows(tables, user_features_table((7,))) if r["as_of"] == AS_OF)
    return sorted(found, key=lambda r: str(r["user_id"]))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "orders.csv").write_text("id,at,user,act\n1,2026-05-02 10:00:00,u1,buy\n2,2026-05-03 10:00:00,u2,buy\n")
    return tmp_path


def test_absent_sources_count_as_if_they_were_not_in_the_settings(spark, tables, make_context, data):
    delta = CLICKS | OPTIONAL | {"format": "delta", "path": "table", "event_types": {"put": "cart"}}
    wanted = shop(tables, data, orders=ORDERS, clicks=CLICKS | OPTIONAL, people=PEOPLE | OPTIONAL, table=delta)
    outcome = ingest(make_context(wanted))
    assert outcome.lines[-3:] == (
        "clicks: absent, no files at clicks*.csv (required: false); it counts as not supplied",
        "people: absent, no files at people*.csv (required: false); it counts as not supplied",
        "table: absent, no files at table (required: false); it counts as not supplied",
    )
    assert outcome.facts["sources_absent"] == ["clicks", "people", "table"]
    assert outcome.rows_out == 2
    build_features(make_context(wanted, as_of=AS_OF))
    found = features(tables)
    assert [(r["purchases_7d"], r["views_7d"], r["carts_7d"]) for r in found] == [(1, None, None)] * 2

    alone = Tables(spark, f"{tables.root}_alone", run_id="test-run")
    without = shop(alone, data, orders=ORDERS)
    ingest(make_context(without, tables=alone))
    build_features(make_context(without, as_of=AS_OF, tables=alone))
    assert features(alone) == found


def test_present_yesterday_and_absent_today(tables, make_context, data):
    clicks, people = data / "clicks.csv", data / "people.csv"
    clicks.write_text("id,at,user,act\n1,2026-05-02 10:00:00,u1,look\n")
    people.write_text("id,city\nu1,Oslo\n")
    wanted = shop(tables, data, orders=ORDERS, clicks=CLICKS | OPTIONAL, people=PEOPLE | OPTIONAL | {"snapshot": True})
    assert not ingest(make_context(wanted, run_id="one")).facts["sources_absent"]
    stored = rows(tables, EVENTS), rows(tables, USERS)

    clicks.unlink()
    people.unlink()
    outcome = ingest(make_context(wanted, run_id="two"))
    assert outcome.lines[1:] == (
        "clicks: absent, no files at clicks*.csv (required: false); what it delivered before stays",
        "people: absent, no files at people*.csv (required: false); what it delivered before stays",
    )
    assert (rows(tables, EVENTS), rows(tables, USERS)) == stored
    (data / "orders2.csv").write_text("id,at,user,act\n3,2026-05-03 11:00:00,u1,buy\n")
    assert ingest(make_context(wanted, run_id="three")).facts["sources_absent"] == ["clicks", "people"]
    build_features(make_context(wanted, as_of=AS_OF, run_id="four"))
    assert [(r["user_id"], r["views_7d"], r["city"]) for r in features(tables)] == [("u1", 1, "Oslo"), ("u2", 0, None)]


def test_a_required_source_stops_the_run_as_before(tables, make_context, data):
    with pytest.raises(InputError, match=r"source clicks: expected files at .*clicks\*\.csv, found none"):
        ingest(make_context(shop(tables, data, orders=ORDERS, clicks=CLICKS, people=PEOPLE | OPTIONAL)))
    assert not tables.exists(EVENTS)
