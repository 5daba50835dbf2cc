"""Lines of text to columns: fixed places, patterns, encodings, headers, lines that cannot be read."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pyspark.sql import SparkSession

from profiling_spark.config.sources import Source
from profiling_spark.ingest.files.source_files import find_files
from profiling_spark.ingest.reading.readers import read_source
from profiling_spark.ingest.reading.source_rows import Reading

PLACES = {"who": (1, 5), "day": (7, 16), "paid": (18, 24)}
LOG = r'^(?P<host>\S+) \S+ (?P<user>\S+) \[(?P<at>[^\]]+)\] "(?P<verb>[A-Z]+) (?P<url>\S+)[^"]*" (?P<status>\d{3})'


def source(kind: str, **lines: Any) -> Source:
    columns = {"event_time": "day", "user_id": "who", "event_type": "'x'"}
    if kind == "pattern":
        columns = {"event_time": "at", "user_id": "user", "event_type": "verb"}
    types = {"x": "purchase", "GET": "view"}
    return Source.model_validate(
        {"format": kind, "path": "*", "target": "events", "columns": columns, "event_types": types, "lines": lines}
    )


def read(spark: SparkSession, folder: Path, made: Source) -> list[dict[str, Any]]:
    files = find_files(spark, "s", made, str(folder))
    (frame,) = read_source(spark, Reading(made, made.words), files)
    rows = frame.collect()
    known = {f.file_id for f in files}
    assert {r["_file_id"] for r in rows} <= known
    return sorted((r.asDict() for r in rows), key=lambda r: r["_raw"])


def test_columns_stand_at_their_places(spark: SparkSession, tmp_path: Path) -> None:
    header = "who   day        paid"
    lines = [header, "00001 1997-01-01   11.77", "00002 1997-01-12", "", "   ", "00003            12.00\r"]
    (tmp_path / "a.txt").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(f"{header}\r\n00004 1997-02-01    1.00\r\n".encode()))
    rows = read(spark, tmp_path, source("fixed", places=PLACES, header=True))
    found = [(r["who"], r["day"], r["paid"], r["_unreadable"]) for r in rows]
    assert found == [
        ("00001", "1997-01-01", "11.77", False),
        ("00002", "1997-01-12", None, True),  # ends before its last column begins
        ("00003", None, "12.00", False),
        ("00004", "1997-02-01", "1.00", False),
    ]
    assert rows[1]["_raw"] == "00002 1997-01-12"


@pytest.mark.parametrize(("encoding", "name"), [("GBK", "王小明"), ("ISO-8859-1", "Müller"), ("UTF-8", "王é")])
def test_places_count_characters_in_any_encoding(spark: SparkSession, tmp_path: Path, encoding: str, name: str) -> None:
    (tmp_path / "a.txt").write_bytes(f"{name:<10}2026-01-01\n".encode(encoding))
    (row,) = read(spark, tmp_path, source("fixed", places={"who": (1, 10), "day": (11, 20)}, encoding=encoding))
    assert (row["who"], row["day"], row["_unreadable"]) == (name, "2026-01-01", False)


def test_an_access_log_by_named_groups(spark: SparkSession, tmp_path: Path) -> None:
    good = '10.0.0.1 - anna [10/Oct/2026:13:55:36 +0200] "GET /item/7 HTTP/1.1" 200 2326 "-" "agent"'
    nobody = '10.0.0.2 - - [10/Oct/2026:13:55:37 +0200] "POST /cart HTTP/1.1" 302 0'
    (tmp_path / "access.log").write_text(f"{good}\n{nobody}\ngarbage\n", encoding="utf-8")
    rows = read(spark, tmp_path, source("pattern", pattern=LOG))
    found = [(r["user"], r["at"], r["verb"], r["url"], r["status"], r["_unreadable"]) for r in rows]
    assert found == [
        ("anna", "10/Oct/2026:13:55:36 +0200", "GET", "/item/7", "200", False),
        (None, "10/Oct/2026:13:55:37 +0200", "POST", "/cart", "302", False),
        (None, None, None, None, None, True),
    ]


@pytest.mark.parametrize(
    ("kind", "lines", "message"),
    [
        ("fixed", {}, r"lines\.places: is empty"),
        ("fixed", {"places": {"a": [5, 2]}}, "the last character lies before the first"),
        ("fixed", {"places": {"a": [0, 2]}}, "greater than or equal to 1"),
        ("pattern", {}, r"lines\.pattern: is absent"),
        ("pattern", {"pattern": "(a"}, "is no regular expression"),
        ("pattern", {"pattern": "(a)"}, "has no named group"),
    ],
)
def test_wrong_options_are_refused(kind: str, lines: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        source(kind, **lines)
