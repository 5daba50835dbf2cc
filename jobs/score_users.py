"""Score every active customer's risk of churning, with reasons."""

from profiling_spark.runner import run
from profiling_spark.scores.job import score_users

if __name__ == "__main__":
    raise SystemExit(run(score_users))
