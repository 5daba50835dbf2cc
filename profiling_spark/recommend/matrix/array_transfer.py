"""Large arrays between the driver and Python tasks: by files where all run on one machine, else through Spark.

Through Spark each array is packed, compressed, sent and unpacked in every task; on one machine a file that all map into
memory costs a tenth of that.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import SparkSession


@dataclass(frozen=True)
class SentArray:
    """An array on its way to tasks: the name of its file, or the array itself."""

    path: str | None
    values: NDArray[Any] | None

    def load(self) -> NDArray[Any]:
        """The array; from a file it is read-only, and shared by all that load it."""
        if self.path is not None:
            found: NDArray[Any] = np.asarray(np.load(self.path, mmap_mode="r"))
            return found
        assert self.values is not None  # for mypy: it has one or the other
        return self.values


@dataclass(frozen=True)
class ArrayTransfer:
    """`folder`: where files go; None where tasks may run on other machines."""

    folder: str | None

    def send(self, values: NDArray[Any]) -> SentArray:
        """An array for tasks."""
        return SentArray(None, values) if self.folder is None else SentArray(self._saved(values), None)

    def pack(self, values: NDArray[Any]) -> bytes:
        """What stands for an array in a binary column: its bytes, or the name of its file."""
        return values.tobytes() if self.folder is None else self._saved(values).encode()

    def unpack(self, packed: Any, kind: type[np.generic]) -> NDArray[Any]:
        """The array of one value (an Arrow scalar) of such a column, flat; not to be changed."""
        if self.folder is None:
            return np.frombuffer(packed.as_buffer(), dtype=kind)
        # not mapped: whoever unpacks holds many at once, and each map is an open file
        found: NDArray[Any] = np.load(packed.as_py().decode())
        return found.reshape(-1)

    def clear(self) -> None:
        """Remove the files: what was sent and packed so far has been used."""
        if self.folder is not None:
            for file in Path(self.folder).glob("*.npy"):
                file.unlink()

    def _saved(self, values: NDArray[Any]) -> str:
        assert self.folder is not None  # for mypy
        path = os.path.join(self.folder, f"{uuid.uuid4().hex}.npy")  # a task that runs twice has two files
        np.save(path, values)
        return path


@contextmanager
def array_transfer(spark: SparkSession) -> Iterator[ArrayTransfer]:
    """A way for arrays in this session. Its files lie where Spark's own temporary ones do and are gone afterwards."""
    try:
        context = spark.sparkContext
    except Exception:  # Spark Connect has none, and names the error differently from release to release
        yield ArrayTransfer(None)
        return
    if not (context.master or "").startswith("local"):
        yield ArrayTransfer(None)
        return
    folders = os.environ.get("SPARK_LOCAL_DIRS") or context.getConf().get("spark.local.dir") or ""
    first = folders.split(",")[0] or None
    # a task that is still writing when a job fails must not hide why it failed
    with tempfile.TemporaryDirectory(prefix="profiling_spark_", dir=first, ignore_cleanup_errors=True) as folder:
        yield ArrayTransfer(folder)
