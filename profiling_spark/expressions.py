"""SQL of the settings as a Spark column, with its faults told as faults of the settings."""

from __future__ import annotations

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from profiling_spark.errors import ConfigError


def condition(frame: DataFrame, setting: str, text: str) -> Column:
    """A condition over the frame's columns. Raises ConfigError where it does not parse, names an absent column, or is
    not true or false.
    """
    column, kind = expression(frame, setting, text)
    if kind != "boolean":
        raise ConfigError(f"{setting} = {text!r}: expected true or false, found {kind}")
    return column


def expression(frame: DataFrame, setting: str, text: str) -> tuple[Column, str]:
    """(an expression over the frame's columns, its type). Raises ConfigError where it is none."""
    try:
        column = F.expr(text)
        return column, frame.select(column.alias("value")).dtypes[0][1]
    except AnalysisException as err:
        raise ConfigError(f"{setting} = {text!r}: {str(err).strip().splitlines()[0]}") from err


def holds(condition: Column) -> Column:
    """`a <> b` is null where a is null; a rule whose condition is null does not hold."""
    return F.coalesce(condition, F.lit(False))
