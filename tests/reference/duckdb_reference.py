"""A second, independent implementation of `user_features` in DuckDB SQL: one row per customer, no Spark, no kernels."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date

import duckdb
import duckdb_reference_sides as sides
import duckdb_reference_sql as sql
import pyarrow as pa

COUNTED = {
    "logins": "login",
    "views": "view",
    "searches": "search",
    "favorites": "favorite",
    "carts": "cart",
    "ad_views": "ad_view",
    "ad_clicks": "ad_click",
    "services": "service",
    "review_events": "review",
}
SUPPLIED_TYPES = frozenset({*COUNTED.values(), "purchase", "refund"})
SUPPLIED_COLUMNS = frozenset({"session_id", "duration_seconds", "discount"})

# in the order of docs/features.md
FEATURES = (
    *(f"{name}_{{w}}d" for name in COUNTED),
    *("purchases_{w}d", "refunds_{w}d", "activity_{w}d", "active_days_{w}d", "sessions_{w}d", "session_seconds_{w}d"),
    *("days_since_last_event", "tenure_days", "is_bot", "night_share_{w}d", "weekend_share_{w}d"),
    *("purchase_frequency_{w}d", "purchases_per_session_{w}d"),
    *("view_to_cart_{w}d", "cart_to_purchase_{w}d", "view_to_purchase_{w}d"),
    *("purchase_amount_{w}d", "flagged_amount", "flagged_amount_{w}d"),
    *("net_amount_{w}d", "consumption_power_{w}d", "interpurchase_days"),
    *("discount_share_{w}d", "refund_share_{w}d"),
    *("recency_days", "frequency", "monetary", "r_score", "f_score", "m_score", "rfm_score", "rfm_group"),
    *("category_breadth_{w}d", "brand_breadth_{w}d", "items_bought_{w}d", "price_preference"),
    *("favorite_category", "favorite_brand", "favorite_channel", "favorite_hour", "popular_item_viewer_{w}d"),
    *("reviews_{w}d", "mean_rating_{w}d"),
    *("gender_code", "age", "age_band", "occupation", "income", "province", "city", "registered_days"),
)
# relations of the final join; each has one row per customer or none
_PARTS = (
    *("behaviour", "ratios", "value", "rfm", "scores", "breadth", "price_preference", "favorite_category"),
    *("favorite_brand", "favorite_channel", "favorite_hour", "viewing", "reviewing", "demographics"),
)


def reference_features(
    events: str,
    users: str | None,
    items: str | None,
    reviews: str | None,
    as_of: date,
    windows: tuple[int, ...],
    timezone: str,
    *,
    connection: duckdb.DuckDBPyConnection | None = None,
    supplied: Collection[str] | None = None,
    rfm_rules: Sequence[tuple[str, str]] = (),
    item_percentiles: str | None = None,
    bot_events_per_day: int = 1000,
    bot_days: int = 365,
) -> pa.Table:
    """`user_id` and every feature of docs/features.md, ordered by user_id.

    The relations have the columns of the silver tables: a Parquet glob, or a table or view of `connection`, whose
    TimeZone becomes UTC. `supplied`: event types and columns (session_id, duration_seconds, discount) that the sources
    give; None takes those that occur in `events`. `rfm_rules`: (group, SQL over r_score, f_score, m_score), the first
    that holds names the group; docs/features.md does not state them, and without them `rfm_group` is null.
    Bots have more than `bot_events_per_day` events on one of the last `bot_days`.
    `item_percentiles`: a relation (item_id, price_percentile) instead of percentiles from `items` and `events`.
    """
    own = connection is None
    con = duckdb.connect(config={"threads": 1}) if connection is None else connection
    try:
        # event_time and its like are UTC, with or without a zone in their type
        con.execute("SET TimeZone = 'UTC'")
        relation = _relation(events)
        given = _occurring(con, relation) if supplied is None else frozenset(supplied)
        values = {name: str(name in given).upper() for name in SUPPLIED_TYPES | SUPPLIED_COLUMNS}
        values |= {
            "events": relation,
            "users": sides.NO_USERS if users is None else _relation(users),
            "items": sides.NO_ITEMS if items is None else _relation(items),
            "reviews": sides.NO_REVIEWS if reviews is None else _relation(reviews),
            "reviews_given": str(reviews is not None).upper(),
            "as_of": f"DATE '{as_of.isoformat()}'",
            "zone": f"'{timezone}'",
            "rfm_group": _group_case(rfm_rules),
            "bot_events_per_day": str(bot_events_per_day),
            "bot_days": str(bot_days),
        }
        percentile = None if item_percentiles is None else _relation(item_percentiles)
        return con.sql(_fill(feature_query(windows, percentile), values)).to_arrow_table()
    finally:
        if own:
            con.close()


def feature_names(windows: Sequence[int]) -> list[str]:
    """Every feature, in the order of docs/features.md."""
    return [_fill(f, {"w": str(w)}) for f in FEATURES for w in (windows if "{w}" in f else windows[:1])]


def feature_query(windows: Sequence[int], percentile: str | None = None) -> str:
    """One statement for the whole table, its placeholders still in it."""
    shown = "event_type IN ('view', 'favorite', 'cart', 'purchase')"
    given = f"\npercentile AS (SELECT item_id, price_percentile FROM {percentile})"
    parts = [
        sql.PAST,
        *(_windowed(part, windows) for part in (sql.BEHAVIOUR, sql.RATIOS, sql.SUMS, sql.VALUE)),
        sql.RFM,
        _windowed(sql.BREADTH, windows),
        given if percentile else sides.PERCENTILE,
        sides.PRICE_PREFERENCE,
        *(_fill(sides.FAVORITE, {"name": n, "among": shown}) for n in ("category", "brand")),
        *(_fill(sides.FAVORITE, {"name": n, "among": "true"}) for n in ("channel", "hour")),
        *(_fill(sides.POPULAR, {"w": str(w)}) for w in windows),
        _windowed(sides.VIEWING, windows),
        _windowed(sides.REVIEWING, windows),
        sides.DEMOGRAPHICS,
    ]
    joins = "".join(f"\nLEFT JOIN {part} USING (user_id)" for part in _PARTS)
    columns = ", ".join(feature_names(windows))
    return "WITH" + ",".join(parts) + f"\nSELECT user_id, {columns}\nFROM people{joins}\nORDER BY user_id"


def _windowed(triple: tuple[str, str, str], windows: Sequence[int]) -> str:
    before, each, after = triple
    counts = (_fill(sql.COUNT, {"supplied": f"{{{t}}}", "type": t, "name": n}) for n, t in COUNTED.items())
    each = _fill(each, {"counts": ",\n        ".join(counts)})
    return before + ",".join(_fill(each, {"w": str(w)}) for w in windows) + after


def _fill(template: str, values: Mapping[str, str]) -> str:
    """Replace the placeholders that have a value; the others stay for later."""
    return re.sub(r"\{(\w+)\}", lambda m: values.get(m[1], m[0]), template)


def _relation(name: str) -> str:
    """A glob or path becomes a reader; anything else is the name of a table or view."""
    is_path = "/" in name or "*" in name or name.endswith(".parquet")
    quoted = name.replace("'", "''")
    return f"read_parquet('{quoted}', union_by_name = true)" if is_path else name


def _occurring(con: duckdb.DuckDBPyConnection, events: str) -> frozenset[str]:
    """Event types with an event, and columns with a value, at any date."""
    types = con.execute(f"SELECT DISTINCT event_type FROM {events}").fetchall()
    columns = sorted(SUPPLIED_COLUMNS)
    counts = ", ".join(f"count({c})" for c in columns)
    found = con.execute(f"SELECT {counts} FROM {events}").fetchall()[0]
    return frozenset(str(t) for (t,) in types) | {c for c, n in zip(columns, found, strict=True) if n}


def _group_case(rules: Sequence[tuple[str, str]]) -> str:
    if not rules:
        return "NULL::VARCHAR"
    return "CASE " + " ".join(f"WHEN {condition} THEN '{group}'" for group, condition in rules) + " END"
