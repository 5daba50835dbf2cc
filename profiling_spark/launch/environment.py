"""The Python environment of a clone: made once, brought up to date when its declaration changes.

scripts/setup.sh runs this with the machine's Python, before any package is installed.

PROFILING_SPARK_VENV        folder of the environment (default: .venv in the project). An environment that was not made
                            here is used as it is and never changed.
PROFILING_SPARK_NO_INSTALL  1: install nothing, only say what is missing
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from profiling_spark.errors import EnvironmentProblem, ProfilingError
from profiling_spark.launch import pip, setup
from profiling_spark.launch.jars import alone_in

STAMP = ".profiling_spark"
_MAKING = "making"


@dataclass(frozen=True)
class Environment:
    """A folder for packages of the project. The stamp tells what was installed: a line for the extra (empty or dev),
    one for the clone, then pyproject.toml and constraints.txt as they were; scripts/setup.sh compares it as well.
    """

    project: Path
    folder: Path
    is_named: bool = False

    @classmethod
    def of(cls, project: Path, environ: Mapping[str, str]) -> Environment:
        """The environment of a clone, absolute."""
        named = environ.get("PROFILING_SPARK_VENV", "")
        return cls(project, Path(named).absolute() if named else project / ".venv", bool(named))

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def is_foreign(self) -> bool:
        """Named by the user, with something in it and without this clone's stamp."""
        if not self.is_named or not self.folder.is_dir() or not any(self.folder.iterdir()):
            return False
        return self._stamp[1] != str(self.project)

    @property
    def declaration(self) -> str:
        """The files that decide which packages there are."""
        names = ("pyproject.toml", "constraints.txt")
        return "\n".join((self.project / name).read_text(encoding="utf-8").rstrip("\n") for name in names)

    @property
    def _stamp(self) -> tuple[str, str, str]:
        """Extra, clone and declaration of what is installed; the declaration is `making` where a run was cut short."""
        try:
            first, _, rest = (self.folder / STAMP).read_text(encoding="utf-8").partition("\n")
        except OSError:
            return "", "", ""
        clone, _, declaration = rest.partition("\n")
        # earlier releases wrote one line, a checksum before the extra
        return "dev" if first.endswith("dev") else "", clone, declaration.rstrip("\n")

    @property
    def extra(self) -> str:
        """What is installed beside the ordinary packages: dev or nothing."""
        return self._stamp[0]

    def stamp(self, extra: str, declaration: str) -> None:
        """Tell what is installed from now on."""
        (self.folder / STAMP).write_text(f"{extra}\n{self.project}\n{declaration}\n", encoding="utf-8")

    def is_ready(self, extra: str) -> bool:
        """Whether all packages are there; a development environment serves for both."""
        stamped, *rest = self._stamp
        is_current = rest == [str(self.project), self.declaration]
        return os.access(self.python, os.X_OK) and is_current and extra in ("", stamped)

    def must_be_made(self) -> bool:
        """Whether nothing of it can be kept."""
        if self._stamp[2] == _MAKING or not os.access(self.python, os.X_OK):
            return True
        asked = subprocess.run([self.python, "-m", "pip", "--version"], capture_output=True, check=False)
        return asked.returncode != 0

    def make(self, extra: str, *, anew: bool, has_java: bool) -> None:
        """Install the packages, `anew` into an emptied folder."""
        if anew:
            for path in self.folder.iterdir():
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            self.stamp(extra, _MAKING)  # a run cut short from here on starts over next time
            if subprocess.run([sys.executable, "-m", "venv", self.folder], stdout=sys.stderr, check=False).returncode:
                raise EnvironmentProblem(f"{sys.executable} -m venv {self.folder} failed; the reason stands above.")
        if not pip.install(self.python, self.project, extra, anew=anew, has_java=has_java):
            raise EnvironmentProblem(
                "pip could not install the packages; the reason stands above. Without network, set "
                "PROFILING_SPARK_VENV to an environment that has them."
            )
        self.stamp(extra, self.declaration)
        pip.compile_used(self.python, self.project)


def ensure(env: Environment, extra: str, environ: Mapping[str, str]) -> None:
    """Make the environment if need be, and install Java beside it, after telling what will be done."""
    if env.is_foreign:
        if not os.access(env.python, os.X_OK):
            raise EnvironmentProblem(
                f"PROFILING_SPARK_VENV: {env.folder} is no Python environment. Name another folder; an absent "
                "or empty one becomes the environment."
            )
        return
    if env.is_ready(extra):
        return
    if environ.get("PROFILING_SPARK_NO_INSTALL") == "1":
        raise EnvironmentProblem(
            f"the Python environment {env.folder} is missing or out of date, and PROFILING_SPARK_NO_INSTALL forbids to "
            "make it. Type: unset PROFILING_SPARK_NO_INSTALL; scripts/setup.sh"
        )
    with alone_in(env.folder):
        if env.is_ready(extra):
            return
        extra = extra or env.extra  # a development environment stays one
        anew = env.must_be_made()
        missing = setup.missing(environ)
        count, size = pip.SIZES[extra]
        what = f"make {env.folder} with" if anew else f"bring {env.folder} up to date with"
        setup.say(setup.plan([f"{what} {count} Python packages ({size})", *missing.plan]))
        with ThreadPoolExecutor(1) as aside:  # apt-get fetches while pip does
            java = aside.submit(setup.install_java) if missing.java else None
            env.make(extra, anew=anew, has_java=not missing.java)
            if java:
                java.result()


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the environment, then become its Python, which sees to Java and the jars. Returns only if it failed."""
    parser = argparse.ArgumentParser(prog="scripts/setup.sh", description="Make the environment of this clone.")
    parser.add_argument("--dev", action="store_true", help="with the packages that tests and benchmarks need")
    given = parser.parse_args(arguments)
    try:
        env = Environment.of(setup.clone(), os.environ)
        ensure(env, "dev" if given.dev else "", os.environ)
    except ProfilingError as err:
        setup.say(f"error: {err}")
        return err.exit_code
    os.execv(env.python, [str(env.python), "-m", "profiling_spark.launch.setup"])


if __name__ == "__main__":
    raise SystemExit(main())
