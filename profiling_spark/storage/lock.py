"""One writing process per storage root."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from pyspark.sql import SparkSession

from profiling_spark.errors import StorageError
from profiling_spark.storage.lease import Holder, Lease
from profiling_spark.storage.paths import local_path
from profiling_spark.storage.stores import store_for

Check = Callable[[], None]
"""Raises StorageError where this run may no longer write; to be called before each commit."""
_LOOKS, _LOOK_SECONDS = 100, 0.005


@contextmanager
def locked(root: str, spark: SparkSession | None = None, *, job: str = "", run_id: str = "") -> Iterator[Check]:
    """One writing process per storage root, where two could overwrite each other's commit: by a lock on a local disk,
    by a lease elsewhere. `spark` reaches the storage, `job` and `run_id` are what a refused run is shown.

    Raises StorageError at once when another run writes there. The lock dies with its process, also after kill -9; a
    lease ends `lease.VALID_SECONDS` after that.
    """
    folder = local_path(root)
    if folder is not None:
        with _file_locked(root, folder, Holder.of_this_process(job, run_id)):
            yield _always
        return
    lease = Lease(store_for(root, spark), job=job, run_id=run_id).acquire()
    try:
        yield lease.check
    finally:
        lease.release()


@contextmanager
def _file_locked(root: str, folder: Path, holder: Holder) -> Iterator[None]:
    import fcntl  # only where there is a local disk to lock

    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as err:
        raise StorageError(f"storage {root}: expected a folder that can be written, found {err.strerror}") from err
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            raise StorageError(
                f"storage {root}: {_holder(handle)}; another run is writing here: wait for it to end"
            ) from err
        with suppress(OSError):  # on a full disk the lock is as good without a name, and `maintain` makes room
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(asdict(holder)).encode(), 0)
        yield
        with suppress(OSError):
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _holder(handle: int) -> str:
    """Who has the lock, as they have written into it, which takes them a moment."""
    for _ in range(_LOOKS):
        try:
            return str(Holder(**json.loads(os.pread(handle, 1 << 16, 0))))
        except (OSError, ValueError, TypeError):
            time.sleep(_LOOK_SECONDS)
    return "a run that is not known"


def _always() -> None:
    """A lock on a local disk cannot be lost."""
