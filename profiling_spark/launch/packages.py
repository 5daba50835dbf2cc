"""The installed Python packages, looked up without importing them."""

from __future__ import annotations

import importlib.util
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
        return None


def install_command(extra: str = "spark") -> str:
    """What to type so that all packages are there: in a clone, or where the package was installed."""
    return "scripts/setup.sh" if project_folder() else f"pip install 'profiling-spark[{extra}]'"


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
