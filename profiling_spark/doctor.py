"""Is this machine ready? Java, Delta jars, package versions, storage, memory and cores; without Spark and without Java.

Java and the jars are looked for as launch/ does. Every remedy can be typed as it stands: a command for the shell, or
options (they begin with --) to be added to the command that was refused. Whatever a probe needs of the machine can be
passed in, so that each fault can be tried in a test.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from profiling_spark.conf_files import project_folder
from profiling_spark.errors import EnvironmentProblem
from profiling_spark.launch import jars, java, packages, setup

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_GIB = 1024**3
LOW_MEMORY_BYTES = 4 * _GIB
LOW_DISK_BYTES = 2 * _GIB
# Where nothing but the file system stands between two writers, a rename may not be atomic over the network.
_NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "9p", "fuse", "sshfs", "ceph", "gluster", "lustre", "virtiofs", "vboxsf")
_LOCAL_LAKE = "--set storage.root=/var/tmp/profiling_spark_lake"


@dataclass(frozen=True)
class Check:
    """One thing examined. A failed check that is not fatal is a warning; `remedy` is what to type, empty if ok."""

    name: str
    ok: bool
    found: str
    remedy: str
    fatal: bool


VersionOf = Callable[[str], "str | None"]


def examine(
    *,
    storage_root: str | None,
    jars: Sequence[Path] | None = None,
    environ: Mapping[str, str],
    run: java.Run | None = None,
    version_of: VersionOf | None = None,
) -> list[Check]:
    """All checks, in under a second. `jars` are those of the session; None: those that launch/ would give it.

    `storage_root` None: for a tool that keeps nothing. Under spark-submit Java runs already, and the jars are its own.
    """
    version_of = version_of or packages.installed_version
    submitted = "PYSPARK_GATEWAY_PORT" in environ
    return [
        _verdict("java", "started by spark-submit") if submitted else check_java(environ=environ, run=run),
        check_jars(jars, environ=environ, version_of=version_of)
        if jars is not None or not submitted
        else _verdict("delta jars", "given to spark-submit"),
        check_packages(version_of=version_of),
        *(check_storage(storage_root) if storage_root is not None else ()),
        check_memory(*memory()),
        check_cores(cores()),
    ]


def require(checks: Sequence[Check]) -> None:
    """Raise EnvironmentProblem that names every fatal failed check with its remedy; warnings pass."""
    failed = [c for c in checks if c.fatal and not c.ok]
    if failed:
        lines = [f"  FAIL  {c.name:<12} {c.found}{f'   -> {c.remedy}' if c.remedy else ''}" for c in failed]
        raise EnvironmentProblem("\n".join(["this machine is not ready:", *lines]))


def _verdict(name: str, found: str, remedy: str = "", *, fatal: bool = True) -> Check:
    """A check that is ok exactly when nothing needs to be done."""
    return Check(name=name, ok=not remedy, found=found, remedy=remedy, fatal=fatal)


# Java and the Delta jars --------------------------------------------------------------------------------------


def check_java(*, environ: Mapping[str, str], run: java.Run | None = None) -> Check:
    """The Java that a command would start Spark on."""
    found = java.search(environ, run)
    passed_over = f"passed over: {', '.join(found.passed_over)}" if found.passed_over else ""
    if found.java is None:
        return _verdict("java", f"no Java 17 or 21{f', {passed_over}' if passed_over else ''}", found.remedy)
    passed_note = f"; {passed_over}" if found.note else ""
    return _verdict("java", f"{found.java.version} at {found.java.home}{passed_note}")


def check_jars(
    paths: Sequence[Path] | None, *, environ: Mapping[str, str], version_of: VersionOf = packages.installed_version
) -> Check:
    """delta-spark and delta-storage, whole, of the version of the Python package, built for this Spark.

    `paths` None: those of the folder that a command would take, where absent ones are a warning if it may fetch them.
    """
    wanted = jars.jar_names(version_of("delta-spark"), version_of("pyspark"))
    folder = jars.jars_folder(environ)
    may_fetch = paths is None and jars.may_fetch(environ)
    by_name = {path.name: path for path in map(_local, sorted(folder.glob("delta-*.jar")) if paths is None else paths)}
    faults, found, absent, damaged = [], [], [], []
    for name, stem in zip(wanted, ("delta-spark_", "delta-storage-"), strict=True):
        there = sorted(n for n in by_name if n.startswith(stem) and n.endswith(".jar"))
        found += there
        if not there:
            faults.append(f"{name} is absent")
            absent.append(name)
        elif there != [name]:
            faults.append(f"{name} is needed, found {', '.join(there)}")
        elif not zipfile.is_zipfile(by_name[name]):
            faults.append(f"{by_name[name]} is absent or damaged")
            damaged.append(by_name[name])
    if may_fetch and faults and len(absent) == len(faults):
        return _verdict("delta jars", _to_be_fetched(absent, folder), setup.command(), fatal=False)
    return _verdict(
        "delta jars", "; ".join(faults) or ", ".join(found), _jars_remedy(environ, damaged) if faults else ""
    )


def _to_be_fetched(absent: Sequence[str], folder: Path) -> str:
    return (
        f"{' and '.join(absent)} not in {folder} yet: the first run fetches them (once; 10 MB). "
        "Without network place them there by hand"
    )


def _jars_remedy(environ: Mapping[str, str], damaged: Sequence[Path]) -> str:
    steps = [shlex.join(["rm", "-f", *map(str, damaged)])] if damaged else []
    forbidding = [n for n in ("PROFILING_SPARK_JARS", "PROFILING_SPARK_NO_INSTALL") if environ.get(n)]
    return "; ".join([*steps, *([f"unset {' '.join(forbidding)}"] if forbidding else []), setup.command()])


def _local(path: Path) -> Path:
    """`spark.jars` may hold file: addresses; Path has already folded their slashes."""
    text = str(path)
    return Path(unquote(text.removeprefix("file:"))) if text.startswith("file:") else path


# Python packages ----------------------------------------------------------------------------------------------


def requirements() -> list[Requirement]:
    """What this package declares, pyspark and delta-spark included: a clone's pyproject.toml, else its metadata."""
    from packaging.requirements import Requirement

    if project := project_folder():
        import tomllib

        declared = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return [Requirement(text) for text in declared["dependencies"] + declared["optional-dependencies"]["spark"]]
    try:
        found = [Requirement(text) for text in metadata.requires("profiling-spark") or ()]
    except metadata.PackageNotFoundError:  # the package alone, as --py-files brings it to a cluster
        return []
    return [r for r in found if r.marker is None or r.marker.evaluate({"extra": "spark"})]


