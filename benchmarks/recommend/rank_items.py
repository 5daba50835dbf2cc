"""The 20 best unseen items of every customer: this package beside MLlib and `implicit`, from the same ALS factors.

    scripts/bench.sh rank_items --train FILE --runs 3

FILE has lines `user item item ...`. MLlib fits ALS once (rank 64, 10 iterations); `implicit` must be installed for this
script alone. Then, in turn, each from what it has in memory to lists that nobody keeps:

- profiling_spark: the scoring seam and the top-N pass in Spark tasks, customers folded in from their histories;
- mllib: recommendForAllUsers(20), then an anti-join with what was seen, so that lists fall short of 20;
- implicit: recommend(filter_already_liked_items=True) with the customers' factors as this package folds them in.

Two cores for all. Before a figure is printed the lists of profiling_spark and implicit are compared: the same items but
for scores equal to 1e-5. Last, in turn, graph_filter is prepared and ALS fitted on the same pairs.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from ingest_events import Peak
from scipy import sparse

N, RANK, ITERATIONS, CORES = 20, 64, 10, 2
OURS = "profiling_spark"
ALPHA, REGULARISATION = 40.0, 4.0
LISTS = "user bigint, items array<bigint>, scores array<double>"


@dataclass(frozen=True)
class Pairs:
    """Training pairs by number, sorted by user."""

    users: Any
    items: Any
    customers: int


@dataclass(frozen=True)
class Rank:
    """What a Spark task does with its customers' pairs (user, item)."""

    side: Any

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from profiling_spark.recommend.matrix.item_side import block_rows, padded_blocks, rows_of
        from profiling_spark.recommend.matrix.score_block import best, close_pairs

        table = pa.Table.from_batches(list(batches)).sort_by([("user", "ascending"), ("item", "ascending")])
        users, items = (table[c].to_numpy().astype(np.int64) for c in ("user", "item"))
        for block, histories in padded_blocks(users, items, np.ones(len(users)), rows=block_rows(self.side.items)):
            scored = self.side.score(histories)
            scores = scored.block()
            row, place = rows_of(users, block)
            close_pairs(scores, row, items[place])
            found, values = best(scores, N, scored.exact)
            ends = np.arange(0, found.size + 1, N, dtype=np.int32)
            lists = {"items": found, "scores": values}
            columns = {name: pa.ListArray.from_arrays(ends, flat.ravel()) for name, flat in lists.items()}
            yield pa.RecordBatch.from_pydict({"user": block, **columns})


def noop(frame: Any) -> None:
    """Compute every row and keep none."""
    frame.write.format("noop").mode("overwrite").save()


def with_implicit(user_factors: Any, item_factors: Any, pairs: Pairs) -> Callable[[], tuple[Any, Any]]:
    """A call that ranks all customers."""
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(factors=RANK, num_threads=CORES)
    model.user_factors, model.item_factors = user_factors, item_factors
    ones = np.ones(len(pairs.users), dtype=np.float32)
    seen = sparse.csr_matrix((ones, (pairs.users, pairs.items)), shape=(len(user_factors), len(item_factors)))
    everyone = np.arange(pairs.customers)
    return lambda: model.recommend(everyone, seen[everyone], N=N, filter_already_liked_items=True)


def folded(side: Any, pairs: Pairs) -> Any:
    """Factors of all customers, by the package's normal equation."""
    from profiling_spark.recommend.matrix.item_side import padded_blocks

    found = np.zeros((pairs.customers, RANK), dtype=np.float32)
    for block, histories in padded_blocks(pairs.users, pairs.items, np.ones(len(pairs.users)), rows=4096):
        found[block] = side.score(histories).user
    return found


def differing(ours: Any, theirs: tuple[Any, Any]) -> int:
    """Customers whose lists differ by more than items of equal score."""
    ids, scores = theirs
    wrong = 0
    for row in ours:
        same = set(row["items"]) == set(ids[row["user"]].tolist())
        wrong += not (same or np.allclose(row["scores"], scores[row["user"]], rtol=1e-4, atol=1e-5))
    return wrong


def numbered_pairs(part: Any, partitions: int) -> Any:
    """(user, item, rating 1), numbered from 0, kept in Spark's memory."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    from profiling_spark.recommend.engines.als import numbered

    user = (F.dense_rank().over(Window.orderBy("user_id")) - 1).cast("int").alias("user")
    item = F.col("item").cast("int").alias("item")
    rated = numbered(part.pairs, part.totals.items).select(user, item, F.lit(1.0).alias("rating"))
    return rated.repartition(partitions, "user").persist()


def fitted(known: Any) -> Any:
    """MLlib's model."""
    from pyspark.ml.recommendation import ALS

    return ALS(
        userCol="user", itemCol="item", ratingCol="rating", implicitPrefs=True, rank=RANK, maxIter=ITERATIONS,
        alpha=ALPHA, regParam=REGULARISATION, checkpointInterval=-1, seed=7,
    ).fit(known)  # fmt: skip


