#!/usr/bin/env bash
# scripts/submit.sh JOB [options]: makes the environment if need be, then spark-submit jobs/JOB.py. No job: lists them.
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

list_jobs() {
    local file found=''
    for file in "$PROJECT"/jobs/[!_]*.py; do
        [[ -f $file ]] || continue
        found=yes
        # the first line of the docstring, which may begin on the line after the quotes
        awk -v name="$(basename "$file" .py)" '
            !open && /^[rR]?("""|\047\047\047)/ { open = 1; sub(/^[rR]?.../, "") }
            open && NF { sub(/("""|\047\047\047).*/, ""); sub(/^[ \t]+/, ""); text = $0; exit }
            END { printf "  %-20s %s\n", name, text }' "$file"
    done
    [[ -n $found ]] || echo "  (none in $PROJECT/jobs)"
}

usage() {
    cat <<USAGE
usage: scripts/submit.sh JOB [options]

jobs:
$(list_jobs)

options for spark-submit: --master URL (default local[*]), --deploy-mode MODE, --conf KEY=VALUE (repeatable).
All other options go to the job; 'scripts/submit.sh JOB --help' shows them. --verbose also shows Spark's own warnings.
PROFILING_SPARK_DRIVER_MEMORY sets the driver's memory (default 2g); more settings stand in scripts/environment.sh.
USAGE
}

usage_error() {
    say "error: $1"
    usage >&2
    exit 2
}

# A file: address of a path: log4j2 and the JVM's option list take no blanks.
file_url() {
    local path="$1"
    path="${path//%/%25}" path="${path// /%20}" path="${path//#/%23}" path="${path//\?/%3F}" path="${path//\"/%22}"
    printf 'file:%s' "${path//\'/%27}"
}

# ------------------------------------------------------------------------------------------------ command line

job='' master='' deploy_mode='client' log_level=error
# Spark generates methods of over 8,000 bytecodes for the quality rules; the JVM leaves such methods uncompiled unless
# told otherwise, and ingest then takes twice as long
compile_huge='-XX:-DontCompileHugeMethods'
memory="${PROFILING_SPARK_DRIVER_MEMORY:-2g}" java_options="-XX:+UseParallelGC $compile_huge" more_jars='' more_files=''
spark_args=(--conf "spark.executor.extraJavaOptions=$compile_huge") job_args=() # a caller's --conf comes later and wins

take_conf() { # settings that this script sets as well are joined, or the caller's wins; the rest goes to spark-submit
    [[ $1 == ?*=* ]] || usage_error "--conf wants KEY=VALUE, found '$1'"
    case "$1" in
        spark.master=*) master="${master:-${1#*=}}" ;;
        spark.submit.deployMode=*) deploy_mode="${1#*=}" ;;
        spark.driver.memory=*) memory="${1#*=}" ;;
        spark.driver.extraJavaOptions=*) java_options="$java_options ${1#*=}" ;;
        spark.jars=*) more_jars=",${1#*=}" ;;
        spark.submit.pyFiles=*) more_files=",${1#*=}" ;;
        *) spark_args+=(--conf "$1") ;;
    esac
}

while [[ $# -gt 0 ]]; do
    case "$1" in
        --master | --conf | --deploy-mode)
            [[ $# -ge 2 ]] || usage_error "$1 wants a value"
            option="$1" value="$2"
            shift 2
            ;;
        --master=* | --conf=* | --deploy-mode=*)
            option="${1%%=*}" value="${1#*=}"
            shift
            ;;
        *)
            if [[ -n $job ]]; then
                [[ $1 == --verbose ]] && log_level=warn
                job_args+=("$1")
            elif [[ $1 == --help || $1 == -h ]]; then
                usage
                exit 0
            elif [[ $1 == -* ]]; then
                usage_error "the job's name comes before its options, found '$1'"
            else
                job="$1"
            fi
            shift
            continue
            ;;
    esac
    case "$option" in
        --master) master="$value" ;;
        --deploy-mode) deploy_mode="$value" ;;
        --conf) take_conf "$value" ;;
    esac
