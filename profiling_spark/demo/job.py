"""The demo: make a shop's raw logs, run the same pipeline as on real data, compare with what was planted."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from pyspark.sql import functions as F
from sklearn.metrics import adjusted_rand_score

from profiling_spark.contracts.gold import USER_SEGMENTS
from profiling_spark.demo.generate import generate
from profiling_spark.demo.truth import DemoTruth
from profiling_spark.errors import ProfilingError
from profiling_spark.pipeline import STAGES
from profiling_spark.report.summary import summary
from profiling_spark.runner import Context, run


def demo(config: Path, arguments: Sequence[str]) -> int:
    """Generate (or reuse) the demo shop, run the pipeline on it; other options are those of every job."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--customers", type=int, default=2500)
    parser.add_argument("--days", type=int, default=120)
    parser.add_argument("--data", type=Path, default=Path("demo_data"))
    own, rest = parser.parse_known_args(list(arguments))
    if not {"-h", "--help"} & set(rest):
        try:
            truth = generate(own.data, customers=own.customers, days=own.days)
        except ProfilingError as err:
            sys.stderr.write(f"error: {err}\n")
            return err.exit_code
        if "--quiet" not in rest:
            sys.stderr.write(f"demo shop with {truth.customers:,} customers in {own.data}\n")
    settings = ["--config", str(config), "--set", f"data_root={own.data}"]
    return run(*STAGES, job="demo", summary=lambda ctx: _summary(ctx, own.data), arguments=[*settings, *rest])


def _summary(ctx: Context, data: Path) -> str:
    return summary(ctx) + "\n\nPlanted and found\n-----------------\n" + "\n".join(_compared(ctx, data))


def _compared(ctx: Context, data: Path) -> list[str]:
    truth = DemoTruth.load(data)
    outcome = ctx.outcomes["ingest"]
    lines = []
    for name, planted in truth.sources.items():
        counts = outcome.facts.get("sources", {}).get(name)
        if counts is None:
            continue
        found = (counts["accepted"], outcome.facts["rejected"].get(name, {}), counts["duplicate"], counts["ignored"])
        same = found == (planted.accepted, dict(planted.rejected), planted.duplicates, planted.ignored)
        lines.append(f"  dirt in {name}: {'found exactly as planted' if same else f'differs: {found}'}")
    kinds = pl.read_parquet(data / "truth" / "customers.parquet").select("uid", "kind")
    rows = ctx.tables.read(USER_SEGMENTS, as_of=ctx.as_of, method="kmeans").select(
        F.col("user_id").alias("uid"), "segment_id"
    )
    found_segments = pl.from_arrow(rows.toArrow())
    assert isinstance(found_segments, pl.DataFrame)
    both = kinds.join(found_segments, on="uid")
    if both.height:
        index = adjusted_rand_score(both["kind"].to_list(), both["segment_id"].to_list())
        lines.append(f"  segments against planted kinds: adjusted Rand index {index:.3f}")
    return lines
