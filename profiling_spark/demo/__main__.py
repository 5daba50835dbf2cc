"""`python -m profiling_spark.demo --out DIR`: write the demo shop."""

import argparse
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from profiling_spark.demo.generate import END, generate
from profiling_spark.demo.truth import DemoError


def main(argv: Sequence[str] | None = None) -> int:
    """Write (or reuse) the demo shop; 0 when it stands, 2 when the request is refused."""
    parser = argparse.ArgumentParser(prog="python -m profiling_spark.demo", description="Write a demo shop's raw logs.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an older demo in it is replaced")
    parser.add_argument("--customers", type=int, default=4000, help="about 80 behaviour events each (default 4000)")
    parser.add_argument("--days", type=int, default=120, help="days of history, 1 to 120 (default 120)")
    parser.add_argument("--seed", type=int, default=7, help="same seed and sizes, same bytes (default 7)")
    parser.add_argument("--end", type=date.fromisoformat, default=END, help=f"last day, inclusive (default {END})")
    args = parser.parse_args(argv)
    try:
        truth = generate(args.out, customers=args.customers, days=args.days, seed=args.seed, end=args.end)
    except DemoError as err:
        sys.stderr.write(f"{err}\n")
        return err.exit_code
    for name, source in truth.sources.items():
        refused = sum(source.rejected.values())
        sys.stdout.write(
            f"{name}: {source.files} files, {source.rows} rows, {source.accepted} good, {refused} refused\n"
        )
    sys.stdout.write(f"{args.out}: as_of {truth.as_of}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
