"""Every kind of bad input in one ingest: each row of a file is accepted, refused, repeated or ignored, none is lost."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ingest_shop import rows
from pyspark.sql import SparkSession

from profiling_spark.config import Settings
from profiling_spark.context import Outcome
from profiling_spark.contracts.operations import QUALITY_METRICS
from profiling_spark.contracts.silver import EVENTS, INGESTED_FILES, REJECTED_ROWS, USERS
from profiling_spark.errors import ConfigError, QualityError
from profiling_spark.ingest.job import ingest
from profiling_spark.storage import Tables

COLUMNS = {"event_id": "id", "event_time": "at", "user_id": "who", "event_type": "what", "unit_price": "price"}
COLUMNS |= {"quantity": "1"}
TYPES = {"buy": "purchase", "look": "view", "beat": "ignored"}
HEADER = "id,at,who,what,price"
PLACES = {"id": (1, 3), "at": (5, 23), "who": (25, 27), "what": (29, 32), "price": (34, 36)}
AT = "2026-05-02 10:00:00"
LONG = "x" * 200_000


@dataclass
class Expected:
    """What must become of one file: users of its accepted rows, reasons of its refused ones, and the rest."""

    users: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    duplicate: int = 0
    ignored: int = 0
    superseded: int = 0


def line(n: object, who: str = "u", what: str = "look", price: str = "") -> str:
    return f"{n},{AT},{who},{what},{price}"


def csv_files() -> Iterator[tuple[str, bytes, Expected]]:
    """Files of the source `csv`: name, bytes, expected."""
    good = Expected(["a", "b"])
    yield "bom.csv", ("\ufeff" + "\n".join([HEADER, line(1, "a"), line(2, "b")])).encode(), good
    yield "order.csv", f"who,price,what,at,id\na,,look,{AT},11\nb,,look,{AT},12\n".encode(), good
    yield "zip.csv.gz", gzip.compress("\r\n".join([HEADER, line(21, "a"), line(22, "b")]).encode()), good
    yield "header_only.csv", f"{HEADER}\n".encode(), Expected()
    yield "empty.csv", b"", Expected()
    halves = [HEADER, line(31, "a"), "32,2026-05-02 10:0"]
    yield "half_line.csv", "\n".join(halves).encode(), Expected(["a"], ["unreadable"])
    extra = [f"{HEADER},coupon", line(41, "a") + ",X1", line(42, "b") + ","]
    yield "new_column.csv", "\n".join(extra).encode(), good
    repeated = [
        HEADER,
        line(51, "a"),
        line(51, "a"),
        line(51, "c"),
        line(51, "c", "beat"),
        line(52, "b", "beat"),
        "",
        line(53, "b"),
    ]
    yield "repeats.csv", "\n".join(repeated).encode(), Expected(["a", "b", "c"], duplicate=1, ignored=2)
    prices = ("NaN", "Infinity", "-Infinity", "1e400", "12,5", "0", "abc")
    quoted = [line(60 + n, "a", "buy", f'"{p}"') for n, p in enumerate(prices)]
    reasons = ["price_not_positive" if p == "0" else "bad_unit_price" for p in prices]
    yield "prices.csv", "\n".join([HEADER, *quoted]).encode(), Expected([], reasons)
    ids = ["007", "7", "99999999999", "😀", "e\u0301", "\u00e9", LONG]
    strange = [line(70 + n, who) for n, who in enumerate([*ids, " \ufeff007 ", "\u00a0"])]
    yield "ids.csv", "\n".join([HEADER, *strange]).encode(), Expected([*ids, "007"], ["no_user"])
    times = ["2026-02-30 10:00:00", "10:00:00", "1969-01-01 00:00:00", "2050-01-01 00:00:00", ""]
    moments = "\n".join([HEADER, *(f"{80 + n},{t},a,look," for n, t in enumerate(times))])
    wrong = ["bad_event_time", "bad_event_time", "time_out_of_range", "time_out_of_range", "no_event_time"]
    yield "times.csv", moments.encode(), Expected([], wrong)
    yield "precise.csv", f"{HEADER}\n{line(90, 'a', 'buy', '0.1234567')}\n".encode(), Expected(["a"])
    both = f"{HEADER}\n91,{AT},,bye,\n"
    yield "two_faults.csv", both.encode(), Expected([], ["no_user,unknown_event_type"])


def json_files() -> Iterator[tuple[str, bytes, Expected]]:
    """Files of the source `json`."""
    base = {"at": AT, "what": "look"}
    lines = [
        json.dumps({**base, "id": 101, "who": "a"}),
        '{"id": 102, "at": "2026-',
        "[1, 2]",
        "42",
        "not json",
        "   ",
        json.dumps({**base, "id": 103, "who": "b", "campaign": {"name": "spring"}}),
        json.dumps({**base, "id": 104, "who": "c", "campaign": None}),
        f'{{"id": 105, "at": "{AT}", "what": "look", "who": "d", "new": 1, "new": 2}}',
        f'{{"id": 106, "at": "{AT}", "what": "buy", "who": "d", "price": NaN}}',
        json.dumps({**base, "id": 107, "who": None}),
        json.dumps({**base, "id": 107, "who": None}),
    ]
    refused = ["unreadable"] * 4 + ["no_user"] * 2
    expected = Expected(["a", "b", "c", "d"], [*refused, "bad_unit_price"])
    yield "log.jsonl", "\n".join(lines).encode(), expected
    yield "cut.jsonl.gz", gzip.compress("\n".join(lines * 200).encode())[:-9], Expected()


def write_parquet(folder: Path) -> dict[str, Expected]:
    """Files of the source `parquet`: one is of other types, one of nanoseconds as pandas writes them, one is none."""
    at = [datetime(2026, 5, 2, 10), datetime(2026, 5, 2, 11)]
    as_text = [AT, "tomorrow"]

    def write(name: str, **columns: Any) -> None:
        pq.write_table(pa.table({"id": [f"{name}1", f"{name}2"], "what": ["buy", "buy"], **columns}), folder / name)

    write("plain.parquet", at=pa.array(at, pa.timestamp("us", "UTC")), who=["a", "b"], price=[1.5, 2.0])
    write("other.parquet", at=as_text, who=[7, 8], price=["1.5", "two"])
    write("bytes.parquet", at=[AT, AT], who=pa.array([b" a ", b"  "]), price=[1, 1])  # as old Hive writes text
    write("nanos.parquet", at=pa.array(at, pa.timestamp("ns", "UTC")), who=["a", None], price=[1, 2])
    (folder / "none.parquet").write_bytes(b"PAR1 is not all it takes")
    return {
        "plain.parquet": Expected(["a", "b"]),
        "other.parquet": Expected(["7"], ["bad_event_time,bad_unit_price"]),
        "bytes.parquet": Expected(["a"], ["no_user"]),
        "nanos.parquet": Expected(["a"], ["no_user"]),
        "none.parquet": Expected(),
    }


def sources() -> dict[str, dict[str, Any]]:
    def one(kind: str, words: dict[str, str], **more: Any) -> dict[str, Any]:
        shape = {"format": kind, "path": f"{more.pop('folder', kind)}/*", "target": "events", "columns": COLUMNS}
        return {**shape, "event_types": words, **more}

    # an event type has one source; the words of a source may differ, so each gets a type of its own
    return {
        "csv": one("csv", {**TYPES, "look": "view"}),
        "json": one("json", {"look": "cart", "buy": "favorite"}),
        "parquet": one("parquet", {"buy": "refund"}),
        "gbk": one("csv", {"看": "search"}, folder="gbk", csv={"encoding": "GBK", "multiline": True}),
        "fixed": one(
            "fixed", {"look": "login"}, lines={"places": PLACES}
        ),
        "people": {
            "format": "csv",
            "path": "people/*",
            "target": "users",
            "columns": {"user_id": "who", "age": "years", "city": "town"},
            "missing_columns": "null",
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@dataclass
class Lake:
    tables: Tables
    outcome: Outcome
    expected: dict[str, Expected]
    settings: Settings


@pytest.fixture(scope="module")
def lake(spark: SparkSession, folder: Path) -> Lake:
    """All the faults, ingested once."""
    from datetime import UTC

    from profiling_spark.context import Context

    expected: dict[str, Expected] = {}
    for name in ("csv", "json", "parquet", "gbk", "fixed", "people"):
        (folder / name).mkdir()
    for kind, made in (("csv", csv_files()), ("json", json_files())):
        for name, content, want in made:
            (folder / kind / name).write_bytes(content)
            expected[name] = want
    expected |= write_parquet(folder / "parquet")
    gbk = f'{HEADER}\n201,{AT},"王\n小明",看,\n202,{AT},,看,\n'
    (folder / "gbk" / "gbk.csv").write_bytes(gbk.encode("gbk"))
    expected["gbk.csv"] = Expected(["王\n小明"], ["no_user"])
    (folder / "fixed" / "fixed.txt").write_text(f"301 {AT} aaa look   1\n302 {AT} aaa lo\n", encoding="utf-8")
    expected["fixed.txt"] = Expected(["aaa"], ["unreadable"])
    (folder / "csv" / "dangling.csv").symlink_to(folder / "nowhere.csv")
    expected["dangling.csv"] = Expected()
    (folder / "people" / "old.csv").write_text("who,years\np1,30\np1,31\np2,200\np2,200\n")
    (folder / "people" / "new.csv").write_text("who,years,town,tier\np3,,Ulm,gold\n,40,Bonn,\n")
    expected["old.csv"] = Expected(["p1"], ["bad_age", "bad_age"], superseded=1)
    expected["new.csv"] = Expected(["p3"], ["no_user"])
    rules = [
        {"name": "dear", "level": "warn", "when": "unit_price > 1", "message": "dearer than 1"},
        {"name": "odd_user", "level": "flag", "when": "length(user_id) > 1000"},
    ]
    root = str(folder / "lake")
    settings = Settings.model_validate(
        {
            "storage": {"root": root},
            "data_root": str(folder),
            "buckets": 2,
            "sources": sources(),
            "ingest": {
                "latest_event_date": "2026-12-31",
                "max_rejected_share": 1.0,
                "max_no_user_share": 1.0,
                "rules": rules,
            },
        }
    )
    tables = Tables(spark, root, run_id="20260701T000000-faults")
    context = Context(settings, spark, tables, datetime(2026, 7, 1, tzinfo=UTC))
    return Lake(tables, ingest(context), expected, settings)


def test_of_each_file_nothing_is_lost_and_nothing_counted_twice(lake: Lake) -> None:
    files = {Path(r["path"]).name: r for r in rows(lake.tables, INGESTED_FILES)}
    assert files.keys() == lake.expected.keys()
    accepted, refused = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for table in (EVENTS, USERS):
        accepted.update((r["file_id"], r["user_id"]) for r in rows(lake.tables, table))
    for r in rows(lake.tables, REJECTED_ROWS):
        refused[r["file_id"], r["reasons"]] += r["occurrences"]
    wrong = {}
    for name, want in lake.expected.items():
        file = files[name]
        users = sorted(u for (f, u), n in accepted.items() if f == file["file_id"] for _ in range(n))
        reasons = sorted(x for (f, x), n in refused.items() if f == file["file_id"] for _ in range(n))
        found = Expected(users, reasons, *(file[f"rows_{c}"] or 0 for c in ("duplicate", "ignored", "superseded")))
        read = len(users) + len(reasons) + found.duplicate + found.ignored + found.superseded
        if found != Expected(sorted(want.users), sorted(want.refused), want.duplicate, want.ignored, want.superseded):
            wrong[name] = found
        elif (file["rows_read"] or 0) != read:
            wrong[name] = file
    assert not wrong


def test_refused_rows_have_the_line_of_their_file(lake: Lake) -> None:
    names = {r["file_id"]: Path(r["path"]).name for r in rows(lake.tables, INGESTED_FILES)}
    found: dict[str, list[int | None]] = {}
    for r in rows(lake.tables, REJECTED_ROWS):
        found.setdefault(names[r["file_id"]], []).append(r["first_line"])
    assert {name: sorted(lines, key=str) for name, lines in found.items()} == {
        "half_line.csv": [3],
        "prices.csv": [2, 3, 4, 5, 6, 7, 8],
        "ids.csv": [10],
        "times.csv": [2, 3, 4, 5, 6],
        "two_faults.csv": [2],
        "log.jsonl": [10, 11, 2, 3, 4, 5],  # the sixth is blank, the last is the eleventh again
        "other.parquet": [None],
        "bytes.parquet": [None],
        "nanos.parquet": [None],
        "gbk.csv": [4],  # the row before it has two lines
        "fixed.txt": [2],
        "old.csv": [4],
        "new.csv": [3],
    }


def test_a_file_that_cannot_be_read_is_named_and_the_others_load(lake: Lake) -> None:
    refused = {Path(r["path"]).name: r["reason"] for r in rows(lake.tables, INGESTED_FILES) if r["status"] == "refused"}
    assert refused.keys() == {"cut.jsonl.gz", "none.parquet", "dangling.csv"}
    assert "is not whole gzip" in refused["cut.jsonl.gz"]
    assert "is not parquet" in refused["none.parquet"]
    assert "cannot be read: not found" in refused["dangling.csv"]
    assert all(name in lake.outcome.problem for name in refused)


def test_new_columns_are_kept_and_reported(lake: Lake) -> None:
    kept = {r["user_id"] + r["source"]: r["rescued"] for r in rows(lake.tables, EVENTS) if r["rescued"]}
    assert json.loads(kept.pop("djson"))["new"] in ("1", "2")  # JSON does not say which of two equal keys counts
    assert {k: json.loads(v) for k, v in kept.items()} == {
        "acsv": {"coupon": "X1"},
        "bjson": {"campaign": '{"name":"spring"}'},
    }
    assert [r["rescued"] for r in rows(lake.tables, USERS) if r["rescued"]] == ['{"tier":"gold"}']
    assert lake.outcome.facts["new_columns"] == {"csv": ["coupon"], "json": ["campaign", "new"], "people": ["tier"]}
    assert any("coupon (kept in rescued" in text for text in lake.outcome.lines)
    assert {r["user_id"]: r["city"] for r in rows(lake.tables, USERS)} == {"p1": None, "p3": "Ulm"}


def test_values_arrive_as_they_should(lake: Lake) -> None:
    events = rows(lake.tables, EVENTS)
    assert {str(r["unit_price"]) for r in events if str(r["unit_price"]).startswith("0.12")} == {"0.123457"}
    nanos = {r["event_time"] for r in events if r["source"] == "parquet"}
    assert nanos == {datetime(2026, 5, 2, 10), datetime(2026, 5, 2, 11)}
    assert [r["flags"] for r in events if r["user_id"] == LONG] == ["odd_user"]
    # the same letter in two Unicode forms is two ids, as the source wrote them
    assert {"e\u0301", "\u00e9"} <= {r["user_id"] for r in events}


def test_quality_metrics_count_every_rule_of_every_source(lake: Lake) -> None:
    found = {(r["source"], r["rule"], r["level"]): r for r in rows(lake.tables, QUALITY_METRICS)}
    assert found["csv", "bad_unit_price", "reject"]["rows"] == 6
    assert found["csv", "no_user", "reject"]["rows"] == 2
    assert found["csv", "odd_user", "flag"]["rows"] == 1
    assert found["parquet", "dear", "warn"]["rows"] == 4
    assert found["json", "new_column", "warn"]["rows"] == 2
    assert found["fixed", "quantity_not_positive", "reject"]["rows"] == 0
    metric = found["people", "bad_age", "reject"]
    assert (metric["rows"], metric["rows_read"], metric["share"]) == (2, 6, 2 / 6)


def test_an_absent_column_or_a_broken_rule_stops_before_any_write(
    spark: SparkSession, folder: Path, lake: Lake, make_context: Any
) -> None:
    base = lake.settings.model_dump(mode="json")
    root = str(folder / "other lake")
    base["storage"]["root"] = root
    base["sources"] = {"people": {**base["sources"]["people"], "missing_columns": "error"}}
    base["ingest"]["rules"] = []
    fresh = Tables(spark, root, run_id="x")
    with pytest.raises(ConfigError, match=r"sources\.people\.columns: .*town"):
        ingest(make_context(Settings.model_validate(base), tables=fresh))
    base["sources"]["people"]["missing_columns"] = "null"
    for when, message in (("age >", "Syntax error|syntax error"), ("agge > 1", "agge"), ("age + 1", "true or false")):
        base["ingest"]["rules"] = [{"name": "odd", "target": "users", "level": "warn", "when": when}]
        with pytest.raises(ConfigError, match=rf"(?s)ingest\.rules odd: when = .*({message})"):
            ingest(make_context(Settings.model_validate(base), tables=fresh))
    assert not fresh.exists(INGESTED_FILES)
    base["ingest"]["rules"] = []
    base["ingest"]["limits"] = {"bad_age": {"max_rows": 1}}
    pattern = r"(?s)people: rule bad_age .* holds for 2 of 6 rows, allowed by ingest\.limits\.bad_age is 1 rows"
    pattern += r".*\[bad_age\] .*old\.csv, line 4$"
    with pytest.raises(QualityError, match=pattern):
        ingest(make_context(Settings.model_validate(base), tables=fresh))
    assert not Tables(spark, root, run_id="y").exists(USERS)
