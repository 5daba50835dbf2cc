#!/usr/bin/env bash
# scripts/submit.sh COMMAND [options]: the command profiling-spark of this clone, whose environment is made if need be.
set -euo pipefail
project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
"$project/scripts/setup.sh" --quick
venv="${PROFILING_SPARK_VENV:-$project/.venv}"
export PROFILING_SPARK_PROGRAM="${PROFILING_SPARK_PROGRAM:-$0}"
export PYTHONPATH="$project${PYTHONPATH:+:$PYTHONPATH}"
exec "$venv/bin/python" -m profiling_spark "$@"
