"""`python -m profiling_spark.launch.setup`: Java and the Delta jars are found, else installed and fetched.

The only place that installs Java, by apt-get, as root on Debian, Ubuntu and their children.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from profiling_spark.conf_files import project_folder
from profiling_spark.errors import EnvironmentProblem, ProfilingError
from profiling_spark.launch.jars import ensure_jars, have_jars, jars_folder, may_fetch
from profiling_spark.launch.java import remedy, search
from profiling_spark.launch.packages import spark_home

_DEBIAN = Path("/etc/debian_version")
MANUALS = Path("/usr/share/man/man1")
_JAVA_PACKAGES = ("openjdk-17-jre-headless", "openjdk-21-jre-headless")  # the second where the first is not to be had


@dataclass(frozen=True)
class Missing:
    """What is not there and may be brought."""

    java: bool
    plan: tuple[str, ...]


def missing(environ: Mapping[str, str]) -> Missing:
    """What has to be brought, as the parts of a sentence. Raises EnvironmentProblem where Java may not be installed."""
    found, folder = search(environ), jars_folder(environ)
    plan = [] if have_jars(folder) or not may_fetch(environ) else [f"fetch 2 Delta jars to {folder} (10 MB)"]
    if found.java is None:
        if not may_apt(environ):
            found.required()
        plan.append(f"install {_JAVA_PACKAGES[0]} with apt-get (Java 17 or 21 was not found)")
    return Missing(found.java is None, tuple(plan))


def plan(parts: Sequence[str]) -> str:
    """'This will A, B and C.'"""
    *most, last = parts
    return f"This will {', '.join(most)}{' and ' if most else ''}{last}. It takes a minute or two, once."


def may_apt(environ: Mapping[str, str]) -> bool:
    """Whether apt-get may be used: root on Debian or a child of it, and not forbidden."""
    forbidden = environ.get("PROFILING_SPARK_NO_INSTALL") == "1"
    has_apt = shutil.which("apt-get", path=environ.get("PATH")) is not None
    return not forbidden and _DEBIAN.exists() and os.geteuid() == 0 and has_apt


def install_java() -> None:
    """Install Java 17, else 21. Raises EnvironmentProblem with the end of apt-get's output."""
    MANUALS.mkdir(parents=True, exist_ok=True)  # slim images lack it, and Java's package fails to install without it
    failure = _apt("update", "-qq")
    for package in _JAVA_PACKAGES:
        failure = _apt("-o", "DPkg::Lock::Timeout=180", "install", "-y", "-qq", "--no-install-recommends", package)
        if failure is None:
            return
    end = " | ".join((failure or "").splitlines()[-3:])
    raise EnvironmentProblem(f"apt-get could not install Java 17 or 21 ({end}). Type: {remedy(os.environ)}")


def _apt(*arguments: str) -> str | None:
    """None if it succeeds, else its output."""
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", *arguments]
    done = subprocess.run(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return done.stdout if done.returncode else None


def command() -> str:
    """What to type so that Java and the jars come: in a clone, or after pip."""
    if project := project_folder():
        return shlex.quote(str(project / "scripts" / "setup.sh"))
    return f"{shlex.quote(sys.executable)} -m profiling_spark.launch.setup"


def clone() -> Path:
    """The clone that this package runs from. Raises EnvironmentProblem where it was installed."""
    project = project_folder()
    if project is None:
        raise EnvironmentProblem("this package was installed by pip; scripts/setup.sh is for a clone of the repository")
    return project


def say(text: str) -> None:
    """A line on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def exports(environ: Mapping[str, str]) -> dict[str, str]:
    """Java, Spark and the jars for other programs, with all of them in place. Raises EnvironmentProblem."""
    home = spark_home(environ)
    if search(environ).java is None and may_apt(environ):
        say(plan(missing(environ).plan))
        install_java()
    found = search(environ)
    java = found.required()
    if found.note:
        say(found.note)
    return {
        "JAVA_HOME": str(java.home),
        "SPARK_HOME": str(home),
        "PROFILING_SPARK_JARS": str(ensure_jars(environ, java=java, say=say)),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "POLARS_MAX_THREADS": environ.get("POLARS_MAX_THREADS", "1"),  # a task is one core
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """See to Java and the jars; with --exports tell the shell where they are. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m profiling_spark.launch.setup", description="Java and Delta jars.")
    parser.add_argument("--exports", action="store_true", help="print lines for the shell's eval")
    given = parser.parse_args(arguments)
    try:
        made = exports(os.environ)
    except ProfilingError as err:
        say(f"error: {err}")
        return err.exit_code
    if given.exports:
        sys.stdout.write("".join(f"export {name}={shlex.quote(value)}\n" for name, value in made.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
