"""Who is asked about, what came true, and who is held out. All by date and by hash of the id: nothing is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from functools import reduce
from typing import Protocol

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from profiling_spark.features.windows import NOT_ACTS

CALIBRATION_PERCENT = 20  # of the customers, beside the held-out ones: the forest sees neither
TRAIN, CALIBRATION, HOLDOUT = "train", "calibration", "holdout"


class Label(Protocol):
    """What came true of customers between two dates, as a column `label` of 1.0 and 0.0."""

    def __call__(self, features: DataFrame, events: DataFrame, *, since: date, until: date) -> DataFrame: ...


def population(features: DataFrame, *, active_days: int) -> DataFrame:
    """Customers with an event in the last `active_days` before the features' as_of, but for bots.

    Who left before that has left; a null is_bot, of a release that did not know bots, is none.
    """
    is_person = ~F.coalesce("is_bot", F.lit(False))
    return features.where((F.col("days_since_last_event") <= active_days) & is_person)


def labelled(features: DataFrame, events: DataFrame, *, since: date, until: date) -> DataFrame:
    """`features` (as of `since`) with `label`: 1.0 where the customer has no event dated in [since, until), else 0.0.

    Every event of one's own counts as a sign of life, an ad impression does not. Events from `until` on are not looked
    at.
    """
    window = (F.col("event_date") >= F.lit(since)) & (F.col("event_date") < F.lit(until))
    is_act = ~F.coalesce("event_type", F.lit("")).isin(*NOT_ACTS)
    seen = events.where(window & is_act).select("user_id").distinct().withColumn("_seen", F.lit(True))
    label = F.when(F.col("_seen").isNull(), F.lit(1.0)).otherwise(F.lit(0.0))
    return features.join(seen, on="user_id", how="left").withColumn("label", label).drop("_seen")


def training_set(
    features: DataFrame, events: DataFrame, dates: Sequence[date], *, horizon_days: int, label: Label
) -> DataFrame:
    """Rows of `features` (with as_of) at the dates, each with what came true in the horizon after its own date.

    `label`: a function of (features, events, since, until), such as `labelled` or `bought`. A date without features
    gives no rows.
    """
    parts = [
        label(
            features.where(F.col("as_of") == F.lit(day)),
            events,
            since=day,
            until=day + timedelta(days=horizon_days),
        )
        for day in dates
    ]
    return reduce(DataFrame.unionByName, parts)


def bought(features: DataFrame, events: DataFrame, *, since: date, until: date) -> DataFrame:
    """`features` (as of `since`) with `label`: 1.0 where the customer has a purchase dated in [since, until)."""
    left = labelled(features, events.where(F.col("event_type") == "purchase"), since=since, until=until)
    return left.withColumn("label", F.lit(1.0) - F.col("label"))


def split(*, salt: int, holdout_percent: int) -> Column:
    """`holdout`, `calibration` or `train`: the same customers in every run with the same salt."""
    place = F.pmod(F.xxhash64(F.lit(salt), F.col("user_id")), F.lit(100))
    return (
        F.when(place < holdout_percent, F.lit(HOLDOUT))
        .when(place < holdout_percent + CALIBRATION_PERCENT, F.lit(CALIBRATION))
        .otherwise(F.lit(TRAIN))
    )
