"""Storage that only Spark opens, as HDFS is, without a server: temporary folders of this disk under another scheme."""

from __future__ import annotations

import tempfile
from pathlib import Path

_FOLDER = tempfile.gettempdir()
MOUNT = f"--conf spark.hadoop.fs.viewfs.mounttable.local.link.{_FOLDER}=file://{_FOLDER}"
"""For the session that the tests share."""


def by_spark_only(path: Path | str) -> str:
    """The URI of a temporary folder under the scheme that delta-rs, Polars and Python do not know."""
    return f"viewfs://local{Path(path).absolute()}"
