"""Quality rules: each a named Column that is true where the row breaks it. All of a row's reasons are kept."""

from __future__ import annotations

from datetime import date, timedelta
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from profiling_spark.config.quality import NEW_COLUMN, NO_RATE, NO_USER, UNREADABLE, WRONG_ENCODING, Ingest, Rule
from profiling_spark.config.sources import Covers, Source
from profiling_spark.config.targets import DISTINCT_BY, IGNORED
from profiling_spark.expressions import condition, holds
from profiling_spark.ingest.judging.mapping import BAD, TOO_FAR, WANTED, WORD
from profiling_spark.ingest.judging.money import NO_RATE as _NO_RATE
from profiling_spark.ingest.judging.money import Exchange, in_reporting_currency, with_amounts, with_signs
from profiling_spark.one_row import check_one_row

OK, REJECTED, IGNORED_ROW = "ok", "rejected", "ignored"
_BOUGHT = ("purchase", "refund")
_BROKEN = "_broken_"


def check_rows(
    frame: DataFrame, source: Source, *, ingest: Ingest, exchange: Exchange, started: date, business_timezone: str
) -> DataFrame:
    """Adds `_status` (ok, rejected, ignored), `_reasons` (names of the rules that refuse the row, sorted, comma
    separated) and `_warned` (those that only warn); events also get `event_date` and `flags`. Null: no such rule.

    Removes `_bad_*`, `_wanted`, `_too_far`, `_word`, `currency` and `distinct_by`. Raises ConfigError where a rule of
    the settings is no condition.
    """
    rules = [r for r in ingest.rules if r.target == source.target]
    if source.target == "events":
        frame = frame.withColumn("event_date", _local_date("event_time", business_timezone))
        frame = _with_channel(with_amounts(with_signs(frame, source)), source)
        day = F.col("event_date")
    else:
        # an attribute without a time of its own is worth what it is worth when it comes
        has_time = "valid_from" in frame.columns
        day = F.coalesce(_local_date("valid_from", business_timezone), F.lit(started)) if has_time else F.lit(started)
    frame = in_reporting_currency(frame, source, exchange, day)
    check_one_row(frame, {f"ingest.rules {rule.name}: when": rule.when for rule in rules})
    bad = {c.removeprefix("_"): F.col(c) for c in frame.columns if c.startswith(BAD)}
    unpriced = {NO_RATE: F.col(_NO_RATE)} if _NO_RATE in frame.columns else {}
    found = {**_builtin(source, ingest, started), **unpriced, **_configured(frame, rules, "reject")}
    named = {**bad, **found, **{name: bad[name] | found[name] for name in bad.keys() & found.keys()}}
    # columns of their own, since each is looked at twice and Spark writes out an expression wherever it stands
    broken = {name: f"{_BROKEN}{name}" for name in named}
    frame = frame.withColumns({broken[name]: holds(condition) for name, condition in named.items()})
    named = {name: F.col(f"`{column}`") for name, column in broken.items()}
    listed = F.when(F.col("_misfit"), F.lit(WRONG_ENCODING)).when(F.col("_unreadable"), F.lit(UNREADABLE))
    listed = listed.otherwise(_names(named))
    warned = _names({**_configured(frame, rules, "warn"), NEW_COLUMN: F.col("_extra").isNotNull()})
    ignored = [w for w, t in source.event_types.items() if t == IGNORED]
    unwanted = ~F.col(WANTED) | (holds(F.coalesce(WORD, F.lit("")).isin(*ignored)) if ignored else F.lit(False))
    if source.covers is not None:
        unwanted = unwanted | _not_covered(source.covers)
    is_row = ~F.col("_unreadable") & ~F.col("_misfit")
    is_ignored = is_row & unwanted
    columns = {"_reasons": listed, "_warned": warned}
    if source.target == "events":
        columns |= _flagged(frame, rules)
    frame = frame.withColumns(columns)
    status = F.when(is_ignored, F.lit(IGNORED_ROW)).when(F.col("_reasons") != "", F.lit(REJECTED)).otherwise(F.lit(OK))
    return frame.withColumns(
        {
            "_status": status,
            "_reasons": F.when(~is_ignored, F.nullif("_reasons", F.lit(""))),
            "_warned": F.when(~is_ignored & is_row, F.nullif("_warned", F.lit(""))),
        }
    ).drop(WORD, WANTED, TOO_FAR, _NO_RATE, DISTINCT_BY, *(f"_{name}" for name in bad), *broken.values())


def _names(rules: dict[str, Column]) -> Column:
    """Names of the rules that hold, comma separated, in alphabetical order; empty where none holds."""
    if not rules:
        return F.lit("")
    # concat_ws skips nulls and is compiled; an array of names with a filter would be interpreted for every row
    named = F.concat_ws(",", *(F.when(condition, F.lit(name)) for name, condition in sorted(rules.items())))
    # most rows break no rule: a text is only made for those that do
    return F.when(holds(reduce(or_, rules.values())), named).otherwise(F.lit(""))


def _local_date(time: str, timezone: str) -> Column:
    return F.to_date(time if timezone == "UTC" else F.from_utc_timestamp(time, timezone))


def _with_channel(frame: DataFrame, source: Source) -> DataFrame:
    """The channel that the source covers, where a row names none."""
    channel = None if source.covers is None else source.covers.channel
    return frame if channel is None else frame.withColumn("channel", F.coalesce("channel", F.lit(channel)))


def _not_covered(covers: Covers) -> Column:
    """The row is another source's."""
    outside = [F.col("channel") != F.lit(covers.channel)] if covers.channel is not None else []
    outside += [F.col("event_date") < F.lit(covers.first_date)] if covers.first_date is not None else []
    outside += [F.col("event_date") > F.lit(covers.last_date)] if covers.last_date is not None else []
    return holds(reduce(or_, outside))


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
    not_positive = {c: holds(F.col(c) <= 0) for c in ("unit_price", "quantity")}
    return {
        NO_USER: F.col("user_id").isNull(),
        "no_event_time": F.col("event_time").isNull() & ~F.col(f"{BAD}event_time") & ~F.col(TOO_FAR),
        "time_out_of_range": F.col(TOO_FAR) | ~in_range,
        "no_event_type": F.col(WORD).isNull(),
        "unknown_event_type": F.col(WORD).isNotNull() & F.col("event_type").isNull(),
        "price_not_positive": bought & not_positive["unit_price"],
        "quantity_not_positive": bought & not_positive["quantity"],
        # a price or quantity that is not positive is the cause, so a negative amount of its own is named alone
        "negative_amount": bought & (F.col("amount") < 0) & ~not_positive["unit_price"] & ~not_positive["quantity"],
        "negative_discount": bought & (F.col("discount") < 0),
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
