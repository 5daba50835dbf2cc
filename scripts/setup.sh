#!/usr/bin/env bash
# scripts/setup.sh [--dev] [--quick]: makes .venv with the packages, fetches the Delta jars, finds Java, and tells before
# what it will do. --dev adds what tests and benchmarks need; --quick looks at .venv alone. Outside of the project only
# root on Debian or Ubuntu is helped, with Python and Java by apt-get. Settings: profiling_spark/launch/environment.py.
set -euo pipefail
project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
venv="${PROFILING_SPARK_VENV:-$project/.venv}"
[[ $venv == /* ]] || venv="$PWD/$venv"
export PYTHONPATH="$project${PYTHONPATH:+:$PYTHONPATH}"

say() { printf '%s\n' "$*" >&2; }

# Are the packages there? The stamp is the extra's name, the clone, then both declarations: seen without another process.
is_ready() { # $1: dev or nothing
    [[ -x $venv/bin/python ]] || return 1
    local stamp=''
    [[ ! -e $venv/.profiling_spark ]] || stamp="$(<"$venv/.profiling_spark")"
    local rest="${stamp#*$'\n'}"
    if [[ -n ${PROFILING_SPARK_VENV:-} && ${rest%%$'\n'*} != "$project" ]]; then
        return 0 # another's environment is used as it is
    fi
    [[ $rest == "$project"$'\n'"$(<"$project/pyproject.toml")"$'\n'"$(<"$project/constraints.txt")" ]] &&
        [[ -z $1 || ${stamp%%$'\n'*} == "$1" ]]
}

# First interpreter of version 3.11 or later that can make environments; sets `python`.
find_python() {
    local name
    old='' bare=''
    for name in python3.13 python3.12 python3.11 python3; do
        command -v "$name" >/dev/null || continue
        if ! "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            old="$("$name" -c 'import platform; print(platform.python_version())' 2>/dev/null || true)"
        elif ! "$name" -c 'import ensurepip, venv' >/dev/null 2>&1; then
            bare="$name"
        else
            python="$name"
            return 0
        fi
    done
    return 1
}

may_apt() {
    [[ ${PROFILING_SPARK_NO_INSTALL:-} != 1 && -r /etc/debian_version && $(id -u) == 0 ]] && command -v apt-get >/dev/null
}

apt_install() {
    say "This will install $* with apt-get (no Python 3.11 or later that can make environments was found)."
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=180 install -y -qq \
        --no-install-recommends "$@"; } </dev/null >&2
}

# python3-venv alone serves the system's default python3; the versioned package serves a second one
apt_python() {
    apt_install python3 python3-venv && { find_python || { [[ -n $bare ]] && apt_install "$bare-venv" && find_python; }; }
}

extra='' quick=''
for option in "$@"; do
    case "$option" in
        --dev) extra=dev ;;
        --quick) quick=yes ;;
        *)
            say "usage: scripts/setup.sh [--dev] [--quick]"
            exit 2
            ;;
    esac
done
if is_ready "$extra"; then
    [[ -z $quick ]] || exit 0
    exec "$venv/bin/python" -m profiling_spark.launch.setup
fi
if ! find_python && ! { may_apt && apt_python; }; then
    if [[ -n $bare ]]; then
        say "error: $bare cannot make environments (no ensurepip). Type: sudo apt-get install python3-venv"
    else
        say "error: Python 3.11 or later is needed; found ${old:-none}." \
            "Debian, Ubuntu: sudo apt-get install python3 python3-venv. macOS: brew install python@3.12." \
            "Or set PROFILING_SPARK_VENV to an environment that has the packages."
    fi
    exit 3
fi
exec "$python" -m profiling_spark.launch.environment ${extra:+--dev}
