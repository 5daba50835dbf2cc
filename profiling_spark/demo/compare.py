"""What the pipeline found in the demo shop, beside what was planted there."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from pyspark.sql import functions as F
from sklearn.metrics import adjusted_rand_score

from profiling_spark.context import Context
from profiling_spark.contracts.gold import USER_SEGMENTS
from profiling_spark.demo.truth import DemoTruth


def compared(ctx: Context, data: Path) -> list[str]:
    """A line for each source's dirt and one for the segments; `data`: where the shop was made."""
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
