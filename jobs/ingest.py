"""Read new source files into events, users, items and reviews; refused rows keep their reasons."""

import sys

from profiling_spark.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["ingest", *sys.argv[1:]]))
