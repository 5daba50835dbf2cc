"""Compact tables of many small files and remove files that no recent version needs; --check verifies promises."""

import sys

from profiling_spark.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["maintain", *sys.argv[1:]]))
