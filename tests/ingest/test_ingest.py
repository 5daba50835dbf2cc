"""Ingest on small dirty files: every row accounted for, reasons, repeats, crashes, late data."""

from __future__ import annotations

import gzip
import json
import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import deltalake
import polars as pl
import pytest
from ingest_shop import BAD, GOOD, HEADER, everything, rows, settings
from recording_progress import RecordingProgress
from spark_only import by_spark_only

from profiling_spark.config import Settings
from profiling_spark.contracts.silver import EVENTS, INGESTED_FILES, ITEMS, REJECTED_ROWS, USERS
from profiling_spark.errors import ConfigError, InputError, QualityError
from profiling_spark.ingest.job import ingest
from profiling_spark.storage import Tables


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "raw data"  # a space in the path, as users have
    folder.mkdir()
    return folder


def test_every_row_is_accounted_for_with_its_reason(tables, make_context, data):
    ignored = "13,2026-05-02 10:00:00,u1,beat,,,,"
    lines = [*GOOD, GOOD[0], *BAD, next(iter(BAD)), ignored]
    (data / "day.csv").write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    outcome = ingest(make_context(settings(tables.root, data)))
    assert (outcome.rows_in, outcome.rows_out, outcome.rows_rejected) == (15, 3, 10)

    (file,) = rows(tables, INGESTED_FILES)
    counted = {k: file[f"rows_{k}"] for k in ("read", "accepted", "rejected", "duplicate", "ignored", "superseded")}
    assert counted == {"read": 15, "accepted": 3, "rejected": 10, "duplicate": 1, "ignored": 1, "superseded": 0}
    assert file["status"] == "done"

    rejected = rows(tables, REJECTED_ROWS)
    assert sorted(r["reasons"] for r in rejected) == sorted(BAD.values())
    assert sum(r["occurrences"] for r in rejected) == 10
    unreadable = next(r for r in rejected if r["reasons"] == "unreadable")
    assert unreadable["raw"] == "12,2026-05-02 10:00:00,u1,buy"
    assert json.loads(next(r for r in rejected if r["reasons"] == "bad_event_time")["raw"])["when"] == "not-a-time"

    events = {r["item_id"] + r["event_type"]: r for r in rows(tables, EVENTS)}
    bought = events["apurchase"]
    # 23:30 in Shanghai is 15:30 UTC; the day is the business's
    assert (bought["event_time"].hour, bought["event_date"]) == (15, date(2026, 5, 1))
    assert (bought["amount"], bought["flags"]) == (Decimal("21.0000"), "many")
    assert events["arefund"]["amount"] == Decimal("10.5000")
    assert events["bview"]["amount"] is None


def test_it_tells_how_many_bytes_of_how_many_are_judged_and_the_rows_of_each_table(tables, make_context, data):
    text = HEADER + "\n".join([*GOOD, GOOD[0], *BAD]) + "\n"
    (data / "day.csv").write_text(text, encoding="utf-8")
    size = len(text.encode())
    ctx = make_context(settings(tables.root, data))
    ctx.progress = recorded = RecordingProgress()
    ingest(ctx)
    assert (recorded.done_before, recorded.total, recorded.unit) == (0, size, "bytes")
    assert recorded.parts == [("events", len(GOOD) + 1 + len(BAD), size)]


def test_rows_staged_in_files_and_in_cache_become_the_same_tables(tables, make_context, data, tmp_path):
    conflict = GOOD[0].replace("2026-05-01", "2026-05-03")
    (data / "day.csv").write_text(HEADER + "\n".join([*GOOD, GOOD[0], conflict, *BAD]) + "\n", encoding="utf-8")
    cached = Tables(tables.spark, by_spark_only(tables.root), run_id="x")
    ingest(make_context(settings(cached.root, data), tables=cached))
    filed = Tables(tables.spark, str(tmp_path / "a lake"), run_id="x")
    ingest(make_context(settings(filed.root, data), tables=filed))
    assert everything(filed) == everything(tables)
    for table in (EVENTS, REJECTED_ROWS):  # what was staged and not committed is gone
        there = {p.relative_to(filed.path(table)).as_posix() for p in Path(filed.path(table)).rglob("part-*.parquet")}
        assert there == {f.name for f in filed.files(table)}
    files = pl.DataFrame(deltalake.DeltaTable(filed.path(EVENTS)).get_add_actions(flatten=True))
    assert files["num_records"].sum() == len(rows(filed, EVENTS)) == 3
    assert (files["min.event_date"].min(), files["max.event_date"].max()) == (date(2026, 5, 2), date(2026, 5, 3))
    assert "min.user_id" not in files.columns  # personal: it would outlive a delete


