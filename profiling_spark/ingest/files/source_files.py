"""Which files a source has, and their fingerprints. A file is known by its content, never by its name."""

from __future__ import annotations

import glob
import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
from delta.tables import DeltaTable
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from profiling_spark.config.sources import Source
from profiling_spark.errors import InputError
from profiling_spark.ingest.files.encodings import TEXT_FORMATS, Fit, TextCheck
from profiling_spark.storage import local_path

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CHUNK = 1 << 20
# opens a file of the format that is not text; whatever it raises says that the file cannot be read
_CHECKS: dict[str, Callable[[Path], object]] = {"parquet": pq.read_schema}


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
    attributes.
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

    @property
    def key(self) -> FileKey:
        """What the ledger knows it by."""
        return FileKey(self.source, self.file_id, self.target)


def find_files(spark: SparkSession, name: str, source: Source, data_root: str) -> list[SourceFile]:
    """Files of a source, ordered by path. Raises InputError where there is none, unless the source is not required."""
    pattern = pattern_of(source, data_root)
    if source.format == "delta":
        return _delta_source(spark, name, source, pattern)
    if local_path(pattern) is None:
        found = _remote_files(spark, name, source, pattern)
    else:
        paths = sorted(p for p in glob.glob(str(local_path(pattern)), recursive=True) if not Path(p).is_dir())
        found = [_local_file(name, source, Path(p)) for p in paths]
    if not found and source.required:
        raise InputError(f"source {name}: expected files at {pattern}, found none")
    return found


def pattern_of(source: Source, data_root: str) -> str:
    """Where a source's files are: its path as it stands where that is absolute, else under `data_root`."""
    return source.path if _absolute(source.path) else f"{data_root.rstrip('/')}/{source.path}"


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


def _absolute(path: str) -> bool:
    return path.startswith("/") or local_path(path) is None


def _local_file(name: str, source: Source, path: Path) -> SourceFile:
    problem, digest, size = "", hashlib.sha256(), 0
    check, fit, is_packed = TextCheck(source), Fit(), path.suffix == ".gz"
    is_text = source.format in TEXT_FORMATS
    try:
        with path.open("rb") as handle:
            while chunk := handle.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
                if is_text and not is_packed:
                    check.feed(chunk)
        if source.format in _CHECKS:
            _CHECKS[source.format](path)
        elif is_packed:
            _decompress(path, check)
        if is_text:
            fit = check.result(path, source)
            problem = fit.problem
    except (EOFError, gzip.BadGzipFile, zlib.error) as err:
        problem = f"is not whole gzip: {err}"
    except OSError as err:
        problem = f"cannot be read: {err.strerror or err}"
    except Exception as err:  # pyarrow raises several kinds for a file of another format
        problem = f"is not {source.format}: {str(err).splitlines()[0]}"
    # a file that cannot be opened has no content to know it by
    file_id = digest.hexdigest()[:32] if not problem or size else hashlib.sha256(str(path).encode()).hexdigest()[:32]
    modified = datetime.fromtimestamp(path.stat().st_mtime, UTC) if path.exists() else None
    return SourceFile(
        name,
        source.target,
        str(path),
        f"file://{path.absolute()}",
        file_id,
        size,
        problem,
        fit.is_clean,
        fit.hint,
        modified_at=modified,
    )


def _decompress(path: Path, check: TextCheck) -> None:
    """Reads the file to its end: a cut or damaged file must be refused before Spark stops the whole run over it."""
    with gzip.open(path, "rb") as handle:
        while chunk := handle.read(_CHUNK):
            check.feed(chunk)


def _remote_files(spark: SparkSession, name: str, source: Source, pattern: str) -> list[SourceFile]:
    content = spark.read.format("binaryFile").load(pattern)
    modified = F.unix_micros("modificationTime").alias("modified")
    digest = F.sha2("content", 256).alias("digest")
    rows = content.select("path", "length", digest, modified).orderBy("path").collect()
    return [
        SourceFile(
            name,
            source.target,
            r["path"],
            r["path"],
            str(r["digest"])[:32],
            int(r["length"]),
            modified_at=from_micros(r["modified"]),
        )
        for r in rows
    ]


def _delta_source(spark: SparkSession, name: str, source: Source, path: str) -> list[SourceFile]:
    """A Delta table counts as one file whose content is its version."""
    try:
        table = DeltaTable.forPath(spark, path)
        version = table.history(1).select("version", F.unix_micros("timestamp").alias("made")).first()
        detail = table.detail().select("id", "sizeInBytes").first()
    except AnalysisException as err:
        if not source.required:
            return []
        raise InputError(f"source {name}: expected a Delta table at {path}, found none") from err
    if version is None or detail is None:
        raise InputError(f"source {name}: the Delta table at {path} has no version")
    key = f"{detail['id']}@{version['version']}"
    file_id = hashlib.sha256(key.encode()).hexdigest()[:32]
    size = int(detail["sizeInBytes"] or 0)
    return [SourceFile(name, source.target, path, path, file_id, size, modified_at=from_micros(version["made"]))]


def from_micros(micros: int | None) -> datetime | None:
    """A time as Spark's unix_micros gives it: a collected timestamp would be in the zone of this process."""
    return None if micros is None else EPOCH + timedelta(microseconds=micros)


def begins_with(path: str, size: int, file_id: str) -> bool:
    """Whether the first `size` bytes of a file on a local disk have this fingerprint: then it has only grown."""
    place = local_path(path)
    if place is None or not place.is_file():
        return False
    digest = hashlib.sha256()
    with place.open("rb") as handle:
        while size > 0 and (chunk := handle.read(min(size, _CHUNK))):
            digest.update(chunk)
            size -= len(chunk)
    return size == 0 and digest.hexdigest()[:32] == file_id
