"""The catalogue and the contacts, delivered again and again: what holds now, what is offered, who opted out."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from ingest_shop import rows

from profiling_spark.attributes import believed, last_of_each_source, opt_outs, versions
from profiling_spark.config import Settings
from profiling_spark.config.sources import Source
from profiling_spark.contracts.gold import USER_RECOMMENDATIONS
from profiling_spark.contracts.silver import INGESTED_FILES, ITEMS, USERS
from profiling_spark.errors import QualityError
from profiling_spark.features.job import build_features
from profiling_spark.ingest.files.deliveries import deliveries
from profiling_spark.ingest.files.ledger import Counts, FileKey, Taken
from profiling_spark.ingest.files.source_files import SourceFile
from profiling_spark.ingest.job import ingest
from profiling_spark.maintain.job import check
from profiling_spark.recommend.job import recommend_items
from profiling_spark.storage import Tables

ITEM_COLUMNS = {"item_id": "sku", "title": "title", "category": "kind", "list_price": "price", "stock": "left"}
USER_COLUMNS = {"user_id": "id", "city": "city", "personalisation_opt_out": "unsubscribed"}


def settings(root: str, data: Path, **sources: dict[str, Any]) -> Settings:
    return Settings.model_validate(
        {
            "storage": {"root": root},
            "data_root": str(data),
            "buckets": 1,
            "sources": {name: {"format": "csv", **source} for name, source in sources.items()},
            "recommend": {"top_n": 5, "min_group_customers": 2},
        }
    )


def put(path: Path, header: str, lines: Iterable[str], *, modified: int) -> None:
    """A file as it stands after so many hours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    os.utime(path, (1_750_000_000 + modified * 3600,) * 2)


def newest(tables: Tables, table: Any, *columns: str) -> dict[str, Any]:
    fresh = versions(Tables(tables.spark, tables.root, run_id="reader"), table)
    found = believed(fresh, key=(table.key[0],), values=columns, as_of=None, timezone="UTC", precedence=()).collect()
    return {r[table.key[0]]: tuple(r[c] for c in columns) for r in found}


def test_a_catalogue_that_is_exported_every_night(tables, make_context, tmp_path):
    """Case: no time of change; sold out, dearer, renamed, opted out in the second night."""
    orders = [(u, n, (u * u + n * 3) % 12) for u in range(9) for n in range(4)]
    acts = [f"{u * 9 + n},u{u},2025-06-{n + 3:02} 1{n}:00:00,buy,S{item},10.00" for u, n, item in orders]
    put(tmp_path / "events.csv", "id,user,at,act,sku,price", acts, modified=0)
    goods = [f"S{n},Thing {n},Tea,{n + 10}.00,5" for n in range(12)]
    people = [f"u{n},Köln,no" for n in range(9)]
    put(tmp_path / "products.csv", "sku,title,kind,price,left", goods, modified=1)
    put(tmp_path / "contacts.csv", "id,city,unsubscribed", people, modified=1)
    columns = {"event_id": "id", "event_time": "at", "user_id": "user", "event_type": "act", "item_id": "sku"}
    log = {"path": "events.csv", "target": "events", "event_types": {"buy": "purchase"}}
    wanted = settings(
        tables.root,
        tmp_path,
        log={**log, "columns": {**columns, "unit_price": "price", "quantity": "'1'"}},
        products={"path": "products.csv", "target": "items", "columns": ITEM_COLUMNS},
        contacts={"path": "contacts.csv", "target": "users", "columns": USER_COLUMNS},
    )
    ingest(make_context(wanted, run_id="night1"))

    changed = {"S0": "S0,Thing 0,Tea,8.00,5", "S1": "S1,Thing 1,Tea,11.00,0", "S3": "S3,A new name,Tea,13.00,5"}
    put(
        tmp_path / "products.csv",
        "sku,title,kind,price,left",
        [changed.get(g[:2], g) if g[2] == "," else g for g in goods],
        modified=25,
    )
    moved = {"u0": "u0,Bonn,yes", "u1": "u1,Köln,yes", "u2": "u2,Zürich,no", "u3": "u3,,"}
    put(tmp_path / "contacts.csv", "id,city,unsubscribed", [moved.get(p[:2], p) for p in people], modified=25)
    outcome = ingest(make_context(wanted, run_id="night2"))
    counted = outcome.facts["sources"]
    assert {n: (c["read"], c["accepted"], c["duplicate"]) for n, c in counted.items()} == {
        "products": (12, 3, 9),
        "contacts": (9, 4, 5),
    }
    found = newest(tables, ITEMS, "title", "list_price", "stock")
    assert (found["S0"], found["S1"]) == (("Thing 0", Decimal(8), 5), ("Thing 1", Decimal(11), 0))
    assert (found["S3"], found["S4"]) == (("A new name", Decimal(13), 5), ("Thing 4", Decimal(14), 5))
    assert {u: c for u, (c,) in newest(tables, USERS, "city").items() if u < "u4"} == {
        "u0": "Bonn", "u1": "Köln", "u2": "Zürich", "u3": None,
    }  # fmt: skip

    built = build_features(make_context(wanted))
    assert built.facts["backfilled"] == {"users": 9, "items": 12}  # as of June 2025 nothing had been delivered
    recommend_items(make_context(wanted))
    lists = rows(tables, USER_RECOMMENDATIONS)
    assert {r["user_id"] for r in lists} == {f"u{n}" for n in range(9)}
    assert "S1" not in {r["item_id"] for r in lists}
    personal = {r["user_id"] for r in lists if r["engine"] not in ("popular", "content")}
    assert not personal & {"u0", "u1"}
    assert check(make_context(wanted)).lines


