"""Interaction files with a given split, as the pairs that the engines are fitted and judged on."""

from __future__ import annotations

from functools import reduce

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from profiling_spark.config.policy import Seen
from profiling_spark.contracts.silver import EVENT_TYPES
from profiling_spark.errors import InputError
from profiling_spark.recommend.history.interactions import UNITS
from profiling_spark.recommend.history.refunds import PURCHASE
from profiling_spark.recommend.history.seen import STATES, masked_states

_NAMES = {
    "user_id": ("user", "user_id"),
    "item_id": ("item", "item_id"),
    "weight": ("weight",),
    "rating": ("rating",),
    "time": ("time",),
    "event_type": ("event_type", "event"),
}
_TRAIN, _TEST, _NEGATIVE = "train", "test", "negative"


def read_interactions(spark: SparkSession, path: str) -> DataFrame:
    """(user_id, item_id, weight, rating, time, event_type) as listed; the last four are null where the file has none.

    `.csv` (with a header) and `.parquet` have the columns user and item, and may have weight (summed over a pair's
    rows), rating, time (timestamp, ISO text or Unix seconds) and event_type (view, purchase, ...). Any other file has
    lines `user item item ...`. Raises InputError.
    """
    try:
        bare = path.removesuffix(".gz")
        if bare.endswith((".csv", ".parquet")):
            return _named(_table(spark, path, is_csv=bare.endswith(".csv")), path)
        return _lines(spark, path)
    except AnalysisException as err:
        message = str(err).splitlines()[0]
        raise InputError(f"{path}: expected a readable file of interactions, found: {message}") from err


def _lines(spark: SparkSession, path: str) -> DataFrame:
    parts = F.split(F.trim("value"), r"\s+")
    lines = spark.read.text(path).select(parts[0].alias("user_id"), F.slice(parts, 2, F.size(parts)).alias("_items"))
    # two steps: what stands beside an explode is computed for each of its rows, here the cut of a whole line
    listed = lines.select("user_id", F.explode("_items").alias("item_id"))
    absent = {"weight": "double", "rating": "double", "time": "timestamp", "event_type": "string"}
    return listed.select("*", *(F.lit(None).cast(kind).alias(name) for name, kind in absent.items()))


def _table(spark: SparkSession, path: str, *, is_csv: bool) -> DataFrame:
    if is_csv:
        return spark.read.csv(path, header=True, enforceSchema=False, mode="FAILFAST")
    return spark.read.parquet(path)


def _named(rows: DataFrame, path: str) -> DataFrame:
    """The columns by their names here; text that is no number or time ends the run when it is read."""
    found = {name: next((c for c in rows.columns if c.lower() in given), None) for name, given in _NAMES.items()}
    if found["user_id"] is None or found["item_id"] is None:
        raise InputError(f"{path}: expected columns user and item, found {', '.join(rows.columns)}")
    kinds = dict(rows.dtypes)
    given = {name: F.lit(None) if c is None else F.col(f"`{c}`") for name, c in found.items()}
    return rows.select(
        given["user_id"].cast("string").alias("user_id"),
        given["item_id"].cast("string").alias("item_id"),
        given["weight"].cast("double").alias("weight"),
        given["rating"].cast("double").alias("rating"),
        _time(given["time"], kinds.get(found["time"] or "", "timestamp")).alias("time"),
        F.lower(given["event_type"].cast("string")).alias("event_type"),
    ).where("user_id IS NOT NULL AND item_id IS NOT NULL")


def _time(column: Column, kind: str) -> Column:
    """A timestamp from a date, a timestamp, ISO text, or a number of Unix seconds (also as text)."""
    if kind in ("timestamp", "date", "timestamp_ntz"):
        return column.cast("timestamp")
    seconds = column.try_cast("double")
    return F.when(seconds.isNotNull(), F.timestamp_micros((seconds * 1_000_000).cast("long"))).otherwise(
        F.to_timestamp(column.cast("string"))
    )


def check_event_types(rows: DataFrame, path: str) -> None:
    """Raises InputError where the file has event types of which none is known that says what was bought."""
    found = {row[0] for row in rows.where("event_type IS NOT NULL").select("event_type").distinct().collect()}
    unknown = sorted(found - set(EVENT_TYPES))
    if unknown and not found & _bought_kinds():
        known = ", ".join(sorted(_bought_kinds()))
        raise InputError(f"{path}: expected event types such as {known} to mask what was bought, found {unknown[0]}")


