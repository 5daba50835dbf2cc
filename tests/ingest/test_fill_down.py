"""Order fields that stand on an order's first row only hold for all its rows, also where a row is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from ingest_shop import rows, settings
from pydantic import ValidationError
from pyspark.sql import SparkSession

from profiling_spark.config import Settings
from profiling_spark.config.sources import FillDown, Source
from profiling_spark.contracts.silver import EVENTS, INGESTED_FILES, REJECTED_ROWS
from profiling_spark.errors import ConfigError
from profiling_spark.ingest.job import ingest, replay
from profiling_spark.ingest.reading.fill_down import filled_down

ORDERS = """\
Name,Email,Financial Status,Created at,Lineitem quantity,Lineitem price,Lineitem sku,Notes,Payment Method
#1001,ann@example.test,paid,2025-10-07 09:50:26 +0200,2,20.00,TB-01,,Shopify Payments
#1001,ann@example.test,,2025-10-07 09:50:26 +0200,1,35.70,WH-07,,
#1001,ann@example.test,,2025-10-07 09:50:26 +0200,4,5.00,007,,
#1002,bob@example.test,refunded,2025-10-08 23:30:00 +0200,1,20.00,TB-01,,PayPal
#1002,bob@example.test,,2025-10-08 23:30:00 +0200,1,40.00,KT-02,,
#1003,cem@example.test,voided,2025-10-09 00:15:00 +0200,1,40.00,KT-02,,
#1003,cem@example.test,,2025-10-09 00:15:00 +0200,1,5.00,007,,
#1004,ann@example.test,paid,2025-10-26 02:30:00 +0100,1,25.00,TB-12,"Leave at ""door 2"",
ring twice",Shopify Payments
#1005,,paid,2025-10-27 12:00:00 +0100,1,20.00,TB-01,,cash
"""
SHOP = {
    "format": "csv",
    "path": "orders.csv",
    "target": "events",
    "csv": {"multiline": True},
    "columns": {
        "event_time": "Created at",
        "user_id": "Email",
        "event_type": "Financial Status",
        "order_id": "Name",
        "item_id": "Lineitem sku",
        "quantity": "Lineitem quantity",
        "unit_price": "Lineitem price",
        "payment_method": "Payment Method",
    },
    "unused": ["Notes"],
    "event_types": {"paid": "purchase", "refunded": "ignored", "voided": "ignored"},
    "fill_down": {"by": "Name", "columns": ["Financial Status", "Payment Method"]},
}


def shop(root: str, data: Path, sources: dict[str, Any]) -> Settings:
    base = settings(root, data, rules=[]).model_dump(mode="json")
    return Settings.model_validate({**base, "business_timezone": "Europe/Berlin", "sources": sources})


def test_the_status_of_an_orders_first_row_holds_for_all_its_rows(tables, make_context, tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(ORDERS, encoding="utf-8")
    ingest(make_context(shop(tables.root, tmp_path, {"orders": SHOP})))
    (file,) = rows(tables, INGESTED_FILES)
    counted = {k: file[f"rows_{k}"] for k in ("read", "accepted", "ignored", "rejected")}
    assert counted == {"read": 9, "accepted": 4, "ignored": 4, "rejected": 1}
    bought = {(r["order_id"], r["item_id"]): (str(r["amount"]), r["payment_method"]) for r in rows(tables, EVENTS)}
    assert bought == {
        ("#1001", "TB-01"): ("40.0000", "Shopify Payments"),
        ("#1001", "WH-07"): ("35.7000", "Shopify Payments"),
        ("#1001", "007"): ("20.0000", "Shopify Payments"),
        ("#1004", "TB-12"): ("25.0000", "Shopify Payments"),
    }
    assert {r["event_time"].isoformat() for r in rows(tables, EVENTS) if r["order_id"] == "#1001"} == {
        "2025-10-07T07:50:26"
    }


# who bought "c" and "d" is not known; "d" has its order's time and word from the row above
SHEET = [
    {"ord": "o1", "who": "u1", "at": "2026-05-01 10:00:00", "what": "x", "item": "a"},
    {"ord": "o1", "who": None, "at": None, "what": None, "item": "b"},
    {"ord": "o2", "who": None, "at": "2026-05-02 10:00:00", "what": "x", "item": "c"},
    {"ord": "o2", "who": None, "at": None, "what": None, "item": "d"},
]
LATER = {"ord": "o3", "who": "u3", "at": "2026-05-03 10:00:00", "what": "x", "item": "e"}
KINDS = {"csv": "purchase", "json": "view", "pattern": "cart", "parquet": "refund"}
COLUMNS = ("ord", "who", "at", "what", "item")


def write(folder: Path, name: str, table: list[dict[str, Any]]) -> None:
    frame = pl.DataFrame(table)
    frame.write_csv(folder / f"{name}.csv")
    frame.write_parquet(folder / f"{name}.parquet")
    frame.write_ndjson(folder / f"{name}.json")
    texts = (";".join(row[c] or "" for c in COLUMNS) + "\n" for row in table)
    (folder / f"{name}.pattern").write_text("".join(texts), encoding="utf-8")


def sheets(user: str) -> dict[str, Any]:
    pattern = ";".join(f"(?P<{name}>[^;]*)" for name in COLUMNS)
    return {
        format: {
            "format": format,
            "path": f"*.{format}",
            "target": "events",
            "columns": {
                "event_time": "at",
                "user_id": user,
                "event_type": "what",
                "order_id": "ord",
                "item_id": "item",
            },
            "event_types": {"x": kind},
            "fill_down": {"by": "ord", "columns": ["who", "at", "what"]},
            "lines": {"pattern": pattern} if format == "pattern" else {},
        }
        for format, kind in KINDS.items()
    }


def test_a_refused_row_is_replayed_as_it_was_filled_and_delivered_again_it_is_a_repeat(
    tables, make_context, tmp_path: Path
) -> None:
    write(tmp_path, "first", SHEET)
    ingest(make_context(shop(tables.root, tmp_path, sheets("who")), run_id="first"))
    found = {(r["source"], r["item_id"]): (r["user_id"], r["event_time"].day) for r in rows(tables, EVENTS)}
    # 10 in Berlin
    assert found == {(format, item): ("u1", 1) for format in KINDS for item in "ab"}
    refused = rows(tables, REJECTED_ROWS)
    assert {(r["source"], r["reasons"]) for r in refused} == {(format, "no_user") for format in KINDS}
    for format in KINDS:
        (row,) = (r["raw"] for r in refused if r["source"] == format and '"d"' in r["raw"])
        assert {k: v for k, v in json.loads(row).items() if v is not None} == {
            "ord": "o2", "at": "2026-05-02 10:00:00", "what": "x", "item": "d"
        }  # fmt: skip

    mended = shop(tables.root, tmp_path, sheets("coalesce(nullif(trim(who), ''), 'guest')"))
    outcome = replay(make_context(mended, run_id="second"), "first")
    assert (outcome.rows_out, outcome.rows_rejected) == (8, 0)
    found = {(r["source"], r["item_id"]): (r["user_id"], r["event_time"].day) for r in rows(tables, EVENTS)}
    assert found == {
        (f, i): who for f in KINDS for i, who in zip("abcd", [("u1", 1)] * 2 + [("guest", 2)] * 2, strict=True)
    }

    write(tmp_path, "again", [*SHEET, LATER])
    ingest(make_context(mended, run_id="third"))
    files = [r for r in rows(tables, INGESTED_FILES) if "again" in r["path"]]
    assert {(f["rows_read"], f["rows_accepted"], f["rows_duplicate"]) for f in files} == {(5, 1, 4)}
    assert len(files) == len(KINDS)


# (key, value, other value): blank ones among them; "" at the key of an unreadable row
_blank = st.sampled_from([None, "", " "])
_row = st.tuples(
    st.one_of(_blank, st.sampled_from(["k", "l", " k"])),
    st.one_of(_blank, st.sampled_from(["1", "2 "])),
    st.one_of(st.none(), st.integers(1, 3)),
    st.sampled_from([False, False, False, True]),
)


def expected(table: list[Any], *, with_key: bool) -> list[Any]:
    """What `filled_down` must give, row by row."""
    last: dict[tuple[str, int], Any] = {}
    key, made = None, []
    for named, *values, unreadable in table:
        own = (named or "").strip() or None
        if unreadable:
            key = None
            made.append((named, *values))
            continue
        key = own or (key if with_key else None)
        filled = list(values)
        for place, value in enumerate(values):
            is_blank = value is None or (isinstance(value, str) and not value.strip())
            if key is not None and not is_blank:
                last[key, place] = value
            elif key is not None:
                filled[place] = last.get((key, place), value)
        made.append((key if with_key and own is None and key else named, *filled))
    return made


@hypothesis_settings(max_examples=4, deadline=None)
@given(st.lists(st.lists(_row, min_size=6, max_size=30), min_size=2, max_size=4), st.booleans())
def test_filling_against_plain_python(spark: SparkSession, files: list[list[Any]], with_key: bool) -> None:
    table = [(f"f{n}", 7 - n, place, *row) for n, file in enumerate(files) for place, row in enumerate(file)]
    frame = spark.createDataFrame(
        table, "_file_id string, _block int, _place int, `the key` string, a string, b int, _unreadable boolean"
    )
    frame = frame.selectExpr("*", "'line' as _raw", "struct(`the key`, a, b) as _values", "'' as _extra")
    columns = ("The Key", "a", "b") if with_key else ("a", "b")
    filled = filled_down(frame, FillDown(by="the key", columns=columns), setting="s").collect()
    for n, file in enumerate(files):
        of_file = sorted((r for r in filled if r["_file_id"] == f"f{n}"), key=lambda r: r["_place"])
        assert [tuple(r["_values"]) for r in of_file] == expected(file, with_key=with_key)
        assert [tuple(r["_values"]) for r in of_file] == [(r["the key"], r["a"], r["b"]) for r in of_file]


def test_what_cannot_be_filled_is_reported(tables, make_context, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="rows of a Delta table have no order"):
        Source.model_validate({**SHOP, "format": "delta"})
    with pytest.raises(ValidationError, match="do not go together"):
        Source.model_validate({**SHOP, "format": "json", "lines": "items"})
    (tmp_path / "orders.csv").write_text(ORDERS, encoding="utf-8")
    wrong = {**SHOP, "fill_down": {"by": "Name", "columns": ["Status"]}}
    with pytest.raises(ConfigError, match=r"sources\.orders\.fill_down: there is no column 'Status'.*Financial Status"):
        ingest(make_context(shop(tables.root, tmp_path, {"orders": wrong})))
    assert not tables.exists(INGESTED_FILES)