def test_deliveries_a_b_a_snapshots_and_late_ones(tables, make_context, tmp_path):
    header = "sku,title,kind,price,left"
    source = {
        "path": "cat/p_*.csv",
        "target": "items",
        "columns": ITEM_COLUMNS,
        "delivered_at": "p_%Y-%m-%d",
        "snapshot": True,
        "max_ended_share": 0.5,
    }
    wanted = settings(tables.root, tmp_path, shop=source)
    one = ["a,Apple,x,1.00,3", "b,Bread,x,2.00,3", "c,Cake,x,3.00,3"]
    put(tmp_path / "cat/p_2026-05-01.csv", header, [*one, "a,Late row wins,x,1.00,3", *one[:1]], modified=0)
    ingest(make_context(wanted, run_id="r1"))
    put(tmp_path / "cat/p_2026-05-03.csv", header, one[:2], modified=1)
    third = ingest(make_context(wanted, run_id="r2"))
    assert third.facts["sources"]["shop"]["ended"] == 1
    assert "1 ended" in third.lines[0]
    assert newest(tables, ITEMS, "title") == {"a": ("Apple",), "b": ("Bread",)}
    # a late day between: c was dearer then, b was called otherwise, d came and went
    late = ["a,Apple,x,1.00,3", "b,Brioche,x,2.00,3", "c,Cake,x,4.00,3", "d,Date,x,1.00,1"]
    put(tmp_path / "cat/p_2026-05-02.csv", header, late, modified=2)
    ingest(make_context(wanted, run_id="r3"))
    assert newest(tables, ITEMS, "title") == {"a": ("Apple",), "b": ("Bread",)}
    then = last_of_each_source(
        versions(Tables(tables.spark, tables.root, run_id="x"), ITEMS), key=("item_id",),
        values=["title", "list_price"], as_of=date(2026, 5, 3), timezone="UTC",
    )  # fmt: skip
    assert {r["item_id"]: (r["title"], r["list_price"]) for r in then.collect()} == {
        "a": ("Apple", Decimal(1)), "b": ("Brioche", Decimal(2)), "c": ("Cake", Decimal(4)), "d": ("Date", Decimal(1)),
    }  # fmt: skip
    assert check(make_context(wanted)).lines

    put(tmp_path / "cat/p_2026-05-04.csv", header, ["z,Zest,x,1.00,1"], modified=3)
    with pytest.raises(
        QualityError, match=r"lacks 2 of the 2 keys .*sources\.shop\.max_ended_share is a share of 0\.5"
    ):
        ingest(make_context(wanted, run_id="r4"))
    assert newest(tables, ITEMS, "title") == {"a": ("Apple",), "b": ("Bread",)}
    # the first day's content once more, under another name and later: it is what holds
    (tmp_path / "cat/p_2026-05-04.csv").unlink()
    put(tmp_path / "cat/p_2026-05-05.csv", header, ["a,Apple,x,1.00,3", "c,Cake,x,3.00,3"], modified=4)
    put(tmp_path / "cat/p_today.csv", header, one, modified=4)
    last = ingest(make_context(wanted, run_id="r5"))
    assert "p_today.csv: its path does not say when it was delivered: expected p_%Y-%m-%d" in last.problem
    assert newest(tables, ITEMS, "list_price") == {"a": (Decimal(1),), "b": (Decimal(2),), "c": (Decimal(3),)}
    assert any("lacks" in note and "it ends nothing" in note for note in last.lines)
    ledger = rows(tables, INGESTED_FILES)
    assert {r["path"][-14:-4]: r["delivered_at"] is not None for r in ledger if r["status"] == "done"} == dict.fromkeys(
        ["2026-05-01", "2026-05-02", "2026-05-03", "2026-05-05"], True
    )


