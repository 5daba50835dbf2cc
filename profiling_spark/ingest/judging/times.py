"""Values of any type to instants: text, dates, times with and without a zone, numbers since 1970.

What a source writes without a zone is local: in the source's `timezone`, else in the business one. A bare date is its
midnight in the business zone, so that it keeps its day.
"""

from __future__ import annotations

import re

from pyspark.sql import Column
from pyspark.sql import functions as F

from profiling_spark.config.sources import EpochUnit
from profiling_spark.errors import ConfigError

_PER_SECOND: dict[EpochUnit, int] = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
# a number is a time by its size alone from 2001-09-09 (the first second of ten digits) to the end of 2099: there
# seconds, milliseconds, microseconds and nanoseconds lie far apart
_FIRST, _END = 10**9, 4_102_444_800
_WHOLE = ("tinyint", "smallint", "int", "bigint")
# what Python, Arrow and other readers can hold, less a day for the zones
_EARLIEST, _LATEST = "0001-01-02 00:00:00", "9999-12-30 23:59:59"
_EARLIEST_MICROS, _LATEST_MICROS = -62_135_510_400_000_000, 253_402_214_399_000_000
_BEYOND = "9999-12-31 00:00:00"
_SHIFTS = re.compile(r"\b(to_utc_timestamp|from_utc_timestamp|convert_timezone)\s*\(", re.IGNORECASE)


def shifts_zone(text: str) -> bool:
    """Whether an expression moves times between zones itself; such functions count from UTC, whatever the zone."""
    return _SHIFTS.search(text) is not None


def check_shift(setting: str, text: str) -> None:
    """Raises ConfigError where an expression gives a time that was moved out of UTC: it would be moved twice."""
    found = {name.lower() for name in _SHIFTS.findall(text)}
    if found and "to_utc_timestamp" not in found:
        raise ConfigError(
            f"{setting} = {text!r}: expected an instant or a time as the source writes it, found one that "
            f"{min(found)} moves to another zone; give the time as it is and name its zone in the source's timezone"
        )


def is_possible(time: Column) -> Column:
    """Whether a time lies in the years 1 to 9999, beyond which no reader can hold it; null of a null."""
    return time.between(F.lit(_EARLIEST).cast("timestamp"), F.lit(_LATEST).cast("timestamp"))


def instant(
    raw: Column, found: str, *, setting: str, unit: EpochUnit | None, timezone: str, day_timezone: str
) -> Column:
    """The instant that a value of Spark's type `found` names, null where it names none.

    `unit`: of numbers since 1970; null: by their size, where that is unmistakable. Beyond what `is_possible` accepts
    the result is some time that it refuses too. Raises ConfigError, naming `setting`, where a unit is given for what
    is a time already.
    """
    if unit is not None:
        if found in ("timestamp", "timestamp_ntz", "date"):
            raise ConfigError(f"{setting}: epochs declares a number since 1970, found {found}")
        return _since_1970(raw, found, unit)
    if found == "timestamp":
        return raw
    if found == "timestamp_ntz":
        return _local(raw.cast("timestamp"), timezone)
    if found == "date":
        day = F.when(raw.between(F.lit(_EARLIEST).cast("date"), F.lit(_LATEST).cast("date")), raw.cast("timestamp"))
        return _local(F.when(raw.isNotNull(), F.coalesce(day, F.lit(_BEYOND).cast("timestamp"))), day_timezone)
    if found in _WHOLE:
        return _by_size(raw.cast("bigint"))
    return _of_text(raw, timezone, day_timezone) if found == "string" else F.lit(None).cast("timestamp")


def day(raw: Column, found: str, timezone: str) -> Column:
    """The calendar day that a value of Spark's type `found` names, null where it names none."""
    if found == "date":
        named = raw
    elif found == "timestamp":
        # midnight in UTC is a day that some writer made an instant of; other instants lie on the source's own day
        is_day = raw == F.date_trunc("day", raw)
        named = F.to_date(F.when(is_day, raw).otherwise(F.from_utc_timestamp(raw, timezone)))
    else:
        named = raw.cast("string").try_cast("date")
    return F.when(named.between(F.lit(_EARLIEST).cast("date"), F.lit(_LATEST).cast("date")), named)


def _local(time: Column, timezone: str) -> Column:
    """A time of day in a zone, given as if it were UTC."""
    if timezone == "UTC":
        return time
    # the shift overflows near the ends of what Spark can count
    return F.when(is_possible(time), F.to_utc_timestamp(time, timezone)).otherwise(time)


def _of_text(text: Column, timezone: str, day_timezone: str) -> Column:
    """A text that starts with a year, or digits; Spark would read a bare time of day as today.

    Plain looks at characters: regular expressions were a fifth of the time of reading.
    """
    parsed = F.try_to_timestamp(text)
    has_year = (F.substring(text, 5, 1) == "-") | ((F.length(text) == 4) & text.try_cast("int").isNotNull())
    if (timezone, day_timezone) != ("UTC", "UTC"):  # the session's zone is UTC
        after_date = F.substring(text, 11, 40)
        has_zone = after_date.contains("+") | after_date.contains("-") | F.right(text, F.lit(1)).between("A", "z")
        local = F.to_utc_timestamp(parsed, timezone)
        if day_timezone != timezone:
            has_time = (F.length(text) > 10) | text.contains(" ") | text.contains("T")
            local = F.when(has_time, local).otherwise(F.to_utc_timestamp(parsed, day_timezone))
        parsed = F.when(has_zone, parsed).otherwise(local)
    is_whole = F.substring(text, 5, 1).between("0", "9") & ~text.contains(".")
    return F.when(has_year, parsed).when(is_whole, _by_size(text.try_cast("bigint")))


def _by_size(number: Column) -> Column:
    each = [(number.between(_FIRST * n, _END * n - 1), _micros(number, n)) for n in _PER_SECOND.values()]
    known = F.when(*each[0])
    for is_unit, micros in each[1:]:
        known = known.when(is_unit, micros)
    return F.timestamp_micros(known)


def _micros(number: Column, per_second: int) -> Column:
    """Microseconds since 1970, rounded down also before."""
    if per_second <= 10**6:
        return number * F.lit(10**6 // per_second).cast("bigint")
    return F.call_function("div", number - F.pmod(number, F.lit(1000).cast("bigint")), F.lit(1000).cast("bigint"))


def _since_1970(raw: Column, found: str, unit: EpochUnit) -> Column:
    beyond = F.lit(_BEYOND).cast("timestamp")
    per_second = _PER_SECOND[unit]
    if found in _WHOLE:
        number = raw.cast("bigint")
        first, last = _EARLIEST_MICROS * per_second // 10**6, _LATEST_MICROS * per_second // 10**6
        is_inside = number.between(max(first, -(2**63)), min(last, 2**63 - 1))
        return F.when(is_inside, F.timestamp_micros(_micros(number, per_second))).when(number.isNotNull(), beyond)
    number = raw.cast("string").try_cast("decimal(29,9)")
    micros = F.floor(number * F.lit(10**6) / F.lit(per_second))
    is_inside = micros.between(_EARLIEST_MICROS, _LATEST_MICROS)
    return F.when(is_inside, F.timestamp_micros(micros.cast("bigint"))).when(micros.isNotNull(), beyond)
