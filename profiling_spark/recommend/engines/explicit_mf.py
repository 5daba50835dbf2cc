"""Ratings: what a customer will give an item, and how far off each engine is. For files with ratings.

mean         mu, of all training ratings
biases       mu + b_i + b_u, each damped towards 0 by the paper's constants: b_i = sum(r - mu) / (25 + n) over the
             item's ratings, then b_u = sum(r - mu - b_i) / (10 + n) over the customer's (Koren, TKDD 2010)
item_cf      biases + sum s_ij (r_uj - bias_uj) / sum s_ij over the item's neighbours j that the customer rated,
             s_ij Pearson's correlation over the n customers who rated both, times n / (n + 100) (Koren, KDD 2008)
explicit_mf  biases + p_u q_i, the factors fitted to what the biases leave by MLlib's ALS (Zhou et al. 2008)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from scipy import sparse

from profiling_spark.config import Settings
from profiling_spark.errors import InputError
from profiling_spark.recommend.engines.als import numbered
from profiling_spark.recommend.engines.item_cf import NeighbourSide
from profiling_spark.recommend.engines.settings_search import Axis, Found, Trial, Values, search
from profiling_spark.recommend.files.split import held_out
from profiling_spark.recommend.matrix.blocks import item_index

MEAN, BIASES, ITEM_CF, EXPLICIT_MF = "mean", "biases", NeighbourSide.engine, "explicit_mf"
_ITEM_DAMPING, _USER_DAMPING, _SIMILARITY_DAMPING = 25, 10, 100
_MOST_RANK = 128
_LEAST_GAIN = 0.001  # of the RMSE; engines for ratings lie a few hundredths apart
_SUMS = ("n", "x", "y", "xx", "yy", "xy")
_CO_RATED = "item int, other int, " + ", ".join(f"{name} double" for name in _SUMS)
_PAIR = ["user_id", "item_id"]


def rating_errors(train: DataFrame, test: DataFrame, settings: Settings) -> tuple[int, dict[str, dict[str, float]]]:
    """The number of test ratings; of each engine its `rmse` and `mae` on them. Frames as of `read_interactions`.

    A pair rated several times has the mean of its ratings. A customer or item without training ratings has the bias 0.
    Raises InputError where a file has no ratings.
    """
    with rated_split(train, test) as split:
        mean, items, known, wanted = split.mean, split.items, split.known, split.wanted
        near = by_neighbours(wanted, known, pearson_neighbours(known, items, neighbours=settings.recommend.neighbours))
        factors = by_factors(split, settings)
        every = wanted.join(near, on=_PAIR, how="left").join(factors, on=_PAIR, how="left")
        predictions = {
            MEAN: F.lit(mean),
            BIASES: F.col("bias"),
            ITEM_CF: F.col("bias") + F.coalesce("near", F.lit(0.0)),
            EXPLICIT_MF: F.col("bias") + F.coalesce("factors", F.lit(0.0)),
        }
        off = {name: F.col("rating") - column for name, column in predictions.items()}
        means = [F.sqrt(F.avg(e * e)).alias(f"rmse {name}") for name, e in off.items()]
        means += [F.avg(F.abs(e)).alias(f"mae {name}") for name, e in off.items()]
        row = every.agg(F.count("*").alias("ratings"), *means).first()
        assert row is not None  # for mypy: an aggregate without groups has one row
        return row["ratings"], {name: {m: row[f"{m} {name}"] for m in ("rmse", "mae")} for name in predictions}


@dataclass(frozen=True)
class RatedSplit:
    """`known`: the training ratings with `bias` and what it leaves, `left`; `wanted`: the test ratings with `bias`.
    `mean`: mu; `items`: those with a training rating, in the order of ids.
    """

    mean: float
    items: tuple[str, ...]
    known: DataFrame
    wanted: DataFrame


@contextmanager
def rated_split(train: DataFrame, test: DataFrame) -> Iterator[RatedSplit]:
    """Both parts, kept in memory until the end. Raises InputError where one has no ratings."""
    rated, asked = _rated(train, "training"), _rated(test, "test")
    mean, of_items, of_users = biases_of(rated)
    known = with_bias(rated, mean, of_items, of_users).withColumn("left", F.col("rating") - F.col("bias")).persist()
    wanted = with_bias(asked, mean, of_items, of_users).persist()
    try:
        items = tuple(known.select("item_id").distinct().sort("item_id").toArrow().column("item_id").to_pylist())
        yield RatedSplit(mean, items, known, wanted)
    finally:
        known.unpersist()
        wanted.unpersist()


def tuned_factors(
    rows: DataFrame, settings: Settings, *, share: float, note: Callable[[Trial], object] = lambda trial: None
) -> Found:
    """The settings under recommend.explicit_mf that `recommend.als_trials` fits find: a `share` of each customer's
    ratings is held out (as `held_out` has it), and a trial is worth minus the RMSE on these. Raises InputError where a
    part has no ratings.
    """
    rated = rows.where("rating IS NOT NULL")
    asked = held_out(rated, share=share, salt=settings.seed)[1].select(*_PAIR).persist()
    start = settings.recommend.explicit_mf
    axes = (
        Axis("regularisation", 2.0, least=1e-5, most=1e4),
        Axis("rank", 2.0, least=1, most=_MOST_RANK, is_whole=True),
        Axis("iterations", 1.6, least=2, most=16, is_whole=True),
    )
    try:
        parts = rated.join(asked, on=_PAIR, how="left_anti"), rated.join(asked, on=_PAIR, how="left_semi")
        with rated_split(*parts) as split:

            def value(values: Values) -> float:
                factors = by_factors(split, with_factors(settings, values))
                predicted = F.col("bias") + F.coalesce("factors", F.lit(0.0))
                error = F.col("rating") - predicted
                row = split.wanted.join(factors, on=_PAIR, how="left").agg(F.sqrt(F.avg(error * error))).first()
                assert row is not None  # for mypy: an aggregate without groups has one row
                note(Trial(values, -row[0]))
                return -float(row[0])

            budget = max(settings.recommend.als_trials, 1)
            return search(start.model_dump(), axes, value, budget=budget, least_gain=_LEAST_GAIN)
    finally:
        asked.unpersist()


def with_factors(settings: Settings, values: Values) -> Settings:
    """The settings with these of explicit_mf."""
    chosen = settings.recommend.explicit_mf.model_copy(update=dict(values))
    return settings.model_copy(update={"recommend": settings.recommend.model_copy(update={"explicit_mf": chosen})})


def _rated(rows: DataFrame, part: str) -> DataFrame:
    """(user_id, item_id, rating): one row per rated pair."""
    rated = rows.where("rating IS NOT NULL").groupBy(*_PAIR).agg(F.avg("rating").alias("rating"))
    if rated.isEmpty():
        raise InputError(f"{EXPLICIT_MF}: expected a column rating in the {part} file, found no ratings")
    return rated


def biases_of(known: DataFrame) -> tuple[float, DataFrame, DataFrame]:
    """mu, (item_id, item_bias) and (user_id, user_bias) of the ratings (user_id, item_id, rating)."""
    row = known.agg(F.avg("rating")).first()
    assert row is not None  # for mypy: an aggregate without groups has one row
    mean = float(row[0])
    above = F.col("rating") - F.lit(mean)
    of_items = known.groupBy("item_id").agg((F.sum(above) / (F.count("*") + _ITEM_DAMPING)).alias("item_bias"))
    left = F.sum(above - F.col("item_bias"))
    of_users = (
        known.join(of_items, on="item_id", how="inner")
        .groupBy("user_id")
        .agg((left / (F.count("*") + _USER_DAMPING)).alias("user_bias"))
    )
    return mean, of_items, of_users


def with_bias(rows: DataFrame, mean: float, of_items: DataFrame, of_users: DataFrame) -> DataFrame:
    """The rows with `bias`: what their customer gives their item on average."""
    joined = rows.join(of_items, on="item_id", how="left").join(of_users, on="user_id", how="left")
    bias = F.lit(mean) + F.coalesce("item_bias", F.lit(0.0)) + F.coalesce("user_bias", F.lit(0.0))
    return joined.withColumn("bias", bias).drop("item_bias", "user_bias")


def by_factors(split: RatedSplit, settings: Settings) -> DataFrame:
    """(user_id, item_id, factors): p_u q_i of the wanted pairs whose customer and item were rated."""
    asked, blocks = settings.recommend.explicit_mf, settings.spark.fit_partitions
    rows = numbered(split.known, split.items).select(
        "user_id", "user", "item", F.col("left").cast("float").alias("left")
    )
    fitted = ALS(
        userCol="user", itemCol="item", ratingCol="left", seed=settings.seed, rank=asked.rank,
        maxIter=asked.iterations, regParam=asked.regularisation, numUserBlocks=blocks, numItemBlocks=blocks,
        checkpointInterval=-1, coldStartStrategy="drop",
    ).fit(rows.repartition(blocks, "user").sortWithinPartitions("user", "item"))  # fmt: skip
    users = rows.select("user_id", "user").distinct()
    index = F.broadcast(item_index(rows.sparkSession, split.items))
    pairs = split.wanted.select(*_PAIR).join(users, on="user_id", how="inner").join(index, on="item_id", how="inner")
    return fitted.transform(pairs).select(*_PAIR, F.col("prediction").cast("double").alias("factors"))


def pearson_neighbours(known: DataFrame, items: Sequence[str], *, neighbours: int) -> DataFrame:
    """(item_id, other_id, similarity): each item's strongest neighbours above 0, by the ratings (user_id, item_id,
    rating).
    """
    rows = known.select(*_PAIR, "rating").repartition("user_id")
    sums = (
        rows.mapInArrow(_CoRated(tuple(items)), _CO_RATED)
        .groupBy("item", "other")
        .agg(*(F.sum(name).alias(name) for name in _SUMS))
    )
    n, x, y, xx, yy, xy = (F.col(name) for name in _SUMS)
    spread = F.sqrt(F.greatest(n * xx - x * x, F.lit(0.0)) * F.greatest(n * yy - y * y, F.lit(0.0)))
    # ratings that are all the same have a spread of 0, or of what rounding left of it
    correlation = F.when(spread > 1e-9 * n * F.sqrt(xx * yy), (n * xy - x * y) / spread)
    shrunk = sums.withColumn("similarity", correlation * n / (n + _SIMILARITY_DAMPING)).where("similarity > 0")
    best = Window.partitionBy("item").orderBy(F.desc("similarity"), "other")
    kept = shrunk.withColumn("_rank", F.row_number().over(best)).where(F.col("_rank") <= neighbours)
    index = item_index(known.sparkSession, items)
    other = index.select(F.col("item_id").alias("other_id"), F.col("item").alias("other"))
    named = kept.join(F.broadcast(index), on="item", how="inner").join(F.broadcast(other), on="other", how="inner")
    return named.select("item_id", "other_id", "similarity")


def by_neighbours(wanted: DataFrame, known: DataFrame, near: DataFrame) -> DataFrame:
    """(user_id, item_id, near): the weighted mean of what the biases left of the customer's ratings of neighbours."""
    rated = known.select("user_id", F.col("item_id").alias("other_id"), "left")
    reached = wanted.select(*_PAIR).join(rated, on="user_id", how="inner").join(near, on=["item_id", "other_id"])
    mean = F.sum(F.col("similarity") * F.col("left")) / F.sum("similarity")
    return reached.groupBy(*_PAIR).agg(mean.alias("near"))


