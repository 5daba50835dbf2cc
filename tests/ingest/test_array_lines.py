"""One row for each element of an array: events with their items, orders with their lines in one document."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ingest_shop import rows, settings
from pydantic import ValidationError

from profiling_spark.config import Settings
from profiling_spark.config.sources import Source
from profiling_spark.contracts.silver import EVENTS, INGESTED_FILES, REJECTED_ROWS
from profiling_spark.errors import ConfigError
from profiling_spark.ingest.job import ingest, replay

START = 1751320500000000


def event(name: str, who: str, seconds: int = 0, items: Any = (), **more: Any) -> dict[str, Any]:
    """An event as Google Analytics exports it."""
    params = [{"key": "page", "value": {"string_value": "x"}}, {"key": "ga_session_id", "value": {"int_value": "1"}}]
    return {
        "event_timestamp": str(START + seconds * 1_000_000),
        "event_name": name,
        "event_params": params,
        "user_pseudo_id": who,
        "items": [item(*i) for i in items],
        **more,
    }


def item(sku: str, price: float, quantity: str, category: str = "Tea") -> dict[str, Any]:
    return {"item_id": sku, "item_category": category, "price": price, "quantity": quantity}


LOG = [
    event("session_start", "111.222"),
    event("view_item", "111.222", 1, [("SKU1", 12.5, "1")]),
    event("add_to_cart", "111.222", 60, [("SKU1", 12.5, "2")]),
    event(
        "purchase",
        "111.222",
        600,
        [("SKU1", 12.5, "2"), ("SKU2", 3.0, "1"), ("0042", 99.0, "1", "Pots")],
        user_id="u-1",
        ecommerce={"transaction_id": "T-1", "purchase_revenue": 127.0},
    ),
    event("view_item_list", "333.444", 3, [(f"SKU{n}", 1.0, "1") for n in range(4)]),
    event("purchase", "333.444", 700, [("SKU2", 3.0, "5")], ecommerce={"transaction_id": "T-2"}),
    event("refund", "333.444", 800, [("SKU2", 3.0, "1")], ecommerce={"transaction_id": "T-2"}),
    *(event("page_view", f"555.{n}", n) for n in range(12)),
]
PARAMS = "array<struct<key:string,value:struct<string_value:string,int_value:string>>>"
GA4 = {
    "format": "json",
    "path": "events_*.json",
    "target": "events",
    "lines": "items",
    "columns": {
        "event_time": "timestamp_micros(try_cast(event_timestamp as bigint))",
        "user_id": "coalesce(user_id, user_pseudo_id)",
        "event_type": "event_name",
        "session_id": f"filter(from_json(event_params, '{PARAMS}'), p -> p.key = 'ga_session_id')[0].value.int_value",
        "order_id": "get_json_object(ecommerce, '$.transaction_id')",
        "item_id": "items.item_id",
        "category": "items.item_category",
        "quantity": "items.quantity",
        "unit_price": "items.price",
    },
    "event_types": {
        **dict.fromkeys(("page_view", "session_start", "view_item_list"), "ignored"),
        **{"view_item": "view", "add_to_cart": "cart", "purchase": "purchase", "refund": "refund"},
    },
}


def shop(root: str, data: Path, sources: dict[str, Any]) -> Settings:
    base = settings(root, data, rules=[]).model_dump(mode="json")
    return Settings.model_validate({**base, "business_timezone": "Europe/Berlin", "sources": sources})


def counts(tables, part: str = "") -> list[tuple[int, ...]]:
    names = ("read", "accepted", "rejected", "duplicate", "ignored", "superseded")
    files = [r for r in rows(tables, INGESTED_FILES) if part in r["path"]]
    return [tuple(f[f"rows_{n}"] for n in names) for f in files]


def test_a_purchase_of_several_items_is_several_rows(tables, make_context, tmp_path: Path) -> None:
    day = tmp_path / "events_20250630.json"
    day.write_text("".join(json.dumps(e) + "\n" for e in LOG), encoding="utf-8")
    ingest(make_context(shop(tables.root, tmp_path, {"ga4": GA4})))
    # what is ignored as a whole, a list of four items among it, is one row
    assert counts(tables) == [(21, 7, 0, 0, 14, 0)]
    found = rows(tables, EVENTS)
    first = [r for r in found if r["order_id"] == "T-1"]
    assert {(r["item_id"], r["amount"], r["category"]) for r in first} == {
        ("SKU1", Decimal("25.0000"), "Tea"),
        ("SKU2", Decimal("3.0000"), "Tea"),
        ("0042", Decimal("99.0000"), "Pots"),
    }
    assert {(r["user_id"], r["event_time"].hour, str(r["event_date"]), r["session_id"]) for r in first} == {
        ("u-1", 22, "2025-07-01", "1")
    }
    second = {r["event_type"]: r["amount"] for r in found if r["order_id"] == "T-2"}
    assert second == {"purchase": Decimal("15.0000"), "refund": Decimal("3.0000")}


def order(number: int, lines: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": f"o{number}",
        "by": f"u{number}",
        "at": f"2026-05-0{number} 10:00:00",
        "doc": {"lines": lines},
        **more,
    }


A, B = {"sku": "a", "n": 1, "price": 2.5}, {"sku": "b", "n": 2, "price": 10}
DOCUMENTS = [
    # two equal lines are two; a line that is null is none
    order(1, [A, B, None, A]),
    order(2, []),
    order(3, None),
    {k: v for k, v in order(4, None).items() if k != "doc"},
    # three lines are refused, of which two are equal
    order(
        5, [A, {"sku": "x", "n": "two", "price": 1, "note": "new"}, {"sku": "x", "n": "two", "price": 1, "note": "new"}]
    ),
    order(6, [{"sku": "y", "n": "three", "price": 1}, B], by2="seen"),
]
MAPPED = {
    "event_time": "at",
    "user_id": "by",
    "event_type": "'sold'",
    "order_id": "id",
    "item_id": "lines.sku",
    "unit_price": "lines.price",
}
NUMBER = "case lines.n when 'two' then '2' when 'three' then '3' else cast(lines.n as string) end"


def documents(kind: str, quantity: str, **more: Any) -> dict[str, Any]:
    return {
        "format": {"jsonl": "json"}.get(kind, kind),
        "path": f"*.{kind}",
        "target": "events",
        "lines": "doc.lines",
        "columns": {**MAPPED, "quantity": quantity},
        "event_types": {"sold": "purchase" if kind == "jsonl" else "cart"},
        **more,
    }


def test_lines_of_orders_and_the_replay_of_those_that_were_refused(tables, make_context, tmp_path: Path) -> None:
    text = "".join(json.dumps(d) + "\n" for d in [*DOCUMENTS, order(7, {"sku": "a"})])
    (tmp_path / "orders.jsonl").write_text(text, encoding="utf-8")
    typed = [
        {
            **d,
            "doc": d.get("doc")
            and {
                "lines": d["doc"]["lines"]
                and [
                    x and {"sku": x["sku"], "n": str(x["n"]), "price": float(x["price"]), "note": x.get("note")}
                    for x in d["doc"]["lines"]
                ]
            },
        }
        for d in DOCUMENTS
    ]
    pl.DataFrame(typed, infer_schema_length=None).write_parquet(tmp_path / "orders.parquet")
    kinds = ("jsonl", "parquet")
    lake = shop(tables.root, tmp_path, {k: documents(k, "lines.n", unused=["by2"]) for k in kinds})
    outcome = ingest(make_context(lake, run_id="first"))
    assert outcome.facts["new_columns"] == {kind: ["lines.note"] for kind in kinds}
    # the elements, three orders without one (which name no item), and one whose lines are no array
    assert counts(tables, "jsonl") == [(12, 8, 4, 0, 0, 0)]
    assert counts(tables, "parquet") == [(11, 8, 3, 0, 0, 0)]
    for kind in kinds:
        of_source = [r for r in rows(tables, EVENTS) if r["source"] == kind]
        found = sorted((r["order_id"], r["item_id"] or "", str(r["amount"])) for r in of_source)
        assert found == [
            ("o1", "a", "2.5000"), ("o1", "a", "2.5000"), ("o1", "b", "20.0000"), ("o2", "", "None"),
            ("o3", "", "None"), ("o4", "", "None"), ("o5", "a", "2.5000"), ("o6", "b", "20.0000"),
        ]  # fmt: skip
    refused = rows(tables, REJECTED_ROWS)
    assert sorted((r["source"], r["reasons"]) for r in refused) == sorted(
        [("jsonl", "unreadable"), *((kind, "bad_quantity") for kind in kinds for _ in range(3))]
    )

    mended = shop(tables.root, tmp_path, {k: documents(k, NUMBER, unused=["by2"]) for k in kinds})
    outcome = replay(make_context(mended, run_id="second"), "first")
    assert (outcome.rows_out, outcome.rows_rejected) == (6, 1)
    for kind in kinds:
        of_source = [r for r in rows(tables, EVENTS) if r["source"] == kind and r["run_id"] == "second"]
        found = sorted((r["order_id"], r["item_id"], str(r["quantity"]).rstrip("0")) for r in of_source)
        assert found == [("o5", "x", "2."), ("o5", "x", "2."), ("o6", "y", "3.")]
    # a delivery of the same orders in another file brings nothing that is there
    (tmp_path / "again.jsonl").write_text(text + json.dumps(order(8, [B])) + "\n", encoding="utf-8")
    ingest(make_context(mended, run_id="third"))
    assert counts(tables, "again") == [(13, 1, 1, 11, 0, 0)]


def test_bare_values_and_what_is_no_array(tables, make_context, tmp_path: Path) -> None:
    baskets = [
        {"who": "u1", "at": "2026-05-01", "skus": ["007", "b", 12]},
        {"who": "u2", "at": "2026-05-02", "skus": []},
    ]
    (tmp_path / "a.json").write_text("".join(json.dumps(b) + "\n" for b in baskets), encoding="utf-8")
    frame = pl.DataFrame([{**b, "skus": [str(s) for s in b["skus"]]} for b in baskets])
    frame.write_parquet(tmp_path / "a.parquet")
    columns = {"event_time": "at", "user_id": "who", "event_type": "'seen'", "item_id": "skus.value"}
    base = {"target": "events", "columns": columns, "lines": "skus"}
    sources = {
        "text": {**base, "format": "json", "path": "a.json", "event_types": {"seen": "view"}},
        "typed": {**base, "format": "parquet", "path": "a.parquet", "event_types": {"seen": "cart"}},
    }
    wrong = {**sources["typed"], "lines": "who"}
    with pytest.raises(ConfigError, match=r"sources\.typed\.lines = 'who': expected an array, found string"):
        ingest(make_context(shop(tables.root, tmp_path, {"typed": wrong})))
    with pytest.raises(ConfigError, match=r"sources\.typed\.lines = 'a\.b': there is no such column.*who"):
        ingest(make_context(shop(tables.root, tmp_path, {"typed": {**wrong, "lines": "a.b"}})))
    with pytest.raises(ValidationError, match="the path of an array is for json, parquet and delta"):
        Source.model_validate({**sources["text"], "format": "csv"})
    assert not tables.exists(INGESTED_FILES)
    ingest(make_context(shop(tables.root, tmp_path, sources)))
    found = sorted((r["source"], r["item_id"] or "") for r in rows(tables, EVENTS))
    assert found == [(s, i) for s in ("text", "typed") for i in ("", "007", "12", "b")]
