"""Source files to frames: the source's columns by name, plus for each row its file and its raw text.

Files of one kind (the same header, the same Parquet schema) make one frame, so that a column that is new, gone or of
another type in some files stops nothing. Helper columns: HELPERS.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add, or_

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from profiling_spark.config.sources import CsvOptions, Encoding, Source
from profiling_spark.errors import InputError
from profiling_spark.expressions import holds
from profiling_spark.ingest.array_lines import json_elements, read_again, typed_elements, unknown_fields
from profiling_spark.ingest.encodings import TEXT_FORMATS, head_of, java_name, python_name, resolved
from profiling_spark.ingest.files import SourceFile
from profiling_spark.ingest.text_readers import MISFIT, decoded_lines, is_misfit, misfit_of, parse_lines
from profiling_spark.storage import local_path

_CORRUPT = "_corrupt"
HELPERS = ("_file_id", "_raw", "_values", "_unreadable", "_extra", MISFIT)
"""_file_id; _raw: the original line of text, of CSV only where it cannot be parsed; _values: a struct or map of the
values where there is no line, or where the row is not the line (see `raw_text`); _unreadable: true where the row cannot
be parsed; _extra: JSON of the columns that the settings do not know, null where there is none; _misfit: true where
bytes of the row are no characters of the source's encoding."""
# separates values inside `identity`; cannot be confused with a value's own text, which is JSON-quoted nowhere else
_SEPARATOR = "\u001f"
_NULL = "\u0000"
_PATH = "_uri"
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

    `has_position`: the rows carry POSITION. A Delta table has none: the order of its files says nothing.
    """

    source: Source
    known: Collection[str]
    has_position: bool = False

    def unknown(self, columns: Sequence[str]) -> list[str]:
        """Columns of a file that the settings do not know; Spark's names do not tell capitals from small letters."""
        lowered = {k.lower() for k in self.known}
        return [c for c in columns if c.lower() not in lowered]


def read_source(spark: SparkSession, reading: Reading, files: Sequence[SourceFile]) -> list[DataFrame]:
    """All rows of the files, none dropped: a row that cannot be parsed has `_unreadable` true. At least one frame."""
    source = reading.source
    if source.format == "csv":
        return _read_csv(spark, reading, files)
    if source.format in TEXT_FORMATS:
        by_encoding = _by_encoding(spark, source.encoding, files)
        return [_read_lines(spark, reading, part, encoding) for encoding, part in by_encoding.items()]
    return _read_typed(spark, reading, files)


def _read_lines(spark: SparkSession, reading: Reading, files: Sequence[SourceFile], encoding: Encoding) -> DataFrame:
    """JSON and the formats of plain lines."""
    source, is_clean = reading.source, all(f.is_clean for f in files)
    lines = decoded_lines(spark, _paths(files), _origin(reading), encoding, is_clean=is_clean)
    if source.format == "json":
        return parse_json(_with_file_id(spark, lines, files), reading)
    headers = {first_line(spark, f, encoding) for f in files} - {""} if source.lines.header else set()
    if headers:
        lines = lines.where(~F.col("value").isin(*sorted(headers)))
    return parse_lines(_with_file_id(spark, lines, files), source)


def _by_encoding(
    spark: SparkSession, encoding: Encoding, files: Sequence[SourceFile]
) -> dict[Encoding, list[SourceFile]]:
    """The files by encoding: those in UTF-16 by the order of their bytes."""
    found: dict[Encoding, list[SourceFile]] = {}
    for file in files:
        found.setdefault(encoding_of(spark, encoding, file), []).append(file)
    return found


def encoding_of(spark: SparkSession, encoding: Encoding, file: SourceFile) -> Encoding:
    """The source's encoding; of UTF-16 with the order of the file's bytes."""
    if encoding != "UTF-16":
        return encoding
    path = local_path(file.path)
    if path is not None:
        return resolved(encoding, head_of(path))
    content = spark.read.format("binaryFile").load(as_written(file.uri))
    first = content.select(F.substring("content", 1, 1 << 16).alias("head")).first()
    return resolved(encoding, b"" if first is None else bytes(first["head"]))


def _origin(reading: Reading) -> list[Column]:
    """The row's file, and its place there where the source is read with it; to be selected beside what is read."""
    # _metadata.file_path is the same, but costs another copy of every row
    return [F.input_file_name().alias(_PATH), *_position(reading)]


def _position(reading: Reading) -> list[Column]:
    made = (F.input_file_block_start(), F.monotonically_increasing_id())
    return [c.alias(name) for c, name in zip(made, POSITION, strict=True)] if reading.has_position else []


