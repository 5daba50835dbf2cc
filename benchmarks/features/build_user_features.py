"""From `events` to `user_features` for one date: this package beside DuckDB, Polars, pandas and plain Spark SQL.

    scripts/bench.sh build_user_features --events 1000000 10000000 --runs 3 --folder FOLDER
    scripts/bench.sh build_user_features --events 10000000 --million-event-customer --folder FOLDER

Every engine reads the same files, a Delta table in user buckets, and writes 123 features of every customer:

- profiling_spark: the job build_features; item_features, rfm_cuts and user_features to Delta.
- duckdb: the reference SQL of the tests, to Parquet.
- polars: all events in one frame without buckets, the project's kernel for the customers, to Parquet.
- pandas: groupby on one frame, to Parquet.
- spark: DataFrame aggregates, to Delta.

Two cores for all (pandas uses one of them for most of its work). Engines alternate; each run has a process of its own,
which first builds the features of a small shop twice: sessions are warm, and no engine holds another's memory.
After each round the tables are compared before any figure is printed: doubles to 1e-9 of 1 + the value, all else
exactly, `rfm_group` too (DuckDB, pandas and Spark get the project's table of groups); `attribute_conflicts` is left
out, since it needs several sources. An engine that fails, for want of memory above all, is named and left out.

Events per second are of the whole `events` table. Memory: the greatest proportional set size of the engine's processes,
Java and Python together, a sample each half second (each second from 5 million events on; 0 for a run that ends before
the first). Growth: the slope of log seconds on log events; 1 is linear.
"""

from __future__ import annotations

import argparse
import importlib
import math
import multiprocessing
import os
import shutil
import statistics
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from feature_shop import Shop, generate, store
from feature_tables import differences
from ingest_events import Peak

CORES = 2
MODULES = {
    "profiling_spark": "with_project",
    "duckdb": "with_duckdb",
    "polars": "with_polars",
    "pandas": "with_pandas",
    "spark": "with_spark",
}
OURS = "profiling_spark"
ON_SPARK = (OURS, "spark")
WARM_EVENTS = 20_000
EVENTS_OF_A_BUCKET = 4_000_000


@dataclass
class Figures:
    """Seconds and peak MB of each run; `failed` says why there are none."""

    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    failed: str = ""

    @property
    def median(self) -> float:
        """Median seconds."""
        return statistics.median(self.seconds)


