"""Files of this machine's disk."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from profiling_spark.storage.paths import local_path
from profiling_spark.storage.stores.base import Fault, Found, Kind, StoreError
from profiling_spark.storage.stores.options import NO_OPTIONS, Options

_UNFINISHED = ".unfinished-"


@dataclass(frozen=True)
class DiskStore:
    """A folder, which need not exist. See `Store`."""

    root: str
    folder: Path
    kind: Kind = "disk"
    options: Options = NO_OPTIONS

    @property
    def delta_uri(self) -> str:
        """The absolute path."""
        return str(self.folder.absolute())

    @property
    def polars_options(self) -> Options:
        """None are needed."""
        return NO_OPTIONS

    def exists(self, name: str) -> bool:
        """See `Store`."""
        with _faults(self._path(name)):
            return self._path(name).is_file() or any(self._files(name))

    def find(self, pattern: str) -> list[Found]:
        """See `Store`: what Python's glob finds, but folders. `path` stays relative where the pattern is."""
        with _faults(pattern):
            paths = sorted(glob.glob(str(local_path(pattern)), recursive=True))
            return [found for path in paths if (found := _found(Path(path))) is not None]

    def open(self, uri: str) -> BinaryIO:
        """See `Store`."""
        path = local_path(uri)
        assert path is not None  # for mypy: a disk's URIs are paths
        with _faults(path):
            return path.open("rb")

    def get(self, name: str) -> bytes | None:
        """See `Store`."""
        with _faults(self._path(name)):
            try:
                return self._path(name).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def put(self, name: str, data: bytes) -> None:
        """See `Store`."""
        with _faults(self._path(name)), self._unfinished(name, data) as path:
            path.replace(self._path(name))

    def put_new(self, name: str, data: bytes) -> bool:
        """See `Store`: the whole content gets its name by a link, which fails where the name is taken."""
        with _faults(self._path(name)), self._unfinished(name, data) as path:
            try:
                os.link(path, self._path(name))
            except FileExistsError:
                return False
            except OSError:
                return self._created(name, data)  # a file system without links
            return True

    def list(self, prefix: str = "") -> list[str]:
        """See `Store`."""
        with _faults(self._path(prefix)):
            return sorted(self._files(prefix))

    def modified_at(self, name: str) -> datetime | None:
        """See `Store`."""
        with _faults(self._path(name)):
            found = _found(self._path(name))
        return None if found is None else found.modified_at

    def delete(self, names: Collection[str]) -> None:
        """See `Store`."""
        for name in names:
            with _faults(self._path(name)):
                self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / name

    def _files(self, prefix: str) -> Iterator[str]:
        for folder, _, names in os.walk(self._path(prefix), onerror=_unless_absent):
            inside = Path(folder).relative_to(self.folder)
            yield from ((inside / n).as_posix() for n in names if not n.startswith(_UNFINISHED))

    @contextmanager
    def _unfinished(self, name: str, data: bytes) -> Iterator[Path]:
        """The content under another name in the same folder; what is still there at the end goes."""
        folder = self._path(name).parent
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{_UNFINISHED}{uuid4().hex}"
        try:
            path.write_bytes(data)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _created(self, name: str, data: bytes) -> bool:
        try:
            handle = os.open(self._path(name), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        return True


def _found(path: Path) -> Found | None:
    """The file, None for a folder and what vanished; of a link that leads nowhere the size is 0."""
    if path.is_dir():
        return None
    try:
        state = path.stat()
    except FileNotFoundError:
        if not path.is_symlink():
            return None
        state = path.lstat()
    modified = datetime.fromtimestamp(state.st_mtime, UTC)
    # who copies a file with its time of modification does not set the other
    changed = datetime.fromtimestamp(max(state.st_mtime, state.st_ctime), UTC)
    etag = f"{state.st_mtime_ns}-{state.st_ctime_ns}"
    return Found(str(path), f"file://{path.absolute()}", state.st_size, modified, etag, changed)


def _unless_absent(err: OSError) -> None:
    if not isinstance(err, FileNotFoundError | NotADirectoryError):
        raise err


@contextmanager
def _faults(path: Path | str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as err:
        raise StoreError(str(path), Fault.ABSENT) from err
    except PermissionError as err:
        raise StoreError(str(path), Fault.DENIED) from err
    except OSError as err:
        raise StoreError(str(path), Fault.OTHER, err.strerror or str(err)) from err
