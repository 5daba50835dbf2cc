"""pip for a clone's environment, as quick as it goes.

pyspark comes as a source archive of 450 MB, of which pip makes a wheel and unpacks it: that takes as long as all else
together, so it runs beside all else, the clone itself among it, and without deflating what is inflated next. To compile
every module takes 20 s, those that are used 5 s.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# number and size on disk, for the line that tells what will be installed
SIZES = {"": ("40", "1.2 GB"), "dev": ("80", "1.5 GB")}
_NO_DEFLATE = "[bdist_wheel]\ncompression = stored\n"
_JARS = ("-m", "profiling_spark.launch.setup")
_IMPORT_ALL = """
import importlib, pkgutil, profiling_spark
names = [module.name for module in pkgutil.walk_packages(profiling_spark.__path__, "profiling_spark.")]
for name in ["pyspark.daemon", "pyspark.worker", *names]:
    if not name.endswith("__main__"):
        importlib.import_module(name)
"""


def install(python: Path, project: Path, extra: str, *, anew: bool, has_java: bool) -> bool:
    """Install the clone with its packages at the versions of constraints.txt; False if pip fails, which tells why.

    `anew`: nothing is there yet; where Java is, the Delta jars then are fetched beside the rest, without waiting.
    """
    extras = f"spark,{extra}" if extra else "spark"
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "dist.cfg")
        config.write_text(_NO_DEFLATE, encoding="utf-8")
        # the pip of Python 3.11 builds without a build environment, and then knows no wheels, unless asked
        environ = {**os.environ, "DIST_EXTRA_CONFIG": str(config), "PIP_USE_PEP517": "1"}

        def pip(*arguments: str) -> subprocess.Popen[bytes]:
            command = [str(python), "-m", "pip", *arguments, "-c", "constraints.txt"]
            command += ["--quiet", "--disable-pip-version-check", "--no-input"]
            return subprocess.Popen(
                command, cwd=project, env=environ, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno()
            )

        def spark_and_jars() -> None:
            if pip("install", "--no-deps", "--no-compile", "pyspark").wait() == 0 and has_java:
                _begin(python, project, *_JARS)

        wanted = ["-e", f".[{extras}]"]
        if anew:  # what fails here fails again below, and is told there
            with ThreadPoolExecutor(1) as beside:
                beside.submit(spark_and_jars)
                if pip("install", "--no-compile", "-e", ".", *_declared(project, extra)).wait() == 0:
                    wanted = _declared(project, "spark")  # with what these need
        return pip("install", "--no-compile", *wanted).wait() == 0


def compile_used(python: Path, project: Path) -> None:
    """Begin to import all that this package imports, so that the first command need not compile it; does not wait.

    Many images forbid Python to keep what it compiles; then every command would compile it again.
    """
    _begin(python, project, "-c", _IMPORT_ALL)


def _begin(python: Path, project: Path, *arguments: str) -> None:
    """Start Python in the clone and let it run: what it fails at, a later command does again, and tells."""
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    subprocess.Popen(
        [str(python), *arguments],
        cwd=project,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _declared(project: Path, extra: str) -> list[str]:
    """What pyproject.toml declares for an extra, without the project itself and its other extras."""
    declared = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: list[str] = declared["optional-dependencies"].get(extra, [])
    return [requirement for requirement in found if not requirement.startswith(declared["name"])]
