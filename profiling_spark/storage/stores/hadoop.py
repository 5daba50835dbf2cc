"""Files that only Spark reaches (HDFS, viewfs, abfs, gs), by Hadoop's FileSystem in the driver's JVM.

The only module that talks to the JVM. Content passes through py4j as text, some 10 MB a second: enough for small files
and for the one look at each source file; the rows of tables and sources are Spark's to read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

from py4j.protocol import Py4JError, Py4JJavaError, Py4JNetworkError
from pyspark.sql import SparkSession

from profiling_spark.errors import StorageError
from profiling_spark.storage.stores.base import Fault, Found, Kind, StoreError
from profiling_spark.storage.stores.blocks import opened
from profiling_spark.storage.stores.options import NO_OPTIONS, Options
from profiling_spark.storage.stores.patterns import matcher

_BLOCK = 4 << 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FAULTS = {
    Fault.ABSENT: ("FileNotFoundException", "NoSuchFileException"),
    Fault.CREDENTIAL: (
        "AWSBadRequestException",
        "InvalidToken",
        "CredentialInitializationException",
        "NoAuthWithAWSException",
        "KerberosAuthException",
        "SaslException",
        "GSSException",
    ),
    Fault.DENIED: ("AccessControlException", "AccessDeniedException"),
    Fault.UNREACHABLE: (
        "ConnectException",
        "UnknownHostException",
        "NoRouteToHostException",
        "SocketTimeoutException",
        "ConnectTimeoutException",
        "EOFException",
    ),
    Fault.EXISTS: ("FileAlreadyExistsException", "AlreadyBeingCreatedException", "RemoteFileChangedException"),
}
_UNKNOWN = ("UnsupportedFileSystemException", "ClassNotFoundException")


@dataclass(frozen=True)
class HadoopStore:
    """A folder of a storage that the session's Hadoop knows. See `Store`."""

    root: str
    spark: SparkSession = field(repr=False)
    kind: Kind = "spark"
    options: Options = NO_OPTIONS
    polars_options: Options = NO_OPTIONS

    @classmethod
    def of(cls, uri: str, spark: SparkSession | None) -> HadoopStore:
        """Raises StorageError where there is no session, or none with a JVM of its own."""
        if spark is None:
            raise StorageError(f"storage {uri}: cannot be looked at without Spark")
        try:
            _ = spark._jvm
        except Exception as err:  # Spark Connect, which names the error differently from release to release
            raise StorageError(
                f"storage {uri}: expected a Spark session with a JVM of its own, found Spark Connect; start the job "
                "with spark-submit, or keep the storage on a disk or S3"
            ) from err
        return cls(uri.rstrip("/"), spark)

    @property
    def delta_uri(self) -> str:
        """The root: only Spark opens it."""
        return self.root

    def exists(self, name: str) -> bool:
        """See `Store`."""
        path = self._path(name)
        with _faults(path):
            files = self._system(path)
            if not files.exists(self._java(path)):
                return False
            return bool(files.isFile(self._java(path))) or next(self._below(path), None) is not None

    def find(self, pattern: str) -> list[Found]:
        """See `Store`; `**` is one folder or more of any names, which Hadoop itself does not know."""
        with _faults(pattern):
            if "**" in pattern.split("/"):
                start = pattern[: pattern.index("/**")]
                is_meant = matcher(pattern).fullmatch
                return sorted(f for f in self._statuses(start, _all_folders) if is_meant(f.path.strip("/")))
            return sorted(self._statuses(pattern, _partitions))

    def open(self, uri: str) -> BinaryIO:
        """See `Store`."""
        with _faults(uri):
            path = self._java(uri)
            size = int(self._system(uri).getFileStatus(path).getLen())
            stream = self._system(uri).open(path)

        def fetch(start: int, end: int) -> bytes:
            with _faults(uri):
                if stream.getPos() != start:
                    stream.seek(start)
                data = bytes(stream.readNBytes(end - start))
            if not data:
                raise StoreError(uri, Fault.CHANGED)
            return data

        def close() -> None:
            with _faults(uri):
                stream.close()

        return opened(size, _BLOCK, fetch, close)

    def get(self, name: str) -> bytes | None:
        """See `Store`."""
        path = self._path(name)
        try:
            with self.open(path) as file:
                return file.read()
        except StoreError as err:
            if err.fault is Fault.ABSENT:
                return None
            raise

    def put(self, name: str, data: bytes) -> None:
        """See `Store`: another name first, which then takes the place of the file. Hadoop cannot rename onto a file:
        between the two a reader finds none.
        """
        path = self._path(name)
        unfinished = f"{path.rpartition('/')[0]}/.unfinished-{path.rpartition('/')[2]}"
        with _faults(path):
            system = self._system(path)
            self._write(unfinished, data, replaces=True)
            system.delete(self._java(path), False)
            system.rename(self._java(unfinished), self._java(path))

    def put_new(self, name: str, data: bytes) -> bool:
        """See `Store`. The name is taken before the content is there: who reads may find an empty file for a moment."""
        path = self._path(name)
        try:
            with _faults(path):
                self._write(path, data, replaces=False)
        except StoreError as err:
            if err.fault is Fault.EXISTS:
                return False
            if self._is_own(name, data):
                return True
            raise
        return True

    def list(self, prefix: str = "") -> list[str]:
        """See `Store`."""
        path = self._path(prefix)
        with _faults(path):
            if not self._system(path).exists(self._java(path)):
                return []
            return sorted(self._below(path, f"{prefix}/" if prefix else ""))

    def modified_at(self, name: str) -> datetime | None:
        """See `Store`."""
        path = self._path(name)
        with _faults(path):
            if not self._system(path).exists(self._java(path)):
                return None
            status = self._system(path).getFileStatus(self._java(path))
            return _time(status)

    def delete(self, names: Collection[str]) -> None:
        """See `Store`."""
        for path in map(self._path, names):
            with _faults(path):
                self._system(path).delete(self._java(path), False)

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}".rstrip("/")

    def _java(self, path: str) -> Any:
        return self.spark._jvm.org.apache.hadoop.fs.Path(path)  # type: ignore[union-attr]

    def _system(self, path: str) -> Any:
        return self._java(path).getFileSystem(self.spark._jsc.hadoopConfiguration())

    def _qualified(self, path: str) -> str:
        return str(self._system(path).makeQualified(self._java(path)).toString())

    def _below(self, path: str, inside: str = "") -> Iterator[str]:
        """Names of all files in a folder and below, relative to it. Not by listFiles, whose paths viewfs resolves."""
        system = self._system(path)
        for status in system.listStatus(self._java(path)):
            name = str(status.getPath().getName())
            if status.isFile():
                yield inside + name
            else:
                yield from self._below(f"{path}/{name}", f"{inside}{name}/")

    def _statuses(self, pattern: str, goes_into: Any) -> Iterator[Found]:
        for status in self._system(pattern).globStatus(self._java(pattern)) or ():
            if status.isFile():
                # what Spark leaves out of a folder it also leaves out of a pattern
                if not _is_hidden(status) or pattern.endswith(status.getPath().getName()):
                    yield _found(status)
            else:
                yield from self._inside(status, goes_into)

    def _inside(self, folder: Any, goes_into: Any) -> Iterator[Found]:
        path = folder.getPath()
        for status in self._system(path.toString()).listStatus(path):
            if _is_hidden(status):
                continue
            if status.isFile():
                yield _found(status)
            elif goes_into(status):
                yield from self._inside(status, goes_into)

    def _write(self, path: str, data: bytes, *, replaces: bool) -> None:
        stream = self._system(path).create(self._java(path), replaces)
        try:
            for start in range(0, len(data), _BLOCK):
                stream.write(bytearray(data[start : start + _BLOCK]))
        finally:
            stream.close()

    def _is_own(self, name: str, data: bytes) -> bool:
        try:
            return self.get(name) == data
        except StoreError:
            return False


