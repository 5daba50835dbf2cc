# shellcheck shell=bash
# The environment that submit.sh and test.sh share: Python packages, Java, the two Delta jars. Sourced, not run.
# Everything it prints goes to stderr; what cannot be mended ends in one message and exit code 3.
#
# PROFILING_SPARK_VENV          folder of the Python environment (default: .venv in the project). An environment
#                               that these scripts did not make is used as it is and never changed.
# PROFILING_SPARK_JARS          folder that already holds the two Delta jars (default: .jars in the project)
# PROFILING_SPARK_IVY_SETTINGS  Ivy settings file that names your own Maven mirror
# PROFILING_SPARK_JAVA_FOLDERS  folders to look for Java in, separated by ':', after JAVA_HOME and PATH
# PROFILING_SPARK_NO_INSTALL    1: never fetch or install anything, only say what is missing

SCRIPTS="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
PROJECT="$(dirname "$SCRIPTS")"
VENV="${PROFILING_SPARK_VENV:-$PROJECT/.venv}"
[[ $VENV == /* ]] || VENV="$PWD/$VENV"
STAMP="$VENV/.profiling_spark"

DELTA_VERSION=4.4.0
DELTA_JARS=("delta-spark_4.2_2.13-$DELTA_VERSION.jar" "delta-storage-$DELTA_VERSION.jar")

say() { printf '%s\n' "$*" >&2; }

environment_error() {
    say "error: $*"
    exit 3
}

may_install() { [[ ${PROFILING_SPARK_NO_INSTALL:-} != 1 ]]; }

# True where apt-get may be used: root on Debian, Ubuntu or a child of theirs.
may_apt() {
    may_install && [[ -r /etc/debian_version && $(id -u) == 0 ]] && command -v apt-get >/dev/null
}

apt_install() {
    say "Installing $* with apt-get ..."
    # slim images lack this folder, and Java's package fails to install without it
    mkdir -p /usr/share/man/man1
    {
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=180 install -y -qq \
            --no-install-recommends "$@"
    } </dev/null >"$APT_LOG" 2>&1
}

with_apt_log() { # run a command that may call apt_install; show the log's end if it fails
    APT_LOG="$(mktemp)"
    local code=0
    "$@" || code=$?
    if [[ $code != 0 ]]; then tail -n 5 "$APT_LOG" >&2; fi
    rm -f "$APT_LOG"
    return "$code"
}

# ---------------------------------------------------------------------------------------------- Python packages

# Run a command that writes into folder $1, alone where flock exists: a second run waits, then finds it done.
alone_in() {
    local folder="$1"
    shift
    mkdir -p "$folder" 2>/dev/null || environment_error "the folder $folder cannot be made: $(whoami) may not write there."
    if command -v flock >/dev/null; then
        (
            flock 9
            "$@" 9>&-
        ) 9<"$folder"
    else
        ("$@")
    fi
}

# First interpreter of version 3.11 or later that can make environments; sets PYTHON.
find_python() {
    local name
    OLD_PYTHON='' BARE_PYTHON=''
    for name in python3.13 python3.12 python3.11 python3; do
        command -v "$name" >/dev/null || continue
        if ! "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            OLD_PYTHON="$("$name" -c 'import platform; print(platform.python_version())' 2>/dev/null || true)"
        elif ! "$name" -c 'import ensurepip, venv' >/dev/null 2>&1; then
            BARE_PYTHON="$name"
        else
            PYTHON="$name"
            return 0
        fi
    done
    return 1
}

apt_python() {
    # python3-venv alone serves the system's default python3; the versioned package serves a second one
    apt_install python3 python3-venv && { [[ -z $BARE_PYTHON ]] || find_python || apt_install "$BARE_PYTHON-venv"; }
}

ensure_python() {
    if find_python; then return; fi
    if may_apt && with_apt_log apt_python && find_python; then return; fi
    if [[ -n $BARE_PYTHON ]]; then
        environment_error "$BARE_PYTHON cannot make environments (no ensurepip). Type: sudo apt-get install python3-venv"
    fi
    environment_error "Python 3.11 or later is needed; found ${OLD_PYTHON:-none}." \
        "Debian, Ubuntu: sudo apt-get install python3 python3-venv. macOS: brew install python@3.12." \
        "Or set PROFILING_SPARK_VENV to an environment that has the packages."
}

# What the stamp must say: the sum of the files that decide which packages there are.
wanted_packages() {
    local sum
    sum="$(cat "$PROJECT/pyproject.toml" "$PROJECT/constraints.txt" | cksum)"
    printf '%s' "${sum% *}"
}

read_stamp() { # sets STAMPED_SUM and STAMPED_EXTRAS; false if there is none
    STAMPED_SUM='' STAMPED_EXTRAS=''
    [[ -s $STAMP ]] && { IFS=' ' read -r STAMPED_SUM STAMPED_EXTRAS <"$STAMP" || true; }
}

# Another's environment: a folder named by the user, with packages and without our stamp. Used, never changed.
is_foreign() {
    [[ -n ${PROFILING_SPARK_VENV:-} && ! -e $STAMP && -d $VENV && -n $(ls -A "$VENV") ]]
}

is_ready() { # $1: extras wanted ('' or dev)
    [[ -x $VENV/bin/python ]] && read_stamp && [[ $STAMPED_SUM == "$(wanted_packages)" ]] &&
        [[ -z $1 || $STAMPED_EXTRAS == "$1" ]]
}

make_environment() { # $1: extras wanted. Called alone in $VENV.
    local extras="$1"
    if is_ready "$extras"; then return; fi
    read_stamp || true
    extras="${extras:-$STAMPED_EXTRAS}" # a development environment stays one
    if ! may_install; then
        environment_error "the Python environment $VENV is missing or out of date, and PROFILING_SPARK_NO_INSTALL forbids to make it."
    fi
    if [[ $STAMPED_SUM == making ]] || ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
        ensure_python
        say "Making the Python environment in $VENV (once; a minute or two) ..."
        find "$VENV" -mindepth 1 -delete
        printf 'making %s\n' "$extras" >"$STAMP" # a run cut short here starts over next time
        "$PYTHON" -m venv "$VENV" >&2 || environment_error "$PYTHON -m venv \"$VENV\" failed; the reason stands above."
    else
        say "Updating the Python environment in $VENV ..."
    fi
    (
        cd "$PROJECT" # in a subshell: paths on the command line belong to the caller's folder
        "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
            -c constraints.txt -e ".[spark${extras:+,$extras}]" </dev/null >&2
    ) || environment_error "pip could not install the packages; the reason stands above." \
        "Without network, set PROFILING_SPARK_VENV to an environment that has them."
    printf '%s %s\n' "$(wanted_packages)" "$extras" >"$STAMP"
}

# Sets VENV_PYTHON and SPARK_HOME. $1: extras ('' or dev).
ensure_environment() {
    if ! is_foreign && ! is_ready "$1"; then
        alone_in "$VENV" make_environment "$1" || exit $?
    fi
    VENV_PYTHON="$VENV/bin/python"
    local folder
    for folder in "$VENV"/lib/python3*/site-packages/pyspark; do
        [[ -f $folder/bin/spark-submit ]] && export SPARK_HOME="$folder"
    done
    if [[ ! -x $VENV_PYTHON || ! -f ${SPARK_HOME:-}/bin/spark-submit || $SPARK_HOME != "$VENV"/* ]]; then
        environment_error "$VENV is no Python environment with pyspark." \
            "Delete the folder to have it made again, or set PROFILING_SPARK_VENV to another (absent: it is made there)."
    fi
}

# --------------------------------------------------------------------------------------------------------- Java

JAVA_PASSED_OVER=()

# Is $1 the home of a Java that Spark can run on? If not, note what it is. Reading `release` spares a JVM start.
is_java_home() {
    local home="$1" line version='' modules=''
    [[ -x $home/bin/java ]] || return 1
    if [[ -r $home/release ]]; then
        while IFS= read -r line; do
            case "$line" in
                JAVA_VERSION=*) version="${line#*=}" ;;
                MODULES=*) modules="${line#*=}" ;;
            esac
        done <"$home/release"
    else
        line="$("$home/bin/java" -version 2>&1 || true)"
        [[ $line =~ version\ \"([^\"]*)\" ]] && version="${BASH_REMATCH[1]}"
    fi
    version="${version//\"/}"
    case "$version" in
        17 | 17.* | 21 | 21.*) ;;
        *)
            JAVA_PASSED_OVER+=("${version:-a Java that does not start} at $home")
            return 1
            ;;
    esac
    if [[ -n $modules && $modules != *jdk.incubator.vector* ]]; then
        JAVA_PASSED_OVER+=("$version at $home (cut down: it lacks the module jdk.incubator.vector)")
        return 1
    fi
}

# The home behind `java` on PATH, through links and shims; prints nothing if there is none.
java_home_on_path() {
    local java real line
    java="$(command -v java)" || return 0
    real="$(readlink -f "$java" 2>/dev/null || printf '%s' "$java")"
    if [[ $real == */bin/java && -e ${real%/bin/java}/release ]]; then
        printf '%s' "${real%/bin/java}"
        return
    fi
    while IFS= read -r line; do
        if [[ $line =~ java\.home\ =\ (.*) ]]; then
            printf '%s' "${BASH_REMATCH[1]}"
            return
        fi
    done < <("$java" -XshowSettings:properties -version 2>&1)
    if [[ $real == */bin/java ]]; then printf '%s' "${real%/bin/java}"; fi
}

find_java() { # sets and exports JAVA_HOME; JAVA_ASKED_FOR is what JAVA_HOME and PATH offered in vain
    local home folder folders
    JAVA_PASSED_OVER=() JAVA_ASKED_FOR=''
    if [[ -n ${JAVA_HOME:-} && ! -x $JAVA_HOME/bin/java ]]; then JAVA_PASSED_OVER+=("none at $JAVA_HOME"); fi
    for home in "${JAVA_HOME:-}" "$(java_home_on_path)"; do
        if [[ -n $home ]] && is_java_home "$home"; then
            JAVA_ASKED_FOR="$(passed_over)"
            export JAVA_HOME="$home"
            return
        fi
    done
    JAVA_ASKED_FOR="$(passed_over)"
    folders="${PROFILING_SPARK_JAVA_FOLDERS-/usr/lib/jvm:/usr/java:/opt/java:/opt/jdk:/Library/Java/JavaVirtualMachines:$HOME/Library/Java/JavaVirtualMachines:/opt/homebrew/opt:/usr/local/opt:$HOME/.sdkman/candidates/java:$HOME/.jdks}"
    while IFS= read -r folder; do
        for home in "$folder" "$folder"/*17* "$folder"/*21* "$folder"/* "$folder"/openjdk*/libexec/openjdk.jdk; do
            if is_java_home "$home" || is_java_home "$home/Contents/Home"; then
                [[ -x $home/bin/java ]] || home="$home/Contents/Home"
                export JAVA_HOME="$home"
                return
            fi
        done
    done < <(printf '%s\n' "${folders//:/$'\n'}")
    return 1
}

apt_java() { apt_install openjdk-17-jre-headless || apt_install openjdk-21-jre-headless; }

passed_over() { # what was found and does not serve, each once
    local one text=''
    for one in ${JAVA_PASSED_OVER[@]+"${JAVA_PASSED_OVER[@]}"}; do
        [[ "$text, " == *", $one, "* ]] || text="$text, $one"
    done
    printf '%s' "${text#, }"
}

ensure_java() {
    if find_java || { may_apt && with_apt_log apt_java && find_java; }; then
        if [[ -n $JAVA_ASKED_FOR ]]; then
            say "note: Spark needs Java 17 or 21; passed over: $JAVA_ASKED_FOR. Running on $JAVA_HOME"
        fi
        return
    fi
    local found
    found="$(passed_over)"
    environment_error "Java 17 or 21 is needed; found: ${found:-none}." \
        "Debian, Ubuntu: sudo apt-get install openjdk-17-jre-headless. Fedora: sudo dnf install java-21-openjdk-headless." \
        "macOS: brew install openjdk@17. Or set JAVA_HOME to a Java 17 or 21."
}

# --------------------------------------------------------------------------------------------------- Delta jars

have_jars() { # $1: folder
    local jar
    for jar in "${DELTA_JARS[@]}"; do [[ -s $1/$jar ]] || return 1; done
}

# Ivy, which pyspark ships, fetches the two jars; whole and tested files only are moved into place.
fetch_jars() { # $1: folder. Called alone in it.
    local folder="$1" work jar reason
    local ivy=("$SPARK_HOME"/jars/ivy-*.jar)
    if have_jars "$folder"; then return; fi
    say "Fetching the Delta $DELTA_VERSION jars (once; 10 MB) ..."
    work="$(mktemp -d "$folder/.fetch.XXXXXX")" || environment_error "the folder $folder cannot be written to."
    # shellcheck disable=SC2064 # the folder of now, not of later
    trap "rm -rf '${work//\'/\'\\\'\'}'" EXIT
    for jar in "${DELTA_JARS[@]}"; do
        if [[ -s $folder/$jar ]]; then continue; fi
        "$JAVA_HOME/bin/java" -cp "${ivy[0]}" org.apache.ivy.Main \
            ${PROFILING_SPARK_IVY_SETTINGS:+-settings "$PROFILING_SPARK_IVY_SETTINGS"} \
            -notransitive -dependency io.delta "${jar%-*}" "$DELTA_VERSION" -cache "$work/cache" -types jar \
            -retrieve "$work/[artifact]-[revision].[ext]" </dev/null >>"$work/log" 2>&1 || true
        if ! "$VENV_PYTHON" -m zipfile -t "$work/$jar" >/dev/null 2>&1; then
            # one line of Ivy's fifty: why the server could not be asked, else that it does not have the jar
            reason="$(grep -m 1 -iE 'access error|exception' "$work/log" || grep -m 1 -i 'not found' "$work/log" || true)"
            [[ -z $reason ]] || say "Ivy says: ${reason#"${reason%%[![:space:]]*}"}"
            environment_error "io.delta:${jar%-*}:$DELTA_VERSION could not be fetched from Maven Central." \
                "Place ${DELTA_JARS[0]} and ${DELTA_JARS[1]} in $folder by hand," \
                "or set PROFILING_SPARK_JARS to a folder that has them, or PROFILING_SPARK_IVY_SETTINGS to the Ivy settings of your mirror."
        fi
        mv -f "$work/$jar" "$folder/$jar"
    done
}

ensure_jars() { # sets and exports PROFILING_SPARK_JARS
    local folder="${PROFILING_SPARK_JARS:-$PROJECT/.jars}"
    [[ $folder == /* ]] || folder="$PWD/$folder"
    if ! have_jars "$folder"; then
        if [[ -n ${PROFILING_SPARK_JARS:-} ]] || ! may_install; then
            environment_error "${DELTA_JARS[0]} and ${DELTA_JARS[1]} are needed in $folder, and at least one is not there." \
                "Place them there by hand, or unset PROFILING_SPARK_JARS and PROFILING_SPARK_NO_INSTALL to have them fetched."
        fi
        alone_in "$folder" fetch_jars "$folder" || exit $?
        have_jars "$folder" || environment_error "the Delta jars could not be placed in $folder."
    fi
    export PROFILING_SPARK_JARS="$folder"
}
