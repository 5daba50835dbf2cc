"""Labels by date: the first and last day that count, and who is asked about."""

from datetime import date

from pyspark.sql import SparkSession

from profiling_spark.scores.labels import CALIBRATION, HOLDOUT, labelled, population, split

SINCE, UNTIL = date(2026, 6, 1), date(2026, 7, 1)


def test_events_from_since_on_and_before_until_make_a_customer_stay(spark: SparkSession) -> None:
    features = spark.createDataFrame([(u,) for u in ("before", "first", "last", "after", "never")], "user_id string")
    events = spark.createDataFrame(
        [
            ("before", date(2026, 5, 31)),
            ("first", SINCE),
            ("first", SINCE),
            ("last", date(2026, 6, 30)),
            ("after", UNTIL),
            ("stranger", SINCE),
        ],
        "user_id string, event_date date",
    )

    rows = labelled(features, events, since=SINCE, until=UNTIL).collect()

    assert {r["user_id"]: r["label"] for r in rows} == {"before": 1, "first": 0, "last": 0, "after": 1, "never": 1}
    assert len(rows) == 5


def test_asked_about_are_customers_active_up_to_the_last_day_of_the_window(spark: SparkSession) -> None:
    rows = [("edge", 30), ("gone", 31), ("fresh", 1), ("no event", None)]
    features = spark.createDataFrame(rows, "user_id string, days_since_last_event int")

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
