"""Fit an engine on a training file and print how well it ranks a test file (--engine NAME --train FILE --test FILE)."""

import sys

from profiling_spark.recommend.evaluate_files import evaluate_recommender

if __name__ == "__main__":
    raise SystemExit(evaluate_recommender(sys.argv[1:]))
