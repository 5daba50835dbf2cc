"""Fitted preparation for models: fill what is missing, tame outliers and skew, bring to one scale; features in words.

Workers load this room, so what fits (`fit`, `selection`) is imported by its module: scikit-learn takes seconds of each.
"""

from profiling_spark.prepare.fitted import Feature, Flag, Preparation, earlier
from profiling_spark.prepare.reduce import Reduction, fit_reduction
from profiling_spark.prepare.sample import (
    Sample,
    as_doubles,
    collect_sample,
    known,
    matrix_of,
    numeric_features,
    quoted,
    sorted_for_fit,
)

__all__ = [
    "Feature",
    "Flag",
    "Preparation",
    "Reduction",
    "Sample",
    "as_doubles",
    "collect_sample",
    "earlier",
    "fit_reduction",
    "known",
    "matrix_of",
    "numeric_features",
    "quoted",
    "sorted_for_fit",
]
