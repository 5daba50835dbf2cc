"""Group customers into named segments."""

import sys

from profiling_spark.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["segment_users", *sys.argv[1:]]))
