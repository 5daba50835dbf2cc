"""What every storage can do with bytes by name, and the errors it gives."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, BinaryIO, Literal, Protocol

from profiling_spark.errors import InputError, StorageError

Kind = Literal["disk", "object", "spark"]
"""disk: this machine's; object: delta-rs and Polars open it by themselves; spark: only the session can."""


@dataclass(frozen=True, order=True)
class Found:
    """A file. `path`: as a user names it; `uri`: as Spark reads it, not percent-encoded; `modified_at`: UTC.

    `etag`: another one where the content is another. Object stores give it; else it is made of the file's times, and
    means nothing if the file may have been changed again within their granularity: `changed_at` is the last of them,
    None where the etag is of the content.
    """

    path: str
    uri: str
    bytes: int
    modified_at: datetime
    etag: str
    changed_at: datetime | None = None


class Store(Protocol):
    """Bytes by name under one root. Names are relative to the root, with slashes.

    Every method raises StoreError, which is a StorageError.
    """

    @property
    def kind(self) -> Kind:
        """What reads and writes here."""

    @property
    def root(self) -> str:
        """As it was given, without a slash at its end."""

    @property
    def delta_uri(self) -> str:
        """What delta-rs and Polars open: an absolute path, or s3://bucket/prefix."""

    @property
    def options(self) -> Mapping[str, Any]:
        """delta-rs' storage_options; empty on a disk. Not to be shown: has credentials."""

    @property
    def polars_options(self) -> Mapping[str, Any]:
        """Polars' storage_options, which has its own keys for retries; empty on a disk."""

    def exists(self, name: str) -> bool:
        """True for a file, and for a folder that has one somewhere below."""

    def find(self, pattern: str) -> list[Found]:
        """The files of a pattern (an absolute one of the same storage; on a disk also a relative one), by path.

        `*` and `?` stand for what is in one name, `**` for any folders, `[...]` for one of some characters; no pattern
        finds a name that begins with a dot. Elsewhere than on a disk `{a,b}` stands for either, and a folder for the
        files in it, as Spark has it.
        """

    def open(self, uri: str) -> BinaryIO:
        """A file of `find` for buffered, also seeking, reads in bounded memory."""

    def get(self, name: str) -> bytes | None:
        """The whole content; None where there is no such file."""

    def put(self, name: str, data: bytes) -> None:
        """Write or replace a file; another reader sees the old content or the new."""

    def put_new(self, name: str, data: bytes) -> bool:
        """Write a file that is not there yet; of several writers one alone gets True, the others False.

        An answer that is lost is looked up by the content: it should be the writer's own, by a random value in it.
        """

    def list(self, prefix: str = "") -> list[str]:
        """Names of all files in a folder ('' for the root) and below, in order."""

    def modified_at(self, name: str) -> datetime | None:
        """When a file was written, by the storage's clock (UTC); None where it is absent."""

    def delete(self, names: Collection[str]) -> None:
        """Delete files; an absent one is no error."""


class Fault(Enum):
    """What went wrong, in the words of every storage."""

    ABSENT = "not found"
    DENIED = "no permission to do this"
    CREDENTIAL = "the credential was refused or has expired; renew it and run again"
    UNREACHABLE = "the storage could not be reached, also not by trying again"
    EXISTS = "is there already"
    CHANGED = "was changed while it was read; run again"
    OTHER = "cannot be read or written"


class StoreError(StorageError):
    """A file of a storage could not be read or written. `fault` says why."""

    def __init__(self, uri: str, fault: Fault, detail: str = "") -> None:
        super().__init__(f"{uri}: {fault.value}{f' ({detail})' if detail else ''}")
        self.fault = fault


@contextmanager
def input_errors() -> Iterator[None]:
    """A fault of the storage is one of the input: for files of sources."""
    try:
        yield
    except StoreError as err:
        raise InputError(str(err)) from err
