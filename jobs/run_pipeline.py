"""Run all stages in one session under one run_id, from raw files to profiles, and print a summary."""

from profiling_spark.pipeline import STAGES
from profiling_spark.report.summary import summary
from profiling_spark.runner import run

if __name__ == "__main__":
    raise SystemExit(run(*STAGES, job="run_pipeline", summary=summary))