def position_of(frame: DataFrame) -> list[str]:
    """POSITION where the frame has it."""
    return [name for name in POSITION if name in frame.columns]


def _with_file_id(spark: SparkSession, frame: DataFrame, files: Sequence[SourceFile]) -> DataFrame:
    """`_file_id` from the path: of a few files by comparing, which is cheap; else a small broadcast join.

    A row whose file is not recognised has none, so that it stands out instead of vanishing (see Batch.count).
    """
    numbers = _numbers(files)
    if numbers:
        numbered = frame.withColumn(_PATH, F.crc32(_PATH))
        ids = [F.when(F.col(_PATH) == F.lit(number), F.lit(file_id)) for number, file_id in numbers.items()]
        return numbered.withColumn("_file_id", F.coalesce(*ids)).drop(_PATH)
    names = spark.createDataFrame([(_short(f.uri), f.file_id) for f in files], "_uri_decoded string, _file_id string")
    return (
        frame.withColumn("_uri_decoded", _decoded())
        .join(F.broadcast(names), "_uri_decoded", how="left")
        .drop("_uri_decoded", _PATH)
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
    path = F.col(_PATH)
    # most paths hold nothing to decode, and a regular expression for every row is dear
    decoded = F.url_decode(F.replace(path, F.lit("+"), F.lit("%2B")))
    plain = F.when(path.contains("%"), decoded).otherwise(path)
    short = F.concat(F.lit("file:"), F.substring(plain, len("file://") + 1, 1 << 20))
    return F.when(plain.startswith("file:///"), short).otherwise(plain)


def as_written(uri: str) -> str:
    """The path for Spark's readers, which take some characters for patterns."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", uri)


def _paths(files: Sequence[SourceFile]) -> list[str]:
    return [as_written(f.uri) for f in files]


def parse_json(lines: DataFrame, reading: Reading) -> DataFrame:
    """Lines (value, _file_id) of JSON objects as rows."""
    # as a map, since one parse then serves both the columns that are mapped and those that nobody knows
    frame = lines.select(
        "value",
        "_file_id",
        misfit_of(lines),
        *position_of(lines),
        F.from_json("value", "map<string,string>").alias("_row"),
    )
    source, place = reading.source, position_of(lines)
    values = {word: F.try_element_at("_row", F.lit(word)) for word in source.words}
    if source.lines.array is not None:
        return json_elements(frame, source, values=values, known=reading.known, kept=["_file_id", *place, MISFIT])
    is_there = {name: F.map_contains_key("_row", name) for name in sorted(reading.known)}
    found = reduce(add, (there.cast("int") for there in is_there.values()))
    # most lines hold what is mapped and nothing else, and the values tell so without another search for each name
    given = [values[name].isNotNull() if name in values else there for name, there in is_there.items()]
    filled = reduce(add, (there.cast("int") for there in given))
    kept = F.map_filter("_row", lambda key, value: ~key.isin(*sorted(reading.known)) & value.isNotNull())
    extra = F.when(F.size("_row") > found, F.when(F.size(kept) > 0, F.to_json(kept)))
    extra = F.when(F.size("_row") > filled, extra)
    return frame.select(
        *(value.alias(word) for word, value in values.items()),
        "_file_id",
        *place,
        # a row that was filled is not its line
        (F.col("value") if source.fill_down is None else F.when(F.col("_row").isNull(), F.col("value"))).alias("_raw"),
        (F.lit(None).cast("string") if source.fill_down is None else F.col("_row")).alias("_values"),
        F.col("_row").isNull().alias("_unreadable"),
        extra.alias("_extra"),
        MISFIT,
    )


def _read_csv(spark: SparkSession, reading: Reading, files: Sequence[SourceFile]) -> list[DataFrame]:
    """Columns by the header's names: files are read together only with files of the same header."""
    groups: dict[tuple[Encoding, str, tuple[str, ...]], list[SourceFile]] = {}
    for file in files:
        encoding = encoding_of(spark, reading.source.csv.encoding, file)
        # Spark knows the ends of lines by itself where one byte is one
        end = _end_of_line(spark, file, encoding) if encoding.startswith("UTF-16") else ""
        header = header_of(spark, reading.source.csv, file)
        if header:  # an empty file has no rows
            _check_header(reading, header, file)
            groups.setdefault((encoding, end, header), []).append(file)
    if not groups:
        columns = reading.source.words
        empty = T.StructType([T.StructField(c, T.StringType()) for c in columns])
        frame = spark.createDataFrame([], empty).withColumn("_file_id", F.lit(""))
        return [_finish(frame, columns, reading, F.lit(False), is_clean=True)]
    return [_read_csv_group(spark, reading, *key, group) for key, group in sorted(groups.items())]


def _check_header(reading: Reading, header: tuple[str, ...], file: SourceFile) -> None:
    """The line is not shown: without a header it is a customer's row, whose values would stand for column names."""
    if len(reading.unknown(header)) == len(header):
        some = ", ".join(sorted(reading.known)[:5])
        raise InputError(
            f"{file.path}: expected a header with columns such as {some}, found none of them in its first line. Has "
            f"the file a header, and is its delimiter {reading.source.csv.delimiter!r}?"
        )


def _read_csv_group(
    spark: SparkSession,
    reading: Reading,
    encoding: Encoding,
    end: str,
    header: tuple[str, ...],
    files: Sequence[SourceFile],
) -> DataFrame:
    options = reading.source.csv
    frame = spark.read.csv(
        _paths(files),
        schema=_csv_schema(header),
        header=True,
        multiLine=options.multiline,
        encoding=java_name(encoding),
        lineSep=None if options.multiline else end or None,
        **_csv_options(options),
    )
    frame = _with_file_id(spark, frame.select("*", *_origin(reading)), files)
    is_clean = all(f.is_clean for f in files)
    return _finish(frame, header, reading, F.col(_CORRUPT).isNotNull(), raw=F.col(_CORRUPT), is_clean=is_clean)


def parse_csv(lines: DataFrame, header: tuple[str, ...], reading: Reading) -> DataFrame:
    """Lines (value, _file_id) of CSV files of one header as rows."""
    parsed = F.from_csv("value", _csv_schema(header).simpleString(), _csv_options(reading.source.csv))
    frame = lines.select("_file_id", "value", parsed.alias("_row")).select("_file_id", "_row.*")
    return _finish(frame, header, reading, F.col(_CORRUPT).isNotNull(), raw=F.col(_CORRUPT))


def _csv_schema(header: Sequence[str]) -> T.StructType:
    return T.StructType([T.StructField(name, T.StringType()) for name in (*header, _CORRUPT)])


def _csv_options(options: CsvOptions) -> dict[str, str]:
    return {
        "mode": "PERMISSIVE",
        "columnNameOfCorruptRecord": _CORRUPT,
        "sep": options.delimiter,
        "quote": options.quote,
        "escape": options.escape,
    }


def parse_values(rows: DataFrame, columns: Sequence[str], reading: Reading) -> DataFrame:
    """Rows again from (value: JSON of a row's values, _file_id), as `_raw` keeps those of CSV, Parquet and Delta."""
    schema = T.StructType([T.StructField(c, T.StringType()) for c in columns])
    parsed = rows.select("_file_id", F.from_json("value", schema).alias("_row")).select("_file_id", "_row.*")
    return _finish(read_again(parsed, reading.source), columns, reading, F.lit(False))


def _finish(
    frame: DataFrame,
    columns: Sequence[str],
    reading: Reading,
    unreadable: Column,
    raw: Column | None = None,
    is_clean: bool = False,
) -> DataFrame:
    """`is_clean`: no value can hold bytes that are no characters."""
    source = reading.source
    names = [F.col(f"`{c}`") for c in columns]
    lowered = {c.lower() for c in columns}
    gone = [w for w in source.words if w.lower() not in lowered] if source.missing_columns == "null" else []
    unknown = [F.col(f"`{c}`").cast("string").alias(c) for c in reading.unknown(columns)]
    unknown += unknown_fields(frame, source, reading.known)
    extra = F.lit(None).cast("string")
    if unknown:
        extra = F.when(F.coalesce(*unknown).isNotNull(), F.to_json(F.struct(*unknown)))
    return frame.select(
        *names,
        *(F.lit(None).cast("string").alias(w) for w in gone),
        "_file_id",
        *position_of(frame),
        (F.lit(None).cast("string") if raw is None else raw).alias("_raw"),
        F.struct(*names).alias("_values"),
        unreadable.alias("_unreadable"),
        extra.alias("_extra"),
        (F.lit(False) if is_clean else _has_misfit(frame, columns, raw)).alias(MISFIT),
    )


def _has_misfit(frame: DataFrame, columns: Sequence[str], raw: Column | None) -> Column:
    types = dict(frame.dtypes)
    texts = [*(F.col(f"`{c}`") for c in columns if types[c] == "string"), *([] if raw is None else [raw])]
    return reduce(or_, (holds(is_misfit(text)) for text in texts), F.lit(False))


def header_of(spark: SparkSession, options: CsvOptions, file: SourceFile) -> tuple[str, ...]:
    """Column names of a CSV file, empty for an empty file. Raises InputError on a repeated name."""
    line = first_line(spark, file, encoding_of(spark, options.encoding, file))
    if not line.strip():
        return ()
    names = next(csv.reader([line], delimiter=options.delimiter, quotechar=options.quote))
    lowered = [n.lower() for n in names]
    # by their places: where a file has no header its first line is a customer's row
    repeated = [n for n, name in enumerate(lowered, 1) if lowered.count(name) > 1]
    if repeated:
        where = ", ".join(str(n) for n in repeated)
        raise InputError(f"{file.path}: the header has one name for the columns {where} (capitals make no difference)")
    return tuple(names)


def first_line(spark: SparkSession, file: SourceFile, encoding: Encoding) -> str:
    """A file's first line without its end and without a byte-order mark, empty for an empty file. Raises InputError
    where its bytes do not fit the encoding.
    """
    return _whole_first_line(spark, file, encoding).removeprefix("\ufeff").rstrip("\r\n")


def _end_of_line(spark: SparkSession, file: SourceFile, encoding: Encoding) -> str:
    return "\r\n" if "\r" in _whole_first_line(spark, file, encoding) else "\n"


def _whole_first_line(spark: SparkSession, file: SourceFile, encoding: Encoding) -> str:
    """With its end where the file is local, else without the last character of it."""
    path = local_path(file.path)
    try:
        if path is None:
            wide = {"lineSep": "\n", "encoding": java_name(encoding)} if encoding.startswith("UTF-16") else {}
            lines = spark.read.options(**wide).text(file.uri)
            first = lines.select(F.col("value").cast("binary").alias("bytes")).first()
            return "" if first is None else bytes(first["bytes"]).decode(python_name(encoding))
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding=python_name(encoding), newline="") as handle:
            return str(handle.readline())
    except UnicodeDecodeError as err:
        raise InputError(f"{file.path}: the first line does not fit the source's encoding, {encoding}") from err


