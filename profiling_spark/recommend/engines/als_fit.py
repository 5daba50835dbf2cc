"""The fit of ALS that serves: in this process for a small shop, by MLlib for all others."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame

from profiling_spark.config import Settings
from profiling_spark.recommend.engines.als import FactorSide, fit_als
from profiling_spark.recommend.engines.als_here import fit_here, learned

# up to so many pairs ALS is fitted in this process, as its trials are: MLlib's jobs would take longer than the sums
FIT_HERE_PAIRS = 200_000


def fit_engine(pairs: DataFrame, items: Sequence[str], settings: Settings, *, units: str, is_used: str) -> FactorSide:
    """On the rows of `pairs` where `is_used`, weighted by `units`."""
    recommend, blocks, seed = settings.recommend, settings.spark.fit_partitions, settings.seed
    rows = pairs.where(is_used).select("user_id", "item_id", units)
    if rows.count() <= FIT_HERE_PAIRS:
        factors = fit_here(learned(rows.toArrow(), tuple(items), units=units), recommend, seed=seed)
    else:
        factors = fit_als(pairs, items, units=units, is_used=is_used, settings=recommend, blocks=blocks, seed=seed)
    return FactorSide(factors, alpha=recommend.alpha, regularisation=recommend.regularisation)
