#!/usr/bin/env bash
# scripts/test.sh [--all | --faults] [pytest arguments]: format, lint, types and tests. Without --all the tests marked slow
# are left out; with --all --real the real data sets are taken whole, of which a piece serves otherwise. --faults: every
# fault at every point, an hour of two cores, and what was seen goes into docs/reliability.md.
set -euo pipefail
project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
pytest_args=(-m 'not slow')
if [[ ${1:-} == --all ]]; then
    pytest_args=()
    shift
elif [[ ${1:-} == --faults ]]; then
    pytest_args=(-n 0 --faults tests/faults)
    shift
fi

"$project/scripts/setup.sh" --dev --quick
python="${PROFILING_SPARK_VENV:-$project/.venv}/bin/python"
[[ $python == /* ]] || python="$PWD/$python"
export PYTHONPATH="$project${PYTHONPATH:+:$PYTHONPATH}"
exports="$("$python" -m profiling_spark.launch.setup --exports)"
eval "$exports" # JAVA_HOME, PROFILING_SPARK_JARS, PYSPARK_PYTHON, ...

cd "$project" # the tools read their settings from pyproject.toml
"$python" -m ruff check
"$python" -m ruff format --check
"$python" -m mypy
# a file's tests stay in one worker, in the order in which tests/conftest.py puts the files
exec "$python" -m pytest -n auto --dist loadfile --no-loadscope-reorder ${pytest_args[@]+"${pytest_args[@]}"} "$@"
