"""Source files to frames: the source's columns by name, plus for each row its file and its raw text.

Helper columns: `_file_id`; `_raw` (the original line of JSON or of an unparsable CSV row, else JSON of the values);
`_unreadable` (true where the row cannot be parsed); `_identity` (text that is equal only for equal rows).
"""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from profiling_spark.config.sources import CsvOptions, Source
from profiling_spark.errors import InputError
from profiling_spark.ingest.files import SourceFile
from profiling_spark.ingest.text_readers import read_lines
from profiling_spark.storage import local_path

_CORRUPT = "_corrupt"
HELPERS = ("_file_id", "_raw", "_unreadable", "_identity")
# separates values inside _identity; cannot be confused with a value's own text, which is JSON-quoted nowhere else
_SEPARATOR = "\u001f"
_NULL = "\u0000"


def read_source(spark: SparkSession, source: Source, files: Sequence[SourceFile]) -> DataFrame:
    """All rows of the files, none dropped: a row that cannot be parsed has `_unreadable` true."""
    if source.format == "json":
        return _read_json(spark, source, files)
    if source.format == "csv":
        return _read_csv(spark, source, files)
    if source.format in ("fixed", "pattern"):
        return _read_text(spark, source, files)
    return _read_typed(spark, source, files)


def _with_file_id(spark: SparkSession, frame: DataFrame, files: Sequence[SourceFile]) -> DataFrame:
    """`_file_id` from the path; a few hundred paths are a small broadcast join."""
    ids = [(re.sub("^file:///", "file:/", f.uri), f.file_id) for f in files]
    names = spark.createDataFrame(ids, "_uri string, _file_id string")
    # left, so that a row whose file is not recognised stands out instead of vanishing (see job._count)
    return frame.join(F.broadcast(names), "_uri", how="left").drop("_uri")


def _uri() -> Column:
    """The row's file, decoded: Spark writes a blank as %20 here, and a plus sign as itself."""
    path = F.col("_metadata.file_path")
    # most paths hold nothing to decode, and a regular expression for every row is dear
    decoded = F.url_decode(F.replace(path, F.lit("+"), F.lit("%2B")))
    plain = F.when(path.contains("%"), decoded).otherwise(path)
    # Spark writes both file:/ and file:/// for the same file
    short = F.concat(F.lit("file:"), F.substring(plain, len("file://") + 1, 1 << 20))
    return F.when(plain.startswith("file:///"), short).otherwise(plain).alias("_uri")


def _paths(files: Sequence[SourceFile]) -> list[str]:
    """Paths for Spark's readers, which take some characters for patterns."""
    return [re.sub(r"([\[\]{}*?\\])", r"\\\1", f.uri) for f in files]


def _read_json(spark: SparkSession, source: Source, files: Sequence[SourceFile]) -> DataFrame:
    lines = spark.read.text(_paths(files)).select("value", _uri())
    lines = lines.where(F.trim("value") != "")
    fields = [T.StructField(word, T.StringType()) for word in source.words]
    schema = T.StructType([*fields, T.StructField(_CORRUPT, T.StringType())])
    parsed = F.from_json("value", schema, {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": _CORRUPT})
    frame = lines.select("value", "_uri", parsed.alias("_row"))
    unreadable = F.col("_row").isNull() | F.col(f"_row.{_CORRUPT}").isNotNull()
    return _with_file_id(spark, frame, files).select(
        *(F.col(f"_row.`{word}`").alias(word) for word in source.words),
        "_file_id",
        F.col("value").alias("_raw"),
        unreadable.alias("_unreadable"),
        F.col("value").alias("_identity"),
    )


def _read_csv(spark: SparkSession, source: Source, files: Sequence[SourceFile]) -> DataFrame:
    """Columns by the header's names: files are read together only with files of the same header."""
    groups: dict[tuple[str, ...], list[SourceFile]] = {}
    for file in files:
        header = _header(spark, source.csv, file)
        if header:  # an empty file has no rows
            groups.setdefault(header, []).append(file)
    frames = [_read_csv_group(spark, source, header, group) for header, group in sorted(groups.items())]
    if not frames:
        columns = source.words
        empty = T.StructType([T.StructField(c, T.StringType()) for c in columns])
        return _finish(spark.createDataFrame([], empty).withColumn("_file_id", F.lit("")), columns, F.lit(False))
    return reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), frames)


