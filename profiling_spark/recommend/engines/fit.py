"""Fit any of the engines that are compared and serve."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from pyspark.sql import DataFrame

from profiling_spark.config import Settings
from profiling_spark.errors import ConfigError
from profiling_spark.recommend.engines import ENGINES, FITS
from profiling_spark.recommend.matrix.item_side import ItemSide


def engine_side(
    engine: str, pairs: DataFrame, items: Sequence[str], settings: Settings, *, units: str, is_used: str
) -> ItemSide:
    """Fit one of ENGINES on the rows of `pairs` where `is_used`, weighted by `units`, by `fit_engine` of its module."""
    if engine not in FITS:
        raise ConfigError(f"engine {engine}: expected one of {', '.join(ENGINES)}")
    module = import_module(f"profiling_spark.recommend.engines.{FITS[engine]}")
    side: ItemSide = module.fit_engine(pairs, items, settings, units=units, is_used=is_used)
    return side
