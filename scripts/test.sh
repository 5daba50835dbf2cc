#!/usr/bin/env bash
# scripts/test.sh [--all] [pytest arguments]: format, lint, types and tests. Without --all the tests marked slow are left out;
# with --all --real the real data sets are taken whole, of which a piece serves otherwise.
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

pytest_args=(-m 'not slow')
if [[ ${1:-} == --all ]]; then
    pytest_args=()
    shift
fi

ensure_environment dev
ensure_java
ensure_jars
export PYSPARK_PYTHON="$VENV_PYTHON" PYSPARK_DRIVER_PYTHON="$VENV_PYTHON" POLARS_MAX_THREADS="${POLARS_MAX_THREADS:-1}"
export PYTHONPATH="$PROJECT${PYTHONPATH:+:$PYTHONPATH}"

cd "$PROJECT" # the tools read their settings from pyproject.toml
"$VENV_PYTHON" -m ruff check
"$VENV_PYTHON" -m ruff format --check
"$VENV_PYTHON" -m mypy
# a file's tests stay in one worker, in the order in which tests/conftest.py puts the files
exec "$VENV_PYTHON" -m pytest -n auto --dist loadfile --no-loadscope-reorder ${pytest_args[@]+"${pytest_args[@]}"} "$@"
