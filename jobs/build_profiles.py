"""Put tags, segment, scores and recommendations into one row a customer."""

import sys

from profiling_spark.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["build_profiles", *sys.argv[1:]]))