def session(engine: str, memory: str, events: int) -> Any:
    """The process's Spark session: sizes of the settings; plain Spark gets a shuffle partition a million events."""
    from profiling_spark.config import Settings
    from profiling_spark.launch.driver import SparkOptions, prepare
    from profiling_spark.session import build_session

    prepare(SparkOptions(master=f"local[{CORES}]", conf=(f"spark.driver.memory={memory}",)), verbose=False)
    os.environ["PROFILING_SPARK_MASTER"] = f"local[{CORES}]"
    partitions = 4 if engine == OURS else max(4, events // 1_000_000)
    return build_session(Settings.model_validate({"spark": {"shuffle_partitions": partitions}}), name="benchmark")


def work(engine: str, memory: str, shop: Shop, out: Path) -> float:
    """Build the features of `shop` in this process; seconds from the first read to the written table."""
    build = importlib.import_module(MODULES[engine]).build
    if engine in ON_SPARK:
        spark = session(engine, memory, shop.events)
        begin = time.perf_counter()
        build(spark, shop, out)
    else:
        begin = time.perf_counter()
        build(shop, out)
    return time.perf_counter() - begin


def lay_out(raw: Shop, folder: Path, memory: str, buckets: int) -> None:
    """The raw shop as Delta tables (in a process of its own: it needs a session)."""
    spark = session("spark", memory, raw.events)
    store(spark, raw, folder, buckets)
    spark.stop()


@contextmanager
def process(threads: int) -> Iterator[ProcessPoolExecutor]:
    """A fresh process; in Spark's workers each task is one core, so Polars and Arrow get one thread there."""
    os.environ["POLARS_MAX_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(threads)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
        yield alone


def shop_of(folder: Path, events: int, memory: str, *, heavy: int = 0, buckets: int | None = None) -> Shop:
    """The stored shop; made where it is absent."""
    buckets = buckets or max(4, math.ceil(events / EVENTS_OF_A_BUCKET))
    lake = folder / f"{events}-events-{buckets}-buckets{f'-{heavy}-of-one' if heavy else ''}"
    if not lake.exists():
        raw, unfinished = folder / "raw", folder / "unfinished"
        shutil.rmtree(raw, ignore_errors=True)
        shutil.rmtree(unfinished, ignore_errors=True)
        made = generate(raw, events, heavy=heavy)
        with process(CORES) as alone:
            alone.submit(lay_out, made, unfinished, memory, buckets).result()
        unfinished.rename(lake)
        shutil.rmtree(raw)
    return Shop(lake, events, buckets)


def measure(engine: str, memory: str, shop: Shop, warm: Shop, rounds: int, out: Path) -> tuple[float, float]:
    """Seconds and peak MB of one run in a process that has built the features of `warm` so many times."""
    with process(1 if engine in ON_SPARK else CORES) as alone:
        for _ in range(rounds):
            _remove(out)
            # the same number of shuffle partitions as in the run
            alone.submit(work, engine, memory, replace(warm, events=shop.events, dates=shop.dates), out).result()
        _remove(out)
        root = alone.submit(os.getpid).result()
        # a sample walks all pages of the processes, which takes time from the engine: seldom where there are many
        with Peak(root, every=0.5 if shop.events < 5_000_000 else 1.0) as peak:
            seconds = alone.submit(work, engine, memory, shop, out).result()
    return seconds, peak.megabytes


def _remove(out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(f"{out}.tmp", ignore_errors=True)


def compare(engines: Sequence[str], shop: Shop, runs: int, given: argparse.Namespace) -> dict[str, Figures]:
    """Run the engines in turn, compare their tables after each of the rounds; raises SystemExit where one differs."""
    figures = {engine: Figures() for engine in engines}
    warm = shop_of(given.folder, WARM_EVENTS, given.memory)
    outs = given.folder / "out"
    outs.mkdir(exist_ok=True)
    for _ in range(runs):
        for engine in [e for e in engines if not figures[e].failed]:
            try:
                seconds, megabytes = measure(engine, given.memory, shop, warm, given.warm_rounds, outs / engine)
            except Exception as err:  # a killed process, memory, a full disk: whatever it is, the others go on
                figures[engine].failed = repr(err).splitlines()[0]
                traceback.print_exception(err)
                continue
            figures[engine].seconds.append(seconds)
            figures[engine].megabytes.append(megabytes)
            sys.stderr.write(f"{engine:16} {shop.events:11,} events {seconds:8.1f} s {megabytes:7.0f} MB\n")
        found = differences(
            {e: outs / e for e in sorted(engines, key=lambda e: e != "duckdb") if not figures[e].failed}
        )
        if found:
            raise SystemExit("the tables differ, so there are no figures:\n" + "\n".join(found))
    shutil.rmtree(outs)
    return figures


def report(events: int, figures: Mapping[str, Figures]) -> None:
    """A line an engine."""
    for engine, found in figures.items():
        if found.failed:
            sys.stdout.write(f"{events:11,} events  {engine:16} did not finish: {found.failed}\n")
            continue
        ours = figures.get(OURS)
        ratio = f"  {found.median / ours.median:6.2f} times {OURS}'s time" if ours and not ours.failed else ""
        sys.stdout.write(
            f"{events:11,} events  {engine:16} median {found.median:8.1f} s {events / found.median:11,.0f} events/s"
            f"  peak {max(found.megabytes):7,.0f} MB{ratio}\n"
        )
    sys.stdout.flush()


def report_growth(by_size: Mapping[int, Mapping[str, Figures]], engines: Sequence[str]) -> None:
    """Slope of log seconds on log events of each engine that finished at two sizes or more."""
    for engine in engines:
        done = {n: f[engine].median for n, f in by_size.items() if not f[engine].failed}
        if len(done) > 1:
            slope = statistics.linear_regression(
                [math.log(n) for n in done], [math.log(s) for s in done.values()]
            ).slope
            sys.stdout.write(f"{engine:16} growth exponent {slope:.2f} over {len(done)} sizes\n")


def report_heavy_customer(given: argparse.Namespace) -> None:
    """Time of the project's build where one customer has a million of the events, against the usual long tail."""
    for events in given.events:
        shops = {
            heavy: shop_of(given.folder, events, given.memory, heavy=heavy, buckets=given.buckets)
            for heavy in (0, given.million_event_customer)
        }
        found = {heavy: Figures() for heavy in shops}
        for run in range(given.runs):
            # DuckDB is there for the comparison of the tables alone
            engines = [OURS] if run or "duckdb" in given.without else [OURS, "duckdb"]
            for heavy, shop in shops.items():
                figures = compare(engines, shop, 1, given)[OURS]
                if figures.failed:
                    raise SystemExit(f"{OURS} did not finish: {figures.failed}")
                found[heavy].seconds += figures.seconds
                found[heavy].megabytes += figures.megabytes
        for heavy, figures in found.items():
            what = f"{heavy:,} of them one customer's" if heavy else "a long tail"
            sys.stdout.write(
                f"{events:11,} events, {what}: median {figures.median:.1f} s, peak {max(figures.megabytes):,.0f} MB\n"
            )
        ratio = found[given.million_event_customer].median / found[0].median
        sys.stdout.write(f"{events:11,} events: {ratio:.2f} times the time of the long tail\n")


def main() -> None:
    """Make the shops where they are absent, run, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--warm-rounds", type=int, default=2, help="builds of a small shop before each run")
    parser.add_argument("--folder", type=Path, required=True, help="for the shops (kept) and the tables (removed)")
    parser.add_argument("--without", default="", help="engines to leave out, comma separated, such as pandas,spark")
    parser.add_argument("--memory", default="6g", help="of the Java process")
    parser.add_argument(
        "--buckets", type=int, help="of the events table; default: one for 4 million events, at least 4"
    )
    parser.add_argument("--dates", type=int, default=1, help="to build for, with profiling_spark alone")
    parser.add_argument(
        "--million-event-customer",
        type=int,
        nargs="?",
        const=1_000_000,
        metavar="EVENTS",
        help="one customer has so many of the events: the project's time against that of the usual long tail",
    )
    given = parser.parse_args()
    given.without = [name for name in given.without.split(",") if name]
    unknown = sorted(set(given.without) - set(MODULES))
    if unknown:
        parser.error(f"--without {','.join(unknown)}: expected some of {', '.join(MODULES)}")
    if given.dates > 1 and set(MODULES) - set(given.without) != {OURS}:
        parser.error("--dates: the other engines build one date; leave them out (--without)")
    if given.million_event_customer and min(given.events) < 2 * given.million_event_customer:
        parser.error("--million-event-customer: expected twice as many --events at least")
    given.folder = given.folder.resolve()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.million_event_customer:
        report_heavy_customer(given)
        return
    engines = [name for name in MODULES if name not in given.without]
    by_size = {}
    for events in given.events:
        shop = replace(shop_of(given.folder, events, given.memory, buckets=given.buckets), dates=given.dates)
        by_size[events] = compare(engines, shop, given.runs, given)
        report(events, by_size[events])
    report_growth(by_size, engines)


if __name__ == "__main__":
    main()
