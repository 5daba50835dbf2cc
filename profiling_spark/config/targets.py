"""Tables that sources feed: what of them a source may map, and must."""

from __future__ import annotations

from profiling_spark.contracts.silver import EVENTS, ITEMS, REVIEWS, USERS

TARGETS = {table.name: table for table in (EVENTS, USERS, ITEMS, REVIEWS)}
IGNORED = "ignored"

# columns that ingest fills itself; all others of a target can be mapped
_DERIVED = {
    *("user_bucket", "event_date", "flags", "rescued", "source", "file_id", "run_id"),
    *("version_time", "delivered_at", "confirmed_at", "ended"),
}
DISTINCT_BY = "distinct_by"
# column of a row's own id
ROW_ID = {"events": "event_id", "reviews": "review_id"}
# columns without which a row has no meaning
REQUIRED = {
    "events": ("event_time", "user_id", "event_type"),
    "users": ("user_id",),
    "items": ("item_id",),
    "reviews": ("text",),
}


def mappable(target: str) -> tuple[str, ...]:
    """Columns of a target table that a source may map."""
    return tuple(c for c in TARGETS[target].names if c not in _DERIVED)


def helping(target: str) -> tuple[str, ...]:
    """Columns that a source may map beside those of the table: they change others and are not stored.

    `currency`: code of the currency of the row's figures, such as USD. `distinct_by`: what else distinguishes rows that
    are equal in all mapped columns; part of the ids of rows without one of their own.
    """
    return (*(("currency",) if target != "reviews" else ()), *((DISTINCT_BY,) if target in ROW_ID else ()))
