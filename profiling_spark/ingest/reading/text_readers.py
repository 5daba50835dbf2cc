"""Sources of plain text: columns at fixed places, or named groups of a pattern (access logs)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from profiling_spark.config.formats import Encoding, LineOptions
from profiling_spark.config.sources import Source
from profiling_spark.ingest.files.encodings import REPLACED, java_name
from profiling_spark.session import session_setting

MISFIT = "_misfit"


def decoded_lines(
    spark: SparkSession, paths: Sequence[str], origin: Sequence[Column], encoding: Encoding, *, is_clean: bool
) -> DataFrame:
    """(value, origin, _misfit): every line that is not blank, without its end. `encoding` gives the order of bytes.

    `is_clean`: all bytes are known to fit. `_misfit` is true of a line in which some do not.
    """
    text = F.col("value")
    options: dict[str, str] = {}
    if encoding.startswith("UTF-16"):
        # a line ends with two bytes there; of one alone half is left to the next line
        options = {"lineSep": "\n", "encoding": java_name(encoding)}
    if encoding == "UTF-8":
        # the text source hands on the bytes as they are
        decoded = text if is_clean else F.make_valid_utf8(text)
    else:
        decoded = F.ltrim(F.decode(text.cast("binary"), java_name(encoding)), F.lit("\ufeff"))
    # without it bytes that do not fit would end the run
    with session_setting(spark, "spark.sql.legacy.codingErrorAction", "true"):
        read = spark.read.options(**options).text(list(paths))
        # to look first costs nothing; to trim goes through the whole line
        end = F.lit("\r")
        line = F.when(F.endswith(decoded, end), F.rtrim(decoded, end)).otherwise(decoded)
        lines = read.select(line.alias("value"), *origin)
    return lines.withColumn(MISFIT, F.lit(False) if is_clean else is_misfit("value")).where(F.trim("value") != "")


def is_misfit(value: Column | str) -> Column:
    """Whether a text holds what decoders put for bytes that are no character."""
    return F.contains(F.col(value) if isinstance(value, str) else value, F.lit(REPLACED))


def parse_lines(lines: DataFrame, source: Source) -> DataFrame:
    """Lines (value, and what else is to be kept) as rows. A column of blanks (of a pattern: of nothing or "-") is null.

    The settings name every column there is, so none can be new.
    """
    options = source.lines
    values, unreadable = _at_places(options) if source.format == "fixed" else _by_pattern(options)
    return lines.select(
        *(column.alias(name) for name, column in values.items()),
        *(c for c in lines.columns if c not in ("value", MISFIT)),
        F.col("value").alias("_raw"),
        F.lit(None).cast("string").alias("_values"),
        unreadable.alias("_unreadable"),
        F.lit(None).cast("string").alias("_extra"),
        misfit_of(lines),
    )


def misfit_of(lines: DataFrame) -> Column:
    """`_misfit` of lines where they have it; lines that come from elsewhere are looked at."""
    return F.col(MISFIT) if MISFIT in lines.columns else is_misfit("value").alias(MISFIT)


def _at_places(options: LineOptions) -> tuple[dict[str, Column], Column]:
    values = {}
    for name, (first, last) in options.places.items():
        text = F.trim(F.substring("value", first, last - first + 1))
        values[name] = F.when(text != "", text)
    # a line that ends before its last column begins was cut off
    needed = max(first for first, _ in options.places.values())
    return values, F.length("value") < needed


def _by_pattern(options: LineOptions) -> tuple[dict[str, Column], Column]:
    assert options.pattern is not None  # for mypy: the settings see to it
    java = options.pattern.replace("(?P<", "(?<")
    values = {}
    for name, place in re.compile(options.pattern).groupindex.items():
        text = F.trim(F.regexp_extract("value", java, place))
        values[name] = F.when((text != "") & (text != "-"), text)
    return values, ~F.col("value").rlike(java)
