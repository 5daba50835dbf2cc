"""Is this machine ready? Java, Delta jars, package versions, storage, memory and cores; pure Python, without Spark.

Every probe of the machine can be passed in, so that each fault can be tried in a test.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from profiling_spark.errors import EnvironmentProblem

JAVA_VERSIONS = ("17", "21")
# What pyproject.toml asks for (a test compares the two): import name is the key's, except delta-spark's.
REQUIREMENTS: dict[str, str] = {
    "pyspark": "==4.2.0",
    "delta-spark": "==4.4.0",
    "pandas": ">=2.2,<3",
    "pyarrow": ">=20",
    "polars": ">=2.0,<3",
    "numpy": ">=2,<3",
}
_IMPORT_NAMES = {"delta-spark": "delta"}
_GIB = 1024**3
LOW_MEMORY_BYTES = 4 * _GIB
LOW_DISK_BYTES = 2 * _GIB
_JAVA_REMEDY = (
    "sudo apt-get install openjdk-17-jre-headless (Debian, Ubuntu), brew install openjdk@17 (macOS), "
    "or export JAVA_HOME=/folder/of/java-17-or-21"
)
_JARS_REMEDY = (
    "start the job by scripts/submit.sh, which fetches the jars, or export PROFILING_SPARK_JARS=/folder/with/both/jars"
)
_PIP_REMEDY = "pip install -c constraints.txt -e . (scripts/submit.sh does this in its own environment)"
# Where nothing but the file system stands between two writers, a rename may not be atomic over the network.
_NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "9p", "fuse", "sshfs", "ceph", "gluster", "lustre", "virtiofs", "vboxsf")


@dataclass(frozen=True)
class Check:
    """One thing examined. A failed check that is not fatal is a warning; `remedy` is what to type, empty if ok."""

    name: str
    ok: bool
    found: str
    remedy: str
    fatal: bool


Run = Callable[[Sequence[str]], str]
VersionOf = Callable[[str], "str | None"]


def examine(
    *,
    storage_root: str | None,
    jars: Sequence[Path] | None = None,
    environ: Mapping[str, str],
    run: Run | None = None,
    version_of: VersionOf | None = None,
) -> list[Check]:
    """All checks, in under a second. `jars` are those of the session; None: the folder PROFILING_SPARK_JARS names.

    `storage_root` None: for a tool that keeps nothing.
    """
    version_of = version_of or installed_version
    return [
        check_java(environ=environ, run=run or _output),
        check_jars(_jars_of(environ) if jars is None else jars, version_of=version_of),
        *check_packages(version_of=version_of),
        *(check_storage(storage_root) if storage_root is not None else ()),
        check_memory(*memory()),
        check_cores(cores()),
    ]


def require(checks: Sequence[Check]) -> None:
    """Raise EnvironmentProblem that names every fatal failed check with its remedy; warnings pass."""
    failed = [c for c in checks if c.fatal and not c.ok]
    if failed:
        raise EnvironmentProblem("\n".join(["this machine is not ready:", *(f"  {_line(c)}" for c in failed)]))


def render(checks: Sequence[Check]) -> str:
    """One line a check, for people: ok, warn or FAIL, what was found, what to type."""
    return "\n".join(_line(c) for c in checks)


def _line(check: Check) -> str:
    word = "ok" if check.ok else "FAIL" if check.fatal else "warn"
    remedy = f"   -> {check.remedy}" if check.remedy else ""
    return f"{word:<5} {check.name:<12} {check.found}{remedy}"


def _verdict(name: str, found: str, remedy: str = "", *, fatal: bool = True) -> Check:
    """A check that is ok exactly when nothing needs to be done."""
    return Check(name=name, ok=not remedy, found=found, remedy=remedy, fatal=fatal)


# Java ---------------------------------------------------------------------------------------------------------


def check_java(*, environ: Mapping[str, str], run: Run) -> Check:
    """The Java that Spark's launcher takes: JAVA_HOME, else the one on PATH. Its major version must be 17 or 21."""
    home = environ.get("JAVA_HOME", "")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java", path=environ.get("PATH", ""))
    if not java or not os.access(java, os.X_OK):
        return _verdict(
            "java", f"none at {java}" if java else "none: JAVA_HOME is not set, PATH has none", _JAVA_REMEDY
        )
    version = _release_version(Path(java)) or _asked_version(java, run)
    if not version:
        return _verdict("java", f"{java} does not start", _JAVA_REMEDY)
    wrong = version.split(".")[0] not in JAVA_VERSIONS
    return _verdict("java", f"{version} at {java}" + (", needed: 17 or 21" if wrong else ""), _JAVA_REMEDY * wrong)


