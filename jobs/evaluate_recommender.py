"""Fit an engine on a training file and print how well it ranks a test file (--engine NAME --train FILE --test FILE)."""

import sys

from profiling_spark.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["evaluate_recommender", *sys.argv[1:]]))
