"""A source is taken again after its mapping was mended; dates that were built before are found."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from frames import frame_of
from ingest_shop import HEADER, rows, settings

from profiling_spark.config import Settings
from profiling_spark.config.sources import Source
from profiling_spark.contracts.features import user_features_table
from profiling_spark.contracts.operations import JOB_RUNS
from profiling_spark.contracts.silver import EVENTS, INGESTED_FILES, REJECTED_ROWS, USERS
from profiling_spark.errors import InputError
from profiling_spark.features.job import build_stale_features
from profiling_spark.features.stale import stale_dates
from profiling_spark.ingest.again.reload import take_again
from profiling_spark.ingest.files.changes import ToTake
from profiling_spark.ingest.files.ledger import Counts, Taken
from profiling_spark.ingest.files.source_files import FileKey, SourceFile
from profiling_spark.ingest.job import ingest, reload
from profiling_spark.maintain.job import check
from profiling_spark.storage import Tables

HERE = [
    "1,2026-05-02 10:00:00,u1,buy,a,1,5,x1",
    "2,2026-05-02 11:00:00,u2,pay,b,2,7,x2",
    "3,2026-05-03 10:00:00,u3,buy,c,1,9,x3",
]
# its first row is a later version of one that is here
GONE = ["3,2026-05-03 12:00:00,u3,buy,c,1,8,x3", "4,2026-05-01 10:00:00,u4,pay,d,1,4,x4"]


def shop(root: str, data: object, *, is_mended: bool) -> Settings:
    """First the word `pay` is unknown, the price stands for the order, the order for the product,
    and the town for the customer."""
    dumped = settings(root, data).model_dump(mode="json")
    log = dumped["sources"]["log"]
    log["path"] = "log_*.csv"
    if not is_mended:
        log["columns"] |= {"item_id": "order", "order_id": "price"}
    else:
        log["event_types"]["pay"] = "purchase"
    people = {"user_id": "uid" if is_mended else "town", "age": "age"}
    dumped["sources"]["people"] = {"format": "csv", "path": "people.csv", "target": "users", "columns": people}
    return Settings.model_validate(dumped)


@pytest.mark.slow
def test_a_reloaded_source_has_the_rows_of_its_mended_mapping_and_gone_files_keep_theirs(
    tables, make_context, tmp_path
):
    (tmp_path / "log_a.csv").write_text(HEADER + "\n".join(HERE) + "\n")
    (tmp_path / "log_b.csv").write_text(HEADER + "\n".join(GONE) + "\n")
    (tmp_path / "people.csv").write_text("uid,age,town\nu1,30,Ulm\n")
    ingest(make_context(shop(tables.root, tmp_path, is_mended=False), run_id="first"))
    before = {r["order_id"]: r for r in rows(tables, EVENTS)}
    assert before.keys() == {"5", "8"}
    (tmp_path / "log_b.csv").unlink()
    versions = {t: tables.version(t) for t in (EVENTS, REJECTED_ROWS, USERS)}

    mended = shop(tables.root, tmp_path, is_mended=True)
    with pytest.raises(InputError, match="reload of logg: expected a source of the settings: log, people"):
        reload(make_context(mended), "logg")
    outcome = reload(make_context(mended, run_id="second"), "log")
    # the third is an older version of what the file that is gone gave
    assert (outcome.rows_in, outcome.rows_out) == (3, 2)
    assert any("log_b.csv: no longer there as it was taken, its 1 rows stay" in line for line in outcome.lines)
    found = {r["order_id"]: r for r in rows(tables, EVENTS)}
    assert {k: (r["item_id"], r["run_id"]) for k, r in found.items()} == {
        "x1": ("a", "second"),
        "x2": ("b", "second"),
        "8": ("x3", "first"),
    }
    assert found["8"] == before["8"]
    # the row of the file that is gone is refused still
    assert [(r["reasons"], r["run_id"]) for r in rows(tables, REJECTED_ROWS)] == [("unknown_event_type", "first")]
    assert [(r["user_id"], r["run_id"]) for r in rows(tables, USERS)] == [("Ulm", "first")]  # of another source
    assert check(make_context(mended)).lines

    outcome = reload(make_context(mended, run_id="third"), "people")
    assert [(r["user_id"], r["run_id"]) for r in rows(tables, USERS)] == [("u1", "third")]
    assert check(make_context(mended)).lines
    fresh = Tables(tables.spark, tables.root, run_id="x")
    assert {t.name: fresh.version(t) - v for t, v in versions.items()} == {"events": 1, "rejected_rows": 1, "users": 1}
    assert {r["status"] for r in rows(tables, INGESTED_FILES)} == {"done"}


def test_of_a_file_that_was_delivered_twice_the_last_delivery_is_read_again():
    source = Source(format="csv", path="*.csv", target="items", columns={"item_id": "sku"})
    # A, B, A: the second A has an id of its own, and the ledger names it first
    delivered = [("own", "A", 3), ("A", "", 1), ("B", "", 2)]
    taken = [
        Taken(
            FileKey("shop", file_id, "items"),
            "/p.csv",
            5,
            Counts(accepted=1),
            "before",
            content,
            delivered_at=datetime(2026, 6, day, tzinfo=UTC),
        )
        for file_id, content, day in delivered
    ]
    for ledger in (taken, taken[::-1]):
        todo = ToTake(known=1)
        take_again(todo, [SourceFile("shop", "items", "/p.csv", "", "A", 5)], ledger, {"shop": source}, "shop")
        (again,) = todo.files
        assert (again.file_id, again.content_id, again.delivered_at) == ("own", "A", datetime(2026, 6, 3, tzinfo=UTC))
        assert (todo.again, todo.known) == ({FileKey("shop", "own", "items")}, 0)


def run(run_id: str, job: str, hour: int, *, built: str | None = None, stale: date | None = None, status: str = "done"):
    day = {
        "started_at": datetime(2026, 6, 1, hour, tzinfo=UTC),
        "finished_at": datetime(2026, 6, 1, hour, 30, tzinfo=UTC),
    }
    return {
        "run_id": run_id,
        "job": job,
        "status": status,
        **day,
        "features_built": built,
        "features_stale_from": stale,
    }


def test_stale_dates_are_those_built_before_rows_came_that_change_them(spark, tables, make_context):
    table = user_features_table(make_context().settings.windows_days)
    days = [date(2026, 5, n) for n in (1, 8, 15, 22)]
    tables.append(table, frame_of(spark, table, [{"as_of": d, "user_id": "u1"} for d in days]))
    runs = [
        run("a", "build_features", 1, built="2026-05-08,2026-05-22"),
        run("b", "ingest", 2, stale=date(2026, 5, 8)),
        run("b", "build_features", 3, built="2026-05-22"),  # in one pipeline: it saw the rows
    ]
    tables.append(JOB_RUNS, frame_of(spark, JOB_RUNS, runs))
    # the 15th was built by a release that noted nothing
    assert stale_dates(make_context(run_id="now")) == [date(2026, 5, 15), date(2026, 5, 8)]
    tables.append(JOB_RUNS, frame_of(spark, JOB_RUNS, [run("c", "build_features", 4, built="2026-05-15,2026-05-08")]))
    outcome = build_stale_features(make_context(run_id="now"))
    assert outcome.skipped.startswith("no date that was built")
    # killed after its rows came, before it could note what they change
    event = {"event_id": "1", "user_bucket": 0, "user_id": "u1", "event_date": date(2026, 5, 14), "run_id": "d"}
    tables.append(EVENTS, frame_of(spark, EVENTS, [event]))
    tables.append(JOB_RUNS, frame_of(spark, JOB_RUNS, [run("d", "ingest", 5, status="lost")]))
    assert stale_dates(make_context(run_id="now")) == [date(2026, 5, 22), date(2026, 5, 15)]
