"""Rows know their file, and JSON lines become columns whatever they hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ingest_shop import BAD, GOOD, HEADER, everything, settings
from pyspark.sql import SparkSession

from profiling_spark.config.sources import Source
from profiling_spark.ingest.files.source_files import SourceFile, find_files
from profiling_spark.ingest.job import ingest
from profiling_spark.ingest.reading import source_rows
from profiling_spark.ingest.reading.readers import parse_json, read_source
from profiling_spark.ingest.reading.source_rows import POSITION, Reading
from profiling_spark.ingest.resolving import staging
from profiling_spark.storage import Tables

CLICKS = Source.model_validate(
    {
        "format": "json",
        "path": "**/*.jsonl",
        "target": "events",
        "columns": {"event_time": "at", "user_id": "who", "event_type": "'x'", "item_id": "item"},
        "event_types": {"x": "view"},
        "unused": ("seen",),
    }
)
ABSENT = {"at": None, "who": None, "item": None, "_extra": None, "_unreadable": False}
LINES: dict[str, dict[str, Any]] = {
    '{"at": "9", "who": "u", "item": "i"}': {"at": "9", "who": "u", "item": "i"},
    '{"at":"9"}': {"at": "9"},
    "{}": {},
    '{"who": "u", "seen": 1}': {"who": "u"},
    '{"who": null, "seen": null}': {},
    # Spark writes a number that is no text as it writes a double
    '{"at": 1.50, "who": 1e2, "item": true}': {"at": "1.5", "who": "100.0", "item": "true"},
    '{"item": {"a": [1, null, "x:y"]}, "who": ["u"]}': {"item": '{"a":[1,null,"x:y"]}', "who": '["u"]'},
    '{"who": "a\\"b:c", "item": "\\u00e9"}': {"who": 'a"b:c', "item": "é"},
    '{"who": "u", "Who": "v"}': {"who": "u", "_extra": '{"Who":"v"}'},
    '{"who": "u", "new": 1.0, "gone": null}': {"who": "u", "_extra": '{"new":"1.0"}'},
    '{"who": null, "new": {"a": null}}': {"_extra": '{"new":"{\\"a\\":null}"}'},
    '{"who": "u", "at": "9", "item": "i", "seen": 2, "gone": null}': {"who": "u", "at": "9", "item": "i"},
    '{"who": "u", "who": "v"}': {"who": "u"},
    '{"who": "u", "at": null, "item": "i", "new": "n"}': {"who": "u", "item": "i", "_extra": '{"new":"n"}'},
    '{"who": "u", "seen": null, "new": "n"}': {"who": "u", "_extra": '{"new":"n"}'},
    "[1]": {"_unreadable": True},
    '"who"': {"_unreadable": True},
    "not json": {"_unreadable": True},
    '{"who": "u", "at": ': {"_unreadable": True},
}


@contextmanager
def settings_of(spark: SparkSession, values: dict[str, str]) -> Iterator[None]:
    """The session's settings for a while."""
    before = {name: spark.conf.get(name) for name in values}
    for name, value in values.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            spark.conf.set(name, value)  # type: ignore[arg-type]


def test_json_lines_of_every_kind(spark: SparkSession) -> None:
    lines = spark.createDataFrame([(line, "f") for line in LINES], "value string, _file_id string")
    rows = parse_json(lines, Reading(CLICKS, {*CLICKS.words, *CLICKS.unused})).coalesce(1).collect()
    found = {r["_raw"]: {name: r[name] for name in ABSENT} for r in rows}
    assert found == {line: {**ABSENT, **expected} for line, expected in LINES.items()}


@pytest.mark.parametrize("few", [0, 16])
@pytest.mark.parametrize("folder", ["plain", "odd name+50%"])
def test_a_row_knows_its_file(spark: SparkSession, tmp_path: Path, monkeypatch, few: int, folder: str) -> None:
    monkeypatch.setattr(source_rows, "_FEW_FILES", few)
    # one path is the end of another
    for part in ("a.jsonl", "deeper/a.jsonl", "b.jsonl", f"deeper/{tmp_path.name}/a.jsonl"):
        path = tmp_path / folder / part
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"who": part}) + "\n", encoding="utf-8")
    files = find_files(spark, "clicks", CLICKS, str(tmp_path / folder))
    (frame,) = read_source(spark, Reading(CLICKS, CLICKS.words), files)
    found = {(r["_file_id"], r["who"]) for r in frame.collect()}
    assert found == {(f.file_id, f.path.split(f"/{folder}/", 1)[1]) for f in files}
    assert len(found) == 4


def test_the_number_that_travels_for_a_file_changes_nothing(tables, make_context, tmp_path, monkeypatch) -> None:
    (tmp_path / "raw").mkdir()
    for day, lines in enumerate(([*GOOD, *BAD], [GOOD[0], *BAD], GOOD[1:])):
        (tmp_path / "raw" / f"{day}.csv").write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    lakes = []
    for name in ("numbers", "texts"):
        if name == "texts":
            monkeypatch.setattr(staging, "_origins", lambda files: {})
        lake = Tables(tables.spark, str(tmp_path / name), run_id="x")
        ingest(make_context(settings(lake.root, tmp_path / "raw"), run_id="x", tables=lake))
        lakes.append(everything(lake))
    assert lakes[0] == lakes[1]
    assert {r["source"] for r in lakes[0]["events"]} == {"log"}
    assert len({r["file_id"] for r in lakes[0]["rejected_rows"]}) == 2


def test_files_whose_numbers_would_be_equal_keep_their_names() -> None:
    def file(source: str, file_id: str) -> SourceFile:
        return SourceFile(source, "events", "p", "u", file_id, 1)

    assert set(staging._origins([file("a", "b"), file("a", "b"), file("a", "c")]).values()) == {("a", "b"), ("a", "c")}
    assert staging._origins([file("a", "b"), file("c", "b")]) == {}


@pytest.mark.parametrize("format", ["csv", "json", "pattern", "parquet"])
def test_rows_know_their_place_in_a_file_that_several_tasks_read(
    spark: SparkSession, tmp_path: Path, format: str
) -> None:
    who = [f"u{n:03}" for n in range(400)]
    frame = pl.DataFrame(
        {"at": ["2026-05-01"] * 400, "who": who, "item": [None] * 400}, schema_overrides={"item": pl.String}
    )
    for name, part in (("b", frame), ("a", frame.reverse())):
        file = tmp_path / f"{name}.{format}"
        if format == "parquet":
            part.write_parquet(file, row_group_size=50)
        elif format == "json":
            part.write_ndjson(file)
        else:
            part.write_csv(file, include_header=format == "csv")
    lines = {"pattern": "(?P<at>[^,]*),(?P<who>[^,]*),(?P<item>[^,]*)"} if format == "pattern" else {}
    source = CLICKS.model_copy(update={"format": format, "path": f"*.{format}"})
    source = Source.model_validate({**source.model_dump(), "lines": lines})
    files = find_files(spark, "log", source, str(tmp_path))
    with settings_of(spark, {"spark.sql.files.maxPartitionBytes": "2000", "spark.sql.files.openCostInBytes": "500"}):
        (rows,) = read_source(spark, Reading(source, {*source.words, "seen"}, has_position=True), files)
        found = rows.select("_file_id", *POSITION, "who").orderBy(*POSITION).collect()
    assert len({r["_block"] for r in found}) > 1
    for file in files:
        expected = who if file.path.endswith(f"b.{format}") else who[::-1]
        assert [r["who"] for r in found if r["_file_id"] == file.file_id] == expected
