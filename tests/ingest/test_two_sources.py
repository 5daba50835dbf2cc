"""Two sources of one event type, each with its part; a source that leaves; purchases without amounts."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from ingest_shop import rows

from profiling_spark.config import Settings
from profiling_spark.config.sources import Covers
from profiling_spark.contracts.features import RFM_CUTS, user_features_table
from profiling_spark.contracts.silver import EVENTS
from profiling_spark.features.job import build_features
from profiling_spark.ingest.job import ingest
from profiling_spark.report.summary import _example


def log(name: str, words: dict[str, str], **changes: Any) -> dict[str, Any]:
    columns = {"event_time": "at", "user_id": "who", "event_type": "what", "item_id": "sku"}
    return {
        "format": "json",
        "path": f"{name}.jsonl",
        "target": "events",
        "columns": columns,
        "event_types": words,
    } | changes


def write(folder: Path, name: str, lines: list[tuple[str, ...]]) -> None:
    keys = ("at", "who", "what", "sku", "via")
    text = "".join(json.dumps(dict(zip(keys, line, strict=False))) + "\n" for line in lines)
    (folder / f"{name}.jsonl").write_text(text)


def test_each_source_has_its_part_and_what_it_gave_stays_known(tables, make_context, tmp_path):
    till = log("till", {"buy": "purchase"}, covers={"channel": "shop"})
    web = log("web", {"buy": "purchase"}, covers={"channel": "web"})
    web["columns"] = web["columns"] | {"channel": "via"}
    old = log("old", {"look": "view", "in": "login"}, covers={"last_date": "2026-05-02"})
    new = log("new", {"look": "view"}, covers={"first_date": "2026-05-03"})
    sources = {"till": till, "web": web, "old": old, "new": new}
    write(tmp_path, "till", [("2026-05-01 10:00:00", "u1", "buy", "a"), ("2026-05-01 11:00:00", "u2", "buy", "b")])
    # one is the till's own, two look like the till's: at another time, another item
    lines = [("2026-05-01 10:00:00", "u1", "buy", "a", "shop"), ("2026-05-01 10:00:00", "u1", "buy", "a", "web")]
    lines += [("2026-05-01 11:00:01", "u2", "buy", "b"), ("2026-05-01 11:00:00", "u2", "buy", "c", "web")]
    write(tmp_path, "web", lines)
    write(tmp_path, "old", [(f"2026-05-0{d} 09:00:00", "u1", w, "a") for d in (1, 2, 3) for w in ("look", "in")])
    write(tmp_path, "new", [(f"2026-05-0{d} 09:00:00", "u1", "look", "a") for d in (2, 3, 4)])

    def with_sources(names: tuple[str, ...]) -> Settings:
        base = {"storage": {"root": tables.root}, "data_root": str(tmp_path), "buckets": 2, "windows_days": [7]}
        limits = {"latest_event_date": "2026-12-31"}
        return Settings.model_validate({**base, "ingest": limits, "sources": {n: sources[n] for n in names}})

    outcome = ingest(make_context(with_sources(("till", "web", "old", "new")), run_id="first"))
    counted = {n: (s["accepted"], s["ignored"]) for n, s in outcome.facts["sources"].items()}
    assert counted == {"till": (2, 0), "web": (3, 1), "old": (4, 2), "new": (2, 1)}
    assert outcome.facts["alike_in_two_sources"] == {"till, web": 2}
    assert any(line.startswith("till, web: warning, 2 new events look like") for line in outcome.lines)
    channels = {(e["source"], e["channel"]) for e in rows(tables, EVENTS) if e["event_type"] == "purchase"}
    assert channels == {("till", "shop"), ("web", "web")}

    # the old log is loaded to its end and leaves the settings
    fewer = with_sources(("till", "web", "new"))
    build_features(make_context(fewer, run_id="second", as_of=date(2026, 5, 5)))
    found = rows(tables, user_features_table(fewer.windows_days))
    features = {r["user_id"]: r for r in found if r["as_of"] == date(2026, 5, 5)}
    assert [features[u]["logins_7d"] for u in ("u1", "u2")] == [2, 0]
    assert [features[u]["frequency"] for u in ("u1", "u2")] == [2, 3]
    # nobody says what was paid
    money = ("monetary", "purchase_amount_7d", "net_amount_7d", "consumption_power_7d", "m_score", "rfm_score")
    assert [features["u1"][name] for name in (*money, "rfm_group")] == [None] * 7
    assert features["u1"]["r_score"] is not None
    assert {r["measure"] for r in rows(tables, RFM_CUTS)} == {"recency_days", "frequency"}

    # stored before, sharing with a source that is no longer in the settings
    write(tmp_path, "new", [("2026-05-04 09:00:00", "u1", "look", "a"), ("2026-05-02 09:00:00", "u1", "look", "a")])
    sources["new"] = log("new", {"look": "view"}, changed_files="add")
    again = ingest(make_context(with_sources(("new",)), run_id="third"))
    assert again.rows_out == 1
    assert again.facts["alike_in_two_sources"] == {"new, old": 1}


def test_the_summary_says_nothing_of_money_that_nobody_knows():
    (_, line) = _example({"user_id": "u1", "frequency": 1}, {})
    assert line.split() == ["value", "1", "orders"]
    assert _example({"user_id": "u1", "frequency": 0, "monetary": 0}, {})[1].endswith(
        "0 orders, 0.00 spent, no purchase"
    )


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"channel": "web"}, {"channel": "till"}, False),
        ({"channel": "web"}, {"channel": "web"}, True),
        ({"channel": "web"}, {"last_date": "2026-01-01"}, True),
        ({"last_date": "2026-01-01"}, {"first_date": "2026-01-02"}, False),
        ({"last_date": "2026-01-01"}, {"first_date": "2026-01-01"}, True),
        ({"channel": "web", "last_date": "2026-01-01"}, {"channel": "web", "first_date": "2026-01-02"}, False),
    ],
)
def test_parts_that_overlap(one, other, expected):
    first, second = Covers.model_validate(one), Covers.model_validate(other)
    assert first.overlaps(second) == second.overlaps(first) == expected
