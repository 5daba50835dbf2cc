"""pip for a clone's environment, as quick as it goes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

# number and size on disk, for the line that tells what will be installed
SIZES = {"": ("40", "1.2 GB"), "dev": ("60", "1.4 GB")}
# pyspark comes as a source archive of 450 MB, of which pip makes a wheel and unpacks it: without deflating it first
_NO_DEFLATE = "[bdist_wheel]\ncompression = stored\n"


def install(python: Path, project: Path, extra: str) -> bool:
    """Install the clone with its packages at the versions of constraints.txt; False if pip fails, which tells why."""
    extras = f"spark,{extra}" if extra else "spark"
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch, "dist.cfg")
        config.write_text(_NO_DEFLATE, encoding="utf-8")
        done = subprocess.run(
            [
                *(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"),
                *("--no-compile", "-c", "constraints.txt", "-e", f".[{extras}]"),
            ],
            cwd=project,
            env={**os.environ, "DIST_EXTRA_CONFIG": str(config)},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            check=False,
        )
    return done.returncode == 0
