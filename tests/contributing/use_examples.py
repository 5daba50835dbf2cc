"""Uses the examples that need Spark: `python use_examples.py SETTINGS...` prints what it found as one line of JSON.

Run with a copy of the package that has the examples (see test_examples.py).
"""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from profiling_spark.overview.sample import samples
from profiling_spark.pipeline import Pipeline
from profiling_spark.recommend.engines import ENGINES
from profiling_spark.recommend.engines.fit import engine_side
from profiling_spark.recommend.engines.stored import load_side, save_side
from profiling_spark.recommend.history.pairs import Bought, SplitTotals
from profiling_spark.recommend.judge.choose import Fitted
from profiling_spark.recommend.matrix.item_side import Histories
from profiling_spark.recommend.store import load, store, wanted
from profiling_spark.storage import Tables

AS_OF = date(2026, 5, 2)


def shop_of(pipeline: Pipeline) -> dict[str, Any]:
    """What the pipeline makes of the log, and what try-mapping says of it."""
    result = pipeline.run("ingest", "build_features", "build_profiles", as_of=AS_OF)
    amounts = F.col("quantity").cast("int"), F.col("amount").cast("string")
    events = pipeline.table("events").select("user_id", *amounts).orderBy("user_id", "quantity")
    features = pipeline.table("user_features").where(F.col("as_of") == F.lit(AS_OF))
    channels = pipeline.table("channel_customers").select(F.col("as_of").cast("string"), "channel", "customers")
    whole = pipeline.settings.sources["log"].model_copy(update={"path": "log.orc"})
    settings = pipeline.settings.model_copy(update={"sources": {"log": whole}})
    (sample,) = samples(pipeline.spark, settings, rows=100)
    return {
        "problems": result.problems,
        "events": [list(row) for row in events.collect()],
        "refused": [list(row) for row in pipeline.table("rejected_rows").select("reasons", "occurrences").collect()],
        "channels": [list(row) for row in channels.orderBy("channel").collect()],
        "dearest": dict(features.select("user_id", F.col("dearest_day_7d").cast("string")).collect()),
        "tried": {"rows": sample.rows, "accepted": sample.accepted, "refused": sample.refused},
    }


def engine_of(pipeline: Pipeline) -> dict[str, Any]:
    """The engine on three customers, with one neighbour an item; scored from a history, then stored and loaded."""
    spark, items = pipeline.spark, ("a", "b", "c")
    baskets = {"u1": "ab", "u2": "abc", "u3": "ac"}
    pairs = spark.createDataFrame(
        [(user, item, 1000, True) for user, taken in baskets.items() for item in taken],
        "user_id string, item_id string, units bigint, is_learned boolean",
    )
    recommend = pipeline.settings.recommend.model_copy(update={"neighbours": 1})
    settings = pipeline.settings.model_copy(update={"recommend": recommend})
    side: Any = engine_side("together", pairs, items, settings, units="units", is_used="is_learned")
    scores = side.score(Histories(np.array([[0]]), np.array([[3.0]]))).block()
    tables = Tables(spark, settings.storage.root, run_id="engine")
    count = np.ones(3, dtype=np.int64)
    bought = Bought(count, count)
    totals = SplitTotals(items, (None,) * 3, np.ones(3), bought, 7, np.ones(3), count, bought, "seven")
    near = pa.table({name: [0] for name in ("item", "other", "rank", "similarity")})
    stored = store(tables, Fitted("together", side), totals, near, neighbours=2, asked=wanted(settings), as_of=AS_OF)
    folder = Path(settings.storage.root) / "_side"
    save_side(folder, side)
    again: list[Any] = [load(tables, stored, candidates=0).side, load_side(folder)]
    return {
        "compared": ENGINES,
        "similar": side.similar.toarray().tolist(),
        "scores": [[None if np.isneginf(v) else float(v) for v in row] for row in scores],
        "stored": [*(s.engine for s in again), *(s.similar.toarray().tolist() for s in again)],
    }


if __name__ == "__main__":
    with Pipeline(sys.argv[1:]) as opened:
        found = {**shop_of(opened), "engine": engine_of(opened)}
    sys.stdout.write(json.dumps(found) + "\n")