def _release_version(java: Path) -> str:
    """Version from the file `release` of a Java's folder (no JVM start); empty if there is none."""
    try:
        text = (java.resolve().parent.parent / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    match = re.search(r'^JAVA_VERSION="([^"]+)"', text, re.MULTILINE)
    return match[1] if match else ""


def _asked_version(java: str, run: Run) -> str:
    match = re.search(r'version "([^"]+)"', run([java, "-version"]))
    return match[1] if match else ""


def _output(command: Sequence[str]) -> str:
    """stdout and stderr of a command together; empty if it cannot be run or takes over 5 seconds."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr


# Delta jars ---------------------------------------------------------------------------------------------------


def check_jars(jars: Sequence[Path], *, version_of: VersionOf) -> Check:
    """delta-spark and delta-storage, whole, of the version of the Python package, built for this Spark."""
    delta, spark = version_of("delta-spark"), version_of("pyspark")
    by_name = {path.name: path for path in map(_local, jars)}
    faults, found = [], []
    for stem in ("delta-spark_", "delta-storage-"):
        names = sorted(n for n in by_name if n.startswith(stem) and n.endswith(".jar"))
        found += names
        if len(names) != 1:
            faults.append(f"{stem.rstrip('-_')}: {'absent' if not names else 'more than one'}")
            continue
        if delta and not names[0].endswith(f"-{delta}.jar"):
            faults.append(f"{names[0]} is not version {delta}, which the Python package delta-spark has")
        if stem == "delta-spark_" and spark and not names[0].startswith(f"{stem}{_minor(spark)}_"):
            faults.append(f"{names[0]} is not built for Spark {_minor(spark)}")
        if not zipfile.is_zipfile(by_name[names[0]]):
            faults.append(f"{by_name[names[0]]} is absent or damaged: delete it")
    return _verdict("delta jars", "; ".join(faults) or ", ".join(found), _JARS_REMEDY if faults else "")


def _jars_of(environ: Mapping[str, str]) -> list[Path]:
    folder = environ.get("PROFILING_SPARK_JARS", "")
    return sorted(Path(folder).glob("*.jar")) if folder else []


def _local(path: Path) -> Path:
    """`spark.jars` may hold file: addresses; Path has already folded their slashes."""
    text = str(path)
    return Path(unquote(text.removeprefix("file:"))) if text.startswith("file:") else path


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


# Python packages ----------------------------------------------------------------------------------------------


def installed_version(package: str) -> str | None:
    """Version of an installed package that can also be found for import; None otherwise."""
    if importlib.util.find_spec(_IMPORT_NAMES.get(package, package)) is None:
        return None
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_packages(*, version_of: VersionOf) -> list[Check]:
    """Packages against what this project was tested with; Delta is binary-incompatible even across Spark's patches."""
    faults, found = [], []
    for package, wanted in REQUIREMENTS.items():
        version = version_of(package)
        found.append(f"{package} {version or 'absent'}")
        if version is None or not satisfies(version, wanted):
            faults.append(f"{package}{wanted} needed, found {version or 'none'}")
    return [_verdict("packages", "; ".join(faults) or ", ".join(found), _PIP_REMEDY if faults else "")]


def satisfies(version: str, wanted: str) -> bool:
    """Whether a version lies in a range such as '>=2.2,<3' or is exactly '==4.2.0'."""
    have = _release(version)
    for part in wanted.split(","):
        operator, bound_text = re.findall(r"^(==|>=|<)(.+)$", part.strip())[0]
        bound = _release(bound_text)
        if not {"==": have == bound, ">=": have >= bound, "<": have < bound}[operator]:
            return False
    return True


def _release(version: str) -> tuple[int, ...]:
    """(4, 2, 0) of '4.2.0.dev1'; zeros at the end do not count."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(n) for n in match[0].split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


# Storage ------------------------------------------------------------------------------------------------------


def check_storage(storage_root: str) -> list[Check]:
    """Whether the root can be written, and what it guarantees when two commits meet."""
    scheme = urlsplit(storage_root).scheme if "://" in storage_root or storage_root.startswith("file:") else ""
    if scheme in ("", "file"):
        return _check_local(Path(unquote(urlsplit(storage_root).path)) if scheme else Path(storage_root))
    if scheme in ("hdfs", "abfs", "abfss"):
        return [_verdict("storage", f"{storage_root} ({scheme}: atomic rename, several writers are safe)")]
    if scheme in ("s3a", "s3", "s3n"):
        found = f"{storage_root} ({scheme}: safe only while one Spark driver writes; two can lose a commit)"
        remedy = (
            f"one job at a time, or --conf spark.delta.logStore.{scheme}.impl=io.delta.storage.S3DynamoDBLogStore "
            "with its jar and DynamoDB table"
        )
        return [_verdict("storage", found, remedy, fatal=False)]
    remedy = (
        f"make sure that this storage creates files atomically, or set spark.delta.logStore.{scheme}.impl; "
        "one job at a time until then"
    )
    return [_verdict("storage", f"{storage_root} (no known guarantee for {scheme}:)", remedy, fatal=False)]


def _check_local(root: Path) -> list[Check]:
    root = root.absolute()
    exists = root
    while not os.path.lexists(exists) and exists != exists.parent:
        exists = exists.parent
    if not exists.is_dir():
        return [_verdict("storage", f"{root}: {exists} is not a folder", "--set storage_root=/a/folder/you/may/write")]
    if not os.access(exists, os.R_OK | os.W_OK | os.X_OK):
        remedy = f"sudo chown $USER '{exists}', or --set storage_root=/a/folder/you/may/write"
        return [_verdict("storage", f"{root}: {exists} may not be written", remedy)]
    free = shutil.disk_usage(exists).free
    low = free < LOW_DISK_BYTES
    remedy = "free some space, or --set storage_root=/a/larger/disk" if low else ""
    return [_local_guarantee(root), _verdict("disk", f"{_gib(free)} free", remedy, fatal=False)]


def _local_guarantee(root: Path) -> Check:
    kind = file_system(root)
    if kind.startswith(_NETWORK_FILE_SYSTEMS):
        found = f"{root} ({kind}: locks and atomic rename depend on the server)"
        return _verdict("storage", found, "one job at a time, or --set storage_root=/a/local/disk", fatal=False)
    return _verdict("storage", f"{root} (local disk: atomic rename, lock on the root, one writing process at a time)")


def file_system(path: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Type of the file system that holds a path (ext4, nfs4, ...); empty where the system does not tell."""
    best, kind = "", ""
    for line in _read(mounts).splitlines():
        point, this = (*line.split(), "", "", "")[1:3]
        point = point.replace("\\040", " ")
        if len(point) >= len(best) and path.resolve().is_relative_to(point or "/nowhere"):
            best, kind = point, this
    return kind


# Memory and cores ---------------------------------------------------------------------------------------------


def check_memory(total: int | None, available: int | None) -> Check:
    """Total and available bytes, None where not known. Too little is a warning: small data still fits."""
    if total is None:
        return _verdict("memory", "not known on this system")
    low = min(total, total if available is None else available) < LOW_MEMORY_BYTES
    found = f"{_gib(total)} in all" + (f", {_gib(available)} available" if available is not None else "")
    remedy = "close other programs, or export PROFILING_SPARK_DRIVER_MEMORY=1g" if low else ""
    return _verdict("memory", found, remedy, fatal=False)


def check_cores(count: int) -> Check:
    """Cores that this process may use."""
    return _verdict("cores", str(count))


def memory(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> tuple[int | None, int | None]:
    """Total and available bytes: the machine's, or the container's limit where that is less."""
    lines = dict(line.split(":", 1) for line in _read(proc / "meminfo").splitlines() if ":" in line)
    sizes = {key: int(text.split()[0]) * 1024 for key, text in lines.items() if text.split()[:1]}
    total, available = sizes.get("MemTotal"), sizes.get("MemAvailable")
    if total is None:
        return _pages(), None
    limit, used = _read(cgroup / "memory.max").strip(), _read(cgroup / "memory.current").strip()
    if limit.isdigit() and int(limit) < total:
        total = int(limit)
        free = total - int(used) if used.isdigit() else total
        available = free if available is None else min(available, free)
    return total, available


def cores() -> int:
    """Cores of this process: fewer than the machine's where it is confined to some."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _pages() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f} GiB"
