"""Events that two sources of one event type seem to bring both: counted and named, since each would count twice."""

from __future__ import annotations

from collections.abc import Collection

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from profiling_spark.config import Settings
from profiling_spark.context import Context
from profiling_spark.contracts.silver import EVENTS
from profiling_spark.ingest.batch import Batch
from profiling_spark.ingest.files.ledger import of_files
from profiling_spark.remembered import Remembered, supplier_of

# columns in which two sources agree on one event; a source's own id means nothing to another source
_ALIKE = ("user_id", "event_type", "event_time", "item_id", "order_id")


def sharing(settings: Settings, known: Remembered) -> frozenset[str]:
    """Sources that share an event type with another one, of the settings or of those that left them."""
    earlier = {name: s for name, values in known.items() if (s := supplier_of(values)) is not None}
    of_type: dict[str, set[str]] = {}
    for name, supplier in (earlier | settings.suppliers).items():
        for event_type in supplier.event_types:
            of_type.setdefault(event_type, set()).add(name)
    return frozenset().union(*(names for names in of_type.values() if len(names) > 1))


def counted_twice(ctx: Context, batch: Batch, known: Remembered) -> dict[str, int]:
    """By sources (comma separated), accepted events like which another source has one, in this run or stored.

    Reads nothing where no two sources share an event type. To be asked before the batch is published.
    """
    sources = sharing(ctx.settings, known)
    new = {g.source for g in batch.groups} & sources
    if batch.table is not EVENTS or not new or not batch.days:
        return {}
    stored = ctx.tables.read(EVENTS).where(F.col("event_date").between(*batch.days))
    if batch.old:
        stored = stored.where(f"NOT ({of_files(batch.old, table_column=False)})")
    found = _alike(batch.accepted, stored, sources).collect()
    return {", ".join(row["sources"]): row["rows"] for row in found}


def _alike(accepted: DataFrame, stored: DataFrame, sources: Collection[str]) -> DataFrame:
    """(sources, rows): new rows whose customer, type, time, item and order a row of another source has too."""
    parts = ((accepted, 1), (stored, 0))
    rows = [f.where(F.col("source").isin(*sorted(sources))).select(_number(), "source", _lit(n)) for f, n in parts]
    seen = rows[0].unionByName(rows[1]).groupBy("number")
    both = seen.agg(F.array_sort(F.collect_set("source")).alias("sources"), F.sum("is_new").alias("rows"))
    return both.where("size(sources) > 1 and rows > 0").groupBy("sources").agg(F.sum("rows").alias("rows"))


def _number() -> Column:
    values = (F.coalesce(F.col(c).cast("string"), F.lit("\u0000")) for c in _ALIKE)
    return F.xxhash64(*values).alias("number")


def _lit(is_new: int) -> Column:
    return F.lit(is_new).alias("is_new")
