"""The only room that names "delta": tables, their files and log, the lock, and the way back.

What a storage root is (a local disk, an object store, one that only Spark opens) is decided once, in `stores`.
"""

from profiling_spark.storage.files import as_frame
from profiling_spark.storage.lock import Check, locked
from profiling_spark.storage.outputs import Part
from profiling_spark.storage.paths import SliceValue, as_written, is_absolute, literal
from profiling_spark.storage.tables import Tables

__all__ = [
    "Check",
    "Part",
    "SliceValue",
    "Tables",
    "as_frame",
    "as_written",
    "is_absolute",
    "literal",
    "locked",
]
