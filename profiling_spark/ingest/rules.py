"""Quality rules: each a named Column that is true where the row breaks it. All of a row's reasons are kept."""

from __future__ import annotations

from datetime import date, timedelta
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from profiling_spark.config.quality import NEW_COLUMN, NO_USER, UNREADABLE, Ingest, Rule
from profiling_spark.config.sources import IGNORED, Source
from profiling_spark.expressions import condition, holds
from profiling_spark.ingest.mapping import BAD, WANTED, WORD
from profiling_spark.ingest.one_row import check_one_row

OK, REJECTED, IGNORED_ROW = "ok", "rejected", "ignored"
_BOUGHT = ("purchase", "refund")


def check_rows(frame: DataFrame, source: Source, *, ingest: Ingest, started: date, business_timezone: str) -> DataFrame:
    """Adds `_status` (ok, rejected, ignored), `_reasons` (names of the rules that refuse the row, sorted, comma
    separated) and `_warned` (those that only warn); events also get `event_date` and `flags`. Null: no such rule.

    Removes `_bad_*`, `_wanted` and `_word`. Raises ConfigError where a rule of the settings is no condition.
    """
    rules = [r for r in ingest.rules if r.target == source.target]
    if source.target == "events":
        frame = _with_amounts(frame.withColumn("event_date", _local_date("event_time", business_timezone)))
    check_one_row(frame, {f"ingest.rules {rule.name}: when": rule.when for rule in rules})
    bad = {c.removeprefix("_"): F.col(c) for c in frame.columns if c.startswith(BAD)}
    found = {**_builtin(source, ingest, started), **_configured(frame, rules, "reject")}
    named = {**bad, **found, **{name: bad[name] | found[name] for name in bad.keys() & found.keys()}}
    listed = F.when(F.col("_unreadable"), F.lit(UNREADABLE)).otherwise(_names(named))
    warned = _names({**_configured(frame, rules, "warn"), NEW_COLUMN: F.col("_extra").isNotNull()})
    ignored = [w for w, t in source.event_types.items() if t == IGNORED]
    unwanted = ~F.col(WANTED) | (holds(F.coalesce(WORD, F.lit("")).isin(*ignored)) if ignored else F.lit(False))
    is_ignored = ~F.col("_unreadable") & unwanted
    columns = {"_reasons": listed, "_warned": warned}
    if source.target == "events":
        columns |= _flagged(frame, rules)
    frame = frame.withColumns(columns)
    status = F.when(is_ignored, F.lit(IGNORED_ROW)).when(F.col("_reasons") != "", F.lit(REJECTED)).otherwise(F.lit(OK))
    return frame.withColumns(
        {
            "_status": status,
            "_reasons": F.when(~is_ignored, F.nullif("_reasons", F.lit(""))),
            "_warned": F.when(~is_ignored & ~F.col("_unreadable"), F.nullif("_warned", F.lit(""))),
        }
    ).drop(WORD, WANTED, *(f"_{name}" for name in bad))


def _names(rules: dict[str, Column]) -> Column:
    """Names of the rules that hold, comma separated, in alphabetical order; empty where none holds."""
    if not rules:
        return F.lit("")
    # concat_ws skips nulls and is compiled; an array of names with a filter would be interpreted for every row
    named = F.concat_ws(",", *(F.when(condition, F.lit(name)) for name, condition in sorted(rules.items())))
    # most rows break no rule: a text is only made for those that do
    return F.when(reduce(or_, (holds(condition) for condition in rules.values())), named).otherwise(F.lit(""))


def _local_date(time: str, timezone: str) -> Column:
    return F.to_date(time if timezone == "UTC" else F.from_utc_timestamp(time, timezone))


def _with_amounts(frame: DataFrame) -> DataFrame:
    """amount = quantity * unit_price - discount where the source gives no amount."""
    gross = F.col("quantity") * F.col("unit_price")
    net = (gross - F.coalesce("discount", F.lit(0))).try_cast("decimal(18,4)")
    return frame.withColumn("amount", F.coalesce("amount", net))


def _builtin(source: Source, ingest: Ingest, started: date) -> dict[str, Column]:
    if source.target == "events":
        return _event_rules(ingest, started)
    if source.target == "users":
        return {
            NO_USER: F.col("user_id").isNull(),
            "bad_age": ~F.col("age").between(0, 120),
        }
    if source.target == "items":
        return {"no_item": F.col("item_id").isNull(), "price_negative": F.col("list_price") < 0}
    return {"no_text": F.col("text").isNull(), "bad_rating": ~F.col("rating").between(1, 5)}


def _event_rules(ingest: Ingest, started: date) -> dict[str, Column]:
    # the one use of a clock: how far ahead an event may lie where the settings name no last date
    latest = ingest.latest_event_date or started + timedelta(days=ingest.max_future_days)
    in_range = F.col("event_date").between(F.lit(ingest.earliest_event_date), F.lit(latest))
    bought = F.col("event_type").isin(*_BOUGHT)
    return {
        NO_USER: F.col("user_id").isNull(),
        "no_event_time": F.col("event_time").isNull() & ~F.col(f"{BAD}event_time"),
        "time_out_of_range": ~in_range,
        "no_event_type": F.col(WORD).isNull(),
        "unknown_event_type": F.col(WORD).isNotNull() & F.col("event_type").isNull(),
        "price_not_positive": bought & (F.col("unit_price") <= 0),
        "quantity_not_positive": bought & (F.col("quantity") <= 0),
        # a price or quantity that is not positive is the cause, so a negative amount of its own is named alone
        "negative_amount": bought & (F.col("amount") < 0) & (F.col("unit_price") > 0) & (F.col("quantity") > 0),
    }


def _flagged(frame: DataFrame, rules: list[Rule]) -> dict[str, Column]:
    flags = _configured(frame, rules, "flag")
    not_bought = ~F.col("event_type").isin(*_BOUGHT)
    no_price = holds(not_bought & (F.col("unit_price") <= 0))
    flags["price_not_positive"] = no_price
    names = _names(flags)
    return {
        "flags": F.when(names != "", names),
        # a click log that writes 0 for "no price" must not make the item free
        "unit_price": F.when(~no_price, F.col("unit_price")),
    }


def _configured(frame: DataFrame, rules: list[Rule], level: str) -> dict[str, Column]:
    return {
        rule.name: condition(frame, f"ingest.rules {rule.name}: when", rule.when)
        for rule in rules
        if rule.level == level
    }