def test_expressions_over_json_fields_and_unwanted_rows(tables, make_context, data):
    lines = [
        {"at": "2026-05-01 10:00:00", "who": "u1", "what": "look", "stay ms": "1500", "n": 3},
        {"at": "2026-05-01 11:00:00", "who": "u1", "what": "look", "n": 4},
        {"at": "2026-05-01 12:00:00", "who": "u1", "what": "look"},
    ]
    (data / "day.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines), encoding="utf-8")
    columns = {
        "event_time": "at",
        "user_id": "who",
        "event_type": "what",
        "search_text": "stay ms",
        "duration_seconds": "try_cast(`stay ms` as double) / 1000",
    }
    log = {"format": "json", "path": "*.jsonl", "target": "events", "columns": columns, "where": "n > 2"}
    base = settings(tables.root, data).model_dump(mode="json")
    base["sources"] = {"log": {**log, "event_types": {"look": "view"}}}
    outcome = ingest(make_context(Settings.model_validate(base)))
    assert outcome.facts["sources"]["log"]["ignored"] == 1  # null is not true
    found = sorted((r["search_text"] or "", r["duration_seconds"]) for r in rows(tables, EVENTS))
    assert found == [("", None), ("1500", 1.5)]


def test_where_that_is_not_a_condition_stops_the_run(tables, make_context, data):
    (data / "day.csv").write_text(HEADER + GOOD[0] + "\n", encoding="utf-8")
    base = settings(tables.root, data).model_dump(mode="json")
    base["sources"]["log"]["where"] = "qty + 1"
    with pytest.raises(ConfigError, match=r"sources\.log\.where = 'qty \+ 1': expected true or false"):
        ingest(make_context(Settings.model_validate(base)))
    assert not tables.exists(EVENTS)


def test_a_second_run_takes_no_file_twice_nor_the_same_bytes_under_another_name(tables, make_context, data):
    (data / "day.csv").write_text(HEADER + "\n".join(GOOD) + "\n", encoding="utf-8")
    ingest(make_context(settings(tables.root, data), run_id="first"))
    before = everything(tables)
    (data / "day_resend.csv").write_bytes((data / "day.csv").read_bytes())
    with pytest.raises(ConfigError, match=r"buckets = 7: .* written with another number"):
        ingest(make_context(settings(tables.root, data).model_copy(update={"buckets": 7}), run_id="other"))
    again = ingest(make_context(settings(tables.root, data), run_id="second"))
    assert (again.rows_in, again.facts["files_known"]) == (0, 2)
    assert everything(tables) == before


def test_rows_delivered_again_in_a_later_file_are_duplicates(tables, make_context, data):
    (data / "day1.csv").write_text(HEADER + "\n".join(GOOD) + "\n", encoding="utf-8")
    ingest(make_context(settings(tables.root, data), run_id="first"))
    late = "20,2026-05-01 08:00:00,u3,look,b,,,"
    (data / "day2.csv").write_text(HEADER + "\n".join([GOOD[0], late]) + "\n", encoding="utf-8")
    outcome = ingest(make_context(settings(tables.root, data), run_id="second"))
    assert (outcome.rows_in, outcome.rows_out) == (2, 1)
    assert len(rows(tables, EVENTS)) == 4
    second = next(r for r in rows(tables, INGESTED_FILES) if r["path"].endswith("day2.csv"))
    assert (second["rows_accepted"], second["rows_duplicate"]) == (1, 1)


def test_over_the_threshold_nothing_is_published(tables, make_context, data):
    (data / "day.csv").write_text(HEADER + "\n".join([*GOOD, *BAD]) + "\n", encoding="utf-8")
    with pytest.raises(QualityError, match=r"source log: 8 of 12 rows refused.*max_rejected_share is a share of 0\.2"):
        ingest(make_context(settings(tables.root, data, max_rejected_share=0.2)))
    assert rows(tables, EVENTS) == []
    assert rows(tables, REJECTED_ROWS) == []
    assert rows(tables, INGESTED_FILES) == []  # its claim is given back


def test_columns_are_read_by_name_whatever_their_order(tables, make_context, data):
    (data / "a.csv").write_text(HEADER + GOOD[0] + "\n", encoding="utf-8")
    (data / "b.csv").write_text("who,id,what,when,price,qty,sku,order\nu9,21,buy,2026-05-03 08:00:00,3,1,c,o9\n")
    ingest(make_context(settings(tables.root, data)))
    found = {r["user_id"]: (r["item_id"], r["unit_price"]) for r in rows(tables, EVENTS)}
    assert found == {"u1": ("a", Decimal("10.500000")), "u9": ("c", Decimal("3.000000"))}


def test_no_file_a_wrong_column_and_a_wrong_rule_are_reported(tables, make_context, data):
    with pytest.raises(InputError, match=r"source log: expected files at .*\*\.csv, found none"):
        ingest(make_context(settings(tables.root, data)))
    (data / "day.csv").write_text(HEADER.replace("who", "whom") + GOOD[0] + "\n")
    with pytest.raises(ConfigError, match=r"sources\.log\.columns: .*who"):
        ingest(make_context(settings(tables.root, data)))
    (data / "day.csv").write_text(HEADER + GOOD[0] + "\n")
    rule = [{"name": "odd", "when": "no_such_column > 1"}]
    with pytest.raises(ConfigError, match=r"ingest\.rules odd: when = 'no_such_column > 1'"):
        ingest(make_context(settings(tables.root, data, rules=rule)))
    assert rows(tables, EVENTS) == []


def test_attributes_catalogue_and_an_unreadable_file(tables, make_context, data, spark):
    (data / "day.csv").write_text(HEADER + "\n".join(GOOD) + "\n")
    people = [{"uid": "u1", "g": "女", "age": "30"}, {"uid": "u1", "g": "女", "age": "30"}, {"uid": "u2", "g": "M"}]
    people += [{"uid": "u3", "g": "x", "age": "230"}]
    (data / "people.jsonl").write_text("\n".join(json.dumps(p, ensure_ascii=False) for p in people), encoding="utf-8")
    spark.createDataFrame([("a", "toys", 9.5)], "sku string, cate string, price double").coalesce(1).write.parquet(
        str(data / "goods")
    )
    (data / "goods" / "broken.parquet").write_bytes(b"PAR1 is not all it takes")
    cut = gzip.compress((HEADER + "\n".join(GOOD) + "\n").encode())[:-20]
    (data / "day_cut.csv.gz").write_bytes(cut)
    base = settings(tables.root, data).model_dump()
    base["sources"]["log"]["path"] = "day*"
    base["sources"]["people"] = {
        "format": "json",
        "path": "people.jsonl",
        "target": "users",
        "columns": {"user_id": "uid", "gender": "g", "age": "age"},
    }
    base["sources"]["goods"] = {
        "format": "parquet",
        "path": "goods/*.parquet",
        "target": "items",
        "columns": {"item_id": "sku", "category": "cate", "list_price": "price"},
    }
    outcome = ingest(make_context(Settings.model_validate(base)))
    assert "broken.parquet" in outcome.problem
    assert "day_cut.csv.gz: is not whole gzip" in outcome.problem
    assert {r["user_id"]: (r["gender"], r["age"]) for r in rows(tables, USERS)} == {
        "u1": ("female", 30),
        "u2": ("male", None),
    }
    assert [(r["item_id"], r["list_price"]) for r in rows(tables, ITEMS)] == [("a", Decimal("9.500000"))]
    assert {r["item_id"]: r["category"] for r in rows(tables, EVENTS)} == {"a": "toys", "b": None}
    status = {Path(r["path"]).name.split("-")[0]: r["status"] for r in rows(tables, INGESTED_FILES)}
    assert status["broken.parquet"] == "refused"
    assert sorted(r["reasons"] for r in rows(tables, REJECTED_ROWS)) == ["bad_age"]


def test_a_corrected_event_takes_its_place_and_the_merge_looks_at_the_file_where_it_lies(tables, make_context, data):
    lines = [f"{n},2026-05-{n:02d} 09:00:00,u{n},buy,a,1,{n}.00,o{n}" for n in range(1, 9)]
    (data / "day.csv").write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    ingest(make_context(settings(tables.root, data)))
    before = {r["user_id"]: r for r in rows(tables, EVENTS)}
    (data / "late.csv").write_text(f"{HEADER}3,2026-05-03 11:00:00,u3,buy,a,2,3.00,o3\n", encoding="utf-8")
    ingest(make_context(settings(tables.root, data)))
    after = {r["user_id"]: r for r in rows(tables, EVENTS)}
    corrected = after.pop("u3")
    assert (corrected["quantity"], corrected["amount"]) == (2, Decimal("6.0000"))
    assert before.pop("u3")["quantity"] == 1
    assert after == before
    merge = deltalake.DeltaTable(tables.path(EVENTS)).history(1)[0]
    assert merge["operation"] == "MERGE"
    looks_at = merge["operationParameters"]["predicate"]
    assert re.search(rf"user_bucket#\d+L? (IN \(|= ){corrected['user_bucket']}\b", looks_at)
    assert looks_at.count("2026-05-03") == 2  # from that day to that day
