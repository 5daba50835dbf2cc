"""recommend_items at size, a first run and a night, beside a script with `implicit` that does as much.

    scripts/bench.sh nightly --events 10000000 --customers 178000 --runs 2 --folder FOLDER

A shop with 40 tastes and (from a million events on) 20,000 items, as Delta tables. In turn, each a process of its own:

- first run: `submit.sh run --only build_features --only recommend_items` on the lake without a model: engines are
  fitted and compared, lists written;
- night: the same the day after, with the stored model: lists, neighbours, bundles, audiences;
- script: polars reads the same events, `implicit` (to be installed for this script alone) fits ALS (rank 64, 15
  iterations) and ranks 20 unseen items for every customer, Parquet out: no comparison, no reasons, no policy.

Two cores for all. Seconds are those of the stage in `job_runs`, the script's are from its first import. Before a ratio
is printed both lists are judged on the days after the date, which neither has seen: by all items that customers take
then, and by those that are new to them, for which the known items in ours count as misses.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from feature_shop import AS_OF, Shop, generate, store
from ingest_events import Peak

PROJECT = Path(__file__).resolve().parents[2]
CORES, TASTES, BUCKETS, TOP = 2, 40, 8, 20
RANK, ITERATIONS, ALPHA, REGULARISATION = 64, 15, 40.0, 0.05
WEIGHTS = {"view": 1.0, "favorite": 3.0, "cart": 4.0, "purchase": 8.0}
HISTORY_DAYS, HALF_LIFE = 365, 45.0
NIGHT = AS_OF + timedelta(days=1)
_EVERY = 5.0  # seconds: to ask the system for a process's memory takes a tenth of one


def prepared(folder: Path, events: int, customers: int) -> Shop:
    """The shop's tables, made where they are absent."""
    lake = folder / f"lake_{events}"
    shop = Shop(lake, events, BUCKETS)
    if lake.exists():
        return shop
    raw, unfinished = folder / f"raw_{events}", folder / "unfinished"
    for each in (raw, unfinished):
        shutil.rmtree(each, ignore_errors=True)
    made = generate(raw, events, each=max(events // customers, 1), tastes=TASTES)
    store(_session(), made, unfinished, BUCKETS)
    unfinished.rename(lake)
    return shop


def _session() -> Any:
    from profiling_spark.config import Settings
    from profiling_spark.launch.driver import SparkOptions, prepare
    from profiling_spark.session import build_session

    prepare(SparkOptions(master=f"local[{CORES}]", conf=("spark.driver.memory=6g",)), verbose=False)
    return build_session(Settings.model_validate({}), name="benchmark")


def command(lake: Path, folder: Path, as_of: str) -> float:
    """Features and recommendations of a date; the greatest memory of its processes, MB."""
    settings = folder / "settings.yaml"
    timezone = {"business_timezone": "Asia/Shanghai", "windows_days": [7, 30, 90]}
    settings.write_text(yaml.safe_dump({"storage": {"root": str(lake)}, "buckets": BUCKETS, **timezone}))
    words = [str(PROJECT / "scripts" / "submit.sh"), "run", "--config", str(settings), "--as-of", as_of]
    words += ["--only", "build_features", "--only", "recommend_items"]
    environ = {**os.environ, "PROFILING_SPARK_DRIVER_MEMORY": "6g", "PROFILING_SPARK_MASTER": f"local[{CORES}]"}
    environ.pop("PYTHONPATH", None)
    with subprocess.Popen(words, cwd=folder, env=environ) as process, Peak(process.pid, every=_EVERY) as peak:
        process.wait()
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}: exit code {process.returncode}")
    return peak.megabytes


def stage_seconds(lake: Path) -> float:
    """Of the newest recommend_items, as job_runs has it."""
    import deltalake

    runs = pl.DataFrame(deltalake.DeltaTable(str(lake / "job_runs")).to_pyarrow_table())
    of_job = runs.filter((pl.col("job") == "recommend_items") & pl.col("finished_at").is_not_null())
    newest = of_job.sort("finished_at").row(-1, named=True)
    return float((newest["finished_at"] - newest["started_at"]).total_seconds())


def script(lake: Path, out: Path) -> float:
    """The same task as people write it: seconds from the first import to the file."""
    began = time.perf_counter()
    from implicit.cpu.als import AlternatingLeastSquares  # type: ignore[import-not-found,unused-ignore]
    from scipy import sparse

    decay = (pl.lit(AS_OF) - pl.col("event_date")).dt.total_days() / HALF_LIFE
    pairs = (
        pl.scan_parquet(Shop(lake, 0).files("events"))
        .filter(
            pl.col("item_id").is_not_null() & pl.col("event_type").is_in(list(WEIGHTS)) & (pl.col("event_date") < AS_OF)
            & (pl.col("event_date") >= AS_OF - timedelta(days=HISTORY_DAYS))
        )
        .group_by("user_id", "item_id")
        .agg((pl.col("event_type").replace_strict(WEIGHTS, return_dtype=pl.Float64) * 0.5**decay).sum().alias("weight"))
        .with_columns(user=pl.col("user_id").rank("dense") - 1, item=pl.col("item_id").rank("dense") - 1)
        .collect()
    )  # fmt: skip
    users = pairs.select("user", "user_id").unique().sort("user")["user_id"]
    items = pairs.select("item", "item_id").unique().sort("item")["item_id"]
    place = (pairs["user"].to_numpy(), pairs["item"].to_numpy())
    taken = sparse.csr_matrix((pairs["weight"].cast(pl.Float32).to_numpy(), place), shape=(len(users), len(items)))
    model = AlternatingLeastSquares(
        factors=RANK,
        iterations=ITERATIONS,
        alpha=ALPHA,
        regularization=REGULARISATION,
        num_threads=CORES,
        random_state=42,
    )
    model.fit(taken, show_progress=False)
    found, scores = model.recommend(np.arange(len(users)), taken, N=TOP, filter_already_liked_items=True)
    pl.DataFrame(
        {
            "user_id": users.gather(np.repeat(np.arange(len(users)), TOP)),
            "rank": np.tile(np.arange(1, TOP + 1), len(users)),
            "item_id": items.gather(found.ravel()),
            "score": scores.ravel(),
        }
    ).write_parquet(out)
    return time.perf_counter() - began


def judged(lake: Path, lists: pl.LazyFrame, *, is_new: bool) -> tuple[float, int]:
    """NDCG@20 of lists (user_id, rank, item_id) on the days from AS_OF, and how many customers with a history are
    judged: who took an item then, or where `is_new` one that was new to them.
    """
    events = pl.scan_parquet(Shop(lake, 0).files("events")).filter(
        pl.col("item_id").is_not_null() & pl.col("event_type").is_in(list(WEIGHTS))
    )
    pairs = events.select("user_id", "item_id", later=pl.col("event_date") >= AS_OF).unique()
    before, after = pairs.filter(~pl.col("later")), pairs.filter("later").drop("later")
    if is_new:
        after = after.join(before, on=["user_id", "item_id"], how="anti")
    known = after.join(before.select("user_id").unique(), on="user_id", how="semi").collect()
    gain = 1 / (pl.col("rank") + 1).log(2)
    hits = (
        lists.join(known.lazy(), on=["user_id", "item_id"]).group_by("user_id").agg(gain.sum().alias("dcg")).collect()
    )
    ideal = np.cumsum(1 / np.log2(np.arange(2, TOP + 2)))
    wanted = known.group_by("user_id").len()
    best = wanted.with_columns(ideal=pl.Series(ideal[np.minimum(wanted["len"].to_numpy(), TOP) - 1]))
    shares = best.join(hits, on="user_id", how="left").select(pl.col("dcg").fill_null(0.0) / pl.col("ideal"))
    return float(shares.to_series().mean() or 0.0), len(best)  # type: ignore[arg-type]


def _in_a_process(work: Any, *arguments: Any) -> Any:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def main() -> None:
    """Run in turn, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--customers", type=int, default=178_000)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    folder: Path = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as `implicit` asks for, which has threads of its own
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:CORES]))
    source = _in_a_process(prepared, folder, given.events, given.customers)
    seconds: dict[str, list[float]] = {"first run": [], "night": [], "script": []}
    peaks: dict[str, float] = {}
    lake, out = folder / "lake", folder / "script.parquet"
    for _ in range(given.runs):
        shutil.rmtree(lake, ignore_errors=True)
        shutil.copytree(source.folder, lake)
        for name, day in (("first run", AS_OF), ("night", NIGHT)):
            memory = command(lake, folder, str(day))
            seconds[name].append(stage_seconds(lake))
            peaks[name] = max(peaks.get(name, 0.0), memory)
            sys.stdout.write(f"{name}: {seconds[name][-1]:.1f} s\n")
            sys.stdout.flush()
        with Peak(os.getpid(), every=_EVERY) as peak:
            seconds["script"].append(_in_a_process(script, lake, out))
        peaks["script"] = max(peaks.get("script", 0.0), peak.megabytes)
        sys.stdout.write(f"script: {seconds['script'][-1]:.1f} s\n")
        sys.stdout.flush()
    ours = pl.scan_parquet([f for f in Shop(lake, 0).files("user_recommendations") if f"as_of={AS_OF}" in f])
    unknown = ours.filter(~pl.col("again")).with_columns(rank=pl.col("rank").rank("ordinal").over("user_id"))
    for name, lists in (("lists", ours), ("lists without known items", unknown), ("script", pl.scan_parquet(out))):
        for words, is_new in (("items", False), ("new items", True)):
            figure, customers = judged(lake, lists.select("user_id", "rank", "item_id"), is_new=is_new)
            sys.stdout.write(
                f"{name}: NDCG@20 {figure:.4f} of {customers:,} customers who took {words} from {AS_OF} on\n"
            )
    script_seconds = statistics.median(seconds["script"])
    for name, took_all in seconds.items():
        median = statistics.median(took_all)
        sys.stdout.write(
            f"{name:10} median {median:6.1f} s ({min(took_all):.1f} to {max(took_all):.1f}), "
            f"{median / script_seconds:5.2f} times the script's; peak {peaks[name]:,.0f} MB\n"
        )


if __name__ == "__main__":
    main()
