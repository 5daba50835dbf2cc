"""A row's money: signs, the amount of a line, the reporting currency."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from itertools import pairwise

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from profiling_spark.config.rates import RATE_DECIMALS, DayRates
from profiling_spark.config.settings import Settings
from profiling_spark.config.sources import Source
from profiling_spark.config.targets import TARGETS
from profiling_spark.errors import InputError, StorageError
from profiling_spark.expressions import holds
from profiling_spark.storage import is_absolute
from profiling_spark.storage.stores import store_for

NO_RATE = "_no_rate"
FIGURES = {"events": ("amount", "unit_price", "discount"), "items": ("list_price",), "users": ("income", "assets")}
"""By target, the columns in the reporting currency."""
# exact times a price of six decimals
_RATE = T.DecimalType(18, RATE_DECIMALS)
_CODE, _ON, _BY_DAY = "_code", "_on", "_by_day"


@dataclass(frozen=True)
class Exchange:
    """What one unit of other currencies is worth in `currency`: always the same, or by day, in rising order."""

    currency: str
    constant: Mapping[str, Decimal]
    by_day: Mapping[str, Sequence[tuple[date, Decimal]]]


def load_exchange(spark: SparkSession, settings: Settings) -> Exchange:
    """The rates of the settings. Raises InputError where a file of rates cannot be read."""
    constant, by_day = {}, {}
    for code, rate in sorted(settings.exchange_rates.items()):
        if isinstance(rate, DayRates):
            by_day[code] = _read_rates(spark, f"exchange_rates.{code}", rate, settings.data_root)
        else:
            constant[code] = rate
    return Exchange(settings.currency, constant, by_day)


def _read_rates(spark: SparkSession, setting: str, rates: DayRates, root: str) -> list[tuple[date, Decimal]]:
    path = rates.path if is_absolute(rates.path) else f"{root.rstrip('/')}/{rates.path}"
    lines = csv.DictReader(_text(spark, setting, path).splitlines(), delimiter=rates.delimiter)
    absent = [c for c in (rates.day, rates.rate) if c not in (lines.fieldnames or ())]
    if absent:
        raise InputError(f"{setting}: {path} has no column {absent}, only {lines.fieldnames}")
    found: dict[date, Decimal] = {}
    for number, line in enumerate(lines, start=2):
        try:
            day, rate = date.fromisoformat(line[rates.day]), Decimal(line[rates.rate])
            exact = (1 / rate if rates.inverse else rate).quantize(Decimal(1).scaleb(-RATE_DECIMALS), ROUND_HALF_UP)
        except (ValueError, TypeError, InvalidOperation, ZeroDivisionError) as err:
            raise InputError(f"{setting}: {path}, line {number}: expected a day and a rate, found {line}") from err
        if not 0 < exact < 10**8:
            raise InputError(f"{setting}: {path}, line {number}: expected a rate above 0, found {line[rates.rate]}")
        if found.setdefault(day, exact) != exact:
            raise InputError(f"{setting}: {path}, line {number}: {day} has two rates")
    if not found:
        raise InputError(f"{setting}: {path} holds no rate")
    return sorted(found.items())


def _text(spark: SparkSession, setting: str, path: str) -> str:
    try:
        with store_for(path, spark).open(path) as file:
            return file.read().decode("utf-8-sig")
    except (StorageError, OSError, UnicodeDecodeError) as err:
        raise InputError(f"{setting}: {path} cannot be read: {err}") from err


def with_signs(frame: DataFrame, source: Source) -> DataFrame:
    """Where the source says `negative_figures: as_refund`: a purchase of negative pieces, price or amount is a refund,
    and a refund's figures are positive, whatever their signs. A discount is what was taken off, whatever its sign.

    Figures of a purchase that contradict each other (pieces back for money paid) stay, and are refused by the rules.
    """
    if source.target != "events" or source.negative_figures == "refuse":
        return frame
    negative = {c: holds(F.col(c) < 0) for c in ("quantity", "unit_price", "amount")}
    is_contradictory = (negative["quantity"] & negative["unit_price"]) | holds(F.col("amount") > 0)
    is_back = (negative["quantity"] | negative["unit_price"] | negative["amount"]) & ~is_contradictory
    kind = F.when((F.col("event_type") == "purchase") & is_back, F.lit("refund")).otherwise(F.col("event_type"))
    signed = frame.withColumn("event_type", kind)
    is_refund, is_bought = F.col("event_type") == "refund", F.col("event_type").isin("purchase", "refund")
    magnitudes = {c: F.when(is_refund, F.abs(F.col(c))).otherwise(F.col(c)) for c in negative}
    discount = F.when(is_bought, F.abs(F.col("discount"))).otherwise(F.col("discount"))
    return signed.withColumns({**magnitudes, "discount": discount})


def with_amounts(frame: DataFrame) -> DataFrame:
    """amount = quantity * unit_price - discount where the source gives no amount."""
    gross = F.col("quantity") * F.col("unit_price")
    net = (gross - F.coalesce("discount", F.lit(0))).try_cast("decimal(18,4)")
    return frame.withColumn("amount", F.coalesce("amount", net))


def in_reporting_currency(frame: DataFrame, source: Source, exchange: Exchange, day: Column) -> DataFrame:
    """The figures in the reporting currency, rounded half up, by the rate of `day` (of the last known one before it).

    The column `currency` goes; NO_RATE is true of a row with figures but without a rate. What grows beyond its type
    becomes null and bad. Frames of sources without a currency stay as they are.
    """
    if "currency" not in source.columns or source.target not in FIGURES:
        return frame
    figures = FIGURES[source.target]
    code = F.upper("currency")
    frame = frame.withColumns({_CODE: code, _BY_DAY: F.lit(None).cast(_RATE)})
    if exchange.by_day:
        frame = _with_day_rates(frame.drop(_BY_DAY), exchange, day)
    rate = F.when(F.col(_CODE) == exchange.currency, F.lit(1).cast(_RATE))
    for other, constant in exchange.constant.items():
        rate = rate.when(F.col(_CODE) == other, F.lit(str(constant)).cast(_RATE))
    frame = frame.withColumn(_ON, rate.otherwise(F.col(_BY_DAY)))
    has_figure = F.coalesce(*(F.col(c).cast("string") for c in figures)).isNotNull()
    changed: dict[str, Column] = {NO_RATE: has_figure & F.col(_ON).isNull()}
    for figure in figures:
        kind = next(c.data_type for c in TARGETS[source.target].columns if c.name == figure)
        assert isinstance(kind, T.DecimalType)  # for mypy
        changed[figure] = F.round(F.col(figure) * F.col(_ON), kind.scale).try_cast(kind)
        if f"_bad_{figure}" in frame.columns:
            too_large = F.col(figure).isNotNull() & F.col(_ON).isNotNull() & changed[figure].isNull()
            changed[f"_bad_{figure}"] = F.col(f"_bad_{figure}") | too_large
    return frame.withColumns(changed).drop(_CODE, _ON, _BY_DAY, "currency")


def _with_day_rates(frame: DataFrame, exchange: Exchange, day: Column) -> DataFrame:
    """Joins `_by_day`: the rate of the row's currency on its day; null before the first."""
    rates = [(code, *known) for code, known_days in exchange.by_day.items() for known in _every_day(known_days)]
    schema = T.StructType(
        [T.StructField(_CODE, T.StringType()), T.StructField(_ON, T.DateType()), T.StructField(_BY_DAY, _RATE)]
    )
    last = F.lit(None).cast("date")
    for code, known_days in exchange.by_day.items():
        last = F.when(F.col(_CODE) == code, F.lit(known_days[-1][0])).otherwise(last)
    dated = frame.withColumn(_ON, F.when(day.isNotNull(), F.least(day, last)))  # least leaves out nulls
    known = F.broadcast(frame.sparkSession.createDataFrame(rates, schema))
    return dated.join(known, [_CODE, _ON], how="left").drop(_ON)


def _every_day(known: Sequence[tuple[date, Decimal]]) -> Iterator[tuple[date, Decimal]]:
    """Every day from the first to the last that is known, with the rate of the last known one."""
    for (first, rate), (following, _) in pairwise(known):
        yield from ((first + timedelta(days=n), rate) for n in range((following - first).days))
    yield known[-1]
