"""Make the demo shop's raw logs and run the whole pipeline on them (--customers N, --days N, --data FOLDER)."""

import sys
from pathlib import Path

from profiling_spark.demo.job import demo

if __name__ == "__main__":
    raise SystemExit(demo(Path(__file__).resolve().parent.parent / "conf" / "demo.yaml", sys.argv[1:]))
