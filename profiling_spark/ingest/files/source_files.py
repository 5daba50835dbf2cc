"""Which files a source has, and their fingerprints. A file is known by its content, never by its name.

All bytes of a file are read for its fingerprint, and with it for its problems, unless the ledger has the file: at the
same path, of the same size and with the same etag, which is

- on an object store the object's etag, which is another one where the content is;
- elsewhere the times of the file, on a disk those of its last write and of its last change of any kind, which nobody
  sets back, in the file system's finest units. A file that was changed less than 2 seconds before a run looked has no
  etag for that run: it may be changed once more within the same unit, so that the next run reads it again. This rests
  on clocks of this machine and of the storage that differ by less than 2 seconds, where the storage counts in seconds.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import BinaryIO, cast

import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from profiling_spark.config.sources import Source
from profiling_spark.errors import InputError
from profiling_spark.ingest.files.contents import CHUNK, Content, Hashed
from profiling_spark.ingest.files.encodings import TEXT_FORMATS, Fit, TextCheck
from profiling_spark.storage import is_absolute
from profiling_spark.storage.source_table import table_state
from profiling_spark.storage.stores import Fault, Found, StoreError, input_errors, store_for

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SETTLED = timedelta(seconds=2)
_UNKNOWN = Fit()
# opens a file of the format that is not text; whatever it raises says that the file cannot be read
_CHECKS: dict[str, Callable[[BinaryIO], object]] = {"parquet": pq.read_schema}
Known = Mapping[tuple[str, int, str], str]
"""Fingerprints of the content of files that were taken, by path, size and etag."""


@dataclass(frozen=True, order=True)
class FileKey:
    """What the ledger knows a file by: its content, not its name."""

    source: str
    file_id: str
    target: str


@dataclass(frozen=True)
class SourceFile:
    """One file of a source. `uri` is not percent-encoded. `problem` is why it cannot be read, empty if it can.

    `is_clean`: all bytes of a text are known to fit its encoding; `hint`: the message where some do not.
    `content_id`: fingerprint of the content, of which several deliveries have a `file_id` each. `delivered_at`: of
    attributes. `etag`: see above; empty where it says nothing.
    """

    source: str
    target: str
    path: str
    uri: str
    file_id: str
    bytes: int
    problem: str = ""
    is_clean: bool = False
    hint: str = ""
    content_id: str | None = None
    modified_at: datetime | None = None
    delivered_at: datetime | None = None
    etag: str = ""

    @property
    def key(self) -> FileKey:
        """What the ledger knows it by."""
        return FileKey(self.source, self.file_id, self.target)


def find_files(
    spark: SparkSession | None, name: str, source: Source, data_root: str, *, known: Known | None = None
) -> list[SourceFile]:
    """Files of a source, ordered by path. Raises InputError where there is none, unless the source is not required, and
    where the storage cannot be reached. Of files that are `known` nothing but that is looked at.
    """
    pattern = pattern_of(source, data_root)
    if source.format == "delta":
        assert spark is not None  # for mypy: only tests of files do without
        return _delta_source(spark, name, source, pattern)
    with input_errors():
        store, now = store_for(pattern, spark), datetime.now(UTC)
        files = []
        for found in store.find(pattern):
            etag = found.etag if found.changed_at is None or found.changed_at < now - _SETTLED else ""
            content = (known or {}).get((found.path, found.bytes, etag)) if etag else None
            if content is None:
                files.append(_examined(name, source, found, Content(store, found.path), etag))
            else:
                files.append(_source_file(name, source, found, content, found.bytes, etag))
    if not files and source.required:
        raise InputError(f"source {name}: expected files at {pattern}, found none")
    return files


def pattern_of(source: Source, data_root: str) -> str:
    """Where a source's files are: its path as it stands where that is absolute, else under `data_root`."""
    return source.path if is_absolute(source.path) else f"{data_root.rstrip('/')}/{source.path}"


def distinct_files(files: Iterable[SourceFile]) -> tuple[list[SourceFile], list[SourceFile]]:
    """(one file per content, the others): of equal contents the first path stays."""
    kept: dict[FileKey, SourceFile] = {}
    repeated = []
    for file in files:
        if file.key in kept:
            repeated.append(file)
        else:
            kept[file.key] = file
    return list(kept.values()), repeated


def _source_file(
    name: str, source: Source, found: Found, file_id: str, size: int, etag: str, fit: Fit = _UNKNOWN
) -> SourceFile:
    return SourceFile(
        name,
        source.target,
        found.path,
        found.uri,
        file_id,
        size,
        fit.problem,
        fit.is_clean,
        fit.hint,
        modified_at=found.modified_at,
        etag=etag,
    )


def _examined(name: str, source: Source, found: Found, content: Content, etag: str) -> SourceFile:
    """The file after all its bytes were read, once: for the fingerprint and for what is wrong with it."""
    problem, check, fit, hashed = "", TextCheck(source), Fit(), None
    try:
        with content.raw() as file:
            hashed = Hashed(file)
            try:
                _read(hashed, check, content, is_text=source.format in TEXT_FORMATS)
            finally:
                hashed.drain()  # a damaged file has the fingerprint of all its bytes too
            if source.format in _CHECKS:
                file.seek(0)
                _CHECKS[source.format](file)
        if source.format in TEXT_FORMATS:
            fit = check.result(content, source)
    except (EOFError, gzip.BadGzipFile, zlib.error) as err:
        problem = f"is not whole gzip: {err}"
    except StoreError as err:
        if err.fault in (Fault.CREDENTIAL, Fault.UNREACHABLE):
            raise  # is nothing of this file's
        problem = f"cannot be read: {err.fault.value}"
    except OSError as err:
        problem = f"cannot be read: {err.strerror or err}"
    except Exception as err:  # pyarrow raises several kinds for a file of another format
        problem = f"is not {source.format}: {str(err).splitlines()[0]}"
    if hashed is None or (problem and not hashed.bytes):
        # a file that cannot be opened has no content to know it by
        nameless = hashlib.sha256(found.path.encode()).hexdigest()[:32]
        return _source_file(name, source, found, nameless, 0, "", Fit(problem))
    fit = Fit(problem) if problem else fit
    return _source_file(name, source, found, hashed.fingerprint, hashed.bytes, etag, fit)


def _read(hashed: Hashed, check: TextCheck, content: Content, *, is_text: bool) -> None:
    """All bytes, of text also through its check: a cut or damaged file must be refused before Spark stops the whole run
    over it.
    """
    if is_text and content.is_packed:
        # of a file for reading gzip asks for no more than `read`
        with gzip.GzipFile(fileobj=cast(BinaryIO, hashed), mode="rb") as unpacked:
            while chunk := unpacked.read(CHUNK):
                check.feed(chunk)
    else:
        while chunk := hashed.read():
            if is_text:
                check.feed(chunk)


def _delta_source(spark: SparkSession, name: str, source: Source, path: str) -> list[SourceFile]:
    """A Delta table counts as one file whose content is its version."""
    state = table_state(spark, path)
    if state is None:
        if not source.required:
            return []
        raise InputError(f"source {name}: expected a Delta table at {path}, found none")
    file_id = hashlib.sha256(f"{state.table_id}@{state.version}".encode()).hexdigest()[:32]
    return [SourceFile(name, source.target, path, path, file_id, state.bytes, modified_at=state.made_at)]
