"""The installed Python packages, looked up without importing them."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from profiling_spark.conf_files import project_folder
from profiling_spark.errors import EnvironmentProblem

_IMPORT_NAMES = {"delta-spark": "delta", "scikit-learn": "sklearn", "pyyaml": "yaml"}


def installed_version(package: str) -> str | None:
    """Version of an installed package that can also be found for import; None otherwise."""
    import importlib.metadata  # takes 20 ms

    if importlib.util.find_spec(_IMPORT_NAMES.get(package, package)) is None:
        return None
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return _of_its_own_spark() if package == "pyspark" else None


def _of_its_own_spark() -> str | None:
    """The version of a Spark that pip has not installed: a cluster's, on the path that spark-submit gives."""
    try:
        return str(importlib.import_module("pyspark.version").__version__)
    except (ImportError, AttributeError):
        return None


def install_command() -> str:
    """What to type so that all packages are there: for a clone's own environment, for another one, without a clone."""
    project = project_folder()
    if project is None:
        return f"{shlex.quote(sys.executable)} -m pip install 'profiling-spark[spark]'"
    if Path(sys.prefix) == project / ".venv" or Path(sys.prefix, ".profiling_spark").exists():
        return shlex.quote(str(project / "scripts" / "setup.sh"))
    declared = f"-c {shlex.quote(str(project / 'constraints.txt'))} -e {shlex.quote(f'{project}[spark]')}"
    return f"{shlex.quote(sys.executable)} -m pip install {declared}"


def spark_home(environ: Mapping[str, str]) -> Path:
    """Folder of the Spark that belongs to the pyspark which Python imports, whatever SPARK_HOME says.

    That is pyspark's own folder if it came by pip; SPARK_HOME where SPARK_HOME/python is on PYTHONPATH.
    """
    spec = importlib.util.find_spec("pyspark")
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).parent
        for folder in (package, package.parent.parent):
            if (folder / "bin" / "spark-submit").is_file():
                return folder
    given = environ.get("SPARK_HOME", "")
    if spec is None and given:
        raise EnvironmentProblem(
            f"pyspark cannot be imported. For the Spark at {given} type: "
            'export PYTHONPATH="$SPARK_HOME/python:$(echo $SPARK_HOME/python/lib/py4j-*.zip)". '
            f"For one of its own: {install_command()}"
        )
    raise EnvironmentProblem(f"pyspark is not installed in this environment. Type: {install_command()}")