def _bought_kinds() -> set[str]:
    return {STATES[place] for place in masked_states(Seen())}


def units_where(condition: Column | None = None) -> Column:
    """A pair's weight in whole numbers of 2^-20, where rows meet the condition: the sum of their weights; 1, however
    often the pair is listed, where they have none; null without such rows.
    """
    is_meant = F.lit(True) if condition is None else condition
    weight = F.sum(F.when(is_meant, F.col("weight")))
    return F.when(F.max(is_meant), F.round(F.coalesce(weight, F.lit(1.0)) * UNITS).cast("long"))


def _bought(condition: Column | None = None) -> Column:
    """Of a pair's rows, whether any (that meets the condition) is a purchase or says that there was one; a row without
    an event type is.
    """
    is_bought = F.coalesce(F.col("event_type").isin(*_bought_kinds()), F.lit(True))
    return F.max(is_bought if condition is None else is_bought & condition)


def held_out(rows: DataFrame, *, share: float, salt: int) -> tuple[DataFrame, DataFrame]:
    """(training, validation): a `share` of each customer's pairs, rounded down, is held out: the latest by time, else
    by hash. Not a share of all pairs: that would judge mostly customers with long histories.
    """
    pairs = rows.groupBy("user_id", "item_id").agg(
        (units_where() / F.lit(UNITS)).alias("weight"), F.max("time").alias("time"), _bought().alias("is_bought")
    )
    by_user = Window.partitionBy("user_id")
    place = F.row_number().over(
        by_user.orderBy(F.desc_nulls_last("time"), F.xxhash64(F.lit(salt), "user_id", "item_id"), "item_id")
    )
    most = F.floor(F.count("*").over(by_user) * F.lit(share) + F.lit(1e-9))
    marked = pairs.withColumn("_held", place <= most).withColumn(
        "event_type", F.when(F.col("is_bought"), F.lit(PURCHASE)).otherwise(F.lit("view"))
    )
    kept = ("user_id", "item_id", "weight", "time", "event_type")
    return marked.where("NOT _held").select(*kept), marked.where("_held").select(*kept)


def split_pairs(train: DataFrame, test: DataFrame, negatives: DataFrame | None = None, *, partitions: int) -> DataFrame:
    """One row per customer and item of any part, a customer's rows in one partition; columns as of
    `split_interactions`, `is_test`: in the test part with a weight above 0, taken before or not. `is_masked`: bought in
    the training part; without event types all is. `is_candidate`: among the customer's `negatives`, and `is_wanted`: in
    the test part of a customer who has some.
    """
    nobody = train.limit(0) if negatives is None else negatives
    parts = (train, _TRAIN), (test, _TEST), (nobody, _NEGATIVE)
    rows = reduce(DataFrame.unionByName, (part.withColumn("_part", F.lit(name)) for part, name in parts))
    # laid out by customer first: the grouping then needs no second shuffle
    merged = (
        rows.repartition(partitions, "user_id")
        .groupBy("user_id", "item_id")
        .agg(
            units_where(F.col("_part") == _TRAIN).alias("train_units"),
            units_where(F.col("_part") == _TEST).alias("_test"),
            F.max(F.col("_part") == _NEGATIVE).alias("is_candidate"),
            _bought(F.col("_part") == _TRAIN).alias("is_bought"),
        )
    )
    is_train = F.coalesce(F.col("train_units") > 0, F.lit(False))
    is_test = F.coalesce(F.col("_test") > 0, F.lit(False))
    return merged.select(
        "user_id",
        "item_id",
        F.lit(None).cast("string").alias("category"),
        F.coalesce("train_units", F.lit(0)).alias("units"),
        is_train.alias("is_history"),
        is_train.alias("is_learned"),
        "train_units",
        is_train.alias("is_train"),
        F.lit(0).cast("long").alias("buys"),
        F.lit(0).cast("long").alias("train_buys"),
        "is_bought",
        F.col("is_bought").alias("is_masked"),
        (is_test & F.col("train_units").isNull()).alias("is_truth"),
        is_test.alias("is_test"),
        "is_candidate",
        (is_test & F.max("is_candidate").over(Window.partitionBy("user_id"))).alias("is_wanted"),
    )
