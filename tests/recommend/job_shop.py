"""A shop's tables for tests of the job, and what it wrote."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
from pyspark.sql import functions as F
from recommend_shop import AS_OF, events

from profiling_spark.buckets import bucket_of
from profiling_spark.config import Settings
from profiling_spark.contracts.features import user_features_table
from profiling_spark.contracts.gold import (
    BUNDLES,
    ITEM_AUDIENCE,
    ITEM_NEIGHBOURS,
    REPEAT_CATEGORIES,
    USER_RECOMMENDATIONS,
)
from profiling_spark.contracts.operations import LIVE_MODELS, MODEL_RUNS
from profiling_spark.contracts.silver import EVENTS, ITEMS, USERS
from profiling_spark.storage import Tables

RECOMMEND = {"rank": 8, "iterations": 3, "top_n": 5, "neighbours": 6, "min_pairs": 50}
RECOMMEND |= {"audience": {"item_ids": ["g0i00", "g1i00"], "customers": 8}, "bundles": {"min_orders": 3}}
TABLES = (USER_RECOMMENDATIONS, ITEM_NEIGHBOURS, ITEM_AUDIENCE, BUNDLES, REPEAT_CATEGORIES, MODEL_RUNS, LIVE_MODELS)


def settings_for(tables) -> Settings:
    """Of a small shop."""
    return Settings.model_validate({"storage": {"root": tables.root}, "buckets": 2, "recommend": RECOMMEND})


def write_shop(
    tables,
    settings,
    rows,
    *,
    extra_users=(),
    opted_out=(),
    titles=None,
    stocks=None,
    provinces=None,
    as_of=AS_OF,
    bots=(),
    categories=None,
):
    """Events, users, items and the features' user ids of one as_of. All that a customer bought is one order."""
    spark = tables.spark
    frame = (
        events(rows, categories)
        .with_row_index("n")
        .with_columns(event_id=pl.col("n").cast(pl.String), order_id=pl.col("user_id"))
    )
    bought = spark.createDataFrame(frame.drop("n", "age").to_arrow())
    tables.replace_all(EVENTS, contract_rows(EVENTS, bought, user_bucket=bucket_of("user_id", settings.buckets)))
    ids = sorted({user for user, *_ in rows} | set(extra_users))
    known = [(u, u in opted_out, (provinces or {}).get(u)) for u in ids]
    users = spark.createDataFrame(known, "user_id string, personalisation_opt_out boolean, province string")
    long_ago = F.lit(datetime(2020, 1, 1, tzinfo=UTC))
    times = {"valid_from": long_ago, "version_time": long_ago, "delivered_at": long_ago, "confirmed_at": long_ago}
    tables.replace_all(USERS, contract_rows(USERS, users, **times, source=F.lit("crm")))
    described = [(i, t, (stocks or {}).get(i)) for i, t in sorted((titles or {"none": "none"}).items())]
    items = spark.createDataFrame(described, "item_id string, title string, stock long")
    tables.replace_all(ITEMS, contract_rows(ITEMS, items, **times, source=F.lit("shop")))
    features = user_features_table(settings.windows_days)
    is_bot = F.when(F.col("user_id").isin(*bots), F.lit(True))  # else null, as a release without bots wrote
    tables.replace_slice(features, contract_rows(features, users, as_of=F.lit(as_of), is_bot=is_bot), as_of=as_of)


def contract_rows(table, frame, **columns):
    """All columns of the contract; what the frame lacks is null."""
    frame = frame.withColumns(columns)
    absent = {c.name: F.lit(None).cast(c.data_type) for c in table.columns if c.name not in frame.columns}
    return frame.withColumns(absent).select(*(F.col(c.name).cast(c.data_type).alias(c.name) for c in table.columns))


def newest(tables):
    """A reader without pinned versions."""
    return Tables(tables.spark, tables.root, run_id="reader")


def values(tables):
    return {t.name: sorted(map(tuple, newest(tables).read(t).collect()), key=str) for t in TABLES}


def lists(tables, as_of=AS_OF):
    found = {}
    for r in newest(tables).read(USER_RECOMMENDATIONS, as_of=as_of).orderBy("user_id", "rank").collect():
        found.setdefault(r["user_id"], []).append(r)
    return found
