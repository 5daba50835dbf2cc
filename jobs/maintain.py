"""Compact tables of many small files and remove files that no recent version needs; --check verifies promises."""

from profiling_spark.maintain.job import maintain
from profiling_spark.runner import run

if __name__ == "__main__":
    raise SystemExit(run(maintain))
