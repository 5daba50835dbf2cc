#!/usr/bin/env bash
# scripts/bench.sh [NAME [options]]: starts a benchmark, with its packages, Java and the Delta jars. Without NAME: lists them.
set -euo pipefail
project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
if [[ ${1:-} == '' || $1 == -* ]]; then
    echo "usage: scripts/bench.sh NAME [options]; 'scripts/bench.sh NAME --help' shows the options"
    for file in "$project"/benchmarks/*/*.py; do
        grep -q '^if __name__ == "__main__":' "$file" || continue # a part of another
        IFS= read -r first <"$file"
        first="${first#\"\"\"}"
        printf '  %-22s %s\n' "$(basename "$file" .py)" "${first%\"\"\"}"
    done
    exit 0
fi
name="$1"
shift
file="$(compgen -G "$project/benchmarks/*/$name.py" || true)"
if [[ $name == */* || ! -f $file ]]; then
    printf "error: there is no benchmark '%s'. Type: scripts/bench.sh\n" "$name" >&2
    exit 2
fi

"$project/scripts/setup.sh" --dev --quick
python="${PROFILING_SPARK_VENV:-$project/.venv}/bin/python"
exports="$("$python" -m profiling_spark.launch.setup --exports)"
eval "$exports" # JAVA_HOME, PROFILING_SPARK_JARS, PYSPARK_PYTHON, ...
for folder in "$project"/benchmarks/*/ "$project/tests/reference" "$project/tests/stores"; do PYTHONPATH="$folder:${PYTHONPATH:-}"; done
export PYTHONPATH="$project:${PYTHONPATH%:}"
exec "$python" "$file" "$@"
