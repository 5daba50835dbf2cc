"""What a row of a source carries on its way: its columns by name, its file, its raw text and the other HELPERS."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from profiling_spark.config.formats import Encoding
from profiling_spark.config.sources import Source
from profiling_spark.errors import InputError
from profiling_spark.ingest.files.contents import content_of
from profiling_spark.ingest.files.encodings import REPLACED, python_name, resolved
from profiling_spark.ingest.files.source_files import SourceFile
from profiling_spark.ingest.reading.text_readers import MISFIT
from profiling_spark.storage import as_written
from profiling_spark.storage.stores import input_errors

HELPERS = ("_file_id", "_raw", "_values", "_unreadable", "_extra", MISFIT)
"""_file_id; _raw: the original line of text, of CSV only where it cannot be parsed; _values: a struct or map of the
values where there is no line, or where the row is not the line (see `raw_text`); _unreadable: true where the row cannot
be parsed; _extra: JSON of the columns that the settings do not know, null where there is none; _misfit: true where
bytes of the row are no characters of the source's encoding."""
# separates values inside `identity`; cannot be confused with a value's own text, which is JSON-quoted nowhere else
_SEPARATOR = "\u001f"
_NULL = "\u0000"
PATH = "_uri"
POSITION = ("_block", "_place")
"""Where a row stands in its file, if the source is read with it: the first byte of the part of the file that one task
reads, then a number that grows within the part. Only the order means something."""
# a path that Spark writes as it is
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._=:-]+")
_FEW_FILES = 32


def raw_text(rows: DataFrame) -> Column:
    """The line of a row, of CSV, Parquet and Delta JSON of its values. Few rows need it, so it is made from _values."""
    if isinstance(rows.schema["_values"].dataType, (T.StructType, T.MapType)):
        return F.coalesce("_raw", F.to_json("_values", {"ignoreNullFields": "false"}))
    return F.col("_raw")


def identity(rows: DataFrame, source: Source) -> Column:
    """Text that is equal only for equal rows of a source."""
    kind = rows.schema["_values"].dataType
    # a typed value has other text in JSON, from which --replay reads it again: there identity is the JSON
    if source.format != "csv" or not isinstance(kind, T.StructType):
        return raw_text(rows)
    values = (F.col("_values")[name].cast("string") for name in kind.names)
    return F.coalesce("_raw", F.concat_ws(_SEPARATOR, *(F.coalesce(v, F.lit(_NULL)) for v in values)))


def line_hash(rows: DataFrame) -> Column:
    """Number that almost surely differs for rows that differ anywhere; columns without a value make no difference."""
    kind = rows.schema["_values"].dataType
    if not isinstance(kind, T.StructType):
        return F.xxhash64(raw_text(rows))
    # by name, since files of one source may order their columns differently
    fields = sorted(kind.fields, key=lambda f: f.name)
    named: list[Column] = []
    for field in fields:
        value = F.col("_values")[field.name]
        plain = value if isinstance(field.dataType, T.AtomicType) else value.cast("string")
        named += [F.when(plain.isNotNull(), F.lit(zlib.crc32(field.name.encode()))), plain]
    return F.xxhash64("_raw", *named)


@dataclass(frozen=True)
class Reading:
    """How a source is read. `known`: its columns that are mapped or declared unused (Settings.known_columns).

    `has_position`: the rows carry POSITION. A Delta table has none: the order of its files has no meaning.
    """

    source: Source
    known: Collection[str]
    has_position: bool = False

    def unknown(self, columns: Sequence[str]) -> list[str]:
        """Columns of a file that the settings do not know; Spark's names are case-insensitive."""
        lowered = {k.lower() for k in self.known}
        return [c for c in columns if c.lower() not in lowered]


def encoding_of(spark: SparkSession, encoding: Encoding, file: SourceFile) -> Encoding:
    """The source's encoding; of UTF-16 with the order of the file's bytes."""
    if encoding != "UTF-16":
        return encoding
    with input_errors():
        return resolved(encoding, content_of(spark, file.path).head())


