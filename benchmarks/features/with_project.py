"""The features as the project builds them: the job build_features for one date, its three tables written to Delta."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from feature_shop import AS_OF, KINDS, TIMEZONE, WINDOWS, Shop

_MADE = ("item_features", "rfm_cuts", "user_features")


def build(spark: Any, shop: Shop, out: Path) -> None:
    """item_features, rfm_cuts and user_features beside the shop's tables; user_features is then moved to `out`."""
    from profiling_spark.context import Context
    from profiling_spark.features.job import build_features
    from profiling_spark.storage import Tables

    for table in _MADE:
        shutil.rmtree(shop.folder / table, ignore_errors=True)
    tables = Tables(spark, str(shop.folder), run_id="benchmark")
    # these dates alone, not also the one that labels look from
    first = AS_OF - timedelta(days=shop.dates - 1)
    build_features(Context(settings(shop), spark, tables, datetime.now(UTC), AS_OF), since=first)
    (shop.folder / "user_features").rename(out)


def settings(shop: Shop) -> Any:
    """Settings whose sources supply every event type, the optional columns and the attribute tables."""
    from profiling_spark.config import Settings

    columns = (
        *("event_id", "event_time", "user_id", "event_type", "item_id", "category", "brand", "session_id"),
        *("order_id", "quantity", "unit_price", "discount", "amount", "duration_seconds", "channel"),
    )
    targets = {
        "events": {"columns": {c: c for c in columns}, "event_types": {kind: kind for kind in KINDS}},
        "users": {"columns": {"user_id": "user_id"}},
        "items": {"columns": {"item_id": "item_id"}},
        "reviews": {"columns": {"text": "text"}},
    }
    return Settings.model_validate(
        {
            "storage": {"root": str(shop.folder)},
            "business_timezone": TIMEZONE,
            "windows_days": WINDOWS,
            "buckets": shop.buckets,
            "sources": {t: {"format": "parquet", "path": t, "target": t, **more} for t, more in targets.items()},
        }
    )
