"""Read new source files into events, users, items and reviews; refused rows keep their reasons."""

from profiling_spark.ingest.job import ingest
from profiling_spark.runner import run

if __name__ == "__main__":
    raise SystemExit(run(ingest))
