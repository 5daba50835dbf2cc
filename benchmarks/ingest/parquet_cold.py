"""Parquet events to tables, each engine in a process of its own and its start included: this package beside DuckDB.

    scripts/bench.sh parquet_cold --events 10000000 --runs 3 --folder FOLDER

The events, rules and output of ingest_events.py, from Parquet files with types. Runs alternate; accepted and refused
rows are compared before a figure is printed. Seconds are those from `python` to exit, imports, Java and session
in it; `in` is that of the ingest itself.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
from ingest_events import CORES, SOURCES, with_duckdb, with_project, write_logs

ENGINES = ("profiling_spark", "duckdb")


def write_parquet(folder: Path, events: int) -> None:
    """The raw logs of ingest_events.py as Parquet, one file for each of theirs."""
    texts = folder.with_name(f"{folder.name}-text")
    shutil.rmtree(texts, ignore_errors=True)
    write_logs(texts, events)
    for name in ("clicks", "orders"):
        (folder / name).mkdir(parents=True)
        for path in sorted((texts / name).iterdir()):
            frame = pl.read_ndjson(path) if name == "clicks" else pl.read_csv(path, schema_overrides=_TEXTS)
            frame.write_parquet(folder / name / f"{path.stem}.parquet")
    shutil.rmtree(texts)


_TEXTS = {name: pl.String for name in ("id", "at", "user", "kind", "item", "order")}


def run(engine: str, folder: Path, memory: str) -> None:
    """One engine in this process: prints its counts and seconds as JSON."""
    out = folder.parent / f"out-{engine}"
    shutil.rmtree(out, ignore_errors=True)
    if engine == "duckdb":
        begin = time.perf_counter()
        counts = with_duckdb(folder, out, "parquet")
    else:
        from profiling_spark.config import Settings
        from profiling_spark.launch.driver import SparkOptions, prepare
        from profiling_spark.session import build_session

        prepare(SparkOptions(master=f"local[{CORES}]", conf=(f"spark.driver.memory={memory}",)), verbose=False)
        os.environ["PROFILING_SPARK_MASTER"] = f"local[{CORES}]"
        spark = build_session(Settings(), name="benchmark")
        begin = time.perf_counter()
        counts = with_project(spark, folder, out, _sources())
    took = time.perf_counter() - begin
    sys.stdout.write(json.dumps({"counts": counts, "seconds": took}) + "\n")
    shutil.rmtree(out, ignore_errors=True)


def _sources() -> dict[str, dict[str, Any]]:
    return {name: {**s, "format": "parquet", "path": f"{name}/*.parquet"} for name, s in SOURCES.items()}


def main() -> None:
    """Write the files where they are absent, run both in turn, print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, required=True, help="for the files (kept) and the tables (removed)")
    parser.add_argument("--memory", default="6g", help="of the Java process")
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    folder = given.folder / f"{given.events}-parquet"
    if given.engine:
        run(given.engine, folder, given.memory)
        return
    if not folder.exists():
        write_parquet(folder, given.events)
    seconds: dict[str, list[float]] = {name: [] for name in ENGINES}
    for _ in range(given.runs):
        counts = {}
        for name in ENGINES:
            begin = time.perf_counter()
            command = [sys.executable, __file__, *sys.argv[1:], "--engine", name]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            seconds[name].append(time.perf_counter() - begin)
            report = json.loads(done.stdout.splitlines()[-1])
            counts[name] = report["counts"]
            sys.stderr.write(f"{name:16} {seconds[name][-1]:7.1f} s, in {report['seconds']:7.1f} s {counts[name]}\n")
        if counts["profiling_spark"] != counts["duckdb"]:
            raise SystemExit(f"(accepted, refused) differ: {counts}")
    ours = statistics.median(seconds["profiling_spark"])
    for name, each in seconds.items():
        median = statistics.median(each)
        sys.stdout.write(
            f"{name:16} median {median:6.1f} s ({min(each):.1f} to {max(each):.1f})  "
            f"profiling_spark takes {ours / median:.2f} times as long\n"
        )


if __name__ == "__main__":
    main()
