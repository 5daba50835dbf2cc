"""Group customers into named segments."""

from profiling_spark.runner import run
from profiling_spark.segments.job import segment_users

if __name__ == "__main__":
    raise SystemExit(run(segment_users))
