"""Recommend items to every customer, with reasons."""

import sys

from profiling_spark.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["recommend_items", *sys.argv[1:]]))
