"""What is looked at on other storage is what a local disk shows."""

from __future__ import annotations

import gzip
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from servers import BUCKET, S3Server

from profiling_spark.config import Settings
from profiling_spark.contracts.operations import JOB_RUNS
from profiling_spark.overview.sample import SourceSample, samples
from profiling_spark.overview.tables import table_lines
from profiling_spark.storage import Tables
from profiling_spark.storage.stores import store_for

COLUMNS = {"user_id": "id", "city": "city"}
SOURCES = {
    "text": {"path": "2026-05-01/*.csv", "format": "csv"},
    "packed": {"path": "2026-05-01/*.csv.gz", "format": "csv"},
    "typed": {"path": "2026-05-01/*.parquet", "format": "parquet"},
    "cut": {"path": "cut/*.gz", "format": "csv"},
    "absent": {"path": "none/*", "format": "csv"},
}


def tried(spark: SparkSession, root: str) -> list[SourceSample]:
    store = store_for(root, spark)
    lines = b"id,city\n" + b"".join(b"u%d,Bern\n" % n for n in range(9))
    store.put("2026-05-01/a b [1].csv", lines)
    store.put("2026-05-01/c.csv.gz", gzip.compress(lines))
    store.put("cut/c.csv.gz", gzip.compress(lines)[:20])
    table = io.BytesIO()
    pq.write_table(pa.table({"id": ["u1", "u2"], "city": ["Bern", None]}), table)
    store.put("2026-05-01/t.parquet", table.getvalue())
    sources = {n: {"target": "users", "columns": COLUMNS, **s} for n, s in SOURCES.items()}
    settings = Settings.model_validate({"data_root": root, "sources": sources})
    found = samples(spark, settings, rows=5)
    return [replace(s, path=s.path.replace(root, "R"), problem=s.problem.replace(root, "R")) for s in found]


@pytest.mark.slow
def test_sources_of_any_storage_can_be_tried(spark: SparkSession, tmp_path: Path, s3: S3Server, viewfs: str) -> None:
    here = tried(spark, str(tmp_path / "raw"))
    assert [(s.name, s.rows, s.accepted, s.path) for s in here[:3]] == [
        ("text", 5, 5, "R/2026-05-01/a b [1].csv"),
        ("packed", 5, 5, "R/2026-05-01/c.csv.gz"),
        ("typed", 2, 2, "R/2026-05-01/t.parquet"),
    ]
    assert here[3].problem.startswith("R/cut/c.csv.gz: cannot be read: Compressed file ended")
    assert here[4].problem == "source absent: expected files at R/none/*, found none"
    assert tried(spark, f"s3a://{BUCKET}/tried") == here
    assert tried(spark, viewfs) == here


@pytest.mark.slow
def test_tables_say_when_they_changed_on_any_storage(spark: SparkSession, tmp_path: Path, viewfs: str) -> None:
    for root in (str(tmp_path / "lake"), viewfs):
        tables = Tables(spark, root, run_id="r")
        known = {"run_id": "r", "job": "a", "status": "done", "started_at": datetime(2026, 7, 1, tzinfo=UTC)}
        tables.append_rows(JOB_RUNS, [tuple(known.get(name) for name in JOB_RUNS.names)])
        (line,) = table_lines(tables, Settings())
        assert (line.name, line.files, line.version) == ("job_runs", 1, 0)
        assert line.changed is not None
        assert abs(datetime.now(UTC) - line.changed) < timedelta(minutes=1)
        assert line.rows in (1, None)
