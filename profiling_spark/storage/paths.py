"""Where storage lies, and how values stand in SQL."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

SliceValue = date | str | int


def literal(value: SliceValue) -> str:
    """SQL literal of a slice's value."""
    if isinstance(value, date):
        return f"DATE'{value.isoformat()}'"
    if isinstance(value, int):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def scheme(path: str) -> str:
    """What stands before the colon of a URI; empty for a path."""
    found = re.match(r"^([a-z][a-z0-9+.-]*):", path)
    return found[1] if found else ""


def is_absolute(path: str) -> bool:
    """Whether a path means the same wherever it is read from: a URI, or a path from the root."""
    return bool(scheme(path)) or path.startswith("/")


def local_path(path: str) -> Path | None:
    """The path on this machine's disk, None for any other storage."""
    if path.startswith("file:"):
        return Path("/" + path.removeprefix("file:").lstrip("/"))
    return None if scheme(path) else Path(path)


def as_written(uri: str) -> str:
    """The path for Spark's readers, which take some characters for patterns."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", uri)
