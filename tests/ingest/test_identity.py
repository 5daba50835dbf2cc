"""Ids of rows: what is delivered again counts once, in any order and number of runs; equal rows, as declared."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from ingest_shop import rows

from profiling_spark.config import Settings
from profiling_spark.contracts.operations import SOURCE_SETTINGS
from profiling_spark.contracts.silver import EVENTS, INGESTED_FILES
from profiling_spark.errors import ConfigError
from profiling_spark.ingest.files.identity import (
    Identity,
    check_renamed,
    identities,
    sort_out_renamed,
    to_remember,
)
from profiling_spark.ingest.files.ledger import Counts, Taken
from profiling_spark.ingest.files.source_files import FileKey, SourceFile
from profiling_spark.ingest.job import ingest
from profiling_spark.ingest.judging.mapping import LINE, ROW_ID, map_columns, with_row_id
from profiling_spark.ingest.reading.readers import parse_values
from profiling_spark.ingest.reading.source_rows import Reading

MAPPED = {"event_time": "at", "user_id": "who", "event_type": "what", "item_id": "sku", "quantity": "n"}
WORDS = {"buy": "purchase", "look": "view", "like": "favorite"}


def source(name: str, **changes: Any) -> dict[str, Any]:
    """`own` has ids, `plain` has none, of `till` equal rows are several."""
    word = {"own": "buy", "plain": "look", "till": "like"}[name]
    columns = MAPPED | ({"event_id": "id"} if name == "own" else {})
    repeats = {"repeats": "count"} if name == "till" else {}
    known = {"format": "csv", "path": f"{name}*.csv", "target": "events", "columns": columns}
    return {**known, "event_types": {word: WORDS[word]}, **repeats, **changes}


def settings(root: str, data: Path, sources: dict[str, Any], **changes: Any) -> Settings:
    base = {"storage": {"root": root}, "data_root": str(data), "buckets": 2, "sources": sources}
    return Settings.model_validate({**base, "ingest": {"latest_event_date": "2026-12-31"}, **changes})


# one till rings up three equal espressos: shared cases, 20-equal-rows
ESPRESSOS = """Date,Time,Till,Customer,Item,Qty,Gross Sales
2025-08-29,09:28:00,T1,m3,Espresso,1,2.50
2025-08-30,09:15:00,T1,m1,Espresso,1,2.50
2025-08-30,09:15:00,T1,m1,Espresso,1,2.50
2025-08-30,09:15:00,T1,m1,Espresso,1,2.50
2025-08-30,09:15:00,T1,m2,Croissant,1,3.00
"""
BAR = {
    "format": "csv",
    "path": "bar*.csv",
    "target": "events",
    "columns": {
        "event_time": "concat(Date, ' ', Time)",
        "user_id": "Customer",
        "event_type": "'sale'",
        "order_id": "concat_ws('/', Till, Date, Time, Customer)",
        "item_id": "Item",
        "quantity": "Qty",
        "amount": "Gross Sales",
    },
    "event_types": {"sale": "cart"},
    "repeats": "count",
}
# shared cases, 18-long-ids-bots: ids beyond 2^53, and two that are equal modulo 2^32
LONG = (9007199254740992, 9007199254740993, 4294967301, 8589934597)
CLICKS = {
    "format": "json",
    "path": "clicks*.jsonl",
    "target": "events",
    "columns": {"event_time": "timestamp_millis(try_cast(ts as bigint))", "user_id": "uid", "event_type": "act"},
    "event_types": {"hit": "ad_view"},
}

Row = tuple[str, str, str, str, str]  # id, who, at, sku, n


def deliveries(seed: int) -> dict[str, list[list[Row]]]:
    """By source the rows of three files: what repeats is delivered again in other files, years later or earlier."""
    draw = random.Random(seed)
    start = datetime(2023, 1, 1, 12)
    files: dict[str, list[list[Row]]] = {name: [[], [], []] for name in ("own", "plain", "till")}
    for n in range(120):
        name = draw.choice(("own", "plain", "till"))
        number, who = str(n % 7), f"u{n % 11}"
        for _ in range(draw.randint(1, 3)):
            at = start + timedelta(days=draw.randint(0, 1200))
            row = (number, who, f"{at:%Y-%m-%d %H:%M:%S}", draw.choice("ab"), draw.choice(("1", "2", "")))
            for file in draw.sample(range(3), draw.randint(1, 3)):
                files[name][file] += [row] * draw.randint(1, 3)
    for each in files.values():
        for file in each:
            draw.shuffle(file)
    return files


def expected(files: dict[str, list[list[Row]]]) -> Counter[Any]:
    """(source, who, at, sku, n) of the events that are stored."""
    found: Counter[Any] = Counter()
    latest: dict[tuple[str, str], Row] = {}
    for row in (r for file in files["own"] for r in file):
        key = (row[1], row[0])
        # the keep rule is event_time; of equally late ones the greater content
        latest[key] = max(latest.get(key, row), row, key=lambda r: (r[2], r[3], r[4]))
    found.update(("own", *row[1:]) for row in latest.values())
    found.update(("plain", *row[1:]) for row in {(None, *r[1:]) for file in files["plain"] for r in file})
    largest: Counter[Any] = Counter()
    for file in files["till"]:
        largest |= Counter(("till", *row[1:]) for row in file)
    return found + largest


def write(path: Path, file: list[Row], word: str, *, column: str = "") -> None:
    """`column`: a further one; empty for all rows, or filled for all where it is called `filled`."""
    more = f",{column}" if column else ""
    value = "," + ("x" if column == "filled" else "") if column else ""
    lines = [f"{i},{at},{who},{word},{sku},{n}{value}" for i, who, at, sku, n in file]
    path.write_text("\n".join([f"id,at,who,what,sku,n{more}", *lines]) + "\n")


def stored(tables: Any) -> Counter[Any]:
    def text(n: Decimal | None) -> str:
        return "" if n is None else f"{n:.0f}"

    return Counter(
        (r["source"], r["user_id"], f"{r['event_time']:%Y-%m-%d %H:%M:%S}", r["item_id"], text(r["quantity"]))
        for r in rows(tables, EVENTS)
        if r["source"] in ("own", "plain", "till")
    )


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_random_redeliveries_with_and_without_ids_count_as_declared(tables, make_context, tmp_path, order):
    files = deliveries(seed=16)
    sources = {name: source(name) for name in files} | {"bar": BAR, "clicks": CLICKS}
    sources["plain"]["unused"] = ["id"]
    sources["till"]["unused"] = ["id"]
    base = settings(tables.root, tmp_path, sources)
    (tmp_path / "bar 1.csv").write_text(ESPRESSOS)
    hits = [f'{{"ts": {1750459980000 + n}, "uid": {i}, "act": "hit"}}' for n, i in enumerate(LONG)]
    (tmp_path / "clicks.jsonl").write_text("\n".join(hits))
    # the second and third file come with further columns, of which plain's stays empty
    further = {("plain", 1): "note", ("plain", 2): "note", ("till", 1): "note", ("own", 1): "filled"}
    outcomes = []
    for run, part in enumerate((order[:1], order[1:])):
        for n in part:
            for name, each in files.items():
                word = next(iter(sources[name]["event_types"]))
                write(tmp_path / f"{name}{n}.csv", each[n], word, column=further.get((name, n), ""))
        outcomes.append(ingest(make_context(base, run_id=f"run {run}")))
        # overlapping: the third espresso again, and one from before
        (tmp_path / "bar 2.csv").write_text(ESPRESSOS.replace("2025-08-29,09:28:00,T1,m3,Espresso,1,2.50\n", ""))
    assert stored(tables) == expected(files)

    found = rows(tables, EVENTS)
    bar = [r for r in found if r["source"] == "bar"]
    assert len(bar) == 5
    assert sum(r["amount"] for r in bar if r["user_id"] == "m1" and r["event_date"] == date(2025, 8, 30)) == Decimal(
        "7.5"
    )
    assert {r["user_id"] for r in found if r["source"] == "clicks"} == {str(i) for i in LONG}
    assert len({r["event_id"] for r in found}) == len(found)
    counted = Counter(r["file_id"] for r in found)
    for f in rows(tables, INGESTED_FILES):
        outcome = ("accepted", "rejected", "duplicate", "ignored", "superseded")
        assert f["rows_read"] == sum(f[f"rows_{k}"] for k in outcome)
        assert f["rows_accepted"] == counted[f["file_id"]]

    # the source is renamed: refused, unless it says whose rows it continues; then its files are known
    renamed = {k: v for k, v in sources.items() if k != "plain"} | {"visits": sources["plain"]}
    with pytest.raises(ConfigError, match=r"was taken as source plain.*sources.visits.id_namespace: plain"):
        ingest(make_context(settings(tables.root, tmp_path, renamed), run_id="renamed"))
    with pytest.raises(ConfigError, match=r"business_timezone = Asia/Tokyo: the events in .* are dated in UTC"):
        ingest(make_context(settings(tables.root, tmp_path, sources, business_timezone="Asia/Tokyo"), run_id="zone"))
    renamed["visits"] = {**sources["plain"], "id_namespace": "plain"}
    write(tmp_path / "plain 9.csv", [*files["plain"][0][:9], ("", "new", "2024-01-01 00:00:00", "a", "1")], "look")
    outcome = ingest(make_context(settings(tables.root, tmp_path, renamed), run_id="renamed"))
    assert (outcome.rows_in, outcome.rows_out) == (10, 1)
    assert rows(tables, SOURCE_SETTINGS)


def test_rows_that_differ_elsewhere_are_counted_and_named(tables, make_context, tmp_path):
    lines = ["id,at,who,what,sku,n", *(f"{i},2026-05-01 10:00:00,u1,look,a,1" for i in (1, 2, 2, 3))]
    (tmp_path / "plain1.csv").write_text("\n".join(lines))
    # the first of them once more, by another order of the columns: a repeat
    (tmp_path / "plain1-turned.csv").write_text("n,sku,what,who,at,id\n1,a,look,u1,2026-05-01 10:00:00,1")
    base = settings(tables.root, tmp_path, {"plain": source("plain")})
    outcome = ingest(make_context(base, run_id="first"))
    # id is in no mapping: 1 and 3 differ from the row that counts, the second 2 is a repeat; rescued tells them apart
    assert outcome.facts["equal_in_mapped_columns"] == {"plain": 2}
    assert any("plain: warning, 2 rows equal another one in every mapped column" in line for line in outcome.lines)
    (tmp_path / "plain2.csv").write_text("\n".join([lines[0], "9,2026-05-01 10:00:00,u1,look,a,1"]))
    again = ingest(make_context(base, run_id="second"))
    assert again.facts["equal_in_mapped_columns"] == {"plain": 1}
    assert len(rows(tables, EVENTS)) == 1


def taken(name: str, file_id: str, path: str = "/data/a.csv") -> Taken:
    return Taken(FileKey(name, file_id, "events"), path, 10, Counts(accepted=1), "before")


def test_a_source_goes_on_with_the_ids_of_its_stored_rows(tmp_path):
    base = settings("lake", tmp_path, {"own": source("own"), "plain": source("plain")})
    new = Identity("plain", False, tuple(sorted(MAPPED)))
    assert identities(base, [], {})["plain"] == new
    # a lake that remembers nothing was made by a release that hashed the whole line
    of_before = identities(base, [taken("plain", "f")], {})["plain"]
    assert of_before == Identity("plain", False, None, is_stored=True)
    known = to_remember(base, {"plain": new, "own": Identity("own", True, ("user_id",))}, {}, ["plain", "own"])
    assert known["*"] == {"business_timezone": "UTC"}
    assert known["plain"]["id_columns"] == "event_time,event_type,item_id,quantity,user_id"
    assert identities(base, [taken("plain", "f")], known)["plain"].columns == new.columns
    # a column that is mapped later is no part of the id; all files replaced: a new beginning
    more = source("plain", columns={**MAPPED, "channel": "via"})
    wider = settings("lake", tmp_path, {"plain": more})
    assert identities(wider, [taken("plain", "f")], known)["plain"].columns == new.columns
    again = identities(wider, [taken("plain", "f")], known, {FileKey("plain", "f", "events")})
    assert again["plain"] == Identity("plain", False, tuple(sorted({*MAPPED, "channel"})))
    narrower = settings("lake", tmp_path, {"plain": source("plain", columns={k: MAPPED[k] for k in list(MAPPED)[:3]})})
    with pytest.raises(ConfigError, match=r"sources.plain.columns lacks \['item_id', 'quantity'\]"):
        identities(narrower, [taken("plain", "f")], known)
    with_id = settings("lake", tmp_path, {"plain": source("plain", columns={**MAPPED, "event_id": "id"})})
    with pytest.raises(ConfigError, match=r"sources.plain.columns maps an id of the row; its stored rows have none"):
        identities(with_id, [taken("plain", "f")], known)


STARTED = datetime(2026, 7, 1, tzinfo=UTC)


def test_a_renamed_source_knows_its_files_or_is_refused(tmp_path):
    def found(file_id: str, path: str) -> SourceFile:
        return SourceFile("clicks", "events", path, path, file_id, 10)

    before = [taken("plain", "f", "/data/a.csv"), taken("plain", "g", "/data/b.csv")]
    for file in (found("f", "/elsewhere.csv"), found("other", "/data/a.csv")):
        with pytest.raises(ConfigError, match="taken as source plain, which the settings no longer have"):
            check_renamed([file], before, settings("lake", tmp_path, {"clicks": source("plain")}))
    continued = settings("lake", tmp_path, {"clicks": source("plain", id_namespace="plain")})
    check_renamed([found("f", "/elsewhere.csv")], before, continued)
    here = [found("f", "/data/a.csv"), found("h", "/data/c.csv")]
    assert [f.file_id for f in sort_out_renamed(here, before, continued, started=STARTED).files] == ["h"]
    # a file that changed goes under the name by which its rows are stored
    again = settings("lake", tmp_path, {"clicks": source("plain", id_namespace="plain", changed_files="take_again")})
    there = [found("f", "/data/a.csv"), found("new", "/data/b.csv")]
    todo = sort_out_renamed(there, before, again, started=STARTED)
    assert ([f.file_id for f in todo.files], todo.gone) == (["new"], {FileKey("plain", "g", "events")})
    # a source that took files before is no new name, whatever else was made of them
    check_renamed(here, [*before, taken("clicks", "z")], settings("lake", tmp_path, {"clicks": source("plain")}))
    # another source with the files of one that left
    check_renamed(here, before, settings("lake", tmp_path, {"clicks": source("plain", id_namespace="clicks")}))
    assert identities(continued, before, {"plain": {"own_id": "False", "id_columns": "user_id"}})["clicks"] == Identity(
        "plain", False, ("user_id",), is_stored=True
    )


def test_ids_are_those_of_the_former_release_or_made_of_the_mapped_values(spark):
    log = Settings.model_validate({"sources": {"log": source("plain", unused=["id"])}}).sources["log"]

    def ids(columns: tuple[str, ...] | None, value: str) -> tuple[str, int]:
        names = ("id", "at", "who", "what", "sku", "n", "more")
        frame = spark.createDataFrame([(value, "file")], "value string, _file_id string")
        rows = parse_values(frame, names, Reading(log, names))
        mapped = map_columns(rows, "log", log, timezone="UTC")
        row = with_row_id(mapped, log, Identity("log", False, columns)).select(ROW_ID, LINE).first()
        return row[ROW_ID], row[LINE]

    row = '{"id":"7","at":"2026-05-01 10:00:00","who":"u1","what":"look","sku":null,"n":"1"}'
    # md5 of "log\x1f\x01" and the values joined by \x1f, \0 for null: as stored by the release before
    assert ids(None, row)[0] == "3a0823f99fa9fa2b051fca06fc4e248a"
    columns = tuple(sorted(MAPPED))
    made, line = ids(columns, row)
    same = ids(columns, row.replace('"1"', '" 1.0 "').replace('"look"', '"look "'))
    assert same[0] == made
    assert same[1] != line
    assert ids(columns, row.replace("10:00:00", "10:00:01"))[0] != made
    # a further column that is empty changes neither
    assert ids(columns, row[:-1] + ',"more":null}') == (made, line)
    assert ids(columns, row[:-1] + ',"more":"x"}')[1] != line
