"""kill -9 through the real command: what runs after it ends with the values of an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from checksums import checksums

from profiling_spark.config import load_settings
from profiling_spark.context import Context
from profiling_spark.contracts.operations import JOB_RUNS
from profiling_spark.contracts.silver import INGESTED_FILES
from profiling_spark.demo.generate import generate
from profiling_spark.pipeline import STAGES
from profiling_spark.storage import Tables

pytestmark = pytest.mark.slow
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crash shop")
    generate(folder / "data", customers=100)
    return folder


def start(folder: Path, lake: str) -> subprocess.Popen[str]:
    """The pipeline as a user starts it, in a process group of its own."""
    environ = {k: v for k, v in os.environ.items() if k != "PYSPARK_SUBMIT_ARGS"}
    environ.setdefault("PROFILING_SPARK_VENV", sys.prefix)
    command = [str(PROJECT / "scripts" / "submit.sh"), "run_pipeline", "--config", str(PROJECT / "conf" / "demo.yaml")]
    command += ["--set", f"data_root={folder / 'data'}", "--set", f"storage.root={folder / lake}"]
    return subprocess.Popen(
        command, env=environ, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    )


def kill_when(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    """Waits until the run has come so far, then kills driver and workers as the kernel would."""
    deadline = time.monotonic() + 900
    try:
        while not reached():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def commits(folder: Path, lake: str, table: str) -> int:
    return len(list((folder / lake / table / "_delta_log").glob("*.json")))


def test_killed_in_ingest_and_in_segments_the_next_run_completes_to_the_same_values(data, spark):
    # in this process: a session that is warm takes a third of the time
    pairs = [f"data_root={data / 'data'}", f"storage.root={data / 'calm'}"]
    settings = load_settings([PROJECT / "conf" / "demo.yaml"], pairs)
    calm = Tables(spark, settings.storage.root, run_id="calm")
    context = Context(settings, spark, calm, datetime(2026, 7, 1, tzinfo=UTC))
    for stage in STAGES:
        stage(context)

    # events are written, the files not yet marked done
    kill_when(start(data, "struck"), lambda: commits(data, "struck", "events") > 0)
    tables = Tables(spark, str(data / "struck"), run_id="look")
    assert not tables.read(INGESTED_FILES).where("status = 'taking'").isEmpty()
    kill_when(start(data, "struck"), lambda: commits(data, "struck", "segments") > 0)

    last = start(data, "struck")
    _, printed = last.communicate(timeout=900)
    assert last.returncode == 0, printed
    assert checksums(spark, str(data / "struck")) == checksums(spark, str(data / "calm"))
    statuses = Tables(spark, str(data / "struck"), run_id="look").read(JOB_RUNS).where("job = 'run_pipeline'")
    assert sorted(r["status"] for r in statuses.collect()) == ["done", "lost", "lost"]
