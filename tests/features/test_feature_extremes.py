"""Customers at the extremes, worked out by hand: one event, only refunds, no attributes, a million events.

AS_OF is Friday, 5 April 2024; windows are 3, 7 and 30 days; the business timezone is Berlin's. Everything happened in
March and April at noon, but for `busy`, who acts all day, on each of the last 100 days.
"""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
from feature_lakes import Shop, append, build, settings_of
from histories import AS_OF, BERLIN, EVENT_SCHEMA, Row, event, event_frame, local, params, user_frame
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from profiling_spark.contracts.silver import EVENTS
from profiling_spark.contracts.table import cast_to
from profiling_spark.features import user_features
from profiling_spark.storage import Tables

ONE = event("view", 2, user_id="one", item_id="i", category="tea", brand="x", channel="app", session_id="s")
REFUNDS = [
    event("refund", 1, user_id="refunds", order_id="r", amount="10.25", item_id="i", category="tea"),
    event("refund", 1, user_id="refunds", order_id="r", amount="0.5", item_id="j", category="tea"),
    event("refund", 5, user_id="refunds", amount="4"),
]
USER_ROWS: list[Row] = [
    {"user_id": user, "valid_from": local(AS_OF - timedelta(days=60)), "age": 40, "city": "Ulm", "source": "crm"}
    for user in ("one", "refunds", "busy")
]
WHO = {"gender_code": None, "age": 40, "age_band": "36-45", "city": "Ulm", "province": None, "registered_days": None}
NOBODY = dict.fromkeys(WHO)

EXPECTED: dict[str, dict[str, Any]] = {
    "one": WHO
    | {"views_3d": 1, "views_7d": 1, "activity_3d": 1, "logins_3d": 0, "purchases_30d": 0, "sessions_3d": 1}
    | {"days_since_last_event": 2, "tenure_days": 2, "active_days_3d": 1, "night_share_3d": 0.0}
    | {"weekend_share_3d": 0.0, "favorite_hour": 12, "favorite_category": "tea", "favorite_brand": "x"}
    | {"favorite_channel": "app", "view_to_cart_3d": 0.0, "cart_to_purchase_3d": None, "purchase_frequency_3d": None}
    | {"purchase_amount_30d": 0, "net_amount_30d": 0, "consumption_power_30d": None, "interpurchase_days": None}
    | {"recency_days": None, "frequency": 0, "monetary": 0, "category_breadth_30d": 0, "price_preference": None},
    "refunds": WHO
    | {"refunds_3d": 1, "refunds_7d": 2, "purchases_7d": 0, "views_7d": 0, "activity_7d": 0, "sessions_7d": 0}
    | {"purchase_amount_7d": 0, "net_amount_3d": Decimal("-10.75"), "net_amount_7d": Decimal("-14.75")}
    | {"refund_share_7d": None, "discount_share_7d": None, "consumption_power_7d": None, "favorite_category": None}
    | {"recency_days": None, "frequency": 0, "monetary": Decimal("-14.75"), "interpurchase_days": None}
    | {"days_since_last_event": 1, "tenure_days": 5, "active_days_7d": 2, "weekend_share_7d": 1 / 3}
    | {"items_bought_7d": 0, "category_breadth_7d": 0, "purchases_per_session_7d": None},
    "stranger": NOBODY
    | {"logins_7d": 1, "logins_3d": 0, "days_since_last_event": 7, "tenure_days": 7, "purchase_frequency_7d": 0.0}
    | {"purchase_frequency_3d": None, "income": None, "occupation": None, "attribute_conflicts": None},
}
STRANGER = event("login", 7, user_id="stranger")


