"""Times of any type become the right instants: cases from practice, edges, and random instants in all their forms."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from ingest_shop import rows
from pydantic import ValidationError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from profiling_spark.config import Settings
from profiling_spark.config.sources import Source
from profiling_spark.contracts.silver import EVENTS, REJECTED_ROWS, USERS
from profiling_spark.errors import ConfigError
from profiling_spark.ingest.job import ingest
from profiling_spark.ingest.judging.mapping import map_columns
from profiling_spark.ingest.reading.source_rows import HELPERS

TILL = """Beleg;Kunde;Datum;Artikel;Menge;Einzelpreis;Rabatt
B1;K1;01.02.2025 10:15;A1;2,000;1.234,56;0,00
B1;K1;01.02.2025 10:15;A2;1,000;12,50;2,50
B2;K2;31.12.2024 23:59;A1;1,000;1.234,56;"1.000,00"
B3;K3;3.2.2025 7:05;A3;10,000;0,99;
B4;K3;04.02.2025 08:00;A4;1,000;1.234;0,00
B5;K1;05.02.2025 08:00;A2;1,000-;12,50;0,00
"""
FORMS = {
    "try_to_timestamp(Datum, 'd.M.yyyy H:mm')": ("kauf", "purchase"),
    "to_timestamp_ntz(Datum, 'd.M.yyyy H:mm')": ("k", "cart"),
    "date_format(try_to_timestamp(Datum, 'd.M.yyyy H:mm'), 'yyyy-MM-dd HH:mm:ss')": ("f", "favorite"),
    # written for a session in UTC, before zones were followed
    "to_utc_timestamp(to_timestamp(Datum, 'd.M.yyyy H:mm'), 'Europe/Berlin')": ("v", "view"),
}


def source(path: str, columns: dict[str, str], types: dict[str, str], **more: Any) -> dict[str, Any]:
    kind = "parquet" if path.endswith("parquet") else "csv"
    return {"format": kind, "path": path, "target": "events", "columns": columns, "event_types": types, **more}


def run(make_context: Any, tables: Any, data: Path, zone: str, sources: dict[str, Any]) -> dict[str, list[Any]]:
    base = {"storage": {"root": tables.root}, "data_root": str(data), "business_timezone": zone, "sources": sources}
    limits = {"max_rejected_share": 1.0, "latest_event_date": "2025-12-31"}
    ingest(make_context(Settings.model_validate({**base, "ingest": limits})))
    found: dict[str, list[Any]] = {}
    for r in rows(tables, EVENTS):
        found.setdefault(r["source"], []).append(r)
    return found


def test_a_german_till_in_four_forms_of_its_time(tables, make_context, tmp_path):
    (tmp_path / "till.csv").write_text(TILL)
    number = "replace(replace({}, '.', ''), ',', '.')"
    sources = {}
    for n, (at, (word, kind)) in enumerate(FORMS.items()):
        back = "retoure" if kind == "purchase" else "x"
        sources[f"s{n}"] = source(
            "till.csv",
            {
                "event_id": "concat_ws('/', Beleg, Artikel)",
                "event_time": at,
                "user_id": "Kunde",
                "event_type": f"case when Menge like '%-' then '{back}' else '{word}' end",
                "item_id": "Artikel",
                "quantity": f"replace({number.format('Menge')}, '-', '')",
                "unit_price": number.format("Einzelpreis"),
                "discount": number.format("Rabatt"),
            },
            {word: kind, "retoure": "refund"} if kind == "purchase" else {word: kind, "x": "ignored"},
            csv={"delimiter": ";"},
        )
    found = run(make_context, tables, tmp_path, "Europe/Berlin", sources)
    assert rows(tables, REJECTED_ROWS) == []
    assert sorted((str(r["amount"]), r["event_time"], str(r["event_date"])) for r in found["s0"]) == [
        ("10.0000", datetime(2025, 2, 1, 9, 15), "2025-02-01"),
        ("12.5000", datetime(2025, 2, 5, 7, 0), "2025-02-05"),
        ("1234.0000", datetime(2025, 2, 4, 7, 0), "2025-02-04"),
        ("234.5600", datetime(2024, 12, 31, 22, 59), "2024-12-31"),
        ("2469.1200", datetime(2025, 2, 1, 9, 15), "2025-02-01"),
        ("9.9000", datetime(2025, 2, 3, 6, 5), "2025-02-03"),
    ]
    assert [r["event_type"] for r in found["s0"] if str(r["amount"]) == "12.5000"] == ["refund"]
    times = sorted(r["event_time"] for r in found["s0"] if r["event_type"] == "purchase")
    assert all(sorted(r["event_time"] for r in found[f"s{n}"]) == times for n in (1, 2, 3))


def test_orders_of_new_york_whose_days_and_times_have_no_zone(tables, make_context, tmp_path):
    """Two orders a day, at 22:00 and at 9:00, as columns of every type; bare dates keep their day in any zone."""
    local = [datetime(2025, 6, d, h) for d in (1, 2) for h in (22, 9)]
    text = "".join(f"{n},c{n},{t.month}/{t.day}/{t.year} {t.hour}:00:00\n" for n, t in enumerate(local))
    (tmp_path / "orders.csv").write_text("id,c,at\n" + text)
    seconds = [int(t.replace(tzinfo=ZoneInfo("America/New_York")).timestamp()) for t in local]
    table = {
        "id": [str(n) for n in range(4)],
        "c": [f"c{n}" for n in range(4)],
        "day": [t.date() for t in local],
        "at": pa.array(local, pa.timestamp("us")),
        "ns": pa.array(local, pa.timestamp("ns")),
        "zoned": pa.array([datetime.fromtimestamp(s, UTC) for s in seconds], pa.timestamp("ns", tz="Asia/Tokyo")),
        "millis": pa.array([s * 1000 for s in seconds]),
    }
    pq.write_table(pa.table(table), tmp_path / "orders.parquet")
    forms = {
        "day": ("orders.parquet", "day", "login"),
        "at": ("orders.parquet", "at", "search"),
        "ns": ("orders.parquet", "ns", "view"),
        "zoned": ("orders.parquet", "zoned", "favorite"),
        "millis": ("orders.parquet", "millis", "cart"),
        "todate": ("orders.csv", "to_date(substring_index(at, ' ', 1), 'M/d/yyyy')", "purchase"),
        "totime": ("orders.csv", "try_to_timestamp(at, 'M/d/yyyy H:mm:ss')", "refund"),
    }
    unused = {"unused": ["day", "at", "ns", "zoned", "millis"]}
    sources = {
        name: source(path, {"event_time": at, "user_id": "c", "event_type": "'x'", "event_id": "id"}, {"x": kind})
        for name, (path, at, kind) in forms.items()
    }
    sources = {name: {**s, **(unused if s["format"] == "parquet" else {})} for name, s in sources.items()}
    sources["todate"]["timezone"] = "Asia/Tokyo"  # a day is a day of the business
    found = run(make_context, tables, tmp_path, "America/New_York", sources)
    assert rows(tables, REJECTED_ROWS) == []
    for name in forms:
        assert sorted(r["event_date"] for r in found[name]) == [date(2025, 6, d) for d in (1, 1, 2, 2)], name
    expected = sorted(datetime.fromtimestamp(s, UTC).replace(tzinfo=None) for s in seconds)
    assert expected[1] == datetime(2025, 6, 2, 2)
    for name in ("at", "ns", "zoned", "millis", "totime"):
        assert sorted(r["event_time"] for r in found[name]) == expected, name


def test_times_beyond_all_years_are_refused_and_a_birthday_stays_one(tables, make_context, tmp_path):
    micros = [-(2**63) + 1, -62_135_600_000_000_000, 253_402_300_800_000_000, 2**63 - 1, 1_735_732_800_000_000]
    table = {"who": [f"u{n}" for n in range(5)], "n": micros}
    for name, kind in (("at", pa.timestamp("us")), ("zoned", pa.timestamp("us", tz="UTC"))):
        table[name] = pa.array(micros, pa.int64()).cast(kind)
    pq.write_table(pa.table(table), tmp_path / "far.parquet")
    forms = {"at": "view", "zoned": "cart", "n": "search"}
    sources = {
        name: source("far.parquet", {"event_time": name, "user_id": "who", "event_type": "'x'"}, {"x": kind})
        for name, kind in forms.items()
    }
    sources = {name: {**s, "unused": ["at", "zoned", "n"]} for name, s in sources.items()}
    sources["n"]["epochs"] = {"event_time": "us"}
    people = [
        {"who": "p0", "born": "1980-05-03", "since": "12 soon", "seen": "2024-01-01"},
        {"who": "p1", "born": "3.5.1980", "since": "0000-05-01", "seen": "2025-01-01 12:00"},
    ]
    (tmp_path / "people.jsonl").write_text("\n".join(json.dumps(p) for p in people))
    who = {"user_id": "who", "birth_date": "coalesce(try_to_timestamp(born, 'd.M.yyyy'), to_date(born))"}
    columns = {**who, "valid_from": "seen", "registered_at": "since"}
    sources["people"] = {"format": "json", "path": "people.jsonl", "target": "users", "columns": columns}
    born = {"user_id": "who", "birth_date": "coalesce(try_to_timestamp(born, 'd.M.yyyy'), to_date(born))"}
    known = {"path": "people.jsonl", "target": "users", "unused": ["since", "seen"]}
    sources["born"] = {"format": "json", **known, "columns": born}
    found = run(make_context, tables, tmp_path, "America/New_York", sources)
    assert {name: [(r["user_id"], r["event_time"].year) for r in part] for name, part in found.items()} == {
        name: [("u4", 2025)] for name in forms
    }
    refused = {(r["source"], r["reasons"]): r["occurrences"] for r in rows(tables, REJECTED_ROWS)}
    assert {key for key in refused if key[0] in forms} == {(name, "time_out_of_range") for name in forms}
    assert len([r for r in rows(tables, REJECTED_ROWS) if r["source"] in forms]) == 12
    assert {key for key in refused if key[0] == "people"} == {("people", "bad_registered_at")}
    assert {r["user_id"]: r["birth_date"] for r in rows(tables, USERS)} == {
        "p0": date(1980, 5, 3),
        "p1": date(1980, 5, 3),
    }


def mapped(frame: DataFrame, columns: dict[str, str], business: str, **more: Any) -> DataFrame:
    base = {"format": "csv", "path": "x", "target": "events", "event_types": {"x": "view"}}
    whole = {"user_id": "'u'", "event_type": "'x'", **columns}
    made = Source.model_validate({**base, "columns": whole, **more})
    helped = frame.withColumns({name: F.lit(None).cast("string") for name in HELPERS})
    return map_columns(helped, "s", made, timezone=business)


def test_numbers_are_times_where_declared_or_unmistakable(spark: SparkSession) -> None:
    second = datetime(2017, 11, 25, 0, 0, 1)
    by_size = {
        "1511568001": second,
        "1511568001250": second + timedelta(milliseconds=250),
        "1511568001250001": second + timedelta(microseconds=250001),
        "1511568001250001999": second + timedelta(microseconds=250001),
        "999999999": None,
        "4102444800": None,
        "20171125": None,
        "1511568001.5": None,
        "-1511568001": None,
        "2017": datetime(2016, 12, 31, 16),
        "2017-11-25": datetime(2017, 11, 24, 16),
        "2017-11-25 08:00:01": second,
        "2017-11-25T00:00:01Z": second,
        "2017-11-25 02:00:01+02:00": second,
        "08:00": None,
    }
    texts = spark.createDataFrame([(t,) for t in by_size], "t string")
    found = mapped(texts.withColumn("t", F.col("t")), {"event_time": "t", "item_id": "t"}, "Asia/Shanghai")
    assert {r["item_id"]: r["event_time"] for r in found.collect()} == by_size
    wrong = {r["item_id"] for r in found.where("_bad_event_time").collect()}
    assert wrong == {text for text, time in by_size.items() if time is None}

    declared = {"0": 0, "-1": -1, "86400": 86400, "1.5": 1.5, "1.511568001E9": 1511568001, "1e30": None, "x": None}
    numbers = spark.createDataFrame([(t,) for t in declared], "t string")
    seconds = mapped(numbers, {"event_time": "t", "item_id": "t"}, "Asia/Shanghai", epochs={"event_time": "s"})
    start = datetime(1970, 1, 1)
    expected = {t: None if n is None else start + timedelta(seconds=n) for t, n in declared.items()}
    assert {r["item_id"]: r["event_time"] for r in seconds.collect()} == expected
    # beyond all years, and no number at all
    flags = {r["item_id"]: (r["_too_far"], r["_bad_event_time"]) for r in seconds.where("event_time is null").collect()}
    assert flags == {"1e30": (False, True), "x": (False, True)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": {"event_time": "minutes"}}, "Input should be 's', 'ms', 'us' or 'ns'"),
        ({"epochs": {"user_id": "s"}}, r"epochs \['user_id'\]: expected columns that are mapped and times"),
    ],
)
def test_units_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Source.model_validate(
            source("a.csv", {"event_time": "t", "user_id": "u", "event_type": "e"}, {"x": "view"}, **changes)
        )


@pytest.mark.parametrize(
    ("at", "more", "message"),
    [
        ("from_utc_timestamp(t, 'Asia/Shanghai')", {}, "moves to another zone"),
        ("convert_timezone('UTC', 'Asia/Shanghai', t)", {}, "moves to another zone"),
        ("to_date(t)", {"epochs": {"event_time": "s"}}, "a number since 1970, found date"),
    ],
)
def test_times_that_would_be_moved_twice_are_refused(
    spark: SparkSession, at: str, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        mapped(spark.createDataFrame([("2025-01-01",)], "t string"), {"event_time": at}, "Asia/Shanghai", **more)


ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "America/Sao_Paulo")
AS_TEXT = "yyyy-MM-dd HH:mm:ss.SSSSSS"


@examples(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(
    instants=st.lists(
        st.datetimes(datetime(2001, 9, 10), datetime(2099, 12, 30)), min_size=30, max_size=30, unique=True
    ),
    zone=st.sampled_from(ZONES),
    business=st.sampled_from(ZONES),
    offset=st.integers(-12, 12),
)
def test_every_form_of_an_instant_is_the_instant(spark, instants, zone, business, offset):
    """Forms without a zone say the earlier of two instants in the hour that autumn repeats."""
    made = []
    for utc in instants:
        aware = utc.replace(tzinfo=UTC)
        local = aware.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)
        earlier = local.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).replace(tzinfo=None)
        zoned = aware.astimezone(timezone(timedelta(hours=offset))).isoformat(sep=" ", timespec="microseconds")
        micros = (utc - datetime(1970, 1, 1)) // timedelta(microseconds=1)
        made.append((micros, local.isoformat(sep=" ", timespec="microseconds"), zoned, utc.isoformat(), earlier))
    frame = spark.createDataFrame(made, "n bigint, local string, zoned string, utc string, earlier timestamp_ntz")
    exact = {
        "typed": "timestamp_micros(n)",
        "micros": "n",
        "nanos": "n * 1000 + 999",
        "digits": "cast(n as string)",
        "zoned": "zoned",
        "parsed": "try_to_timestamp(zoned, 'yyyy-MM-dd HH:mm:ss.SSSSSSXXX')",
        "cast": "cast(zoned as timestamp)",
    }
    without_zone = {
        "local": "local",
        "ntz": "cast(local as timestamp_ntz)",
        "made": f"to_timestamp(local, '{AS_TEXT}')",
        "written": f"date_format(to_timestamp(local, '{AS_TEXT}'), '{AS_TEXT}')",
    }
    parts = [
        mapped(frame, {"event_time": form, "item_id": "utc", "category": f"'{name}'"}, business, timezone=zone)
        for name, form in {**exact, **without_zone}.items()
    ]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.unionByName(part)
    earlier = {utc: time for *_, utc, time in made}
    found = whole.coalesce(1).collect()
    assert len(found) == len(parts) * len(instants)
    for row in found:
        expected = datetime.fromisoformat(row["item_id"]) if row["category"] in exact else earlier[row["item_id"]]
        assert row["event_time"] == expected, (row["category"], row["item_id"], zone)