STARTED = datetime(2026, 7, 1, 3, 30, tzinfo=UTC)


def item_file(path: str, content: str, modified: int) -> SourceFile:
    at = datetime(2026, 6, 1, modified, tzinfo=UTC)
    return SourceFile("shop", "items", path, f"file://{path}", content, 5, modified_at=at)


def test_which_files_are_new_deliveries():
    source = Source(format="csv", path="*.csv", target="items", columns={"item_id": "sku"})
    taken: list[Taken] = []
    order = []
    for run, files in enumerate(
        (
            [item_file("/p.csv", "A", 1)],
            [item_file("/p.csv", "A", 1)],  # as it was
            [item_file("/p.csv", "B", 2)],
            [item_file("/p.csv", "A", 3)],  # an old content again
            [item_file("/q.csv", "A", 5), item_file("/r.csv", "C", 4), item_file("/s.csv", "A", 4)],
            [item_file("/p.csv", "A", 2), item_file("/r.csv", "C", 9)],  # older; touched
        )
    ):
        found = deliveries(files, taken, source, started=STARTED, timezone="UTC")
        order += [(run, f.content_id or f.file_id, f.path) for f in found.new]
        for f in found.new:
            assert f.delivered_at is not None
            taken.append(
                Taken(
                    FileKey("shop", f.file_id, "items"),
                    f.path,
                    5,
                    Counts(),
                    "r",
                    f.content_id or "",
                    f.modified_at,
                    f.delivered_at,
                )
            )
    assert order == [
        (0, "A", "/p.csv"), (2, "B", "/p.csv"), (3, "A", "/p.csv"),
        (4, "C", "/r.csv"), (4, "A", "/s.csv"), (4, "A", "/q.csv"), (5, "C", "/r.csv"),
    ]  # fmt: skip
    times = [t.delivered_at for t in taken]
    assert times == sorted(set(times))  # each has its own, in that order
    assert len({t.key for t in taken}) == len(taken)
    # what the release before took: no time is known, and it is known all the same
    old = Taken(FileKey("shop", "Z", "items"), "/z.csv", 5, Counts(), "r")
    assert deliveries([item_file("/z.csv", "Z", 9)], [old], source, started=STARTED, timezone="UTC").new == []


def test_who_opted_out(spark):
    """Of each customer what was said: (source, day, wish); a later "no" of the same source alone ends a "yes"."""
    reported = {
        "never": ([("a", 1, None)], None),
        "silent since": ([("a", 1, True), ("a", 2, None)], True),
        "back": ([("a", 1, True), ("a", 2, False)], False),
        "out again": ([("a", 1, True), ("a", 2, False), ("a", 3, True)], True),
        "another source": ([("a", 1, True), ("b", 2, False)], True),
        "same time": ([("a", 1, True), ("a", 1, False)], True),
        "refused before": ([("a", 2, True), ("a", 1, False)], True),
    }
    lines = [
        (user, source, datetime(2026, 5, day, tzinfo=UTC), wish)
        for user, (wishes, _) in reported.items()
        for source, day, wish in wishes
    ]
    frame = spark.createDataFrame(
        lines, "user_id string, source string, version_time timestamp, personalisation_opt_out boolean"
    )
    found = {r["user_id"]: r["personalisation_opt_out"] for r in opt_outs(frame).collect()}
    assert found == {user: wish for user, (_, wish) in reported.items() if wish is not None}
