#!/usr/bin/env bash
# The driver's Python, as spark-submit starts it. Spark joins a Python driver's stderr to its stdout; this gives
# stderr back (submit.sh says where), so that `--json` leaves one clean line on stdout. Not to be called by hand.
set -euo pipefail
if [[ -n ${PROFILING_SPARK_STDERR:-} ]] && { : >>"$PROFILING_SPARK_STDERR"; } 2>/dev/null; then
    exec 2>>"$PROFILING_SPARK_STDERR"
fi
unset PROFILING_SPARK_STDERR
exec "$PROFILING_SPARK_DRIVER_PYTHON" "$@"
