"""Run all stages in one session under one run_id, from raw files to profiles, and print a summary."""

import sys

from profiling_spark.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["run_pipeline", *sys.argv[1:]]))
