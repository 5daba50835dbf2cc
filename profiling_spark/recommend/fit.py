"""Fit the engines, compare them on a split by time, and name the one that serves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from profiling_spark.buckets import map_buckets
from profiling_spark.config import Settings
from profiling_spark.config.settings import Recommend
from profiling_spark.recommend.als import FactorSide, fit_als
from profiling_spark.recommend.evaluate import Figures, evaluate
from profiling_spark.recommend.interactions import SPLIT_COLUMNS, UNITS, HistoryParams, split_interactions
from profiling_spark.recommend.item_cf import NeighbourSide, cosine_neighbours, neighbour_side
from profiling_spark.recommend.item_side import Floats, ItemSide
from profiling_spark.recommend.popular import POPULAR, PopularSide
from profiling_spark.storage import Tables

ALS, ITEM_CF = FactorSide.engine, NeighbourSide.engine
_PAIR = T.StructType(
    [
        T.StructField("user_id", T.StringType()),
        T.StructField("item_id", T.StringType()),
        T.StructField("category", T.StringType()),
        T.StructField("units", T.LongType()),
        T.StructField("is_history", T.BooleanType()),
        T.StructField("train_units", T.LongType()),
        T.StructField("is_train", T.BooleanType()),
        T.StructField("is_truth", T.BooleanType()),
    ]
)


@dataclass(frozen=True)
class _Pairs:
    params: HistoryParams
    cutoff: datetime | None
    timezone: str

    def __call__(self, events: pl.DataFrame, _: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        return split_interactions(events, self.params, cutoff=self.cutoff, timezone=self.timezone)


def pairs_of(tables: Tables, settings: Settings, *, as_of: date, cutoff: datetime | None) -> DataFrame:
    """One row per customer and touched item (see `split_interactions`), a customer's rows in one partition."""
    params = HistoryParams.of(settings, as_of)
    kernel = _Pairs(params, cutoff, settings.business_timezone)
    return map_buckets(
        tables, kernel, schema=_PAIR, columns=SPLIT_COLUMNS, buckets=settings.buckets, before=as_of, since=params.since
    )


@dataclass(frozen=True)
class Totals:
    """All customers together, by item, in the order of ids. `weights` as of the run, `train_weights` at the cutoff.

    `pairs` counts the rows that can be learned from; `fingerprint` changes with any row.
    """

    items: tuple[str, ...]
    categories: tuple[str | None, ...]
    weights: Floats
    train_weights: Floats
    pairs: int
    fingerprint: str

    def has_enough(self, settings: Recommend) -> bool:
        """Whether an engine can be fitted at all."""
        return self.pairs >= settings.min_pairs and int((self.weights > 0).sum()) >= 2


def item_totals(pairs: DataFrame) -> Totals:
    """Sums of the positive weights (whole numbers, so exact) and the number of positive pairs."""
    row_hash = F.xxhash64("user_id", "item_id", "units", "train_units").cast("decimal(38,0)")
    summed = pairs.groupBy("item_id").agg(
        F.sum(row_hash).cast("string").alias("row_hash"),
        F.sum(F.greatest("units", F.lit(0))).alias("units"),
        F.sum(F.greatest(F.coalesce("train_units", F.lit(0)), F.lit(0))).alias("train_units"),
        F.count_if(F.col("is_history")).alias("pairs"),
        F.min("category").alias("category"),
    )
    table = summed.toArrow().sort_by("item_id")
    hashes = "\n".join(table.column("row_hash").to_pylist())
    return Totals(
        tuple(table.column("item_id").to_pylist()),
        tuple(table.column("category").to_pylist()),
        table.column("units").to_numpy() / UNITS,
        table.column("train_units").to_numpy() / UNITS,
        int(table.column("pairs").to_numpy().sum()),
        hashlib.sha256(hashes.encode()).hexdigest(),
    )


@dataclass(frozen=True)
class Fitted:
    """The engine that serves (`side` None: popular) and the figures that say why; no figures: nothing to compare on."""

    engine: str
    side: ItemSide | None
    figures: Mapping[str, Figures]


def serving_engine(figures: Mapping[str, Figures]) -> str:
    """The better of als and item_cf by NDCG, als where they are equal; popular where both lose to it.

    Without figures als serves: there are enough pairs to fit it, and nothing speaks against it.
    """
    value = {engine: f.ndcg for engine, f in figures.items() if f.ndcg is not None}
    if not value:
        return ALS
    best = max((ALS, ITEM_CF), key=lambda engine: (value[engine], engine == ALS))
    return best if value[best] > value[POPULAR] else POPULAR


def fit(pairs: DataFrame, totals: Totals, neighbours: pa.Table, settings: Settings) -> Fitted:
    """Compare the engines, each fitted on the part before the cutoff; then fit the one that serves on everything.

    `neighbours`: item neighbours of everything, which are item_cf's item side.
    """
    figures = _compare(pairs, totals, settings) if (totals.train_weights > 0).sum() >= 2 else {}
    engine = serving_engine(figures)
    if engine == ALS:
        factors = _factors(pairs, totals, settings, units="units", is_used="is_history")
        return Fitted(engine, _als(factors, settings.recommend), figures)
    side = neighbour_side(neighbours, len(totals.items)) if engine == ITEM_CF else None
    return Fitted(engine, side, figures)


def _compare(pairs: DataFrame, totals: Totals, settings: Settings) -> dict[str, Figures]:
    recommend = settings.recommend
    factors = _factors(pairs, totals, settings, units="train_units", is_used="is_train")
    found = cosine_neighbours(
        pairs, totals.items, units="train_units", is_used="is_train", neighbours=recommend.neighbours
    )
    sides = (
        _als(factors, recommend),
        neighbour_side(found, len(totals.items)),
        PopularSide(totals.train_weights),
    )
    return evaluate(
        pairs, sides, totals.items, totals.train_weights, most=recommend.evaluation_users, salt=settings.seed
    )


def _factors(pairs: DataFrame, totals: Totals, settings: Settings, *, units: str, is_used: str) -> NDArray[np.float32]:
    return fit_als(
        pairs, totals.items, units=units, is_used=is_used, settings=settings.recommend,
        blocks=settings.spark.fit_partitions, seed=settings.seed,
    )  # fmt: skip


def _als(factors: NDArray[np.float32], settings: Recommend) -> FactorSide:
    return FactorSide(factors, alpha=settings.alpha, regularisation=settings.regularisation)
