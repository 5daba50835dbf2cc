"""Where the test part of a split by time begins."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

_MINUTE = 60


def time_cutoff(
    events: DataFrame, *, since: date, before: date, event_types: tuple[str, ...], share: float
) -> datetime | None:
    """The whole minute (UTC) from which on at most `share` of the events of these types with an item happen.

    Minutes keep equal times together, and their counts (at most 525,600 a year) are the same under any partitioning.
    Where the last minute alone holds more than the share, it is the test part; None where all happen in one minute.
    """
    is_used = F.col("item_id").isNotNull() & F.col("event_type").isin(*event_types)
    in_window = (F.col("event_date") >= F.lit(since)) & (F.col("event_date") < F.lit(before))
    minute = F.floor(F.unix_seconds("event_time") / _MINUTE).alias("minute")
    counted = events.where(is_used & in_window).groupBy(minute).count().toArrow().sort_by("minute")
    minutes, counts = counted.column("minute").to_numpy(), counted.column("count").to_numpy()
    if len(minutes) < 2:
        return None
    from_here = np.cumsum(counts[::-1])[::-1] / counts.sum()
    place = min(max(int(np.argmax(from_here <= share)), 1), len(minutes) - 1) if (from_here <= share).any() else -1
    return datetime.fromtimestamp(int(minutes[place]) * _MINUTE, UTC)
