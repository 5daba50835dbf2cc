"""Ingest and features on a local disk, on S3 and on storage that only Spark opens: the client's CPU, requests, commits.

    scripts/bench.sh roots --events 10000000 --runs 3 --folder FOLDER

Same raw logs (those of ingest_events), same settings, two cores; each stage is a command of its own, roots alternate.
CPU is that of the command's processes (Java, Python and Spark's Python workers), taken from the system each half second
until they end; S3 is a server of tests on the same machine, whose CPU does not count. What is stored is compared with
the local lake's before a figure is printed.
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
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import psutil
import yaml
from ingest_events import SOURCES, write_logs
from servers import S3Server, Store, s3_server, viewfs_conf

STAGES = ("ingest", "build_features")
AS_OF = "2026-03-25"
_EVERY_SECONDS = 0.5


@dataclass(frozen=True)
class Used:
    """What one command took."""

    wall_seconds: float
    cpu_seconds: float
    requests: int
    bytes_moved: int


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    folder: Path = given.folder.absolute()
    data = folder / f"logs_{given.events}"
    if not data.exists():
        write_logs(data, given.events)
    with s3_server(folder) as server:
        found: dict[tuple[str, str], list[Used]] = defaultdict(list)
        for run in range(given.runs):
            roots = _roots(folder / "lakes" / str(run), server)
            for name, store in roots.items():
                for stage in STAGES:
                    found[stage, name].append(_command(stage, store, data, folder, server))
            _check_equal(roots, folder / "lakes" / str(run), server)
            shutil.rmtree(folder / "lakes" / str(run), ignore_errors=True)
        _print(found)


def _roots(folder: Path, server: S3Server) -> Mapping[str, Store]:
    for name in ("disk", "only"):
        (folder / name).mkdir(parents=True)
    bucket = f"{folder.parent.parent.name}-{folder.name}-{int(time.time())}"
    return {"disk": Store(str(folder / "disk"), {}), "s3": server.store(bucket), "spark": viewfs_conf(folder / "only")}


def _command(stage: str, store: Store, data: Path, folder: Path, server: S3Server) -> Used:
    settings = folder / "settings.yaml"
    settings.write_text(
        yaml.safe_dump(
            {
                "data_root": str(data),
                "buckets": 4,
                "sources": SOURCES,
                "ingest": {"latest_event_date": "2026-12-31", "max_no_user_share": 1.0, "max_rejected_share": 1.0},
            }
        )
    )
    command = [sys.executable, "-m", "profiling_spark", stage, "--config", str(settings), "--quiet"]
    command += ["--set", f"storage.root={store.root}/lake", "--master", "local[2]"]
    command += [] if stage == "ingest" else ["--as-of", AS_OF]
    command += [part for key, value in store.conf.items() for part in ("--conf", f"{key}={value}")]
    environ = {k: v for k, v in os.environ.items() if k != "PYSPARK_SUBMIT_ARGS"} | dict(store.environ)
    server.reset_counts()
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, env=environ)
    cpu = _cpu_seconds(process)
    if process.returncode:
        sys.exit(f"{stage} on {store.root} ended with exit code {process.returncode}")
    counts = server.counts().values()
    moved = sum(c.bytes_in + c.bytes_out for c in counts)
    return Used(time.monotonic() - began, cpu, sum(c.requests for c in counts), moved)


def _cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """Of the process and all below it, until it ends."""
    last: dict[tuple[int, float], float] = {}
    root = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            for one in [root, *root.children(recursive=True)]:
                times = one.cpu_times()
                last[one.pid, one.create_time()] = times.user + times.system
        except psutil.Error:
            pass  # one has just ended
        time.sleep(_EVERY_SECONDS)
    return sum(last.values())


def _rows(store: Store, folder: Path, server: S3Server, table: str) -> pl.DataFrame:
    """What a reader of Delta sees; of the events what does not name a run or a file."""
    if store.root.startswith("s3a:"):
        uri, options = store.root.replace("s3a:", "s3:", 1), server.options
    else:
        uri, options = (str(folder / "only") if ":" in store.root else store.root), None
    rows = pl.read_delta(f"{uri}/lake/{table}", storage_options=options)
    return rows.drop("run_id", "file_id", strict=False)


def _check_equal(roots: Mapping[str, Store], folder: Path, server: S3Server) -> None:
    for table in ("events", "user_features"):
        sums = {}
        for name, store in roots.items():
            rows = _rows(store, folder, server, table)
            sums[name] = (len(rows), int(rows.select(sorted(rows.columns)).hash_rows(seed=1).sum()))
        if len(set(sums.values())) != 1:
            sys.exit(f"{table} differs: {sums}")


def _print(found: Mapping[tuple[str, str], list[Used]]) -> None:
    for stage in STAGES:
        base = statistics.median(u.cpu_seconds for u in found[stage, "disk"])
        for name in ("disk", "s3", "spark"):
            runs = found[stage, name]
            cpu = statistics.median(u.cpu_seconds for u in runs)
            figures = {
                "stage": stage,
                "root": name,
                "cpu_seconds": round(cpu, 1),
                "times_disk": round(cpu / base, 2),
                "wall_seconds": round(statistics.median(u.wall_seconds for u in runs), 1),
                "requests": round(statistics.median(u.requests for u in runs)),
                "megabytes_moved": round(statistics.median(u.bytes_moved for u in runs) / 1e6, 1),
            }
            sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