def _read_typed(spark: SparkSession, reading: Reading, files: Sequence[SourceFile]) -> list[DataFrame]:
    """Parquet and Delta: columns keep their types."""
    if reading.source.format == "delta":
        frame = spark.read.format("delta").load(files[0].path)
        return [_finish_typed(frame.withColumn("_file_id", F.lit(files[0].file_id)), reading, files[0].source)]
    groups: dict[str, list[SourceFile]] = {}
    for file in files:
        groups.setdefault(_parquet_schema(file), []).append(file)
    frames = []
    for group in (groups[key] for key in sorted(groups)):
        frame = spark.read.option("mergeSchema", "true").parquet(*_paths(group))
        # a batch of columns at a time: the name of the file being read may be that of the next one
        path = F.col("_metadata.file_path").alias(_PATH)
        with_ids = _with_file_id(spark, frame.select("*", path, *_position(reading)), group)
        frames.append(_finish_typed(_with_instants(with_ids, group[0]), reading, group[0].source))
    return frames


def _finish_typed(frame: DataFrame, reading: Reading, name: str) -> DataFrame:
    if reading.source.lines.array is not None:
        frame = typed_elements(frame, reading.source, setting=f"sources.{name}.lines")
    columns = [c for c in frame.columns if c not in ("_file_id", *POSITION)]
    return _finish(frame, columns, reading, F.lit(False), is_clean=True)


def _parquet_schema(file: SourceFile) -> str:
    """Text that is equal for files that can be read together; on remote storage Spark finds that out by itself."""
    path = local_path(file.path)
    return "" if path is None else str(pq.read_schema(path).remove_metadata())


def _with_instants(frame: DataFrame, file: SourceFile) -> DataFrame:
    """Nanosecond timestamps, as pandas writes them: Spark reads them as numbers. Those without a zone are local."""
    path = local_path(file.path)
    if path is None:
        return frame
    zones = {f.name: f.type.tz for f in pq.read_schema(path) if pa.types.is_timestamp(f.type) and f.type.unit == "ns"}
    types = dict(frame.dtypes)
    micros = {}
    for name, zone in zones.items():
        if types[name] == "bigint":
            instant = F.expr(f"timestamp_micros((`{name}` - pmod(`{name}`, 1000L)) div 1000L)")
            # the session's zone is UTC: the cast keeps the time of day
            micros[name] = instant if zone is not None else instant.cast("timestamp_ntz")
    return frame.withColumns(micros) if micros else frame
