"""A value that all tasks share reaches each Python worker once, and does not stand in what every task is sent."""

from __future__ import annotations

from collections.abc import Iterator

import cloudpickle
import pyarrow as pa
from pyspark.sql import SparkSession

from profiling_spark.shared import Shared

ROWS = 200_000


def test_tasks_see_the_value_and_are_sent_a_reference(spark: SparkSession) -> None:
    value = [f"item {n}" for n in range(ROWS)]
    shared = Shared(spark, value)
    assert shared.value is value
    assert len(cloudpickle.dumps(shared)) < 1000 < len(cloudpickle.dumps(value))
    assert len(cloudpickle.dumps(shared)) < 1000  # also the second time

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            found = [shared.value[n] for n in batch.column("id").to_pylist()]
            yield pa.RecordBatch.from_pydict({"item": found, "place": [str(id(shared.value))] * len(found)})

    wanted = spark.range(0, ROWS, ROWS // 8, 8)
    rows = wanted.mapInArrow(run, "item string, place string").collect()
    assert sorted(r["item"] for r in rows) == sorted(f"item {n}" for n in range(0, ROWS, ROWS // 8))
    # eight tasks, and no more copies than there are Python workers
    assert len({r["place"] for r in rows}) <= spark.sparkContext.defaultParallelism * 2
