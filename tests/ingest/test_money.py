"""Signs and currencies: a figure raises a value only where money came in, and no currency is taken for another."""

from __future__ import annotations

import itertools
import json
import random
from collections import defaultdict
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest
from ingest_shop import rows
from pydantic import ValidationError
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from profiling_spark.config import Settings
from profiling_spark.config.rates import DayRates
from profiling_spark.config.sources import Source
from profiling_spark.contracts.silver import EVENTS, ITEMS, REJECTED_ROWS
from profiling_spark.errors import InputError
from profiling_spark.ingest.job import ingest
from profiling_spark.ingest.judging.mapping import map_columns
from profiling_spark.ingest.judging.money import Exchange, _every_day, _read_rates
from profiling_spark.ingest.judging.rules import check_rows
from profiling_spark.ingest.reading.source_rows import HELPERS

PAYMENTS = """id,parent,type,customer,date,sku,qty,total
1,,sale,c1,2025-06-01 10:00:00,A,1,50.00
2,,sale,c1,2025-06-02 10:00:00,A,1,50.00
3,1,refund,c1,2025-06-03 10:00:00,A,-1,-50.00
4,,sale,c2,2025-06-01 10:00:00,B,3,90.00
5,4,refund,c2,2025-06-05 10:00:00,B,-1,-30.00
6,,sale,c3,2025-06-01 10:00:00,B,1,30.00
7,6,refund,c3,2025-06-06 10:00:00,,,-12.50
8,,refund,c4,2025-06-06 10:00:00,A,-1,-50.00
9,,sale,c5,2025-06-01 10:00:00,A,1,0.00
10,,sale,c6,2025-06-01 10:00:00,A,-2,-20.00
"""
FIGURES = ("quantity", "unit_price", "discount", "amount")


def source(columns: dict[str, str], **more: Any) -> dict[str, Any]:
    base = {"format": "csv", "path": "payments.csv", "target": "events"}
    whole = {"event_time": "date", "user_id": "customer", "event_type": "type", **columns}
    return {**base, "columns": whole, "event_types": {"sale": "purchase", "refund": "refund"}, **more}


def worth(found: list[dict[str, Any]]) -> dict[str, Decimal]:
    total: dict[str, Decimal] = defaultdict(Decimal)
    for r in found:
        total[r["user_id"]] += r["amount"] if r["event_type"] == "purchase" else -r["amount"]
    return dict(total)


def test_refunds_as_rows_with_negative_figures(tables, make_context, tmp_path):
    (tmp_path / "payments.csv").write_text(PAYMENTS)
    goods = [
        {"sku": n, "price": p, "cur": c} for n, p, c in (("A", "10", "EUR"), ("B", "30", "usd"), ("C", "1", "GBP"))
    ]
    (tmp_path / "goods.jsonl").write_text("\n".join(json.dumps(g) for g in goods))
    columns = {"event_id": "id", "item_id": "sku", "quantity": "qty", "amount": "total", "order_id": "parent"}
    shop = {
        "format": "json",
        "path": "goods.jsonl",
        "target": "items",
        "columns": {"item_id": "sku", "list_price": "price", "currency": "cur"},
    }
    base = {
        "storage": {"root": tables.root},
        "data_root": str(tmp_path),
        "business_timezone": "Europe/Berlin",
        "currency": "EUR",
        "exchange_rates": {"USD": 0.925},
        "ingest": {"max_rejected_share": 1.0, "latest_event_date": "2025-12-31"},
        "sources": {"payments": source(columns, negative_figures="as_refund"), "goods": shop},
    }
    made = Settings.model_validate(base)
    assert made.supplied == {"purchase", "refund"}
    ingest(make_context(made))
    found = rows(tables, EVENTS)
    expected = {"c1": 50, "c2": 60, "c3": Decimal("17.5"), "c4": -50, "c5": 0, "c6": -20}
    assert worth(found) == expected
    assert all(r["amount"] >= 0 and (r["quantity"] or 1) > 0 for r in found)
    assert sorted(r["event_type"] for r in found if r["user_id"] == "c1") == ["purchase", "purchase", "refund"]
    assert {r["item_id"]: r["list_price"] for r in rows(tables, ITEMS)} == {"A": Decimal(10), "B": Decimal("27.75")}
    assert [(r["source"], r["reasons"]) for r in rows(tables, REJECTED_ROWS)] == [("goods", "no_rate")]