def check_packages(*, version_of: VersionOf = packages.installed_version) -> Check:
    """Packages against what is declared; Delta is binary-incompatible even across Spark's patches."""
    try:
        declared = requirements()
    except ImportError:
        return _verdict("packages", "packaging is absent", packages.install_command())
    faults, found = [], []
    for wanted in declared:
        version = version_of(wanted.name)
        found.append(f"{wanted.name} {version}")
        if version is None or not wanted.specifier.contains(version, prereleases=True):
            faults.append(f"{wanted.name}{wanted.specifier} needed, found {version or 'none'}")
    remedy = packages.install_command() if faults else ""
    return _verdict("packages", "; ".join(faults) or ", ".join(found) or "nothing is declared", remedy)


# Storage ------------------------------------------------------------------------------------------------------


def check_storage(storage_root: str) -> list[Check]:
    """Whether the root can be written, and what it guarantees when two commits meet."""
    scheme = urlsplit(storage_root).scheme if "://" in storage_root or storage_root.startswith("file:") else ""
    if scheme in ("", "file"):
        return _check_local(Path(unquote(urlsplit(storage_root).path)) if scheme else Path(storage_root))
    if scheme in ("hdfs", "abfs", "abfss"):
        return [_verdict("storage", f"{storage_root} ({scheme}: atomic rename, several writers are safe)")]
    if scheme in ("s3a", "s3", "s3n"):
        found = f"{storage_root} ({scheme}: one job at a time, two can lose a commit without a table in DynamoDB)"
        remedy = (
            f"--conf spark.delta.logStore.{scheme}.impl=io.delta.storage.S3DynamoDBLogStore "
            f"--conf spark.jars.packages=io.delta:delta-storage-s3-dynamodb:{jars.delta_version()}"
        )
        return [_verdict("storage", found, remedy, fatal=False)]
    found = f"{storage_root} (no known guarantee for {scheme}: one job at a time, unless it creates files atomically)"
    return [_verdict("storage", found, _LOCAL_LAKE, fatal=False)]


