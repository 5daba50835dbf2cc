"""Source files to frames: the source's columns by name, plus for each row what `source_rows` names.

Files of one kind (the same header, the same Parquet schema) make one frame, so that a column that is new, gone or of
another type in some files stops nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add, or_

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from profiling_spark.config.formats import CsvOptions, Encoding
from profiling_spark.errors import InputError
from profiling_spark.expressions import holds
from profiling_spark.ingest.files.contents import content_of
from profiling_spark.ingest.files.encodings import TEXT_FORMATS, java_name
from profiling_spark.ingest.files.source_files import SourceFile
from profiling_spark.ingest.reading.array_lines import json_elements, read_again, typed_elements, unknown_fields
from profiling_spark.ingest.reading.source_rows import (
    PATH,
    POSITION,
    Reading,
    encoding_of,
    first_line,
    origin,
    paths_of,
    position,
    position_of,
    whole_first_line,
    with_file_id,
)
from profiling_spark.ingest.reading.text_readers import MISFIT, decoded_lines, is_misfit, misfit_of, parse_lines
from profiling_spark.storage.stores import input_errors

_CORRUPT = "_corrupt"


def read_source(spark: SparkSession, reading: Reading, files: Sequence[SourceFile]) -> list[DataFrame]:
    """All rows of the files, none dropped: a row that cannot be parsed has `_unreadable` true. At least one frame."""
    source = reading.source
    if source.format == "csv":
        return read_csv(spark, reading, files)
    if source.format in TEXT_FORMATS:
        by_encoding = _by_encoding(spark, source.encoding, files)
        return [_read_lines(spark, reading, part, encoding) for encoding, part in by_encoding.items()]
    return _TYPED[source.format](spark, reading, files)


def _read_lines(spark: SparkSession, reading: Reading, files: Sequence[SourceFile], encoding: Encoding) -> DataFrame:
    """JSON and the formats of plain lines."""
    source, is_clean = reading.source, all(f.is_clean for f in files)
    lines = decoded_lines(spark, paths_of(files), origin(reading), encoding, is_clean=is_clean)
    if source.format == "json":
        return parse_json(with_file_id(spark, lines, files), reading)
    headers = {first_line(spark, f, encoding) for f in files} - {""} if source.lines.header else set()
    if headers:
        lines = lines.where(~F.col("value").isin(*sorted(headers)))
    return parse_lines(with_file_id(spark, lines, files), source)


def _by_encoding(
    spark: SparkSession, encoding: Encoding, files: Sequence[SourceFile]
) -> dict[Encoding, list[SourceFile]]:
    """The files by encoding: those in UTF-16 by the order of their bytes."""
    found: dict[Encoding, list[SourceFile]] = {}
    for file in files:
        found.setdefault(encoding_of(spark, encoding, file), []).append(file)
    return found


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
    # most lines hold what is mapped and nothing else, and the values show that without another search for each name
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


def _read_delta(spark: SparkSession, reading: Reading, files: Sequence[SourceFile]) -> list[DataFrame]:
    frame = spark.read.format("delta").load(files[0].path)
    return [_finish_typed(frame.withColumn("_file_id", F.lit(files[0].file_id)), reading, files[0].source)]


def _read_parquet(spark: SparkSession, reading: Reading, files: Sequence[SourceFile]) -> list[DataFrame]:
    groups: dict[str, tuple[pa.Schema, list[SourceFile]]] = {}
    for file in files:
        schema = _parquet_schema(spark, file)
        groups.setdefault(str(schema.remove_metadata()), (schema, []))[1].append(file)
    frames = []
    for _, (schema, group) in sorted(groups.items()):
        with_ids = _typed_rows(spark, reading, group)
        frames.append(_finish_typed(_with_instants(with_ids, schema), reading, group[0].source))
    return frames


_TYPED: dict[str, Callable[[SparkSession, Reading, Sequence[SourceFile]], list[DataFrame]]] = {
    "delta": _read_delta,
    "parquet": _read_parquet,
}
"""Formats whose columns have types of their own, and keep them."""


def _typed_rows(spark: SparkSession, reading: Reading, files: Sequence[SourceFile]) -> DataFrame:
    """Rows of files of one schema, in a format that Spark knows by the name it has in the settings."""
    frame = spark.read.format(reading.source.format).option("mergeSchema", "true").load(paths_of(files))
    # a batch of columns at a time: the name of the file being read may be that of the next one
    path = F.col("_metadata.file_path").alias(PATH)
    return with_file_id(spark, frame.select("*", path, *position(reading)), files)


def _finish_typed(frame: DataFrame, reading: Reading, name: str) -> DataFrame:
    if reading.source.lines.array is not None:
        frame = typed_elements(frame, reading.source, setting=f"sources.{name}.lines")
    columns = [c for c in frame.columns if c not in ("_file_id", *POSITION)]
    return finished(frame, columns, reading, F.lit(False), is_clean=True)


def _parquet_schema(spark: SparkSession, file: SourceFile) -> pa.Schema:
    """Files of which this is equal can be read together."""
    with input_errors(), content_of(spark, file.path).raw() as opened:
        return pq.read_schema(opened)


def _with_instants(frame: DataFrame, schema: pa.Schema) -> DataFrame:
    """Nanosecond timestamps, as pandas writes them: Spark reads them as numbers. Those without a zone are local."""
    zones = {f.name: f.type.tz for f in schema if pa.types.is_timestamp(f.type) and f.type.unit == "ns"}
    types = dict(frame.dtypes)
    micros = {}
    for name, zone in zones.items():
        if types[name] == "bigint":
            instant = F.expr(f"timestamp_micros((`{name}` - pmod(`{name}`, 1000L)) div 1000L)")
            # the session's zone is UTC: the cast keeps the time of day
            micros[name] = instant if zone is not None else instant.cast("timestamp_ntz")
    return frame.withColumns(micros) if micros else frame


def read_csv(spark: SparkSession, reading: Reading, files: Sequence[SourceFile]) -> list[DataFrame]:
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
        return [finished(frame, columns, reading, F.lit(False), is_clean=True)]
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
        paths_of(files),
        schema=_csv_schema(header),
        header=True,
        multiLine=options.multiline,
        encoding=java_name(encoding),
        lineSep=None if options.multiline else end or None,
        **_csv_options(options),
    )
    frame = with_file_id(spark, frame.select("*", *origin(reading)), files)
    is_clean = all(f.is_clean for f in files)
    return finished(frame, header, reading, F.col(_CORRUPT).isNotNull(), raw=F.col(_CORRUPT), is_clean=is_clean)


def parse_csv(lines: DataFrame, header: tuple[str, ...], reading: Reading) -> DataFrame:
    """Lines (value, _file_id) of CSV files of one header as rows."""
    parsed = F.from_csv("value", _csv_schema(header).simpleString(), _csv_options(reading.source.csv))
    frame = lines.select("_file_id", "value", parsed.alias("_row")).select("_file_id", "_row.*")
    return finished(frame, header, reading, F.col(_CORRUPT).isNotNull(), raw=F.col(_CORRUPT))


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


def _end_of_line(spark: SparkSession, file: SourceFile, encoding: Encoding) -> str:
    return "\r\n" if "\r" in whole_first_line(spark, file, encoding) else "\n"


def finished(
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


def parse_values(rows: DataFrame, columns: Sequence[str], reading: Reading) -> DataFrame:
    """Rows again from (value: JSON of a row's values, _file_id), as `_raw` keeps those of CSV, Parquet and Delta."""
    schema = T.StructType([T.StructField(c, T.StringType()) for c in columns])
    parsed = rows.select("_file_id", F.from_json("value", schema).alias("_row")).select("_file_id", "_row.*")
    return finished(read_again(parsed, reading.source), columns, reading, F.lit(False))
