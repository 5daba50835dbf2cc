"""The only room that names "delta": tables, their files and log on a local disk, the lock, and the way back."""

from profiling_spark.storage.files import as_frame
from profiling_spark.storage.lock import Check, locked
from profiling_spark.storage.paths import SliceValue, as_written, is_absolute, literal, local_path
from profiling_spark.storage.tables import Tables

__all__ = ["Check", "SliceValue", "Tables", "as_frame", "as_written", "is_absolute", "literal", "local_path", "locked"]
