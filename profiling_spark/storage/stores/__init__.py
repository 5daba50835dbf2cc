"""Bytes by name on any storage. What kind of storage a root is: decided here once, when it is opened."""

from __future__ import annotations

from pyspark.sql import SparkSession

from profiling_spark.storage.paths import local_path, scheme
from profiling_spark.storage.stores.base import Fault, Found, Kind, Store, StoreError, input_errors

__all__ = ["Fault", "Found", "Kind", "Store", "StoreError", "input_errors", "needs_session", "store_for"]

_OBJECTS = ("s3", "s3a")


def store_for(uri: str, spark: SparkSession | None) -> Store:
    """The storage of a path or URI, which becomes its root.

    A path or file: is this machine's disk, s3: and s3a: are an object store, which needs no session but takes its
    settings from one; all else is Spark's alone (HDFS, viewfs, abfs, gs). Nothing is reached yet. Raises StorageError
    where only Spark could and there is no session with a JVM of its own.
    """
    local = local_path(uri)
    if local is not None:
        from profiling_spark.storage.stores.disk import DiskStore

        return DiskStore(uri.rstrip("/") or "/", local)
    if scheme(uri) in _OBJECTS:
        from profiling_spark.storage.stores.objects import object_store

        return object_store(uri, spark)
    from profiling_spark.storage.stores.hadoop import HadoopStore

    return HadoopStore.of(uri, spark)


def needs_session(uri: str) -> bool:
    """Whether what lies there can only be looked at with a Spark session: it, or its conf, reaches the storage."""
    return local_path(uri) is None
