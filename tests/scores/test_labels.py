"""Labels by date: the first and last day that count, and who is asked about."""

from datetime import date

from pyspark.sql import SparkSession

from profiling_spark.scores.labels import (
    CALIBRATION,
    HOLDOUT,
    Label,
    bought,
    labelled,
    population,
    split,
    training_set,
)

SINCE, UNTIL = date(2026, 6, 1), date(2026, 7, 1)


def test_events_from_since_on_and_before_until_make_a_customer_stay(spark: SparkSession) -> None:
    features = spark.createDataFrame([(u,) for u in ("before", "first", "last", "after", "never")], "user_id string")
    events = spark.createDataFrame(
        [
            ("before", date(2026, 5, 31), "view"),
            ("first", SINCE, "view"),
            ("first", SINCE, "ad_click"),
            ("last", date(2026, 6, 30), "ad_click"),
            ("after", UNTIL, "view"),
            ("stranger", SINCE, "view"),
            ("never", SINCE, "ad_view"),  # what the shop showed is no sign of life
        ],
        "user_id string, event_date date, event_type string",
    )

    rows = labelled(features, events, since=SINCE, until=UNTIL).collect()

    assert {r["user_id"]: r["label"] for r in rows} == {"before": 1, "first": 0, "last": 0, "after": 1, "never": 1}
    assert len(rows) == 5


def test_asked_about_are_customers_active_up_to_the_last_day_of_the_window(spark: SparkSession) -> None:
    rows = [("edge", 30, False), ("gone", 31, False), ("fresh", 1, None), ("no event", None, None), ("robot", 1, True)]
    features = spark.createDataFrame(rows, "user_id string, days_since_last_event int, is_bot boolean")

    found = {r["user_id"] for r in population(features, active_days=30).collect()}

    assert found == {"edge", "fresh"}


def test_the_held_out_customers_are_the_same_in_every_run(spark: SparkSession) -> None:
    users = spark.range(5000).selectExpr("concat('u', id) AS user_id")
    part = split(salt=42, holdout_percent=20)

    first = {r["user_id"]: r["part"] for r in users.select("user_id", part.alias("part")).collect()}
    second = {r["user_id"]: r["part"] for r in users.repartition(7).select("user_id", part.alias("part")).collect()}

    assert first == second
    shares = [sum(v == name for v in first.values()) / len(first) for name in (HOLDOUT, CALIBRATION)]
    assert all(0.17 < share < 0.23 for share in shares)
    other = users.select("user_id", split(salt=43, holdout_percent=20).alias("part")).collect()
    assert {r["user_id"]: r["part"] for r in other} != first


def test_a_training_set_looks_from_each_date_at_its_own_horizon(spark: SparkSession) -> None:
    first, second = date(2026, 1, 1), date(2026, 1, 11)
    features = spark.createDataFrame(
        [(first, "u1"), (first, "u2"), (second, "u1"), (second, "u2")], "as_of date, user_id string"
    )
    rows = [
        ("u1", date(2026, 1, 10), "purchase"),  # the last day of the first horizon
        ("u2", date(2026, 1, 11), "view"),  # the first day of the second one
        ("u2", date(2026, 1, 21), "purchase"),  # after both
    ]
    events = spark.createDataFrame(rows, "user_id string, event_date date, event_type string")

    def found(label: Label) -> dict[tuple[date, str], float]:
        frame = training_set(features, events, [first, second], horizon_days=10, label=label)
        return {(r["as_of"], r["user_id"]): r["label"] for r in frame.collect()}

    assert found(labelled) == {(first, "u1"): 0.0, (first, "u2"): 1.0, (second, "u1"): 1.0, (second, "u2"): 0.0}
    assert found(bought) == {(first, "u1"): 1.0, (first, "u2"): 0.0, (second, "u1"): 0.0, (second, "u2"): 0.0}
