"""The whole pipeline on a small demo shop: seconds, Spark jobs, SQL executions and commits of each stage.

    scripts/bench.sh small_shop --customers 100 --folder FOLDER

Four runs in one session: a first load and a second run in which nothing is new, cold; the same on a new lake, warm.
The ceilings of tests/pipeline/test_small_lakes.py are these counts.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

CONF = Path(__file__).resolve().parents[2] / "conf" / "demo.yaml"


def taken(spark: Any, lake: Path) -> tuple[int, int, int]:
    """Jobs and SQL executions of the session so far, commits in the lake."""
    known = spark._jsparkSession.sharedState().statusStore().executionsList()
    executions = max((known.apply(n).executionId() for n in range(known.size())), default=-1) + 1
    jobs = spark.sparkContext._jsc.sc().dagScheduler().numTotalJobs()
    return jobs, executions, len(list(lake.glob("*/_delta_log/*.json")))


def run(spark: Any, settings: Any, name: str) -> None:
    """One run of all stages, from the opening of job_runs to the summary."""
    from profiling_spark.context import Context, Step
    from profiling_spark.job_runs import Book
    from profiling_spark.pipeline import STAGES
    from profiling_spark.report.summary import summary
    from profiling_spark.storage import Tables

    lake, rows = Path(settings.storage.root), []
    tables = Tables(spark, str(lake), run_id=f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-bench")
    context = Context(settings, spark, tables, datetime.now(UTC))
    planned = [Step(s.__name__, s) for s in STAGES]
    book = Book(context, "run_pipeline", planned)
    steps = [("open", book.open), *((s.name, lambda s=s: book.stage(s)) for s in planned)]
    for step, action in [*steps, ("close", lambda: book.close(None)), ("summary", lambda: summary(context))]:
        begin, before = time.perf_counter(), taken(spark, lake)
        action()
        counts = (after - then for after, then in zip(taken(spark, lake), before, strict=True))
        rows.append((step, time.perf_counter() - begin, *counts))
    rows.append(("all", *(sum(row[n] for row in rows) for n in range(1, 5))))
    for row in rows:
        sys.stdout.write("{:24} {:16} {:6.1f} s {:4} jobs {:4} executions {:3} commits\n".format(name, *row))
    sys.stdout.flush()


def main() -> None:
    """Make the shop, run the pipeline four times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=100)
    parser.add_argument("--folder", type=Path, required=True, help="for the shop and the lake, which are removed first")
    given = parser.parse_args()
    from profiling_spark.config import load_settings
    from profiling_spark.demo.generate import generate
    from profiling_spark.launch.driver import SparkOptions, prepare
    from profiling_spark.session import build_session

    prepare(SparkOptions(), verbose=False)

    data, lake = given.folder / "data", given.folder / "lake"
    for folder in (data, lake):
        shutil.rmtree(folder, ignore_errors=True)
    generate(data, customers=given.customers)
    settings = load_settings([CONF], [f"data_root={data}", f"storage.root={lake}"])
    begin = time.perf_counter()
    spark = build_session(settings, name="benchmark")
    sys.stdout.write(f"{'session':24} {'':16} {time.perf_counter() - begin:6.1f} s\n")
    for warmth in ("cold", "warm"):
        shutil.rmtree(lake, ignore_errors=True)
        lake.mkdir(parents=True)
        run(spark, settings, f"{warmth}, first")
        run(spark, settings, f"{warmth}, nothing new")
    spark.stop()


if __name__ == "__main__":
    main()
