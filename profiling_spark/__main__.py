"""`python -m profiling_spark`, and the file that spark-submit gets in cluster mode."""

from profiling_spark.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
