"""The log of a run for machines: one JSON object a line, by Python's standard logging.

Every record of the logger `profiling_spark` and its children has time, level, logger and event; records of a run have
run_id and job, those inside a stage its name, those of a table the table. No value of a customer's row and no secret
is ever an argument of a record: events name things, counts and seconds.
"""

from __future__ import annotations

import contextvars
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from profiling_spark.errors import ConfigError

INFO, WARNING, ERROR = logging.INFO, logging.WARNING, logging.ERROR
LOGGER = logging.getLogger("profiling_spark")
LOGGER.addHandler(logging.NullHandler())  # a library says nothing where nobody listens

FIELDS = (
    "run_id", "job", "stage", "status", "as_of", "table", "version", "rows_in", "rows_out", "rows_rejected", "seconds",
    "memory_mb", "exit_code",
)  # fmt: skip
"""What a record may carry beside time, level, logger and event."""

_bound: contextvars.ContextVar[dict[str, Any]] = contextvars.ContextVar("profiling_spark_log", default={})  # noqa: B039 - never changed in place


@contextmanager
def bound(**values: Any) -> Iterator[None]:
    """Records written inside carry these fields too."""
    token = _bound.set(_bound.get() | values)
    try:
        yield
    finally:
        _bound.reset(token)


def event(text: str, *, level: int = logging.INFO, logger: logging.Logger = LOGGER, **fields: Any) -> None:
    """Write a record; fields of which nothing is known are left out."""
    if logger.isEnabledFor(level):
        given = _bound.get() | {name: value for name, value in fields.items() if value is not None}
        unknown = given.keys() - set(FIELDS)
        if unknown:
            raise TypeError(f"fields of a record: expected some of {', '.join(FIELDS)}, found {sorted(unknown)}")
        logger.log(level, text, extra={"fields": given})


class JsonLines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Time in UTC with milliseconds; then the record's fields in a fixed order."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, Any] = getattr(record, "fields", {})
        line = {"time": time, "level": record.levelname, "logger": record.name, "event": record.getMessage()}
        line |= {name: fields[name] for name in FIELDS if name in fields}
        return json.dumps(line, default=str, ensure_ascii=False)


@contextmanager
def written_to(target: str | None) -> Iterator[None]:
    """Append the records written inside to a file, to stderr where `target` is `-`, nowhere where it is None.

    Raises ConfigError where the file cannot be opened.
    """
    if target is None:
        yield
        return
    try:
        handler = (
            logging.StreamHandler(sys.stderr) if target == "-" else logging.FileHandler(Path(target), encoding="utf-8")
        )
    except OSError as err:
        raise ConfigError(f"--log {target}: expected a file that can be written, found {err.strerror}") from err
    handler.setFormatter(JsonLines())
    before = LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(before)
        handler.close()


def memory_mb() -> float:
    """Resident memory of this process and of its children (the JVM, Spark's Python workers), megabytes."""
    import psutil  # 20 ms, and only for runs

    own = psutil.Process()
    total = 0
    for process in (own, *own.children(recursive=True)):
        try:
            total += process.memory_info().rss
        except psutil.Error:  # it ended meanwhile
            continue
    return round(total / 2**20, 1)
