"""Random histories of many customers as the project's own tables, and the job that builds features from them."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from frames import event_frame, frame_of
from histories import (
    ALL_TYPES,
    AS_OF,
    BERLIN,
    BROKEN,
    WINDOWS,
    Row,
    drawn,
    histories,
    local,
    user_versions,
    written_reviews,
)
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from profiling_spark.config import Settings
from profiling_spark.context import Context
from profiling_spark.contracts.features import ITEM_FEATURES, RFM_CUTS, user_features_table
from profiling_spark.contracts.silver import ATTRIBUTES, EVENTS, ITEMS, REVIEWS, USERS
from profiling_spark.features.job import build_features
from profiling_spark.storage import Tables

Built = dict[str, pl.DataFrame]  # by name of the table, in the order of its key
ZONE = ZoneInfo(BERLIN)

_EVENT_COLUMNS = (
    *("event_id", "event_time", "user_id", "event_type", "item_id", "category", "brand", "session_id", "order_id"),
    *("quantity", "unit_price", "discount", "amount", "duration_seconds", "channel"),
)
_SOURCES: dict[str, Any] = {
    "shop": {
        "target": "events",
        "columns": {c: c for c in _EVENT_COLUMNS},
        "event_types": {kind: kind for kind in ALL_TYPES},
    },
    **{name: {"target": "users", "columns": {"user_id": "user_id"}} for name in ("app", "bureau", "crm")},
    "catalogue": {"target": "items", "columns": {"item_id": "item_id"}},
    "stars": {"target": "reviews", "columns": {"text": "text"}},
}
BOT_EVENTS_PER_DAY, BOT_DAYS = 1, 3  # so few that some customers are bots on some of the dates alone
OWN_FEATURE = {
    "name": "night_orders",
    "measure": "count",
    "event_types": ["purchase"],
    "where": {"hour": {"min": 22, "max": 5}},
    "unit": "orders",
    "description": "Orders placed at night",
}


@dataclass(frozen=True)
class Shop:
    """Rows of the silver tables; what a row leaves out is null."""

    events: list[Row]
    users: list[Row]
    items: list[Row]
    reviews: list[Row]

    def before(self, as_of: date) -> "Shop":
        """What was known on the day before `as_of`, business timezone."""
        midnight = datetime.combine(as_of, datetime.min.time(), ZONE)
        return Shop(
            [e for e in self.events if e["event_date"] < as_of],
            [v for v in self.users if v["valid_from"] is None or v["valid_from"] < midnight],
            [v for v in self.items if v["valid_from"] < midnight],
            [r for r in self.reviews if r["review_time"] and r["review_time"] < midnight],
        )


def random_shop(examples: int) -> Shop:
    """Each example's few customers under ids of their own; items, orders and sessions are common to all."""
    parts = st.tuples(histories(40), user_versions(), st.lists(written_reviews(), max_size=8))
    renamed = [
        [[row | {"user_id": row["user_id"] and f"{row['user_id']} {n}"} for row in rows] for rows in example]
        for n, example in enumerate(drawn(parts, examples))
    ]
    events, users, reviews = (list(chain.from_iterable(rows)) for rows in zip(*renamed, strict=True))
    return Shop(
        [row | {"event_id": f"e{n}"} for n, row in enumerate([*events, *_bots(events[0])])],
        users,
        _catalogue(),
        [row | {"review_id": f"r{n}", "item_id": f"i{n % 6}"} for n, row in enumerate(reviews)],
    )


def _bots(event: Row) -> list[Row]:
    """Two customers who look at two items on one day: one is a bot since the last date, one was at the first alone.

    `event`: of which the rows have the columns.
    """
    days = {"comes": AS_OF - timedelta(days=1), "goes": AS_OF - timedelta(days=6)}
    return [
        dict.fromkeys(event)
        | {
            "user_id": user,
            "event_type": "view",
            "item_id": item,
            "event_time": local(day, "12:00:00"),
            "event_date": day,
        }
        for user, day in days.items()
        for item in ("i1", "i2")
    ]


def _catalogue() -> list[Row]:
    """Of the items with events, `i4` is not listed; `i1` has a new price since three days, `i2` is older than its
    price, of `i3` the category is not known; nobody touched `i5`.
    """
    return [
        {"item_id": item, "valid_from": local(AS_OF - timedelta(days=age), "00:00:00"), "source": "catalogue"} | known
        for item, age, known in (
            ("i1", 400, {"category": "a", "brand": "x", "list_price": Decimal(5)}),
            ("i1", 3, {"category": "a", "brand": "x", "list_price": Decimal("0.25")}),
            ("i2", 400, {"category": "a"}),
            ("i2", 5, {"category": "a", "brand": "y", "list_price": Decimal("0.5")}),
            ("i3", 400, {"brand": "X", "list_price": Decimal(1)}),
            ("i5", 8, {"category": "a", "list_price": Decimal("0.5")}),
        )
    ]


def settings_of(root: str, buckets: int, bot_events_per_day: int = BOT_EVENTS_PER_DAY) -> Settings:
    """Sources that supply everything, three of them attributes of customers; one configured feature; a few bots."""
    return Settings.model_validate(
        {
            "storage": {"root": root},
            "business_timezone": BERLIN,
            "windows_days": WINDOWS,
            "buckets": buckets,
            "sources": {name: {"format": "parquet", "path": name, **more} for name, more in _SOURCES.items()},
            "custom_features": [OWN_FEATURE],
            "ingest": {"rules": [{"name": BROKEN, "when": "quantity > 99", "features": "leave_out"}]},
            "recommend": {"bot_events_per_day": bot_events_per_day, "history_days": BOT_DAYS},
        }
    )


def append(spark: SparkSession, settings: Settings, shop: Shop) -> None:
    """Add a shop's rows to the tables: one commit a table, none where there are no rows."""
    tables = Tables(spark, settings.storage.root, run_id="test")
    if shop.events:
        tables.append(EVENTS, event_frame(spark, shop.events, buckets=settings.buckets))
    for table, rows in ((USERS, shop.users), (ITEMS, shop.items), (REVIEWS, shop.reviews)):
        if rows:
            tables.append(
                table, frame_of(spark, table, [_delivered(row) for row in rows] if table in ATTRIBUTES else rows)
            )


def _delivered(version: Row) -> Row:
    """A version as ingest writes it: delivered when it became valid, where the row does not say otherwise."""
    delivered = version.get("delivered_at") or version["valid_from"]
    return version | {"delivered_at": delivered, "version_time": version["valid_from"] or delivered}


def remove(spark: SparkSession, settings: Settings, predicate: str) -> None:
    """Delete events."""
    Tables(spark, settings.storage.root, run_id="test").delete(EVENTS, predicate)


def build(spark: SparkSession, settings: Settings, first: date, last: date) -> Built:
    """What the job `build_features --from first --to last` wrote."""
    tables = Tables(spark, settings.storage.root, run_id="test")
    build_features(Context(settings, spark, tables, datetime.now(UTC), last), since=first)
    return stored(settings, first, last)


def stored(settings: Settings, first: date, last: date) -> Built:
    """The feature tables at these dates, as another reader sees them."""
    own = user_features_table(settings.windows_days, settings.custom_features)
    return {
        table.name: pl.read_delta(f"{settings.storage.root}/{table.name}")
        .filter(pl.col("as_of").is_between(first, last))
        .select(table.names)
        .sort(table.key)
        for table in (own, ITEM_FEATURES, RFM_CUTS)
    }
