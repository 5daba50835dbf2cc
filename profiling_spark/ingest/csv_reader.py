"""CSV files to frames: columns by the header's names, and only files of one header together."""

from __future__ import annotations

import csv
from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from profiling_spark.config.formats import CsvOptions, Encoding
from profiling_spark.errors import InputError
from profiling_spark.ingest.encodings import java_name
from profiling_spark.ingest.files import SourceFile
from profiling_spark.ingest.source_rows import (
    Reading,
    encoding_of,
    finished,
    first_line,
    origin,
    paths_of,
    whole_first_line,
    with_file_id,
)

_CORRUPT = "_corrupt"


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