def busy(per_day: int) -> pl.DataFrame:
    """The events of `busy`: of ten in a row one purchase, one refund and eight views; two purchases make an order.

    The n-th event of a day is n * 80,000 / per_day seconds after midnight, the last before 22:14. What would lie
    between two and three on 31 March, an hour that Berlin did not have, is an hour later.
    """
    n = pl.int_range(100 * per_day)
    day = pl.lit(AS_OF) - pl.duration(days=n // per_day + 1)
    seconds = (n % per_day) * (80_000 // per_day)
    kind = pl.when(n % 10 == 0).then(pl.lit("purchase")).when(n % 10 == 1).then(pl.lit("refund"))
    wall_clock = day.cast(pl.Datetime("us")) + pl.duration(seconds=seconds)
    utc, hour_later = (
        time.dt.replace_time_zone(BERLIN, non_existent="null").dt.convert_time_zone("UTC")
        for time in (wall_clock, wall_clock + pl.duration(hours=1))
    )
    frame = pl.select(
        user_id=pl.lit("busy"),
        event_type=kind.otherwise(pl.lit("view")),
        event_time=utc.fill_null(hour_later),
        event_date=day,
        event_id=pl.format("b{}", n),
        item_id=pl.format("i{}", n % 1000),
        order_id=pl.when(n % 10 == 0).then(pl.format("o{}", n // 20)),
        session_id=pl.format("s{}", n // 100),
        amount=pl.when(n % 10 == 0).then(pl.lit("1.25")).when(n % 10 == 1).then(pl.lit("0.25")).cast(pl.Decimal(18, 4)),
        duration_seconds=pl.lit(0.125),
    )
    absent = (pl.lit(None, t).alias(c) for c, t in EVENT_SCHEMA.items() if c not in frame.columns)
    return frame.with_columns(absent).select(pl.col(c).cast(t) for c, t in EVENT_SCHEMA.items())


def busy_features(per_day: int) -> dict[str, Any]:
    """What follows from the rule of `busy`; per_day is a multiple of 1,000, so that items repeat every day."""
    per_window = {
        f"{name}_{w}d": value
        for w in (3, 7, 30)
        for name, value in (
            ("views", per_day * w * 8 // 10),
            ("purchases", per_day * w // 20),
            ("refunds", per_day * w // 10),
            ("activity", per_day * w * 85 // 100),
            ("active_days", w),
            ("sessions", per_day * w // 100),
            ("session_seconds", per_day * w / 8),
            ("purchase_amount", Decimal("0.125") * per_day * w),
            ("net_amount", Decimal("0.1") * per_day * w),
            ("consumption_power", 2.5),
            ("refund_share", 0.2),
            ("items_bought", 100),
            ("view_to_purchase", 0.0625),
            ("night_share", 0.28),  # 27 of 100 before 06:00, on 31 March too, and one from 22:00 on
        )
    }
    whole_history = {
        "days_since_last_event": 1,
        "tenure_days": 100,
        "recency_days": 1,
        "frequency": 5 * per_day,
        "monetary": Decimal(10) * per_day,
        "interpurchase_days": 1.0,
        "favorite_hour": 3,  # on 31 March it had the events of two hours
    }
    weekends = {"weekend_share_3d": 0.0, "weekend_share_7d": 2 / 7, "weekend_share_30d": 8 / 30}
    return WHO | per_window | whole_history | weekends


def assert_hand_worked(features: pl.DataFrame, per_day: int) -> None:
    found = {row["user_id"]: row for row in features.to_dicts()}
    expected = EXPECTED | {"busy": busy_features(per_day)}
    assert set(found) == set(expected)
    for user, wanted in expected.items():
        assert {name: found[user][name] for name in wanted} == wanted, user


def test_each_has_a_correct_row() -> None:
    rows = pl.concat([busy(10_000), event_frame([ONE, *REFUNDS, STRANGER])])
    assert rows["user_id"].value_counts().sort("count")["count"].to_list() == [1, 1, 3, 1_000_000]
    assert_hand_worked(user_features(rows, params=params(), users=user_frame(USER_ROWS)), per_day=10_000)


def test_each_has_a_correct_row_where_all_share_a_bucket_of_the_shop(spark: SparkSession, tmp_path: Path) -> None:
    per_day = 1_000
    settings = settings_of(str(tmp_path / "lake"), buckets=1, bot_events_per_day=per_day)
    few = [row | {"event_id": f"e{n}"} for n, row in enumerate((ONE, *REFUNDS, STRANGER))]
    append(spark, settings, Shop(few, USER_ROWS, [], []))
    busy(per_day).write_parquet(tmp_path / "busy.parquet")
    rows = spark.read.parquet(str(tmp_path / "busy.parquet"))
    absent = {c: F.lit(None) for c in EVENTS.names if c not in rows.columns}
    whole = rows.withColumns(absent | {"user_bucket": F.lit(0)})
    Tables(spark, settings.storage.root, run_id="test").append(EVENTS, cast_to(EVENTS, whole))

    built = build(spark, settings, AS_OF, AS_OF)
    assert_hand_worked(built["user_features"], per_day)
    items = {row["item_id"]: row for row in built["item_features"].to_dicts()}
    counts = ("views", "purchases", "buyers", "popularity_rank", "conversion", "repeat_share")
    # i0 is bought once a day, in an order with i10; i2 is viewed once a day
    assert [items["i0"][c] for c in counts] == [0, 100, 1, 1, None, 1.0]
    assert [items["i2"][c] for c in counts[:3]] == [100, 0, 0]
    assert [items["i"][c] for c in counts[:3]] == [1, 0, 0]
    cuts = built["rfm_cuts"].filter(pl.col("measure") == "frequency")
    assert (cuts["value"].to_list(), cuts["customers"].to_list()) == ([Decimal(5_000)] * 4, [1] * 4)
