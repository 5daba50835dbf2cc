"""Events that a rule flags and leaves out (`features: leave_out`): they stay in `events` and count nowhere else.

The same in Polars and in Spark; `rules` are the names of such rules (`Settings.left_out`).
"""

from __future__ import annotations

from collections.abc import Collection

import polars as pl
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

FLAGS = "flags"  # names of the rules that an event broke, comma separated; null: none


def is_left_out(rules: Collection[str]) -> pl.Expr:
    """Whether one of `rules` flagged the event."""
    names = pl.concat_str(pl.lit(","), pl.col(FLAGS), pl.lit(","))
    return names.str.contains_any([f",{rule}," for rule in rules]).fill_null(value=False)


def counted(events: pl.DataFrame, rules: Collection[str]) -> pl.DataFrame:
    """The events that count."""
    return events.filter(~is_left_out(rules)) if rules else events


def counted_rows(events: DataFrame, rules: Collection[str]) -> DataFrame:
    """The same of a Spark frame of events."""
    names = F.split(F.coalesce(FLAGS, F.lit("")), ",")
    return events.where(~F.arrays_overlap(names, F.array(*map(F.lit, sorted(rules))))) if rules else events