def _read_csv_group(
    spark: SparkSession, source: Source, header: tuple[str, ...], files: Sequence[SourceFile]
) -> DataFrame:
    options = source.csv
    fields = [T.StructField(name, T.StringType()) for name in (*header, _CORRUPT)]
    frame = spark.read.csv(
        _paths(files),
        schema=T.StructType(fields),
        header=True,
        mode="PERMISSIVE",
        columnNameOfCorruptRecord=_CORRUPT,
        sep=options.delimiter,
        quote=options.quote,
        escape=options.escape,
        multiLine=options.multiline,
        encoding=options.encoding,
    )
    frame = _with_file_id(spark, frame.select("*", _uri()), files)
    return _finish(frame, header, F.col(_CORRUPT).isNotNull(), raw=F.col(_CORRUPT))


def _finish(frame: DataFrame, columns: Sequence[str], unreadable: Column, raw: Column | None = None) -> DataFrame:
    names = [F.col(f"`{c}`") for c in columns]
    as_json = F.to_json(F.struct(*names), {"ignoreNullFields": "false"})
    identity = F.concat_ws(_SEPARATOR, *(F.coalesce(c.cast("string"), F.lit(_NULL)) for c in names))
    return frame.select(
        *names,
        "_file_id",
        (as_json if raw is None else F.coalesce(raw, as_json)).alias("_raw"),
        unreadable.alias("_unreadable"),
        (identity if raw is None else F.coalesce(raw, identity)).alias("_identity"),
    )


def _read_text(spark: SparkSession, source: Source, files: Sequence[SourceFile]) -> DataFrame:
    encoding = source.lines.encoding
    headers = {_first_line(spark, f, encoding) for f in files} - {""} if source.lines.header else set()
    frame = read_lines(spark, source, _paths(files), _uri(), sorted(headers))
    return _with_file_id(spark, frame, files)


def _header(spark: SparkSession, options: CsvOptions, file: SourceFile) -> tuple[str, ...]:
    """Column names of a CSV file, empty for an empty file. Raises InputError on a repeated name."""
    line = _first_line(spark, file, options.encoding).removeprefix("\ufeff")
    if not line.strip():
        return ()
    names = next(csv.reader([line], delimiter=options.delimiter, quotechar=options.quote))
    repeated = sorted({n for n in names if names.count(n) > 1})
    if repeated:
        raise InputError(f"{file.path}: the header names {repeated} twice")
    return tuple(names)


def _first_line(spark: SparkSession, file: SourceFile, encoding: str) -> str:
    path = local_path(file.path)
    if path is None:
        first = spark.read.option("encoding", encoding).text(file.uri).first()
        return "" if first is None else str(first["value"])
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding=encoding, errors="replace", newline="") as handle:
        return str(handle.readline()).rstrip("\r\n")


def _read_typed(spark: SparkSession, source: Source, files: Sequence[SourceFile]) -> DataFrame:
    """Parquet and Delta: columns keep their types."""
    if source.format == "delta":
        frame = spark.read.format("delta").load(files[0].path)
        names = frame.columns
        frame = frame.withColumn("_file_id", F.lit(files[0].file_id))
    else:
        frame = spark.read.option("mergeSchema", "true").parquet(*_paths(files))
        names = frame.columns
        frame = _with_file_id(spark, frame.select("*", _uri()), files)
    return _finish(frame, names, F.lit(False))