def _check_local(root: Path) -> list[Check]:
    root = root.absolute()
    exists = root
    while not os.path.lexists(exists) and exists != exists.parent:
        exists = exists.parent
    if not exists.is_dir():
        return [_verdict("storage", f"{root}: {exists} is not a folder", _LOCAL_LAKE)]
    if not os.access(exists, os.R_OK | os.W_OK | os.X_OK):
        folder = shlex.quote(str(root))
        remedy = f'sudo mkdir -p {folder} && sudo chown "$USER" {folder}'
        return [_verdict("storage", f"{root}: {exists} may not be written", remedy)]
    free = shutil.disk_usage(exists).free
    remedy = "df -h  # then --set storage.root= a folder on a larger disk" if free < LOW_DISK_BYTES else ""
    return [_local_guarantee(root), _verdict("disk", f"{_gib(free)} free", remedy, fatal=False)]


def _local_guarantee(root: Path) -> Check:
    kind = file_system(root)
    if kind.startswith(_NETWORK_FILE_SYSTEMS):
        found = f"{root} ({kind}: one job at a time, locks and atomic rename depend on the server)"
        return _verdict("storage", found, _LOCAL_LAKE, fatal=False)
    return _verdict("storage", f"{root} (local disk: atomic rename, lock on the root, one writing process at a time)")


def file_system(path: Path) -> str:
    """Type of the file system that holds a path (ext4, nfs4, ...); empty where the system does not tell."""
    try:
        import psutil

        mounts = psutil.disk_partitions(all=True)
    except (ImportError, OSError):
        return ""
    real = path.resolve()
    around = [mount for mount in mounts if real.is_relative_to(mount.mountpoint)]
    # of two mounts at one place the later hides the earlier
    return str(max(enumerate(around), key=lambda m: (len(m[1].mountpoint), m[0]))[1].fstype) if around else ""


# Memory and cores ---------------------------------------------------------------------------------------------


def check_memory(total: int | None, available: int | None) -> Check:
    """Total and available bytes, None where not known. Too little is a warning: small data still fits."""
    if total is None or available is None:
        return _verdict("memory", "not known on this system")
    remedy = "export PROFILING_SPARK_DRIVER_MEMORY=1g" if min(total, available) < LOW_MEMORY_BYTES else ""
    found = f"{_gib(total)} in all, {_gib(available)} available"
    return _verdict("memory", found + (", 4 GiB are advised" if remedy else ""), remedy, fatal=False)


def memory(cgroup: Path = Path("/sys/fs/cgroup")) -> tuple[int | None, int | None]:
    """Total and available bytes: the machine's, or the container's limit where that is less (psutil does not tell)."""
    try:
        import psutil
    except ImportError:
        return None, None
    machine = psutil.virtual_memory()
    total, available = int(machine.total), int(machine.available)
    limit, used = (_number(cgroup / f"memory.{name}") for name in ("max", "current"))
    if limit is not None and limit < total:
        total, available = limit, min(available, limit - (used or 0))
    return total, available


def check_cores(count: int) -> Check:
    """Cores that this process may use."""
    return _verdict("cores", str(count))


def cores() -> int:
    """Cores of this process: fewer than the machine's where it is confined to some."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f} GiB"
