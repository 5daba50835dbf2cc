"""Objects of S3 and what speaks like it, by obstore."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import BinaryIO

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import S3Store
from pyspark.sql import SparkSession

from profiling_spark.storage.stores import options as given
from profiling_spark.storage.stores.base import Fault, Found, Kind, StoreError
from profiling_spark.storage.stores.blocks import opened
from profiling_spark.storage.stores.options import Options
from profiling_spark.storage.stores.patterns import fixed_folder, is_plain, matcher

_BLOCK = 8 << 20  # bytes of one request; half of the time of a smaller one is waiting
_URI = re.compile(r"s3a?://([^/]+)/?(.*)", re.DOTALL)
_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_CREDENTIAL_CODES = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
_CLIENT_ONLY = ("aws_allow_http",)  # of the HTTP client: among the others it makes obstore panic


def object_store(uri: str, spark: SparkSession | None) -> ObjectStore:
    """The store of an s3: or s3a: URI."""
    root = uri.rstrip("/")
    bucket, prefix = _split(root)
    return ObjectStore(root, bucket, prefix, given.s3_options(bucket, spark))


@dataclass(frozen=True)
class ObjectStore:
    """A prefix of a bucket. `access`: how the bucket is reached, without retries. See `Store`."""

    root: str
    bucket: str
    prefix: str
    access: Options
    kind: Kind = "object"

    @property
    def delta_uri(self) -> str:
        """The same place for delta-rs and Polars, which know no s3a."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def options(self) -> Options:
        """See `Store`."""
        return given.with_retries(self.access)

    @property
    def polars_options(self) -> Options:
        """See `Store`."""
        return given.for_polars(self.access)

    def exists(self, name: str) -> bool:
        """See `Store`."""
        key = self._key(name)
        with self._faults(key):
            return self._head(key) is not None or next(self._objects(key), None) is not None

    def find(self, pattern: str) -> list[Found]:
        """See `Store`. A pattern that names one object takes one request, any other a listing."""
        bucket, wanted = _split(pattern)
        scheme = pattern.partition(":")[0]
        with self._faults(wanted):
            one = self._head(wanted) if is_plain(wanted) else None
            if one is not None:
                return [_found(f"{scheme}://{bucket}", one)]
            folder = wanted.rstrip("/") if is_plain(wanted) else fixed_folder(wanted)
            is_meant = matcher(wanted).fullmatch
            return sorted(_found(f"{scheme}://{bucket}", o) for o in self._objects(folder) if is_meant(o["path"]))

    def open(self, uri: str) -> BinaryIO:
        """See `Store`. Raises StoreError from reads too, also where another object takes its place meanwhile."""
        _, key = _split(uri)
        with self._faults(key):
            head = obstore.head(self._client, key)

        def fetch(start: int, end: int) -> bytes:
            wanted: obstore.GetOptions = {"range": (start, end)}
            if head["e_tag"]:
                wanted["if_match"] = head["e_tag"]
            with self._faults(key):
                return obstore.get(self._client, key, options=wanted).bytes().to_bytes()

        return opened(head["size"], _BLOCK, fetch)

    def get(self, name: str) -> bytes | None:
        """See `Store`."""
        key = self._key(name)
        with self._faults(key):
            try:
                return obstore.get(self._client, key).bytes().to_bytes()
            except FileNotFoundError as err:
                if "NoSuchBucket" in str(err):
                    raise
                return None

    def put(self, name: str, data: bytes) -> None:
        """See `Store`."""
        with self._faults(self._key(name)):
            obstore.put(self._client, self._key(name), data)

    def put_new(self, name: str, data: bytes) -> bool:
        """See `Store`. An answer that was lost, or lost and tried again, is looked up: the bytes should be the
        writer's own alone (a random value in them).
        """
        key = self._key(name)
        try:
            with self._faults(key):
                obstore.put(self._client, key, data, mode="create", use_multipart=False)
        except StoreError as err:
            if err.fault is Fault.EXISTS:
                return self.get(name) == data
            if err.fault in (Fault.UNREACHABLE, Fault.OTHER) and self._is_own(name, data):
                return True
            raise
        return True

    def list(self, prefix: str = "") -> list[str]:
        """See `Store`."""
        start = f"{self.prefix}/" if self.prefix else ""
        with self._faults(self._key(prefix)):
            return sorted(o["path"].removeprefix(start) for o in self._objects(self._key(prefix)))

    def modified_at(self, name: str) -> datetime | None:
        """See `Store`."""
        with self._faults(self._key(name)):
            head = self._head(self._key(name))
        return None if head is None else head["last_modified"]

    def delete(self, names: Collection[str]) -> None:
        """See `Store`."""
        keys = [self._key(n) for n in names]
        if keys:
            with self._faults(self._key("")):
                obstore.delete(self._client, keys)

    @property
    def _client(self) -> S3Store:
        return _client(self.bucket, self.access)

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}".strip("/") if self.prefix else name.strip("/")

    def _head(self, key: str) -> obstore.ObjectMeta | None:
        try:
            return obstore.head(self._client, key) if key else None
        except FileNotFoundError:
            return None

    def _objects(self, folder: str) -> Iterator[obstore.ObjectMeta]:
        """All objects below; the empty ones that stand for folders are none."""
        for page in obstore.list(self._client, folder or None, chunk_size=1000):
            yield from (o for o in page if o["size"] or not self._is_marker(o["path"]))

    def _is_marker(self, key: str) -> bool:
        # obstore hides the slash at the end of the marker's name, under which alone it can be had
        return self._head(key) is None

    def _is_own(self, name: str, data: bytes) -> bool:
        try:
            return self.get(name) == data
        except StoreError:
            return False

    @contextmanager
    def _faults(self, key: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError, ValueError) as err:
            raise _fault(f"{self.root.partition(':')[0]}://{self.bucket}/{key}", err) from None


