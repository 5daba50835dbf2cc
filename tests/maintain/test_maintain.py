"""Many small loads end in as few files as one large one; broken promises are found."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from frames import event_frame, frame_of

from profiling_spark.contracts.silver import EVENTS, INGESTED_FILES
from profiling_spark.errors import ContractError
from profiling_spark.maintain.job import check, maintain
from profiling_spark.storage import Tables
from profiling_spark.storage.upkeep import size


def day_rows(day: int) -> list[dict[str, object]]:
    time = datetime(2026, 5, 1, tzinfo=UTC) + timedelta(days=day)
    return [
        {
            "event_id": f"{day}-{n}",
            "event_time": time,
            "event_date": time.date(),
            "user_id": f"u{n}",
            "event_type": "view",
        }
        | {"source": "log", "file_id": f"f{day}", "run_id": "r"}
        for n in range(8)
    ]


def ledger_row(day: int) -> dict[str, object]:
    counts = {"rows_read": 8, "rows_accepted": 8}
    counts |= {f"rows_{k}": 0 for k in ("rejected", "duplicate", "ignored", "superseded")}
    file = {"source": "log", "file_id": f"f{day}", "target_table": "events", "path": f"/{day}.csv", "bytes": 1}
    return {**file, **counts, "status": "done", "run_id": "r"}


def test_days_loaded_one_by_one_end_in_the_files_of_one_load_and_promises_are_checked(spark, make_context, tmp_path):
    daily, once = (Tables(spark, str(tmp_path / name), run_id="r") for name in ("daily", "once"))
    for day in range(4):
        daily.append(EVENTS, event_frame(spark, day_rows(day), buckets=2).repartition(2, "user_bucket"))
    everything = [row for day in range(4) for row in day_rows(day)]
    once.append(EVENTS, event_frame(spark, everything, buckets=2).repartition(2, "user_bucket"))
    before = sorted(r["event_id"] for r in daily.read(EVENTS).collect())
    staged = tmp_path / "daily" / "_staging" / "events" / "part-of-a-dead-run-of-an-earlier-release.parquet"
    staged.parent.mkdir(parents=True)
    staged.write_bytes(b"rows")
    for lake, lines in ((daily, 1), (once, 0)):
        context = make_context(storage={"root": lake.root}, buckets=2, tables=lake)
        outcome = maintain(context)
        assert sum("events" in line for line in outcome.lines) == lines
    assert size(daily, EVENTS).files == size(once, EVENTS).files == 2
    assert not staged.exists()
    fresh = Tables(spark, daily.root, run_id="r")
    assert sorted(r["event_id"] for r in fresh.read(EVENTS).collect()) == before

    fresh.append(INGESTED_FILES, frame_of(spark, INGESTED_FILES, [ledger_row(day) for day in range(4)]))
    assert check(make_context(tables=fresh)).lines
    fresh.append(EVENTS, event_frame(spark, day_rows(3)[:1], buckets=2))
    with pytest.raises(ContractError, match=r"(?s)1 keys occur more than once, such as 3-0.*3\.csv: .* found 9 and 0"):
        check(make_context(tables=fresh))