def _found(status: Any) -> Found:
    uri, modified = str(status.getPath().toString()), _time(status)
    return Found(uri, uri, int(status.getLen()), modified, str(status.getModificationTime()), modified)


def _time(status: Any) -> datetime:
    return _EPOCH + timedelta(milliseconds=int(status.getModificationTime()))


def _is_hidden(status: Any) -> bool:
    return str(status.getPath().getName()).startswith((".", "_"))


def _partitions(status: Any) -> bool:
    return "=" in str(status.getPath().getName())


def _all_folders(status: Any) -> bool:
    return True


@contextmanager
def _faults(uri: str) -> Iterator[None]:
    try:
        yield
    except Py4JJavaError as err:
        raise _fault(uri, err.java_exception) from None
    except (Py4JNetworkError, ConnectionError) as err:
        raise StoreError(uri, Fault.UNREACHABLE, "the session's JVM has ended") from err
    except Py4JError as err:
        raise StoreError(uri, Fault.OTHER, str(err).splitlines()[0]) from err


def _fault(uri: str, error: Any) -> StoreError:
    """By the names of the exception and its causes. Their texts stay out: they repeat requests."""
    names: list[str] = []
    while error is not None and len(names) < 10:
        names.append(str(error.getClass().getSimpleName()))
        error = error.getCause()
    for fault, known in _FAULTS.items():
        found = next((n for n in names if n in known), None)
        if found is not None:
            is_clear = fault in (Fault.ABSENT, Fault.EXISTS)
            return StoreError(uri, fault, "" if is_clear else found)
    if any(n in _UNKNOWN for n in names):
        return StoreError(uri, Fault.OTHER, "the session has no jar for this kind of storage")
    return StoreError(uri, Fault.OTHER, names[-1])
