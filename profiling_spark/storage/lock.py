"""One writing process per storage root."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from profiling_spark.errors import StorageError
from profiling_spark.storage.paths import local_path


@contextmanager
def locked(root: str) -> Iterator[None]:
    """One writing process per storage root on a local disk, where two could overwrite each other's commit.

    Raises StorageError at once when another run holds the lock. The lock dies with its process, also after kill -9.
    """
    folder = local_path(root)
    if folder is None:
        yield
        return
    import fcntl  # only where there is a local disk to lock

    folder.mkdir(parents=True, exist_ok=True)
    handle: IO[str]
    with (folder / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            raise StorageError(f"storage {root}: another run is writing here; wait for it to end") from err
        yield
