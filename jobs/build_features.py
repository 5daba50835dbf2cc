"""Compute user_features and item_features from the events."""

from profiling_spark.features.job import build_features
from profiling_spark.runner import run

if __name__ == "__main__":
    raise SystemExit(run(build_features))
