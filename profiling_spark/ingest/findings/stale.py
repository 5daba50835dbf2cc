"""Which dates that are built already would have other features with the rows that came now."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from pyspark.sql import functions as F

from profiling_spark.context import Context
from profiling_spark.contracts.features import user_features_table
from profiling_spark.ingest.batch import Batch

EPOCH_DAY = date(1970, 1, 1)


def features_stale_from(ctx: Context, batches: Iterable[Batch]) -> date | None:
    """First as_of in user_features that sees a day with new, replaced or removed rows; None where no built one does.

    Rows of a static source (valid_from 1970-01-01) hold for every date and are not counted.
    """
    days = [d for b in batches for d in (*b.days[:1], b.removed_from) if d is not None and d > EPOCH_DAY]
    table = user_features_table(ctx.settings.windows_days, ctx.settings.custom_features)
    if not days or not ctx.tables.exists(table):
        return None
    built = ctx.tables.read(table).where(F.col("as_of") > F.lit(min(days)))
    first = built.agg(F.min("as_of").alias("first")).first()
    return None if first is None else first["first"]
