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
class Carried:
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
class Carrier:
    """`folder`: where files go; None where tasks may run on other machines."""

    folder: str | None

    def send(self, values: NDArray[Any]) -> Carried:
        """An array for tasks."""
        return Carried(None, values) if self.folder is None else Carried(self._saved(values), None)

    def pack(self, values: NDArray[Any]) -> bytes:
        """What stands for an array in a binary column: its bytes, or the name of its file."""
        return values.tobytes() if self.folder is None else self._saved(values).encode()

    def unpack(self, packed: Any, kind: type[np.generic]) -> NDArray[Any]:
        """The array of one value (an Arrow scalar) of such a column, flat and read-only."""
        if self.folder is None:
            return np.frombuffer(packed.as_buffer(), dtype=kind)
        found: NDArray[Any] = np.asarray(np.load(packed.as_py().decode(), mmap_mode="r"))
        return found.reshape(-1)

    def clear(self) -> None:
        """Remove the files: what was sent and packed so far has been used."""
        if self.folder is not None:
            for file in Path(self.folder).iterdir():
                file.unlink()

    def _saved(self, values: NDArray[Any]) -> str:
        assert self.folder is not None  # for mypy
        path = os.path.join(self.folder, f"{uuid.uuid4().hex}.npy")  # a task that runs twice has two files
        np.save(path, values)
        return path


@contextmanager
def carrier(spark: SparkSession) -> Iterator[Carrier]:
    """A way for arrays in this session; its files are gone afterwards."""
    if not (spark.sparkContext.master or "").startswith("local"):
        yield Carrier(None)
        return
    with tempfile.TemporaryDirectory(prefix="profiling_spark_") as folder:
        yield Carrier(folder)
