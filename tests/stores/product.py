"""The product in processes of its own: Spark's conf and jars are a process's, and differ from store to store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from processes import running

PROJECT = Path(__file__).resolve().parents[2]
# set by the session that the tests share
_DROPPED = ("PYSPARK_SUBMIT_ARGS", "PROFILING_SPARK_SUBMIT_ARGS", "PROFILING_SPARK_MASTER", "PYSPARK_GATEWAY_PORT")


def run_python(
    arguments: Sequence[str], folder: Path, *, within_seconds: float = 1500, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Python with the clone's package, in a folder. Raises subprocess.TimeoutExpired; the folder then has its log."""
    kept = {k: v for k, v in os.environ.items() if k not in _DROPPED}
    stdout = folder / "stdout.txt"
    stdout.unlink(missing_ok=True)
    command = [sys.executable, *arguments]
    with running("product", command, folder, kept | {"PYTHONPATH": str(PROJECT)} | environ, stdout=stdout) as started:
        code = started.process.wait(within_seconds)
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in (stdout, started.log))
    return subprocess.CompletedProcess(arguments, code, *texts)


_ONE_AFTER_ANOTHER = """
import json, sys
from profiling_spark.cli.main import main

print(json.dumps([main(command) for command in json.loads(sys.argv[1])]))
"""


def run_commands(
    commands: Sequence[Sequence[str]],
    conf: Mapping[str, str],
    folder: Path,
    *,
    within_seconds: float = 1500,
    **environ: str,
) -> tuple[list[int], str]:
    """Commands one after another, as if each were typed: a session each, but one warm JVM, with this conf of Spark.

    Returns their exit codes and what they wrote to stderr.
    """
    # what gains nothing on so few rows: the compiler's second tier, and a Spark job a stage to look at its size
    quick = {"spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1", "spark.sql.adaptive.enabled": "false"}
    spark = [word for key, value in {**quick, **conf}.items() for word in ("--conf", f"{key}={value}")]
    text = json.dumps([[*command, "--quiet", *spark] for command in commands])
    done = run_python(["-c", _ONE_AFTER_ANOTHER, text], folder, within_seconds=within_seconds, **environ)
    if done.returncode:
        raise RuntimeError(f"the process ended with {done.returncode}: {done.stderr[-3000:]}")
    codes: list[int] = json.loads(done.stdout)
    return codes, done.stderr