@lru_cache(maxsize=16)
def _client(bucket: str, access: Options) -> S3Store:
    config = {k: v for k, v in access.items() if k not in _CLIENT_ONLY}
    return S3Store(
        bucket,
        config=config,  # type: ignore[arg-type]  # the keys are checked by obstore
        client_options={"allow_http": access.get("aws_allow_http") == "true"},
        retry_config={
            "max_retries": given.MAX_RETRIES,
            "retry_timeout": timedelta(seconds=given.RETRY_SECONDS),
            "backoff": {
                "init_backoff": timedelta(milliseconds=given.FIRST_BACKOFF_MS),
                "max_backoff": timedelta(milliseconds=given.LONGEST_BACKOFF_MS),
            },
        },
    )


def _split(uri: str) -> tuple[str, str]:
    found = _URI.fullmatch(uri)
    if found is None:
        raise StoreError(uri, Fault.OTHER, "expected s3://bucket/...")
    return found[1], found[2].strip("/")


def _found(start: str, meta: obstore.ObjectMeta) -> Found:
    uri = f"{start}/{meta['path']}"
    return Found(uri, uri, meta["size"], meta["last_modified"], meta["e_tag"] or "")


def _fault(uri: str, err: Exception) -> StoreError:
    """Nothing of the library's text but S3's own code goes on: it repeats requests and, of some, signatures."""
    text = str(err)
    code, status = _CODE.search(text), _STATUS.search(text)
    name, number = code[1] if code else "", status[1] if status else ""
    detail = name or (f"status {number}" if number else "")
    if isinstance(err, AlreadyExistsError):
        return StoreError(uri, Fault.EXISTS)
    if isinstance(err, PreconditionError):
        return StoreError(uri, Fault.CHANGED)
    # the answer to a HEAD has no body: an expired credential is a bare 400 there
    if isinstance(err, UnauthenticatedError) or name in _CREDENTIAL_CODES or (number == "400" and not name):
        return StoreError(uri, Fault.CREDENTIAL, detail)
    if isinstance(err, PermissionDeniedError | PermissionError) or number == "403":
        return StoreError(uri, Fault.DENIED, detail)
    if isinstance(err, FileNotFoundError) or number == "404":
        return StoreError(uri, Fault.ABSENT, detail if name == "NoSuchBucket" else "")
    if number == "401":
        return StoreError(uri, Fault.CREDENTIAL, detail)
    if number.startswith("5") or number == "429" or "HTTP error" in text or "timed out" in text:
        return StoreError(uri, Fault.UNREACHABLE, detail)
    if "empty path segment" in text:
        return StoreError(uri, Fault.OTHER, "a name with two slashes side by side")
    return StoreError(uri, Fault.OTHER, detail or type(err).__name__)