class _CoRated:
    """What a worker runs on a partition of ratings: of each two items the sums over the customers who rated both."""

    def __init__(self, items: tuple[str, ...]) -> None:
        self.items = items

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows = list(batches)
        if not rows:
            return
        table = pa.Table.from_batches(rows).combine_chunks()
        user = pc.dictionary_encode(table.column("user_id")).combine_chunks().indices.to_numpy(zero_copy_only=False)
        item = pc.index_in(table.column("item_id"), pa.array(self.items, table.column("item_id").type)).to_numpy()
        rating = table.column("rating").to_numpy()
        shape = (int(user.max(initial=-1)) + 1, len(self.items))
        is_rated, first, second = (sparse.csr_array((rating**power, (user, item)), shape=shape) for power in (0, 1, 2))
        products = (is_rated.T @ is_rated, first.T @ is_rated, is_rated.T @ first, second.T @ is_rated,
                    is_rated.T @ second, first.T @ first)  # fmt: skip
        # all with the same places, since a rating of 0 is stored too
        sums = [sparse.csr_array(product) for product in products]
        for product in sums:
            product.sort_indices()
        place = sums[0].tocoo()
        is_pair = place.row != place.col
        columns = [pa.array(place.row[is_pair], pa.int32()), pa.array(place.col[is_pair], pa.int32())]
        columns += [pa.array(product.data[is_pair], pa.float64()) for product in sums]
        yield pa.RecordBatch.from_arrays(columns, names=["item", "other", *_SUMS])
