"""Sources of plain text: columns at fixed places, or named groups of a pattern (access logs)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from profiling_spark.config.sources import LineOptions, Source


def decoded_lines(spark: SparkSession, paths: Sequence[str], origin: Sequence[Column], encoding: str) -> DataFrame:
    """(value, origin): every line that is not blank, without its end."""
    text = F.col("value")
    if encoding != "UTF-8":
        # the text source hands on the bytes as they are; neither encoding has a line end inside a character
        text = F.decode(text.cast("binary"), encoding)
    lines = spark.read.text(list(paths)).select(F.rtrim(text, F.lit("\r")).alias("value"), *origin)
    return lines.where(F.trim("value") != "")


def parse_lines(lines: DataFrame, source: Source) -> DataFrame:
    """Lines (value, and what else is to be kept) as rows. A column of blanks (of a pattern: of nothing or "-") is null.

    The settings name every column there is, so none can be new.
    """
    options = source.lines
    values, unreadable = _at_places(options) if source.format == "fixed" else _by_pattern(options)
    return lines.select(
        *(column.alias(name) for name, column in values.items()),
        *(c for c in lines.columns if c != "value"),
        F.col("value").alias("_raw"),
        F.lit(None).cast("string").alias("_values"),
        unreadable.alias("_unreadable"),
        F.lit(None).cast("string").alias("_extra"),
    )


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
