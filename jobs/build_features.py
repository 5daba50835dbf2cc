"""Compute user_features and item_features from the events."""

import sys

from profiling_spark.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["build_features", *sys.argv[1:]]))
