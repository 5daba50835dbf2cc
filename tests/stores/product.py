"""The product in processes of its own: Spark's conf and jars are a process's, and differ from store to store."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
# set by the session that the tests share
_DROPPED = ("PYSPARK_SUBMIT_ARGS", "PROFILING_SPARK_SUBMIT_ARGS", "PROFILING_SPARK_MASTER", "PYSPARK_GATEWAY_PORT")


def run_python(arguments: Sequence[str], folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Python with the clone's package, in a folder."""
    kept = {k: v for k, v in os.environ.items() if k not in _DROPPED}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=kept | {"PYTHONPATH": str(PROJECT)} | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
