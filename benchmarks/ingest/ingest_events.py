"""Raw JSON and CSV events to tables: this package beside DuckDB doing the same work, and Spark without any checks.

    scripts/bench.sh ingest_events --events 10000000 --runs 3 --folder FOLDER

Half of the events are clicks in JSON lines, half orders in CSV; 1 % of the lines come twice, 1.5 % are faulty.

- profiling_spark: the ingest job; rules, deduplication, catalogue lookup absent, Delta tables, ledger.
- duckdb: the same rules and deduplication over the same files, written as Parquet, one file a user bucket.
- spark: read with a schema, write to Delta; nothing is checked, nothing deduplicated, no buckets.

Same two cores for all, alternating, session warm; accepted and refused rows are compared before a figure is printed.
Memory: the greatest proportional set size of the engine's processes, Java and Python together; DuckDB has one of its
own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

CORES = 2
SOURCES: dict[str, dict[str, Any]] = {
    "clicks": {
        "format": "json",
        "path": "clicks/*.jsonl",
        "target": "events",
        "columns": {
            "event_id": "id",
            "event_time": "at",
            "user_id": "user",
            "event_type": "kind",
            "item_id": "item",
            "session_id": "session",
            "device": "device",
        },
        "event_types": {"view": "view", "cart": "cart", "search": "search"},
    },
    "orders": {
        "format": "csv",
        "path": "orders/*.csv",
        "target": "events",
        "columns": {
            "event_id": "id",
            "event_time": "at",
            "user_id": "user",
            "event_type": "kind",
            "item_id": "item",
            "order_id": "order",
            "quantity": "quantity",
            "unit_price": "price",
            "discount": "discount",
        },
        "event_types": {"buy": "purchase", "return": "refund"},
    },
}


def write_logs(folder: Path, events: int, *, files: int = 8, seed: int = 7) -> None:
    """The raw files, the same for the same arguments."""
    random = np.random.default_rng(seed)
    for name, kinds in (
        ("clicks", ("view", "view", "view", "cart", "search")),
        ("orders", ("buy", "buy", "buy", "return")),
    ):
        (folder / name).mkdir(parents=True)
        for part in range(files):
            frame = _events(random, events // 2 // files, kinds, first=part * events)
            if name == "clicks":
                frame.drop("order", "quantity", "price", "discount").write_ndjson(folder / name / f"{part}.jsonl")
            else:
                frame.drop("session", "device").write_csv(folder / name / f"{part}.csv")


def _events(random: np.random.Generator, rows: int, kinds: tuple[str, ...], *, first: int) -> pl.DataFrame:
    """Customers with a long tail: a tenth of them makes about half of the events."""
    users = (random.pareto(1.2, rows) * 20_000).astype(np.int64) % max(rows // 5, 10)
    seconds = random.integers(0, 90 * 86_400, rows)
    frame = pl.DataFrame(
        {
            "id": np.arange(first, first + rows).astype(str),
            "at": pl.Series(np.datetime64("2026-01-01", "ms") + seconds.astype("timedelta64[s]")).dt.to_string(
                "%Y-%m-%d %H:%M:%S"
            ),
            "user": pl.Series(users).cast(pl.String).str.zfill(8),
            "kind": np.array(kinds)[random.integers(0, len(kinds), rows)],
            "item": pl.Series((random.pareto(1.1, rows) * 300).astype(np.int64) % 50_000).cast(pl.String),
            "session": pl.Series(random.integers(0, rows, rows)).cast(pl.String),
            "device": np.array(["ios", "android", "web"])[random.integers(0, 3, rows)],
            "order": pl.Series(random.integers(0, rows // 2 + 1, rows)).cast(pl.String),
            "quantity": random.integers(1, 5, rows),
            "price": (random.gamma(2, 30, rows) + 1).round(2),
            "discount": (random.random(rows) * 0.5).round(2),
        }
    )
    fault = pl.Series(random.random(rows))
    return frame.with_columns(
        user=pl.when(fault < 0.005).then(pl.lit("")).otherwise("user"),
        at=pl.when(fault.is_between(0.005, 0.01)).then(pl.lit("not a time")).otherwise("at"),
        price=pl.when(fault.is_between(0.01, 0.015)).then(pl.lit(-1.0)).otherwise("price"),
        id=pl.when(fault > 0.99).then(pl.col("id").shift(1)).otherwise("id"),
    ).with_columns(pl.when(fault > 0.99).then(pl.all().shift(1)).otherwise(pl.all()))


_RULES = """
    CASE WHEN nullif(trim("user"), '') IS NULL THEN 'no_user' END AS no_user,
    CASE WHEN nullif(trim("at"), '') IS NULL THEN 'no_event_time'
         WHEN try_cast("at" AS TIMESTAMP) IS NULL THEN 'bad_event_time'
         WHEN NOT try_cast("at" AS TIMESTAMP)::DATE BETWEEN DATE '2000-01-01' AND DATE '2026-12-31'
         THEN 'time_out_of_range' END AS time_wrong,
    CASE WHEN event_type IS NULL THEN 'unknown_event_type' END AS type_wrong,
