"""Make the demo shop's raw logs and run the whole pipeline on them (--customers N, --days N, --data FOLDER)."""

import sys

from profiling_spark.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["demo", *sys.argv[1:]]))
