"""Fitted preparation for models: fill what is missing, tame skew, bring to one scale. And features in words."""

from profiling_spark.prepare.fitted import Preparation, Scaling, fit_preparation
from profiling_spark.prepare.sample import (
    Sample,
    as_doubles,
    collect_sample,
    matrix_of,
    numeric_features,
    sorted_for_fit,
)

__all__ = [
    "Preparation",
    "Sample",
    "Scaling",
    "as_doubles",
    "collect_sample",
    "fit_preparation",
    "matrix_of",
    "numeric_features",
    "sorted_for_fit",
]
