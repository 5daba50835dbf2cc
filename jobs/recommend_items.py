"""Recommend items to every customer, with reasons."""

from profiling_spark.recommend.job import recommend_items
from profiling_spark.runner import run

if __name__ == "__main__":
    raise SystemExit(run(recommend_items))
