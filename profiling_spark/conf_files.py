"""The files of conf/: in a wheel they lie inside the package, in a clone beside it. Standard library only."""

from __future__ import annotations

import atexit
from contextlib import ExitStack
from pathlib import Path

from profiling_spark.errors import ConfigError

PACKAGE = Path(__file__).resolve().parent


def project_folder() -> Path | None:
    """The clone that the package runs from; None where it was installed."""
    parent = PACKAGE.parent
    return parent if (parent / "pyproject.toml").is_file() and (parent / "conf").is_dir() else None


def conf_file(name: str) -> Path:
    """Path of conf/NAME. Raises ConfigError where this version has no such file."""
    project = project_folder()
    path = (project / "conf" if project else PACKAGE / "conf") / name
    if path.is_file():
        return path
    if not PACKAGE.is_dir():  # a zip that --py-files brought to a cluster's driver
        from importlib.resources import as_file, files

        packed = files("profiling_spark").joinpath("conf", name)
        if packed.is_file():
            unpacked = ExitStack()
            atexit.register(unpacked.close)
            return unpacked.enter_context(as_file(packed))
    known = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
    raise ConfigError(f"{path}: no such file; there are {', '.join(known) or 'none'}")
