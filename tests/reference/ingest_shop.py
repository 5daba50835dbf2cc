"""A small dirty log, its settings, and what a lake holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from profiling_spark.config import Settings
from profiling_spark.contracts.silver import EVENTS, INGESTED_FILES, REJECTED_ROWS
from profiling_spark.contracts.table import Table
from profiling_spark.storage import Tables

HEADER = "id,when,who,what,sku,qty,price,order\n"
GOOD = [
    "1,2026-05-01 23:30:00,u1,buy,a,2,10.50,o1",
    "2,2026-05-02 09:00:00,u2,look,b,,,",
    "3,2026-05-02 10:00:00,u1,back,a,1,10.50,o1",
]
BAD = {
    "4,2026-05-02 10:00:00,,buy,a,1,5,o2": "no_user",
    "5,not-a-time,u1,buy,a,1,5,o2": "bad_event_time",
    "6,1970-01-01 00:00:00,u1,buy,a,1,5,o2": "time_out_of_range",
    "7,2026-05-02 10:00:00,u1,buyy,a,1,5,o2": "unknown_event_type",
    "8,2026-05-02 10:00:00,u1,buy,a,1,0,o2": "price_not_positive",
    "9,2026-05-02 10:00:00,u1,buy,a,-1,5,o2": "quantity_not_positive",
    "10,2026-05-02 10:00:00,u1,buy,a,1,NaN,o2": "bad_unit_price",
    "11,2026-05-02 10:00:00,,buyy,a,1,5,o2": "no_user,unknown_event_type",
    "12,2026-05-02 10:00:00,u1,buy": "unreadable",
}


def settings(root: str, data: Path, **changes: object) -> Settings:
    """Settings of the log; `changes` are settings of `ingest`."""
    log = {
        "format": "csv",
        "path": "*.csv",
        "target": "events",
        "columns": {
            "event_id": "id",
            "event_time": "when",
            "user_id": "who",
            "event_type": "what",
            "item_id": "sku",
            "quantity": "qty",
            "unit_price": "price",
            "order_id": "order",
        },
        "event_types": {"buy": "purchase", "look": "view", "back": "refund", "beat": "ignored"},
        "timezone": "Asia/Shanghai",
    }
    rules = [{"name": "many", "level": "flag", "when": "quantity >= 2"}]
    limits = {"latest_event_date": "2026-12-31", "max_rejected_share": 1.0, "max_no_user_share": 1.0, "rules": rules}
    return Settings.model_validate(
        {
            "storage": {"root": root},
            "data_root": str(data),
            "business_timezone": "Asia/Shanghai",
            "buckets": 2,
            "sources": {"log": log},
            "ingest": {**limits, **changes},
        }
    )


def rows(tables: Tables, table: Table, *, without: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """All rows of a table as another process would read them, in one order."""
    fresh = Tables(tables.spark, tables.root, run_id="reader")
    found = [r.asDict() for r in fresh.read(table).collect()]
    kept = [{k: v for k, v in r.items() if k not in without} for r in found]
    return sorted(kept, key=lambda r: json.dumps(r, default=str, sort_keys=True))


def everything(tables: Tables) -> dict[str, list[dict[str, Any]]]:
    """What ingest has written, apart from the run's name and what depends on when a file was written."""
    return {t.name: rows(tables, t, without=("run_id", "etag")) for t in (EVENTS, REJECTED_ROWS, INGESTED_FILES)}
