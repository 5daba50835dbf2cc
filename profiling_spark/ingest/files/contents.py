"""The bytes of source files, wherever they lie."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

from pyspark.sql import SparkSession

from profiling_spark.storage.stores import Store, StoreError, store_for

CHUNK = 1 << 20


@dataclass(frozen=True)
class Content:
    """A file's bytes, each time from their begin. Reading raises StoreError."""

    store: Store
    path: str

    @property
    def is_packed(self) -> bool:
        """Whether it is gzip, by its name."""
        return self.path.endswith(".gz")

    def raw(self) -> BinaryIO:
        """The bytes as they lie there."""
        return self.store.open(self.path)

    @contextmanager
    def unpacked(self) -> Iterator[BinaryIO]:
        """The bytes, of gzip what is packed in it: then reading also raises EOFError, BadGzipFile and zlib.error."""
        with self.raw() as file:
            yield cast(BinaryIO, gzip.GzipFile(fileobj=file)) if self.is_packed else file

    def chunks(self) -> Iterator[bytes]:
        """`unpacked` in pieces."""
        with self.unpacked() as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def head(self) -> bytes:
        """The first bytes, unpacked."""
        with self.unpacked() as file:
            return file.read(1 << 16)


def content_of(spark: SparkSession | None, path: str) -> Content:
    """Of a file of any storage; `spark` reaches it where it is no local disk. Nothing is opened yet."""
    return Content(store_for(path, spark), path)


class Hashed:
    """A file whose bytes are counted, and their sha256 taken, on their way to a reader."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest, self.bytes = file, hashlib.sha256(), 0

    def read(self, size: int = CHUNK) -> bytes:
        """The next bytes, as many at most."""
        chunk = self.file.read(size)
        self.digest.update(chunk)
        self.bytes += len(chunk)
        return chunk

    def drain(self) -> None:
        """Read what is left."""
        while self.read():
            pass

    @property
    def fingerprint(self) -> str:
        """The first 32 hexadecimal digits of what was read."""
        return self.digest.hexdigest()[:32]


def begins_with(content: Content, size: int, fingerprint: str) -> bool:
    """Whether the first `size` bytes have this fingerprint: then the file has only grown. False where it is gone."""
    try:
        with content.raw() as file:
            hashed, left = Hashed(file), size
            while left > 0 and (chunk := hashed.read(min(left, CHUNK))):
                left -= len(chunk)
    except (StoreError, OSError):
        return False
    return left == 0 and hashed.fingerprint == fingerprint
