"""Raw files to tables `events`, `users`, `items`, `reviews` in DuckDB SQL, from the settings' meaning, without Spark.

One function per data set. Rows that the cleaning rules refuse stay out, repeated rows count once, and an event's id is
made as the project makes it. Of the flags those that stand on amounts are kept.
Bookkeeping columns of the silver tables (bucket, file and run) are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
from duckdb_raw_sql import Counts, csv_rows, json_rows, load_events, load_items, load_reviews, load_users, prepare


@dataclass(frozen=True)
class Loaded:
    """What a loader made: header for `reference_features` (None: the data set has no such table) and row counts."""

    timezone: str
    supplied: frozenset[str]
    counts: dict[str, Counts]
    users: str | None = None
    items: str | None = None
    reviews: str | None = None
    events: str = "events"


def load_online_retail(folder: Path, con: duckdb.DuckDBPyConnection) -> Loaded:
    """`folder`: one CSV a day. Invoices that start with C are refunds; their quantities change sign."""
    prepare(con)
    header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
    lines = csv_rows(con, "lines", folder, "*.csv", header)
    items = load_items(con, {"item_id": "StockCode", "title": "Description"}, lines)
    mapping = {
        "user_id": "regexp_replace(CustomerID, '[.]0$', '')",
        "event_time": "InvoiceDate",
        "word": "CASE WHEN InvoiceNo LIKE 'C%' THEN 'cancellation' ELSE 'sale' END",
        "quantity": "CASE WHEN InvoiceNo LIKE 'C%' THEN -1 ELSE 1 END * TRY_CAST(Quantity AS DECIMAL(18,4))",
        "unit_price": "UnitPrice",
        "order_id": "InvoiceNo",
        "item_id": "StockCode",
    }
    words = {"sale": "purchase", "cancellation": "refund"}
    zone = "Europe/London"
    events = load_events(con, "invoices", mapping, lines, words=words, timezone=zone, latest=date(2011, 12, 31))
    con.execute("UPDATE events SET flags = 'many_pieces' WHERE quantity > 5000")  # the rule of conf/online_retail.yaml
    counts = {"invoices": events, "catalogue": items}
    return Loaded(zone, frozenset(words.values()), counts, items="items")


def load_rees46(folder: Path, con: duckdb.DuckDBPyConnection) -> Loaded:
    """`folder`: CSV files of clicks. Without a category code the shop's category number serves."""
    prepare(con)
    header = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"
    lines = csv_rows(con, "lines", folder, "*.csv", header)
    mapping = {
        "user_id": "user_id",
        "event_time": "event_time",
        "word": "event_type",
        "item_id": "product_id",
        "category": "coalesce(nullif(category_code, ''), category_id)",
        "brand": "brand",
        "unit_price": "price",
        "quantity": "CASE WHEN event_type = 'purchase' THEN 1 END",
        "session_id": "user_session",
    }
    words = {"view": "view", "cart": "cart", "remove_from_cart": "ignored", "purchase": "purchase"}
    counts = load_events(con, "clicks", mapping, lines, words=words, timezone="UTC", latest=date(2019, 12, 31))
    return Loaded("UTC", frozenset({"view", "cart", "purchase", "session_id"}), {"clicks": counts})


def load_complete_journey(folder: Path, con: duckdb.DuckDBPyConnection) -> Loaded:
    """`folder`: transactions_sample.csv, products.csv and demographics.csv. Amounts are what the customer paid."""
    prepare(con)
    header = "product_id,manufacturer_id,department,brand,product_category,product_type,package_size"
    products = csv_rows(con, "product_lines", folder, "products.csv", header)
    category = "coalesce(product_category, department)"
    mapping = {"item_id": "product_id", "title": "product_type", "category": category}
    items = load_items(con, mapping | {"brand": "concat('maker ', manufacturer_id)"}, products)
    header = "household_id,age,income,home_ownership,marital_status,household_size,household_comp,kids_count"
    households = csv_rows(con, "household_lines", folder, "demographics.csv", header)
    users = load_users(con, {"user_id": "household_id", "age_band": "age"}, households, timezone="America/New_York")
    header = "household_id,store_id,basket_id,product_id,quantity,sales_value,"
    header += "retail_disc,coupon_disc,coupon_match_disc,week,transaction_timestamp"
    lines = csv_rows(con, "lines", folder, "transactions_sample.csv", header)
    price = [f"TRY_CAST({c} AS DECIMAL(18,6))" for c in ("sales_value", "retail_disc", "coupon_match_disc")]
    off = [f"TRY_CAST({c} AS DECIMAL(18,4))" for c in ("retail_disc", "coupon_disc", "coupon_match_disc")]
    mapping = {
        "user_id": "household_id",
        "event_time": "transaction_timestamp",
        "word": "'sale'",
        "order_id": "basket_id",
        "item_id": "product_id",
        "quantity": "quantity",
        "unit_price": f"divided({' + '.join(price)}, TRY_CAST(quantity AS DECIMAL(18,4)))",
        "discount": " + ".join(off),
        "amount": "GREATEST(TRY_CAST(sales_value AS DECIMAL(18,4)) - TRY_CAST(coupon_disc AS DECIMAL(18,4)), 0)",
    }
    zone, latest = "America/New_York", date(2018, 12, 31)
    sold = load_events(con, "transactions", mapping, lines, words={"sale": "purchase"}, timezone=zone, latest=latest)
    counts = {"transactions": sold, "products": items, "households": users}
    return Loaded(zone, frozenset({"purchase", "discount"}), counts, users="users", items="items")


