"""Attributes that several sources tell of the same user or item: what each says at a date, and which is believed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F


def source_rank(precedence: Sequence[str]) -> Column:
    """Place of a row's `source` in the order of belief, 0 first; a source that is not in it comes last."""
    if not precedence:
        return F.lit(0)
    place = F.array_position(F.array(*(F.lit(name) for name in precedence)), F.col("source"))
    return F.when(place > 0, place - 1).otherwise(F.lit(len(precedence))).cast("int")


def last_of_each_source(
    versions: DataFrame, *, key: tuple[str, ...], values: Sequence[str], as_of: date, timezone: str
) -> DataFrame:
    """One row per key and source: `values` of the last version whose valid_from, business timezone, is before as_of."""
    day = F.to_date(F.from_utc_timestamp("valid_from", timezone))
    last = F.max_by(F.struct(*values), F.col("valid_from")).alias("_last")
    return versions.where(day < F.lit(as_of)).groupBy(*key, "source").agg(last).select(*key, "source", "_last.*")


def believed(
    versions: DataFrame,
    *,
    key: tuple[str, ...],
    values: Sequence[str],
    as_of: date,
    timezone: str,
    precedence: Sequence[str],
) -> DataFrame:
    """One row per key with each of `values` from the first source in `precedence` that knows it before as_of."""
    told = last_of_each_source(versions, key=key, values=values, as_of=as_of, timezone=timezone)
    # names decide between sources that the order does not tell apart
    place = F.struct(source_rank(precedence), F.col("source"))
    chosen = [F.min_by(c, F.when(F.col(c).isNotNull(), place)).alias(c) for c in values]
    return told.groupBy(*key).agg(*chosen)