def engines_of(model: Any, known: Any, items: int) -> dict[str, Callable[[], object]]:
    """What is timed, by name; raises SystemExit where profiling_spark and implicit give other lists."""
    from pyspark.sql import functions as F

    from profiling_spark.recommend.engines.als import FactorSide, principal_axes

    table = known.toPandas().sort_values(["user", "item"])
    pairs = Pairs(table["user"].to_numpy(np.int64), table["item"].to_numpy(np.int64), int(table["user"].max()) + 1)
    factors = np.zeros((items, RANK), dtype=np.float32)
    for row in model.itemFactors.toLocalIterator():
        factors[row["id"]] = row["features"]
    factors = principal_axes(factors)  # as `fit_als` leaves them
    side = FactorSide(factors, alpha=ALPHA, regularisation=REGULARISATION)
    seen = known.select("user", "item")
    ranked = seen.mapInArrow(Rank(side), LISTS)
    implicit = with_implicit(folded(side, pairs), factors, pairs)
    wrong = differing(ranked.collect(), implicit())
    if wrong:
        raise SystemExit(f"{wrong} of {pairs.customers} customers have other lists, so there are no figures")
    best = model.recommendForAllUsers(N).select("user", F.explode("recommendations").alias("_one"))
    unseen = best.select("user", "_one.item", "_one.rating").join(seen, ["user", "item"], how="left_anti")
    return {OURS: lambda: noop(ranked), "implicit": implicit, "mllib": lambda: noop(unseen)}


def compare(engines: Mapping[str, Callable[[], object]], runs: int) -> None:
    """Run them in turn and print medians."""
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    peaks = dict.fromkeys(engines, 0.0)
    for _ in range(runs):
        for name, engine in engines.items():
            with Peak(os.getpid(), every=0.5) as peak:
                begin = time.perf_counter()
                engine()
                seconds[name].append(time.perf_counter() - begin)
            peaks[name] = max(peaks[name], peak.megabytes)
            sys.stderr.write(f"{name:16} {seconds[name][-1]:7.1f} s\n")
    ours = statistics.median(seconds[OURS])
    for name in engines:
        median = statistics.median(seconds[name])
        sys.stdout.write(
            f"{name:16} median {median:6.1f} s  {median / ours:5.2f} times profiling_spark's time  "
            f"peak of all processes {peaks[name]:,.0f} MB\n"
        )


def main() -> None:
    """Fit, compare, run in turn, print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--memory", default="6g", help="of the Java process")
    given = parser.parse_args()
    if importlib.util.find_spec("implicit") is None:
        parser.error(f"the package implicit is not installed. Type: {sys.executable} -m pip install 'implicit>=0.7.2'")
    if not given.train.is_file():
        parser.error(
            f"--train: there is no {given.train}; it has lines `user item item ...`, as LightGCN's Gowalla has"
        )
    os.environ["PROFILING_SPARK_MASTER"] = f"local[{CORES}]"
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a Spark task is one core
    from profiling_spark.config import Settings
    from profiling_spark.launch.driver import SparkOptions, prepare
    from profiling_spark.recommend.engines import GRAPH_FILTER
    from profiling_spark.recommend.files.engines import side_of, split_part
    from profiling_spark.recommend.files.split import read_interactions
    from profiling_spark.session import build_session

    prepare(SparkOptions(master=f"local[{CORES}]", conf=(f"spark.driver.memory={given.memory}",)), verbose=False)
    settings = Settings()
    spark = build_session(settings, name="benchmark")
    train = read_interactions(spark, str(given.train))
    part = split_part(train, train.limit(0), settings)
    known = numbered_pairs(part, settings.spark.shuffle_partitions)
    model = fitted(known)
    compare(engines_of(model, known, len(part.totals.items)), given.runs)
    sys.stdout.write(f"to prepare graph_filter, and to fit MLlib's ALS (rank {RANK}, {ITERATIONS} iterations):\n")
    compare({OURS: lambda: side_of(GRAPH_FILTER, part, settings), "mllib": lambda: fitted(known)}, given.runs)


if __name__ == "__main__":
    main()
