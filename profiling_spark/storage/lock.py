"""One writing process per storage root."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pyspark.sql import SparkSession

from profiling_spark.errors import StorageError
from profiling_spark.storage.lease import Lease
from profiling_spark.storage.paths import local_path
from profiling_spark.storage.stores import store_for

Check = Callable[[], None]
"""Raises StorageError where this run may no longer write; to be called before each commit."""


@contextmanager
def locked(root: str, spark: SparkSession | None = None, *, job: str = "", run_id: str = "") -> Iterator[Check]:
    """One writing process per storage root, where two could overwrite each other's commit: by a lock on a local disk,
    by a lease elsewhere. `spark` reaches the storage, `job` and `run_id` are what a refused run is shown.

    Raises StorageError at once when another run writes there. The lock dies with its process, also after kill -9; a
    lease ends `lease.VALID_SECONDS` after that.
    """
    folder = local_path(root)
    if folder is not None:
        with _file_locked(root, folder):
            yield _always
        return
    lease = Lease(store_for(root, spark), job=job, run_id=run_id).acquire()
    try:
        yield lease.check
    finally:
        lease.release()


@contextmanager
def _file_locked(root: str, folder: Path) -> Iterator[None]:
    import fcntl  # only where there is a local disk to lock

    folder.mkdir(parents=True, exist_ok=True)
    handle: IO[str]
    with (folder / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            raise StorageError(f"storage {root}: another run is writing here; wait for it to end") from err
        yield


def _always() -> None:
    """A lock on a local disk cannot be lost."""