BEHAVIOUR = {
    "event_id": "log_id",
    "event_time": "ts",
    "user_id": "uid",
    "word": "action",
    "item_id": "sku",
    "category": "cate",
    "brand": "brand",
    "session_id": "session",
    "duration_seconds": "TRY_CAST(stay_ms AS DOUBLE) / 1000",
    "channel": "channel",
    "device": "device",
    "province": "province",
    "city": "city",
    "search_text": "query",
}
ORDERS = {
    "event_id": "concat_ws('/', order_id, line_no, type)",
    "event_time": "order_time",
    "user_id": "uid",
    "word": "type",
    "order_id": "order_id",
    "item_id": "sku",
    "category": "cate",
    "brand": "brand",
    "quantity": "qty",
    "unit_price": "price",
    "discount": "discount",
    "payment_method": "pay",
    "third_party_payment": "pay IN ('alipay', 'wechat_pay')",
    "channel": "channel",
}
DEMO_ACTIONS = {
    **{"login": "login", "search": "search", "click": "view", "fav": "favorite", "add_cart": "cart"},
    **{"ad_show": "ad_view", "ad_click": "ad_click", "service": "service"},
    **{"heartbeat": "ignored", "app_start": "ignored"},
}
DEMO_ORDERS = {"order": "purchase", "refund": "refund"}


def load_demo(folder: Path, con: duckdb.DuckDBPyConnection) -> Loaded:
    """`folder`: what the demo generator wrote."""
    prepare(con)
    zone, latest = "Asia/Shanghai", date(2026, 12, 31)
    counts = {**_demo_side_tables(folder, con, zone)}
    keys = "log_id,ts,uid,action,sku,cate,brand,session,stay_ms,channel,device,province,city,query"
    logs = json_rows(con, "behaviour_lines", folder / "behaviour", "*.jsonl", keys)
    counts["behaviour"] = load_events(
        con, "behaviour", BEHAVIOUR, logs, words=DEMO_ACTIONS, timezone=zone, latest=latest
    )
    header = "order_id,line_no,order_time,uid,sku,cate,brand,qty,price,discount,type,pay,channel,remark"
    lines = csv_rows(con, "order_lines", folder / "orders", "*.csv", header)
    counts["orders"] = load_events(con, "orders", ORDERS, lines, words=DEMO_ORDERS, timezone=zone, latest=latest)
    con.execute("UPDATE events SET flags = 'many_pieces' WHERE quantity > 500")  # the rule of conf/demo.yaml
    types = {*DEMO_ACTIONS.values(), *DEMO_ORDERS.values()} - {"ignored"}
    supplied = frozenset(types | {"session_id", "duration_seconds", "discount"})
    return Loaded(zone, supplied, counts, users="users", items="items", reviews="reviews")


def _local_midnight(path: Path, zone: str) -> datetime:
    """The day at the end of a file's name, as a time in UTC."""
    return datetime.fromisoformat(path.stem[-10:]).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).replace(tzinfo=None)


def _demo_side_tables(folder: Path, con: duckdb.DuckDBPyConnection, zone: str) -> dict[str, Counts]:
    mapping = {"item_id": "sku", "title": "title", "category": "cate", "subcategory": "subcate", "brand": "brand"}
    columns = mapping | {"list_price": "price", "stock": "stock"}
    catalogue = "CREATE OR REPLACE TABLE item_lines AS SELECT *, NULL AS _identity FROM read_parquet(?)"
    for path in sorted((folder / "items").iterdir()):
        con.execute(catalogue, [str(path)])
        rows = con.execute("SELECT count(*) FROM item_lines").fetchall()[0][0]
        items = load_items(con, columns, ("item_lines", rows), delivered=_local_midnight(path, zone))
    header = "uid,gender,age,birthday,job,income,province,city,registered_at,opt_out"
    plain = {c: c for c in ("gender", "age", "income", "province", "city", "registered_at")}
    mapping = {"user_id": "uid", "birth_date": "birthday", "occupation": "job", "personalisation_opt_out": "opt_out"}
    for path in sorted((folder / "users").iterdir()):
        people = csv_rows(con, "user_lines", folder / "users", path.name, header)
        users = load_users(con, plain | mapping, people, timezone=zone, delivered=_local_midnight(path, zone))
    written = json_rows(con, "review_lines", folder / "reviews", "*.jsonl", "review_id,uid,sku,stars,text,ts")
    mapping = {"review_id": "review_id", "user_id": "uid", "item_id": "sku", "rating": "stars", "text": "text"}
    reviews = load_reviews(con, "reviews", mapping | {"review_time": "ts"}, written, timezone=zone)
    return {"items": items, "users": users, "reviews": reviews}