def origin(reading: Reading) -> list[Column]:
    """The row's file, and its place there where the source is read with it; to be selected beside what is read."""
    # _metadata.file_path is the same, but costs another copy of every row
    return [F.input_file_name().alias(PATH), *position(reading)]


def position(reading: Reading) -> list[Column]:
    made = (F.input_file_block_start(), F.monotonically_increasing_id())
    return [c.alias(name) for c, name in zip(made, POSITION, strict=True)] if reading.has_position else []


def position_of(frame: DataFrame) -> list[str]:
    """POSITION where the frame has it."""
    return [name for name in POSITION if name in frame.columns]


def with_file_id(spark: SparkSession, frame: DataFrame, files: Sequence[SourceFile]) -> DataFrame:
    """`_file_id` from the path: of a few files by comparing, which is cheap; else a small broadcast join.

    A row whose file is not recognised has none, so that it stands out instead of vanishing (see Batch.count).
    """
    numbers = _numbers(files)
    if numbers:
        numbered = frame.withColumn(PATH, F.crc32(PATH))
        ids = F.create_map(*(F.lit(part) for pair in numbers.items() for part in pair))
        return numbered.withColumn("_file_id", F.try_element_at(ids, F.col(PATH))).drop(PATH)
    names = spark.createDataFrame([(_short(f.uri), f.file_id) for f in files], "_uri_decoded string, _file_id string")
    return (
        frame.withColumn("_uri_decoded", _decoded())
        .join(F.broadcast(names), "_uri_decoded", how="left")
        .drop("_uri_decoded", PATH)
    )


def _numbers(files: Sequence[SourceFile]) -> dict[int, str]:
    """file_id by a hash of the path, whose text would be dear to compare for every row; empty where paths need decoding
    or two have one hash.
    """
    if len(files) > _FEW_FILES or not all(_PLAIN_PATH.fullmatch(f.uri) for f in files):
        return {}
    paths = {path: f.file_id for f in files for path in (f.uri, _short(f.uri))}
    numbers = {zlib.crc32(path.encode()): file_id for path, file_id in paths.items()}
    return numbers if len(numbers) == len(paths) else {}


def _short(uri: str) -> str:
    """Spark writes both file:/ and file:/// for the same file."""
    return re.sub("^file:///", "file:/", uri)


def _decoded() -> Column:
    """The row's file: Spark writes a blank as %20, and a plus sign as itself."""
    path = F.col(PATH)
    # most paths hold nothing to decode, and a regular expression for every row is dear
    decoded = F.url_decode(F.replace(path, F.lit("+"), F.lit("%2B")))
    plain = F.when(path.contains("%"), decoded).otherwise(path)
    short = F.concat(F.lit("file:"), F.substring(plain, len("file://") + 1, 1 << 20))
    return F.when(plain.startswith("file:///"), short).otherwise(plain)


def paths_of(files: Sequence[SourceFile]) -> list[str]:
    return [as_written(f.uri) for f in files]


def first_line(spark: SparkSession, file: SourceFile, encoding: Encoding) -> str:
    """A file's first line without its end and without a byte-order mark, empty for an empty file. Raises InputError
    where its bytes do not fit the encoding.
    """
    return whole_first_line(spark, file, encoding).removeprefix("\ufeff").rstrip("\r\n")


def whole_first_line(spark: SparkSession, file: SourceFile, encoding: Encoding) -> str:
    """With its end."""
    with (
        input_errors(),
        content_of(spark, file.path).unpacked() as unpacked,
        # what follows is decoded ahead, and its faults are those of other rows: only the line's own count
        io.TextIOWrapper(unpacked, python_name(encoding), errors="replace", newline="") as text,
    ):
        line = text.readline()
    if REPLACED in line:
        raise InputError(f"{file.path}: the first line does not fit the source's encoding, {encoding}")
    return line