def checked(frame: DataFrame, columns: dict[str, str], exchange: Exchange | None = None, **more: Any) -> list[Row]:
    """The rows of a frame of texts, mapped and checked; the customer names the row."""
    made = Source.model_validate(source(columns, **more))
    texts = {name: F.lit(None).cast("string") for name in HELPERS}
    helped = frame.withColumns({**texts, "_unreadable": F.lit(False), "_misfit": F.lit(False)})
    mapped = map_columns(helped, "s", made, timezone="Europe/Berlin")
    settings = Settings.model_validate({"ingest": {"latest_event_date": "2025-12-31"}})
    return check_rows(
        mapped,
        made,
        ingest=settings.ingest,
        exchange=exchange or Exchange("EUR", {}, {}),
        started=date(2025, 12, 31),
        business_timezone="Europe/Berlin",
    ).collect()


def read_signs(word: str, figures: dict[str, int | None]) -> tuple[str, dict[str, int | None]]:
    """What a row says, in plain Python: (event type, figures)."""
    q, p, a = (figures[c] for c in ("quantity", "unit_price", "amount"))
    is_less = {name: value is not None and value < 0 for name, value in (("q", q), ("p", p), ("a", a))}
    paid = a is not None and a > 0
    kind = "refund" if word == "refund" else "purchase"
    if kind == "purchase" and any(is_less.values()) and not (is_less["q"] and is_less["p"]) and not paid:
        kind = "refund"
    whole = {c: abs(v) if v is not None and (kind == "refund" or c == "discount") else v for c, v in figures.items()}
    return kind, whole


def judge(figures: dict[str, int | None]) -> tuple[int | None, str]:
    """(amount, reasons) of a purchase or refund with these figures."""
    q, p, d, a = (figures[c] for c in FIGURES)
    amount = a if a is not None else q * p - (d or 0) if q is not None and p is not None else None
    causes = {
        "price_not_positive": p is not None and p <= 0,
        "quantity_not_positive": q is not None and q <= 0,
        "negative_discount": d is not None and d < 0,
    }
    is_owed = amount is not None and amount < 0
    causes["negative_amount"] = is_owed and not causes["price_not_positive"] and not causes["quantity_not_positive"]
    return amount, ",".join(sorted(name for name, holds in causes.items() if holds))


@pytest.mark.parametrize("negative", ["refuse", "as_refund"])
def test_no_combination_of_signs_raises_a_value(spark: SparkSession, negative: str) -> None:
    every = itertools.product(("sale", "refund"), (None, -2, 0, 3), (None, -7, 0, 5), (None, -4, 1), (None, -11, 0, 13))
    cases = {str(n): case for n, case in enumerate(every)}
    texts = [(n, word, *(None if f is None else str(f) for f in figures)) for n, (word, *figures) in cases.items()]
    frame = spark.createDataFrame(texts, f"customer string, type string, {', '.join(f'{c} string' for c in FIGURES)}")
    frame = frame.withColumn("date", F.lit("2025-05-01")).coalesce(1)
    found = {r["user_id"]: r for r in checked(frame, {c: c for c in FIGURES}, negative_figures=negative)}
    assert len(found) == len(cases) == 384
    for n, (word, *values) in cases.items():
        figures, row = dict(zip(FIGURES, values, strict=True)), found[n]
        kind, read = (
            read_signs(word, figures) if negative == "as_refund" else (word.replace("sale", "purchase"), figures)
        )
        amount, reasons = judge(read)
        assert (row["_reasons"] or "", row["event_type"], row["amount"]) == (reasons, kind, amount), (word, figures)
        if row["_status"] == "ok" and row["amount"] is not None:
            effect = row["amount"] if kind == "purchase" else -row["amount"]
            is_reversal = any(v is not None and v < 0 for c, v in figures.items() if c != "discount")
            assert effect <= 0 or not is_reversal, (word, figures)
            assert row["amount"] >= 0


