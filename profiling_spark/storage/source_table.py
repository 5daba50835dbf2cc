"""A Delta table that is not ours: a source of rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from delta.tables import DeltaTable
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class TableState:
    """What a table is now: `table_id` stays its own all its life; `made_at`: when the version was (UTC)."""

    table_id: str
    version: int
    bytes: int
    made_at: datetime


def table_state(spark: SparkSession, path: str) -> TableState | None:
    """The newest version of a Delta table; None where there is none at this path."""
    try:
        table = DeltaTable.forPath(spark, path)
        # a collected timestamp would be in the zone of this process
        made = F.unix_micros("timestamp").alias("made")
        version = table.history(1).select("version", made).first()
        detail = table.detail().select("id", "sizeInBytes").first()
    except AnalysisException:
        return None
    if version is None or detail is None:
        return None
    made_at = _EPOCH + timedelta(microseconds=int(version["made"]))
    return TableState(str(detail["id"]), int(version["version"]), int(detail["sizeInBytes"] or 0), made_at)
