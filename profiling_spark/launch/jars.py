"""The two Delta jars: where they lie, and how they come there.

PROFILING_SPARK_JARS          folder that already holds them; nothing is ever fetched into it
PROFILING_SPARK_IVY_SETTINGS  Ivy settings file that names your own Maven mirror
PROFILING_SPARK_NO_INSTALL    1: fetch nothing, only say what is missing
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from profiling_spark.conf_files import project_folder
from profiling_spark.errors import EnvironmentProblem
from profiling_spark.launch.java import Java
from profiling_spark.launch.packages import installed_version, spark_home

# for a machine where the packages are not installed yet; a test compares them with pyproject.toml
DELTA_VERSION, SPARK_VERSION, SCALA_VERSION = "4.4.0", "4.2.0", "2.13"

Say = Callable[[str], None]


def delta_version() -> str:
    """Of the Python package delta-spark, which the jars must equal."""
    return installed_version("delta-spark") or DELTA_VERSION


def jar_names(delta: str | None = None, spark: str | None = None) -> tuple[str, str]:
    """File names of the jars that this Delta and this Spark take; without versions, of those installed."""
    delta = delta or delta_version()
    minor = ".".join((spark or installed_version("pyspark") or SPARK_VERSION).split(".")[:2])
    return f"delta-spark_{minor}_{SCALA_VERSION}-{delta}.jar", f"delta-storage-{delta}.jar"


def jars_folder(environ: Mapping[str, str]) -> Path:
    """Absolute folder of the jars: the user's, the clone's, else one of the user's caches; it may not exist yet."""
    if given := environ.get("PROFILING_SPARK_JARS", ""):
        return Path(given).absolute()
    if project := project_folder():
        return project / ".jars"
    home = Path(environ.get("HOME") or Path.home())
    if sys.platform == "darwin":
        cache = home / "Library" / "Caches"
    else:
        cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    return cache / "profiling_spark" / f"jars-{delta_version()}"


def have_jars(folder: Path) -> bool:
    """Whether both jars lie in the folder. Only whole ones are moved there, so this does not open them."""
    return all((folder / name).is_file() and (folder / name).stat().st_size for name in jar_names())


def jar_paths(folder: Path) -> list[Path]:
    """The two jars in the folder."""
    return [folder / name for name in jar_names()]


def may_fetch(environ: Mapping[str, str]) -> bool:
    """False where the user named a folder or forbade fetching."""
    return not environ.get("PROFILING_SPARK_JARS") and environ.get("PROFILING_SPARK_NO_INSTALL") != "1"


def ensure_jars(environ: Mapping[str, str], *, java: Java, say: Say) -> Path:
    """The folder with both jars; they are fetched if need be and allowed, after `say` told what and to where."""
    folder = jars_folder(environ)
    if have_jars(folder):
        return folder
    if not may_fetch(environ):
        raise EnvironmentProblem(
            f"{' and '.join(jar_names())} are needed in {folder}, and at least one is not there. Place them there by "
            "hand, or unset PROFILING_SPARK_JARS and PROFILING_SPARK_NO_INSTALL to have them fetched."
        )
    with alone_in(folder):
        if not have_jars(folder):
            say(f"Fetching the Delta {delta_version()} jars (once; 10 MB) to {folder} ...")
            _fetch(folder, java, environ)
    return folder


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """A second process waits here, then finds the work done."""
    import fcntl  # absent on Windows, where a user still may ask what is missing

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
    except OSError as err:
        raise EnvironmentProblem(f"the folder {folder} cannot be made: {err.strerror}.") from err
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _fetch(folder: Path, java: Java, environ: Mapping[str, str]) -> None:
    """Let Ivy, which pyspark ships, fetch what is absent; whole and tested files only are moved into place."""
    import tempfile
    from concurrent.futures import ThreadPoolExecutor

    try:
        work = tempfile.TemporaryDirectory(prefix=".fetch.", dir=folder)
    except OSError as err:
        raise EnvironmentProblem(f"the folder {folder} cannot be written to: {err.strerror}.") from err
    with work as name:
        absent = [jar for jar in jar_names() if not ((folder / jar).is_file() and (folder / jar).stat().st_size)]
        with ThreadPoolExecutor(len(absent)) as pool:  # most of a second each is the start of a JVM
            logs = list(pool.map(lambda jar: _ask_ivy(jar, Path(name), java, environ), absent))
        for jar, log in zip(absent, logs, strict=True):
            fetched = Path(name, jar)
            if not _is_whole(fetched):
                raise EnvironmentProblem(_not_fetched(jar, folder, log))
            fetched.replace(folder / jar)


def _ask_ivy(jar: str, work: Path, java: Java, environ: Mapping[str, str]) -> str:
    import subprocess

    module, version = jar.removesuffix(".jar").rsplit("-", 1)
    ivy = next((spark_home(environ) / "jars").glob("ivy-*.jar"), None)
    if ivy is None:
        raise EnvironmentProblem(f"{spark_home(environ) / 'jars'} has no ivy-*.jar, which fetches the Delta jars.")
    settings = environ.get("PROFILING_SPARK_IVY_SETTINGS", "")
    command = [
        *(str(java.home / "bin" / "java"), "-cp", str(ivy), "org.apache.ivy.Main"),
        *(("-settings", settings) if settings else ()),
        *(
            "-notransitive",
            "-dependency",
            "io.delta",
            module,
            version,
            "-cache",
            str(work / f"cache of {jar}"),
            "-types",
            "jar",
        ),
        *("-retrieve", f"{work}/[artifact]-[revision].[ext]"),
    ]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=dict(environ),
            check=False,
        )
    except OSError as err:
        return str(err)
    return done.stdout


def _is_whole(jar: Path) -> bool:
    import zipfile

    try:
        with zipfile.ZipFile(jar) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def _not_fetched(jar: str, folder: Path, log: str) -> str:
    # one line of Ivy's fifty: why the server could not be asked, else that it does not have the jar
    lines = log.splitlines()
    why = next(
        (
            line.strip()
            for pattern in (r"access error|exception", "not found")
            for line in lines
            if re.search(pattern, line, re.IGNORECASE)
        ),
        "",
    )
    module, version = jar.removesuffix(".jar").rsplit("-", 1)
    return (
        f"io.delta:{module}:{version} could not be fetched{f' (Ivy says: {why})' if why else ''}. Place "
        f"{' and '.join(jar_names())} in {folder} by hand, or set PROFILING_SPARK_JARS to a folder that has them, or "
        "PROFILING_SPARK_IVY_SETTINGS to the Ivy settings of your mirror."
    )
