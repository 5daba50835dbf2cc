"""The jars with which tests reach object stores and a small HDFS, fetched once by the Ivy of pyspark.

PROFILING_SPARK_STORE_JARS    folder that has them as `s3` and `hdfs`; nothing is ever fetched into it
PROFILING_SPARK_IVY_SETTINGS and PROFILING_SPARK_NO_INSTALL as in profiling_spark/launch/jars.py
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import pytest

from profiling_spark.launch.jars import alone_in
from profiling_spark.launch.java import search
from profiling_spark.launch.packages import spark_home

FOLDER = Path(__file__).resolve().parents[2] / ".jars-stores"
HADOOP = "3.5.0"
"""Of pyspark's jars, which a test compares."""
_AWS = "2.35.4"  # what hadoop-aws was built with

# hadoop-aws asks for the SDK as one bundle of 670 MB; its parts that s3a uses are 13 MB
_WANTED = {
    "s3": f"""
        <dependency org="org.apache.hadoop" name="hadoop-aws" rev="{HADOOP}" transitive="false"/>
        <dependency org="software.amazon.s3.analyticsaccelerator" name="analyticsaccelerator-s3" rev="1.3.1"
            transitive="false"/>
        <dependency org="software.amazon.awssdk" name="s3-transfer-manager" rev="{_AWS}"/>
        <dependency org="software.amazon.awssdk" name="sts" rev="{_AWS}"/>""",
    # the cluster's manager refers to a class of JUnit
    "hdfs": f"""
        <dependency org="org.apache.hadoop" name="hadoop-client-minicluster" rev="{HADOOP}" transitive="false"/>
        <dependency org="org.junit.jupiter" name="junit-jupiter-api" rev="5.13.4" transitive="false"/>""",
}
# of these pyspark has its own
_EXCLUDED = ("io.netty", "org.slf4j", "org.apache.httpcomponents", "commons-codec", "commons-logging")


def store_jars(kind: str) -> list[Path]:
    """The jars of `s3` or `hdfs`; the test is skipped where they are absent and cannot be fetched."""
    folder, problem = _provided(kind)
    if problem:
        pytest.skip(problem)
    return sorted(folder.glob("*.jar"))


@cache  # a machine without a network asks once and not once a test
def _provided(kind: str) -> tuple[Path, str]:
    """The folder, and why it is not there."""
    given = os.environ.get("PROFILING_SPARK_STORE_JARS", "")
    folder = (Path(given) if given else FOLDER) / kind
    if folder.is_dir():
        return folder, ""
    if given or os.environ.get("PROFILING_SPARK_NO_INSTALL") == "1":
        return folder, f"the jars of {kind} are not in {folder}, and may not be fetched"
    with alone_in(folder.parent):
        return folder, "" if folder.is_dir() else _fetch(kind, folder)


def _fetch(kind: str, folder: Path) -> str:
    """Let Ivy fetch the jars; the folder appears only whole. Returns what went wrong."""
    with tempfile.TemporaryDirectory(prefix=".fetch.", dir=folder.parent) as name:
        work = Path(name)
        module = work / "ivy.xml"
        excluded = "".join(f'<exclude org="{group}"/>' for group in _EXCLUDED)
        # without `compile` and `runtime` Ivy takes optional and test dependencies too
        module.write_text(
            f"""<ivy-module version="2.0"><info organisation="tests" module="stores"/>
            <configurations defaultconfmapping="default->master,compile,runtime"><conf name="default"/></configurations>
            <dependencies>{_WANTED[kind]}{excluded}</dependencies></ivy-module>""",
            encoding="utf-8",
        )
        settings = os.environ.get("PROFILING_SPARK_IVY_SETTINGS", "")
        ivy = next((spark_home(os.environ) / "jars").glob("ivy-*.jar"))
        command = [
            *(str(search(os.environ).required().home / "bin" / "java"), "-cp", str(ivy), "org.apache.ivy.Main"),
            *(("-settings", settings) if settings else ()),
            *("-ivy", str(module), "-cache", str(work / "cache"), "-types", "jar"),
            *("-retrieve", f"{work}/jars/[artifact]-[revision].[ext]"),
        ]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=400
            )
        except subprocess.TimeoutExpired:
            return f"the jars of {kind} could not be fetched within 400 s"
        found = sorted((work / "jars").glob("*.jar"))
        if done.returncode or not found or not all(map(_is_whole, found)):
            # of Ivy's fifty lines the first that says why
            lines = (line.strip() for line in (done.stdout + done.stderr).splitlines())
            why = next((line for line in lines if re.search(r"access error|exception|not found", line, re.I)), "")
            return f"the jars of {kind} could not be fetched (Ivy says: {why})"
        shutil.move(work / "jars", folder)
    return ""


def _is_whole(jar: Path) -> bool:
    try:
        with zipfile.ZipFile(jar) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False
