"""Files that change after they were taken, replayed rows, conflicting rows, claims: the ledger stays true."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from frames import frame_of
from ingest_shop import GOOD, HEADER, everything, rows, settings
from pyspark.sql import functions as F

from profiling_spark.config import Settings
from profiling_spark.contracts.features import user_features_table
from profiling_spark.contracts.silver import EVENTS, INGESTED_FILES, REJECTED_ROWS
from profiling_spark.errors import InputError, StorageError
from profiling_spark.ingest.batch import Batch
from profiling_spark.ingest.files import ledger
from profiling_spark.ingest.files.changes import sort_out
from profiling_spark.ingest.files.ledger import Counts, Taken
from profiling_spark.ingest.files.source_files import FileKey, SourceFile
from profiling_spark.ingest.job import ingest, replay
from profiling_spark.ingest.resolving.deduplicate import LOST_FILE, LOST_SOURCE
from profiling_spark.ingest.resolving.resolve import DIFFERS, Group
from profiling_spark.storage import Part, Tables

WORDS = {"buy": "purchase", "look": "view", "back": "refund"}


def with_source(base: Settings, **changes: Any) -> Settings:
    dumped = base.model_dump(mode="json")
    dumped["sources"]["log"].update(changes)
    return Settings.model_validate(dumped)


def taken_in(tables: Tables) -> dict[str, list[dict[str, Any]]]:
    """What counts for a reader: which run wrote a row, and rows that a replay took in after all, left out."""
    found = {t.name: rows(tables, t, without=("run_id", "etag")) for t in (EVENTS, INGESTED_FILES, REJECTED_ROWS)}
    found["rejected_rows"] = [r for r in found["rejected_rows"] if r["replayed_by"] is None]
    return found


def as_taken_at_once(tables: Tables, make_context: Any, tmp_path: Path, wanted: Settings) -> dict[str, Any]:
    fresh = Tables(tables.spark, str(tmp_path / "fresh"), run_id="fresh")
    ingest(
        make_context(
            wanted.model_copy(update={"storage": wanted.storage.model_copy(update={"root": fresh.root})}), tables=fresh
        )
    )
    return taken_in(fresh)


@pytest.mark.slow
def test_a_grown_file_is_refused_or_taken_again_and_refused_rows_are_replayed(tables, make_context, tmp_path):
    data = tmp_path / "raw"
    data.mkdir()
    base = with_source(settings(tables.root, data), event_types=WORDS)
    odd = ["30,2026-05-03 10:00:00,u3,BUY,a,1,7,o3", "31,2026-05-03 11:00:00,u3,BUY,a,1,0,o3"]
    cut = "32,2026-05-03 11:00:00,u3"
    (data / "a.csv").write_text(HEADER + "\n".join([*GOOD, *odd, odd[0], cut]) + "\n", encoding="utf-8")
    ingest(make_context(base, run_id="first"))
    built = user_features_table(base.windows_days)
    days = [{"as_of": date(2026, 5, n), "user_id": "u1"} for n in (2, 3, 4)]
    Tables(tables.spark, tables.root, run_id="x").append(built, frame_of(tables.spark, built, days))

    before = taken_in(tables)
    with (data / "a.csv").open("a", encoding="utf-8") as handle:
        handle.write("40,2026-05-02 12:00:00,u4,look,b,,,\n")
    refused = ingest(make_context(base, run_id="second"))
    assert "a.csv: grew since it was taken" in refused.problem
    assert "sources.log.changed_files" in refused.problem
    assert taken_in(tables)["events"] == before["events"]

    again = with_source(base, changed_files="take_again")
    outcome = ingest(make_context(again, run_id="third"))
    assert (outcome.rows_in, outcome.rows_out, outcome.facts["files_taken_again"]) == (8, 4, 1)
    # what left and what came begins on 1 May: the features as of 2 May saw it first
    assert outcome.features_stale_from == date(2026, 5, 2)
    assert taken_in(tables) == as_taken_at_once(tables, make_context, tmp_path / "grown", again)

    mended = with_source(again, event_types={**WORDS, "BUY": "purchase"})
    outcome = replay(make_context(mended, run_id="fourth"), "last")
    assert outcome.lines[0].startswith("of 4 rows that third refused: ")
    assert (outcome.rows_in, outcome.rows_out, outcome.rows_rejected) == (4, 1, 2)
    assert (outcome.facts["duplicate"], outcome.features_stale_from) == (1, date(2026, 5, 4))
    assert taken_in(tables) == as_taken_at_once(tables, make_context, tmp_path / "mended", mended)
    with pytest.raises(InputError, match=r"replay of nobody: expected refused rows of that run, found none.*third"):
        replay(make_context(mended, run_id="fifth"), "nobody")


@pytest.mark.slow
def test_a_replay_that_dies_is_undone_and_can_be_run_again(tables, make_context, tmp_path, monkeypatch):
    data = tmp_path / "raw"
    data.mkdir()
    base = with_source(settings(tables.root, data), event_types=WORDS)
    (data / "a.csv").write_text(HEADER + "\n".join([*GOOD, "30,2026-05-03 10:00:00,u3,BUY,a,1,7,o3"]) + "\n")
    ingest(make_context(base, run_id="first"))
    mended, before = with_source(base, event_types={**WORDS, "BUY": "purchase"}), everything(tables)

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "finish", die)  # rows and rejected_rows are written, the ledger is not
        with pytest.raises(KeyboardInterrupt):
            replay(make_context(mended, run_id="dies"), "first")
    assert everything(tables) == before  # at once, since the process lives
    outcome = replay(make_context(mended, run_id="again"), "first")
    assert (outcome.rows_in, outcome.rows_out) == (1, 1)
    assert taken_in(tables) == as_taken_at_once(tables, make_context, tmp_path, mended)
    with pytest.raises(InputError, match="replay of first: expected refused rows of that run, found none"):
        replay(make_context(mended, run_id="once more"), "first")


def test_of_rows_with_one_id_the_later_survives_whichever_came_first(tables, make_context, tmp_path):
    old, new = "1,2026-05-01 10:00:00,u1,buy,a,1,5,o1", "1,2026-05-01 11:00:00,u1,buy,a,1,6,o1"
    lakes = {}
    for name, order in (("forward", (old, new)), ("backward", (new, old))):
        lake = Tables(tables.spark, str(tmp_path / name / "lake"), run_id=name)
        for n, line in enumerate(order):
            (tmp_path / name / f"{n}.csv").parent.mkdir(exist_ok=True)
            (tmp_path / name / f"{n}.csv").write_text(HEADER + line + "\n")
            ingest(make_context(settings(lake.root, tmp_path / name), run_id=f"run {n}", tables=lake))
        lakes[name] = rows(lake, EVENTS, without=("run_id",))
        files = rows(lake, INGESTED_FILES)
        # each file's rows are where the ledger says, also of the file that lost its row later
        assert sorted((f["rows_accepted"], f["rows_superseded"]) for f in files) == [(0, 1), (1, 0)]
        (winner,) = (f["file_id"] for f in files if f["rows_accepted"])
        assert {e["file_id"] for e in lakes[name]} == {winner}
    assert lakes["forward"] == lakes["backward"]
    assert [float(e["unit_price"]) for e in lakes["forward"]] == [6.0]


def test_two_claims_of_one_file_do_not_both_hold(tables):
    file = SourceFile("log", "events", "/a.csv", "file:///a.csv", "f1", 10)
    other = SourceFile("log", "events", "/b.csv", "file:///b.csv", "f2", 10)
    first, second = (Tables(tables.spark, tables.root, run_id=r) for r in ("20260501T080000-1", "20260501T090000-2"))
    ledger.claim(first, [file], versions="{}")
    with pytest.raises(StorageError, match="another run has taken 1 of the same files"):
        ledger.claim(second, [other, file], versions="{}")
    assert [(r["file_id"], r["run_id"]) for r in rows(tables, INGESTED_FILES)] == [("f1", first.run_id)]


def test_what_a_later_run_takes_from_a_file_changes_its_counts_alone(tables):
    times = datetime(2026, 5, 1, 8, tzinfo=UTC), datetime(2026, 5, 1, 9, tzinfo=UTC)
    first, second = (Tables(tables.spark, tables.root, run_id=r) for r in ("20260501T080000-1", "20260501T090000-2"))
    # the second delivery of content A, under an id of its own
    path = "/p.csv"
    old = SourceFile(
        "shop", "items", path, f"file://{path}", "own", 10, content_id="A", modified_at=times[0], delivered_at=times[1]
    )
    new = SourceFile("shop", "items", path, f"file://{path}", "B", 11)
    ledger.claim(first, [old], versions="{}")
    ledger.finish(first, [old], [], {old.key: Counts(accepted=3, duplicate=1)})
    ledger.claim(second, [new], versions="{}")
    moved = {new.key: Counts(accepted=1), old.key: Counts(accepted=-1, superseded=1)}
    ledger.finish(second, [new], [], moved)
    found = {t.key: t for t in ledger.taken(Tables(tables.spark, tables.root, run_id="reader"))}
    assert found == {
        old.key: Taken(
            old.key, path, 10, Counts(accepted=2, duplicate=1, superseded=1), first.run_id, "A", times[0], times[1]
        ),
        new.key: Taken(new.key, path, 11, Counts(accepted=1), second.run_id),
    }


def test_days_that_rows_change_are_those_of_rows_that_stay_accepted(spark, tables):
    days = date(2026, 5, 1), date(2026, 5, 4), date(2026, 5, 6)
    accepted = frame_of(spark, EVENTS, [{"event_id": str(n), "event_date": d} for n, d in enumerate(days)])
    accepted = accepted.withColumns({"source": F.lit("log"), "file_id": F.lit("f")})
    groups = [Group("log", "f", "accepted", 3, first=days[0], last=days[2])]
    batch = Batch(EVENTS, accepted, None, Part(REJECTED_ROWS, lambda: accepted), groups, frozenset(), [])
    assert batch.days == [days[0], days[2]]
    # the first and the last are stored already, the one as it is and the other in a later version
    status = F.when(F.col("event_id") == "0", "duplicate").when(F.col("event_id") == "2", "superseded")
    lost = {name: F.lit(None).cast("string") for name in (LOST_SOURCE, LOST_FILE)}
    statuses = {"_status": F.coalesce(status, F.lit("accepted")), DIFFERS: F.lit(None).cast("boolean"), **lost}
    batch.mark(accepted.withColumns(statuses), F.col("event_date"), without_id=())
    assert batch.days == [days[1], days[1]]
    assert batch.counts() == {FileKey("log", "f", "events"): Counts(accepted=1, duplicate=1, superseded=1)}
    assert [r["event_id"] for r in batch.accepted.collect()] == ["1"]
    batch.release()


def file(name: str, content: str, problem: str = "") -> SourceFile:
    return SourceFile("log", "events", f"/raw/{name}", f"file:///raw/{name}", content, 5, problem)


def known(name: str, content: str, **counts: int) -> Taken:
    return Taken(FileKey("log", content, "events"), f"/raw/{name}", 5, Counts(**counts), "earlier")


@pytest.mark.parametrize(
    ("policy", "found", "ledger_has", "expected"),
    [
        # (files read, refused, known, taken again, gone), each by content
        (None, [file("a", "1"), file("b", "2")], [known("a", "1")], (["2"], [], 1, [], [])),
        (None, [file("a", "1"), file("copy", "1")], [], (["1"], [], 1, [], [])),
        (None, [file("a", "2")], [known("a", "1")], ([], ["2"], 0, [], [])),
        ("add", [file("a", "2")], [known("a", "1")], (["2"], [], 0, [], [])),
        ("take_again", [file("a", "2")], [known("a", "1")], (["2"], [], 0, [], ["1"])),
        # rotated: the old content is still here under another name
        (None, [file("a", "2"), file("a.1", "1")], [known("a", "1")], (["2"], [], 1, [], [])),
        # b repeated a row, perhaps one of a
        (
            "take_again",
            [file("a", "2"), file("b", "3"), file("c", "4")],
            [known("a", "1"), known("b", "3", duplicate=1), known("c", "4", accepted=1)],
            (["2", "3"], [], 1, ["3"], ["1"]),
        ),
        (None, [file("a", "x", "is not whole gzip")], [], ([], ["x"], 0, [], [])),
    ],
)  # fmt: skip
def test_what_happens_to_each_file(tmp_path, policy, found, ledger_has, expected):
    source = settings("lake", tmp_path).sources["log"].model_copy(update={"changed_files": policy})
    todo = sort_out(found, ledger_has, {"log": source}, started=datetime(2026, 7, 1, tzinfo=UTC))
    assert (
        [f.file_id for f in todo.files],
        [f.file_id for f in todo.refused],
        todo.known,
        [k.file_id for k in todo.again],
        [k.file_id for k in todo.gone],
    ) == expected


@pytest.mark.slow
def test_any_order_of_delivery_ends_in_the_same_tables(tables, make_context, tmp_path):
    data, names = tmp_path / "raw", {"01": "a.csv", "02": "b.csv", "03": "c.csv"}
    data.mkdir()
    days = {
        day: HEADER
        + "\n".join(
            [
                f"{day}1,2026-05-{day} 10:00:00,u1,buy,a,1,5,o{day}",
                f"{day}1,2026-05-{day} 10:00:00,u1,buy,a,1,5,o{day}",
                f"{day}1,2026-05-{day} 09:00:00,u1,buy,a,1,4,o{day}",
                f",2026-05-{day} 12:00:00,u2,look,b,,,",
                f"{day}3,2026-05-{day} 12:00:00,,look,b,,,",
                f"{day}4,2026-05-{day}",
            ]
        )
        for day in names
    }
    base = settings(tables.root, data)
    # the second day comes after the third, the first comes twice
    for run, (name, day) in enumerate((("x.csv", "01"), ("m.csv", "03"), ("k.csv", "02"), ("again.csv", "01"))):
        (data / name).write_text(days[day])
        ingest(make_context(base, run_id=f"run {run}"))
    for path in data.glob("*.csv"):
        path.unlink()
    for day, name in names.items():
        (data / name).write_text(days[day])
    found, fresh = taken_in(tables), as_taken_at_once(tables, make_context, tmp_path, base)
    for row in (*found["ingested_files"], *fresh["ingested_files"]):
        row.pop("path")  # the names are other ones
    key = "file_id"
    assert sorted(found.pop("ingested_files"), key=lambda r: r[key]) == sorted(
        fresh.pop("ingested_files"), key=lambda r: r[key]
    )
    assert found == fresh
    assert len(found["events"]) == 6
