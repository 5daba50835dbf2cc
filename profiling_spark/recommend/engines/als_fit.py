"""The fit of ALS: in this process on as many customers as an item side needs, or by MLlib on all.

More customers than these rank no better (docs/benchmarks.md has the curve), and what a fit here takes grows with the
catalogue, not with the customers. A sample loses the least popular items: one that nobody there took has no score.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from profiling_spark.config import Settings
from profiling_spark.config.settings import Recommend
from profiling_spark.recommend.engines.als import FactorSide, fit_als
from profiling_spark.recommend.engines.als_here import fit_here, learned

LEAST_PAIRS = 1_000_000  # whatever the number of items
MOST_PAIRS = 5_000_000  # that this process learns from (a GB while they are numbered); MLlib fits beyond


def fit_engine(pairs: DataFrame, items: Sequence[str], settings: Settings, *, units: str, is_used: str) -> FactorSide:
    """On the rows of `pairs` where `is_used`, weighted by `units`."""
    recommend, blocks, seed = settings.recommend, settings.spark.fit_partitions, settings.seed
    rows = pairs.where(is_used).select("user_id", "item_id", units)
    count = rows.count()
    if fits_here(recommend, len(items), count):
        some = some_customers(rows, count, most_pairs(recommend, len(items)), seed=seed)
        factors = fit_here(learned(some.toArrow(), tuple(items), units=units), recommend, seed=seed)
    else:
        factors = fit_als(pairs, items, units=units, is_used=is_used, settings=recommend, blocks=blocks, seed=seed)
    return FactorSide(factors, alpha=recommend.alpha, regularisation=recommend.regularisation)


def fits_here(settings: Recommend, items: int, count: int) -> bool:
    """Whether this process fits it, of `count` pairs."""
    return settings.als_pairs > 0 and min(count, most_pairs(settings, items)) <= MOST_PAIRS


def most_pairs(settings: Recommend, items: int) -> int:
    """How many pairs, about, a fit in this process learns from at most."""
    return max(LEAST_PAIRS, settings.als_pairs * items)


def some_customers(rows: DataFrame, count: int, most: int, *, seed: int) -> DataFrame:
    """Of `count` rows (user_id, ...) those of as many customers, picked by hash, as have about `most`; all where there
    are no more.
    """
    if count <= most:
        return rows
    return rows.where(F.pmod(F.xxhash64(F.lit(seed), F.lit("als"), "user_id"), F.lit(count)) < most)