def test_currencies_by_constant_and_daily_rates(spark: SparkSession) -> None:
    friday, monday = date(2025, 5, 2), date(2025, 5, 5)
    exchange = Exchange("EUR", {"USD": Decimal("0.92")}, {"GBP": [(friday, Decimal("1.2")), (monday, Decimal("1.5"))]})
    lines = {
        # customer: (time, currency, price, discount, expected amount of 3 pieces, reasons)
        "own": ("2025-05-01", "EUR", "2.50", "0.5", "7", None),
        "constant": ("2025-05-01", " usd ", "2.50", "0.5", "6.44", None),
        "before": ("2025-05-01 23:59", "GBP", "2.50", None, None, "no_rate"),
        # 22:30 in UTC is the next day in Berlin
        "first": ("2025-05-01 22:30:00Z", "GBP", "2.50", None, "9", None),
        "weekend": ("2025-05-04", "GBP", "2.50", None, "9", None),
        "last": ("2025-05-05", "GBP", "2.50", "1", "9.75", None),
        "after": ("2025-12-01", "GBP", "2.50", None, "11.25", None),
        "unknown": ("2025-05-05", "CHF", "2.50", None, None, "no_rate"),
        "absent": ("2025-05-05", None, "2.50", None, None, "no_rate"),
        "nothing": ("2025-05-05", None, None, None, None, None),
        "large": ("2025-05-05", "GBP", "999999999999", None, None, "bad_unit_price"),
    }
    texts = [(who, "sale", *line[:4]) for who, line in lines.items()]
    frame = spark.createDataFrame(texts, "customer string, type string, date string, c string, p string, d string")
    columns = {"currency": "c", "unit_price": "p", "quantity": "3", "discount": "d"}
    found = {r["user_id"]: r for r in checked(frame, columns, exchange)}
    assert {who: r["_reasons"] for who, r in found.items()} == {who: line[5] for who, line in lines.items()}
    amounts = {who: r["amount"] for who, r in found.items() if who != "large"}
    assert amounts == {who: line[4] and Decimal(line[4]) for who, line in lines.items() if who != "large"}
    assert "currency" not in found["own"]
    assert (found["constant"]["unit_price"], found["constant"]["discount"]) == (Decimal("2.3"), Decimal("0.46"))


def test_conversion_is_exact_and_rounds_half_up(spark: SparkSession) -> None:
    rng = random.Random(7)
    pairs = [(Decimal("0.00005"), Decimal("1")), (Decimal("0.00015"), Decimal("0.3333333333"))]
    pairs += [
        (Decimal(rng.randrange(10**12)).scaleb(-4), Decimal(rng.randrange(1, 10**13)).scaleb(-10)) for _ in range(40)
    ]
    codes = ["".join(code) for code in itertools.islice(itertools.product("ABCDEF", repeat=3), len(pairs))]
    exchange = Exchange("EUR", {code: rate for code, (_, rate) in zip(codes, pairs, strict=True)}, {})
    texts = [(str(n), "sale", "2025-05-01", code, str(pairs[n][0])) for n, code in enumerate(codes)]
    frame = spark.createDataFrame(texts, "customer string, type string, date string, c string, a string").coalesce(1)
    found = {r["user_id"]: r["amount"] for r in checked(frame, {"currency": "c", "amount": "a"}, exchange)}
    cent = Decimal("0.0001")
    assert found == {
        str(n): (amount.quantize(cent, ROUND_HALF_UP) * rate).quantize(cent, ROUND_HALF_UP)
        for n, (amount, rate) in enumerate(pairs)
    }


def test_files_of_rates(tmp_path: Path) -> None:
    file = tmp_path / "rates.csv"

    def read(text: str, **changes: Any) -> list[tuple[date, Decimal]]:
        file.write_text(text, encoding="utf-8")
        rates = DayRates.model_validate({"path": "rates.csv", "day": "Date", "rate": "USD", **changes})
        return _read_rates(None, "exchange_rates.USD", rates, str(tmp_path))  # type: ignore[arg-type]

    known = read("\ufeffDate;USD\n2025-05-05;1.25\n2025-05-02;1.6\n", delimiter=";", inverse=True)
    assert known == [(date(2025, 5, 2), Decimal("0.625")), (date(2025, 5, 5), Decimal("0.8"))]
    every = dict(_every_day(known))
    assert len(every) == 4
    assert every[date(2025, 5, 4)] == Decimal("0.625")
    assert every[date(2025, 5, 2) + timedelta(days=3)] == Decimal("0.8")
    for text, message in (
        ("day,USD\n2025-05-05,1\n", r"has no column \['Date'\]"),
        ("Date,USD\n5.5.2025,1\n", "line 2: expected a day and a rate"),
        ("Date,USD\n2025-05-05,N/A\n", "line 2: expected a day and a rate"),
        ("Date,USD\n2025-05-05,-1\n", "line 2: expected a rate above 0"),
        ("Date,USD\n2025-05-05,1\n2025-05-05,2\n", "line 3: 2025-05-05 has two rates"),
        ("Date,USD\n", "holds no rate"),
    ):
        with pytest.raises(InputError, match=message):
            read(text)
    with pytest.raises(InputError, match="cannot be read"):
        _read_rates(None, "x", DayRates(path="none.csv"), str(tmp_path))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"currency": "EUR", "exchange_rates": {"EUR": 1}}, "expected other currencies than the reporting one"),
        ({"exchange_rates": {"EUR": 0}}, "greater than 0"),
        ({"exchange_rates": {"euro": 1}}, "should match pattern"),
    ],
)
def test_rates_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings.model_validate(changes)
