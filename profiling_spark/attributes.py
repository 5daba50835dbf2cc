"""Attributes that several sources give of the same user or item: which version speaks, and which source is believed.

Learning (features, labels, training at a date) reads what was known before that date; acting (stock, prices and titles
in lists, opt-out) reads the newest version, whatever the date of the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from profiling_spark.contracts.table import Table
from profiling_spark.storage import Tables

_ORDER = ("version_time", "delivered_at")
_STATIC = "1970-01-01 00:00:00"
_WISH = "personalisation_opt_out"


def source_rank(precedence: Sequence[str]) -> Column:
    """Place of a row's `source` in the order of belief, 0 first; a source that is not in it comes last."""
    if not precedence:
        return F.lit(0)
    place = F.array_position(F.array(*(F.lit(name) for name in precedence)), F.col("source"))
    return F.when(place > 0, place - 1).otherwise(F.lit(len(precedence))).cast("int")


def versions(tables: Tables, table: Table) -> DataFrame:
    """All versions of users or items, those of the release before deliveries as ones that came when their run started:
    it wrote 1970-01-01 for a source without a time of its own.
    """
    is_old = F.col("version_time").isNull()
    valid_from = F.when(~(is_old & (F.col("valid_from") == F.lit(_STATIC).cast("timestamp"))), F.col("valid_from"))
    start = F.try_to_timestamp(F.substring("run_id", 1, 15), F.lit("yyyyMMdd'T'HHmmss"))
    delivered = F.coalesce("delivered_at", start, F.lit(_STATIC).cast("timestamp"))
    known = tables.read(table).withColumns({"valid_from": valid_from, "delivered_at": delivered})
    return known.withColumns(
        {
            "version_time": F.coalesce("version_time", "valid_from", "delivered_at"),
            "confirmed_at": F.coalesce("confirmed_at", "delivered_at"),
        }
    )


def last_of_each_source(
    versions: DataFrame, *, key: tuple[str, ...], values: Sequence[str], as_of: Column | date | None, timezone: str
) -> DataFrame:
    """One row per key and source: `values` of the last version whose day, business timezone, is before as_of (a day, or
    a column of them); None: of the newest.

    Where a source without a time of its own has none so early, its earliest version counts. A version that is ended
    has no values.
    """
    order, content = F.struct(*_ORDER), F.struct(*values, "ended")
    if as_of is None:
        chosen = F.max_by(content, order)
    else:
        is_before = F.to_date(F.from_utc_timestamp("version_time", timezone)) < as_of
        versions = versions.where(is_before | F.col("valid_from").isNull())
        earliest = F.min_by(content, F.when(F.col("valid_from").isNull(), order))
        chosen = F.coalesce(F.max_by(content, F.when(is_before, order)), earliest)
    found = versions.groupBy(*key, "source").agg(chosen.alias("_last"))
    return found.where(~F.coalesce("_last.ended", F.lit(False))).select(
        *key, "source", *(F.col(f"_last.{v}") for v in values)
    )


def believed(
    versions: DataFrame,
    *,
    key: tuple[str, ...],
    values: Sequence[str],
    as_of: Column | date | None,
    timezone: str,
    precedence: Sequence[str],
) -> DataFrame:
    """One row per key with each of `values` from the first source in `precedence` that knows it before as_of (None:
    now).
    """
    known = last_of_each_source(versions, key=key, values=values, as_of=as_of, timezone=timezone)
    # names decide between sources of equal order
    place = F.struct(source_rank(precedence), F.col("source"))
    chosen = [F.min_by(c, F.when(F.col(c).isNotNull(), place)).alias(c) for c in values]
    return known.groupBy(*key).agg(*chosen)


def opt_outs(users: DataFrame) -> DataFrame:
    """(user_id, personalisation_opt_out) of everyone of whom any row has it.

    Null has no effect. A "yes" is ended only by a later "no" of the same source: at equal time "yes" wins, and between
    sources too, whichever is believed in other things.
    """
    reported = users.where(F.col(_WISH).isNotNull())
    last = reported.groupBy("user_id", "source").agg(F.max_by(_WISH, F.struct("version_time", _WISH)).alias(_WISH))
    return last.groupBy("user_id").agg(F.max(_WISH).alias(_WISH))


def backfilled(versions: DataFrame, *, key: str, as_of: date, timezone: str) -> int:
    """How many keys have a source without times whose first version came on as_of or later: it speaks all the same."""
    day = F.to_date(F.from_utc_timestamp("version_time", timezone))
    first = versions.groupBy(key, "source").agg(
        F.min(day).alias("_first"), F.bool_and(F.col("valid_from").isNull()).alias("_untimed")
    )
    late = first.where(F.col("_untimed") & (F.col("_first") >= F.lit(as_of)))
    return late.select(key).distinct().count()
