"""Put tags, segment, scores and recommendations into one row a customer."""

from profiling_spark.profile.job import build_profiles
from profiling_spark.runner import run

if __name__ == "__main__":
    raise SystemExit(run(build_profiles))
