"""What an error may say: what went wrong and where, never a value of a row.

Spark, Polars and Python quote the value that they stumbled over. A message goes to the terminal, to --json, to logs and
to job_runs, where personal data has no place.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from pathlib import Path

from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException, PySparkException

from profiling_spark.errors import ProfilingError

# at the start of a line of Spark's text: `Caused by: org.apache.spark.SparkNumberFormatException: [CAST_INVALID_INPUT]`
_CAUSE = re.compile(r"^(?:Caused by: |: )?((?:[a-z]\w*\.)+[A-Z][\w$]*)(?:: (?:\[([A-Z][A-Z0-9_.]*)\])?(.*))?$", re.M)
_IN_WORKER = re.compile(r"^((?:[a-z]\w*\.)*[A-Z]\w*(?:Error|Exception|Exit))(?:: |$)", re.M)
_OWN = re.compile(r"^profiling_spark\.errors\.\w+: (.*)$", re.M)
_NULL_KEY = re.compile(r"\b\w+\.\w+: the key must not be null")
_FRAME = re.compile(r'File "[^"]*(profiling_spark/[\w/]+\.py)", line (\d+)')
_JAVA_FRAME = re.compile(r"^\s+at [\w.$/<>]+\(.*\)$", re.M)
_TOO_LARGE = re.compile(
    r"Total size of serialized results .*?\(([^()]*)\) is bigger than \S*maxResultSize \(?([\d.]+ \w+)"
)
# of these the text names files, hosts and sizes
_PLAIN = ("java.io.", "java.nio.", "java.net.", "java.lang.OutOfMemoryError", "org.apache.hadoop.")
_VALUE = "a value does not fit an expression of the settings; try_cast, try_to_timestamp and their like give null"
_HINTS = {"CAST_INVALID_INPUT": _VALUE, "CAST_OVERFLOW": _VALUE, "CANNOT_PARSE_TIMESTAMP": _VALUE}


def describe(err: BaseException) -> str:
    """The error for a person who must not see the data."""
    if isinstance(err, ProfilingError):
        return str(err)
    if isinstance(err, AnalysisException):
        # found before any row was read
        return f"Spark: {_first_line(str(err))}"
    if isinstance(err, (PySparkException, Py4JJavaError)):
        return f"Spark: {_of_spark(err)}"
    if isinstance(err, (OSError, MemoryError, KeyboardInterrupt)):
        return f"unexpected {type(err).__name__}: {_first_line(str(err))}".rstrip(": ")
    return f"unexpected {type(err).__name__}{_where(''.join(traceback.format_tb(err.__traceback__)))}"


def trace(err: BaseException) -> str:
    """The stack of an error and of its causes, without their messages."""
    return "\n".join(part for each in _chain(err) for part in _stack(each))


def _chain(err: BaseException | None) -> Iterator[BaseException]:
    while err is not None:
        yield err
        err = err.__cause__ or err.__context__


def _stack(err: BaseException) -> Iterator[str]:
    yield "".join(traceback.format_tb(err.__traceback__)) + type(err).__qualname__
    if isinstance(err, (PySparkException, Py4JJavaError)):
        text = str(err)
        yield from (f"  {cause[1]} {cause[2] or ''}".rstrip() for cause in _CAUSE.finditer(text))
        yield from (frame[0] for frame in _JAVA_FRAME.finditer(text))
        yield from (f"  {frame[1]}, line {frame[2]}" for frame in _FRAME.finditer(text))


def _of_spark(err: BaseException) -> str:
    text = str(err)
    if own := _OWN.findall(text) or _NULL_KEY.findall(text):
        return str(own[-1])
    if size := _TOO_LARGE.search(text):
        return (
            f"results for the driver of {size[1]} are more than spark.driver.maxResultSize, {size[2]}; start it with "
            "--conf spark.driver.maxResultSize=0 (no limit), and the driver the memory for them (spark.driver.memory)"
        )
    if "Traceback (most recent call last)" in text and (in_worker := _IN_WORKER.findall(text)):
        return f"{in_worker[-1]}{_where(text)}"
    condition = err.getCondition() if isinstance(err, PySparkException) else None
    causes = list(_CAUSE.finditer(text))
    last = causes[-1] if causes else None
    if last is not None and last[1].startswith(_PLAIN):
        return f"{last[1]}: {(last[3] or '').strip()}".rstrip(": ")
    condition = (last[2] if last is not None else None) or condition
    if condition:
        return f"{condition}: {_HINTS[condition]}" if condition in _HINTS else condition
    return last[1] if last is not None else type(err).__name__


def _where(stack: str) -> str:
    """The innermost line of this package in a stack."""
    frames = _FRAME.findall(stack)
    return f" in {Path(frames[-1][0])}, line {frames[-1][1]}" if frames else ""


def _first_line(text: str) -> str:
    return next((line for line in text.splitlines() if line.strip()), "")
