"""Source files to frames: the source's columns by name, plus for each row what `source_rows` names.

Files of one kind (the same header, the same Parquet schema) make one frame, so that a column that is new, gone or of
another type in some files stops nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from profiling_spark.config.formats import Encoding
from profiling_spark.ingest.array_lines import json_elements, typed_elements
from profiling_spark.ingest.csv_reader import read_csv
from profiling_spark.ingest.encodings import TEXT_FORMATS
from profiling_spark.ingest.files import SourceFile
from profiling_spark.ingest.source_rows import (
    PATH,
    POSITION,
    Reading,
    encoding_of,
    finished,
    first_line,
    origin,
    paths_of,
    position,
    position_of,
    with_file_id,
)
from profiling_spark.ingest.text_readers import MISFIT, decoded_lines, misfit_of, parse_lines
from profiling_spark.storage import local_path


def read_source(spark: SparkSession, reading: Reading, files: Sequence[SourceFile]) -> list[DataFrame]:
    """All rows of the files, none dropped: a row that cannot be parsed has `_unreadable` true. At least one frame."""
    source = reading.source
    if source.format == "csv":
        return read_csv(spark, reading, files)
    if source.format in TEXT_FORMATS:
        by_encoding = _by_encoding(spark, source.encoding, files)
        return [_read_lines(spark, reading, part, encoding) for encoding, part in by_encoding.items()]
    return _read_typed(spark, reading, files)


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
        frame = spark.read.option("mergeSchema", "true").parquet(*paths_of(group))
        # a batch of columns at a time: the name of the file being read may be that of the next one
        path = F.col("_metadata.file_path").alias(PATH)
        with_ids = with_file_id(spark, frame.select("*", path, *position(reading)), group)
        frames.append(_finish_typed(_with_instants(with_ids, group[0]), reading, group[0].source))
    return frames


def _finish_typed(frame: DataFrame, reading: Reading, name: str) -> DataFrame:
    if reading.source.lines.array is not None:
        frame = typed_elements(frame, reading.source, setting=f"sources.{name}.lines")
    columns = [c for c in frame.columns if c not in ("_file_id", *POSITION)]
    return finished(frame, columns, reading, F.lit(False), is_clean=True)


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