"""


def _duckdb_readers(folder: Path, kind: str) -> tuple[str, str]:
    """Clicks and orders as DuckDB reads them: text logs with every column as text, Parquet with the types it has."""
    if kind == "parquet":
        return f"read_parquet('{folder}/clicks/*.parquet')", f"read_parquet('{folder}/orders/*.parquet')"
    text = {c: "VARCHAR" for c in ("id", "at", "user", "kind", "item")}
    clicks = {**text, "session": "VARCHAR", "device": "VARCHAR"}
    orders = {**text, "order": "VARCHAR", "quantity": "VARCHAR", "price": "VARCHAR", "discount": "VARCHAR"}
    return (
        f"read_json('{folder}/clicks/*.jsonl', columns = {clicks}, format = 'newline_delimited')",
        f"read_csv('{folder}/orders/*.csv', columns = {orders}, header = true)",
    )


def with_duckdb(folder: Path, out: Path, kind: str = "text") -> tuple[int, int]:
    """(accepted, refused): the rules that can hold here, one row per source, customer and id, Parquet by bucket."""
    import duckdb

    con = duckdb.connect(config={"threads": CORES, "memory_limit": "6GB"})
    con.execute(f"SET temp_directory = '{out}.tmp'")
    con.execute("SET preserve_insertion_order = false")
    clicks, orders = _duckdb_readers(folder, kind)
    con.execute(f"""
        CREATE TEMP TABLE judged AS
        WITH both_logs AS (
            SELECT 'clicks' AS source, * FROM {clicks}
            UNION ALL BY NAME
            SELECT 'orders' AS source, id, "at", "user", kind, item, "order", quantity, price, discount
            FROM {orders}
        ), typed AS (
            SELECT *,
                CASE kind WHEN 'view' THEN 'view' WHEN 'cart' THEN 'cart' WHEN 'search' THEN 'search'
                    WHEN 'buy' THEN 'purchase' WHEN 'return' THEN 'refund' END AS event_type,
                try_cast(quantity AS DECIMAL(18,4)) AS q, try_cast(price AS DECIMAL(18,6)) AS p,
                try_cast(discount AS DECIMAL(18,4)) AS d
            FROM both_logs
        )
        SELECT source, md5(concat(source, chr(31), "user", chr(31), id)) AS event_id,
            try_cast("at" AS TIMESTAMP) AS event_time, "user" AS user_id, event_type, item AS item_id,
            session AS session_id, device, "order" AS order_id, q AS quantity, p AS unit_price, d AS discount,
            (q * p - coalesce(d, 0))::DECIMAL(18,4) AS amount, hash("user") % 8 AS user_bucket,
            concat_ws(',', no_user, time_wrong, type_wrong, price_wrong) AS reasons
        FROM (SELECT *, {_RULES} CASE WHEN p <= 0 THEN 'price_not_positive' END AS price_wrong FROM typed)
    """)
    con.execute(f"""
        COPY (SELECT * EXCLUDE (reasons) FROM judged WHERE reasons = ''
              QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY event_time DESC) = 1)
        TO '{out}' (FORMAT parquet, PARTITION_BY (user_bucket))
    """)
    con.execute(f"COPY (SELECT * FROM judged WHERE reasons <> '') TO '{out}/refused.parquet' (FORMAT parquet)")
    accepted = con.sql(f"SELECT count(*) FROM read_parquet('{out}/*/*.parquet')").fetchall()[0][0]
    refused = con.sql("SELECT count(*) FROM judged WHERE reasons <> ''").fetchall()[0][0]
    con.close()
    return accepted, refused


def with_spark(spark: Any, folder: Path, out: Path) -> tuple[int, int]:
    """Read and write, nothing else: (rows, 0)."""
    text = "id string, at timestamp, user string, kind string, item string"
    clicks = spark.read.schema(f"{text}, session string, device string").json(f"{folder}/clicks")
    orders = spark.read.schema(
        f"{text}, `order` string, quantity decimal(18,4), price decimal(18,6), discount decimal(18,4)"
    ).csv(f"{folder}/orders", header=True, enforceSchema=False)
    clicks.unionByName(orders, allowMissingColumns=True).write.format("delta").save(str(out))
    return spark.read.format("delta").load(str(out)).count(), 0


def with_project(spark: Any, folder: Path, out: Path, sources: dict[str, dict[str, Any]] = SOURCES) -> tuple[int, int]:
    """The ingest job: (accepted, refused)."""
    from profiling_spark.config import Settings
    from profiling_spark.context import Context
    from profiling_spark.ingest.job import ingest
    from profiling_spark.storage import Tables

    settings = Settings.model_validate(
        {
            "storage": {"root": str(out)},
            "data_root": str(folder),
            "buckets": 8,
            "sources": sources,
            "ingest": {"latest_event_date": "2026-12-31"},
        }
    )
    tables = Tables(spark, str(out), run_id=f"{datetime.now(UTC):%Y%m%dT%H%M%S}-bench")
    outcome = ingest(Context(settings, spark, tables, datetime.now(UTC)))
    return outcome.rows_out or 0, outcome.rows_rejected or 0


class Peak:
    """Greatest proportional set size, MB, of a process and its children while it is open; a sample `every` seconds.

    `megabytes` of all together; `by_kind`: of the Java process, the Python driver and Python's workers, each at its own
    greatest.
    """

    def __init__(self, root: int, *, every: float = 1.0) -> None:
        self.root, self.every = root, every

    def __enter__(self) -> Peak:
        self.megabytes, self.by_kind, self._stop = 0.0, {}, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(self.every):
            now: dict[str, float] = {}
            for pid in _tree(self.root):
                kind = _kind(pid)
                now[kind] = now.get(kind, 0.0) + _pss(pid) / 1024
            self.megabytes = max(self.megabytes, sum(now.values()))
            self.by_kind = {kind: max(now.get(kind, 0.0), self.by_kind.get(kind, 0.0)) for kind in self.by_kind | now}


def _tree(root: int) -> list[int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def _kind(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "gone"
    if "python" not in Path(command[0]).name:
        return Path(command[0]).name
    return "workers" if "pyspark.daemon" in command else "driver"


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def main() -> None:
    """Write the logs where they are absent, warm the session, run the three in turn, print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, required=True, help="for the raw logs (kept) and the tables (removed)")
    parser.add_argument("--memory", default="6g", help="of the Java process")
    given = parser.parse_args()
    from profiling_spark.config import Settings
    from profiling_spark.launch.driver import SparkOptions, prepare
    from profiling_spark.session import build_session

    prepare(SparkOptions(master=f"local[{CORES}]", conf=(f"spark.driver.memory={given.memory}",)), verbose=False)
    os.environ["PROFILING_SPARK_MASTER"] = f"local[{CORES}]"

    for events in (200_000, given.events):
        if not (given.folder / str(events)).exists():
            write_logs(given.folder / str(events), events)
    spark = build_session(Settings(), name="benchmark")
    alone = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    roots = {"duckdb": alone.submit(os.getpid).result()}
    engines: dict[str, Callable[[Path, Path], tuple[int, int]]] = {
        "profiling_spark": lambda logs, out: with_project(spark, logs, out),
        "spark": lambda logs, out: with_spark(spark, logs, out),
        "duckdb": lambda logs, out: alone.submit(with_duckdb, logs, out).result(),
    }
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    peaks: dict[str, list[float]] = {name: [] for name in engines}
    for run in range(-2, given.runs):  # two rounds on a small log warm the session
        logs = given.folder / str(given.events if run >= 0 else 200_000)
        counts = {}
        for name, engine in engines.items():
            out = given.folder / "out"
            shutil.rmtree(out, ignore_errors=True)
            with Peak(roots.get(name, os.getpid())) as peak:
                begin = time.perf_counter()
                counts[name] = engine(logs, out)
                took = time.perf_counter() - begin
            shutil.rmtree(out, ignore_errors=True)
            if run >= 0:
                seconds[name].append(took)
                peaks[name].append(peak.megabytes)
                sys.stderr.write(f"{name:16} {took:7.1f} s {peak.megabytes:7.0f} MB {counts[name]}\n")
        if counts["profiling_spark"] != counts["duckdb"]:
            raise SystemExit(f"(accepted, refused) differ: {counts}")
    spark.stop()
    alone.shutdown()
    ours = statistics.median(seconds["profiling_spark"])
    for name in engines:
        median = statistics.median(seconds[name])
        sys.stdout.write(
            f"{name:16} median {median:6.1f} s  {given.events / median:10,.0f} rows/s  peak "
            f"{max(peaks[name]):6.0f} MB  profiling_spark takes {ours / median:.2f} times as long\n"
        )


if __name__ == "__main__":
    main()