done

if [[ -z $job ]]; then
    usage
    exit 0
fi
if [[ $job == [._]* || $job == */* || ! -f $PROJECT/jobs/$job.py ]]; then
    usage_error "there is no job '$job'"
fi

# -------------------------------------------------------------------------------------------------- environment

ensure_environment ''
ensure_java
ensure_jars

master="${master:-local[*]}"
jars="$PROFILING_SPARK_JARS/${DELTA_JARS[0]},$PROFILING_SPARK_JARS/${DELTA_JARS[1]}$more_jars"
spark_args+=(--master "$master" --deploy-mode "$deploy_mode" --jars "$jars" --driver-memory "$memory")
export PYTHONPATH="$PROJECT${PYTHONPATH:+:$PYTHONPATH}"
export POLARS_MAX_THREADS="${POLARS_MAX_THREADS:-1}" # a task is one core

scratch=''
if [[ $master == local* ]]; then
    export PYSPARK_PYTHON="$VENV_PYTHON"
else
    # the cluster's machines need the package and, unless PYSPARK_PYTHON says where, the same path to Python
    scratch="$(mktemp -d)"
    "$VENV_PYTHON" - "$PROJECT" "$scratch/profiling_spark.zip" <<'ZIP'
import pathlib, sys, zipfile
project = pathlib.Path(sys.argv[1])
with zipfile.ZipFile(sys.argv[2], "w", zipfile.ZIP_DEFLATED) as archive:
    for file in sorted((project / "profiling_spark").rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            archive.write(file, file.relative_to(project))
ZIP
    spark_args+=(--py-files "$scratch/profiling_spark.zip$more_files" --conf "spark.executorEnv.POLARS_MAX_THREADS=$POLARS_MAX_THREADS")
    more_files=''
    [[ $deploy_mode == cluster ]] || export PYSPARK_PYTHON="${PYSPARK_PYTHON:-$VENV_PYTHON}"
fi
[[ -z $more_files ]] || spark_args+=(--py-files "${more_files#,}")

if [[ $deploy_mode != cluster ]]; then # there the driver runs elsewhere, without this project's files
    java_options="$java_options -Dlog4j2.configurationFile=$(file_url "$PROJECT/conf/log4j2.properties") -Dprofiling_spark.log.level=$log_level"
    export PYSPARK_DRIVER_PYTHON="$SCRIPTS/driver.sh" PROFILING_SPARK_DRIVER_PYTHON="$VENV_PYTHON"
fi
spark_args+=(--driver-java-options "$java_options")

# ---------------------------------------------------------------------------------------------------------- run

# The JVM prints a line about the incubator module that Spark asks for, and MLlib's BLAS two where the system has no
# native one (Java's is used then); nothing turns them off: they are filtered.
# stderr therefore is a pipe to a filter, which outlives the job and so also clears the scratch folder.
tidy_stderr() {
    trap '' INT TERM HUP
    LC_ALL=C grep -a --line-buffered -vE \
        '^WARNING: Using incubator modules: jdk.incubator.vector$|^netlib-(blas|lapack): JNI_OnLoad: dlopen.* failed' || true
    if [[ -n $scratch ]]; then rm -rf "$scratch"; fi
}
exec 3>&2
if [[ -t 3 ]]; then
    PROFILING_SPARK_STDERR="$(tty <&3 || true)" # the driver's progress line needs the terminal itself
elif [[ -e /proc/$$/fd/2 ]]; then
    PROFILING_SPARK_STDERR="/proc/$$/fd/2" # the pipe to the filter: a file must not be opened a second time
fi
export PROFILING_SPARK_STDERR
exec "$SPARK_HOME/bin/spark-submit" "${spark_args[@]}" "$PROJECT/jobs/$job.py" ${job_args[@]+"${job_args[@]}"} \
    2> >(tidy_stderr 2>&3 >&3 3>&-)
