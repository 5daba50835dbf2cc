"""Fitted preparation for models: fill what is missing, tame skew, bring to one scale. And features in words."""

from profiling_spark.prepare.fitted import Preparation, Scaling, fit_preparation
from profiling_spark.prepare.reduce import Reduction, fit_reduction
from profiling_spark.prepare.sample import (
    Sample,
    as_doubles,
    collect_sample,
    matrix_of,
    numeric_features,
    sorted_for_fit,
)
from profiling_spark.prepare.selection import Ranking, rank_features, select

__all__ = [
    "Preparation",
    "Ranking",
    "Reduction",
    "Sample",
    "Scaling",
    "as_doubles",
    "collect_sample",
    "fit_preparation",
    "fit_reduction",
    "matrix_of",
    "numeric_features",
    "rank_features",
    "select",
    "sorted_for_fit",
]
