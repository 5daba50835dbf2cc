"""Score every active customer's risk of churning, with reasons."""

import sys

from profiling_spark.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["score_users", *sys.argv[1:]]))
