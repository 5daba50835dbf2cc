"""Source columns to canonical columns: expressions from the settings, typed without raising.

A value that is there but does not fit its type leaves null and the reason `bad_<column>`; nothing is guessed.
"""

from __future__ import annotations

from functools import reduce
from operator import or_

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from profiling_spark.config.sources import IGNORED, TARGETS, Source, mappable
from profiling_spark.contracts.table import Table
from profiling_spark.errors import ConfigError
from profiling_spark.expressions import condition, holds
from profiling_spark.ingest.one_row import check_one_row
from profiling_spark.ingest.readers import HELPERS, position_of

_MALE = ("male", "m", "man", "男", "男性")
_FEMALE = ("female", "f", "woman", "女", "女性")
_TRUE = ("true", "t", "yes", "y", "1", "是")
_FALSE = ("false", "f", "no", "n", "0", "否")
EPOCH = "1970-01-01 00:00:00"
# a byte-order mark or a no-break space before an id would make another customer of it
_BLANKS = " \t\r\n\u00a0\ufeff"
WORD = "_word"
BAD = "_bad_"
WANTED = "_wanted"


def map_columns(frame: DataFrame, name: str, source: Source, *, timezone: str) -> DataFrame:
    """Canonical columns of the source's target, helper columns, and `_bad_<column>` (true: a value that does not fit).

    `event_type` is canonical or null; `_word` is the source's own. Times without a zone are local in `timezone`.
    `_wanted` is false where the source's `where` does not hold.
    """
    table = TARGETS[source.target]
    _check_expressions(frame, name, source)
    frame = frame.withColumn(WANTED, _wanted(frame, name, source))
    values = {column: _expression(frame, name, column, text) for column, text in source.columns.items()}
    given = _select(frame, name, source, values)
    mapped = _blank_to_null(given)
    types = dict(mapped.dtypes)
    typed: dict[str, Column] = {}
    for column in mappable(source.target):
        raw = f"_v_{column}"
        typed[column] = (
            _typed(table, column, F.col(raw), types[raw], timezone)
            if raw in types
            else F.lit(None).cast(_type(table, column))
        )
    if source.target == "events":
        word = F.col("_v_event_type").cast("string")
        typed["event_type"] = _event_type(word, source)
        typed[WORD] = word
    bad = [_is_bad(column) for column in values if _can_be_bad(table, column)]
    kept = (*HELPERS, *position_of(frame), WANTED)
    typed_frame = mapped.select(*kept, *(f"_v_{c}" for c in values), *(c.alias(n) for n, c in typed.items()))
    return typed_frame.select(*kept, *typed, *bad)


def _check_expressions(frame: DataFrame, name: str, source: Source) -> None:
    texts = {f"sources.{name}.columns.{column}": text for column, text in source.columns.items()}
    if source.where is not None:
        texts[f"sources.{name}.where"] = source.where
    check_one_row(frame, texts, source=f"sources.{name}")


def _wanted(frame: DataFrame, name: str, source: Source) -> Column:
    if source.where is None:
        return F.lit(True)
    return holds(condition(frame, f"sources.{name}.where", source.where))


def _expression(frame: DataFrame, name: str, column: str, text: str) -> Column:
    if text in frame.columns:
        return F.col(f"`{text}`")
    try:
        return F.expr(text)
    except AnalysisException as err:
        first = str(err).strip().splitlines()[0]
        raise ConfigError(f"sources.{name}.columns.{column} = {text!r}: is neither a column nor SQL: {first}") from err


def _select(frame: DataFrame, name: str, source: Source, values: dict[str, Column]) -> DataFrame:
    try:
        kept = (*HELPERS, *position_of(frame), WANTED)
        return frame.select(*kept, *(value.alias(f"_v_{column}") for column, value in values.items()))
    except AnalysisException as err:
        columns = ", ".join(c for c in frame.columns if c not in kept)
        first = str(err).splitlines()[0]
        raise ConfigError(f"sources.{name}.columns: {first} The source's columns: {columns}") from err


def _type(table: Table, column: str) -> T.DataType:
    return next(c.data_type for c in table.columns if c.name == column)


def _typed(table: Table, column: str, raw: Column, found: str, timezone: str) -> Column:
    want = _type(table, column)
    text = raw.cast("string")
    if isinstance(want, T.StringType):
        return _gender(text) if column == "gender" else text
    if isinstance(want, T.TimestampType):
        return _instant(text, timezone) if found == "string" else raw.try_cast(want)
    if isinstance(want, T.BooleanType):
        lowered = F.lower(text)
        return F.when(lowered.isin(*_TRUE), F.lit(True)).when(lowered.isin(*_FALSE), F.lit(False))
    if isinstance(want, T.DoubleType):
        number = text.try_cast("double")
        return F.when(~F.isnan(number) & (F.abs(number) < F.lit(float("inf"))), number)
    return text.try_cast(want)


def _blank_to_null(frame: DataFrame) -> DataFrame:
    """The given values that are texts (or bytes of text) without blanks around them, null where nothing is left.

    In two steps, since Spark computes an expression wherever it stands: trimming is dear, and this is done to every
    value.
    """
    texts = [c for c, kind in frame.dtypes if c.startswith("_v_") and kind in ("string", "binary")]
    trimmed = frame.withColumns({c: _trimmed(F.col(c).cast("string")) for c in texts})
    return trimmed.withColumns({c: F.when(F.col(c) != "", F.col(c)) for c in texts})


def _trimmed(text: Column) -> Column:
    """Without blanks at its ends: most values have none, and to look costs half of what trimming does."""
    # of the characters before "!" those that are no blanks are rare: trimming leaves them
    begins = (F.startswith(text, F.lit(b)) for b in _BLANKS if b > "!")
    has_blank = reduce(or_, (text < "!", *begins, *(F.endswith(text, F.lit(b)) for b in _BLANKS)))
    return F.when(has_blank, F.btrim(text, F.lit(_BLANKS))).otherwise(text)


def _instant(text: Column, timezone: str) -> Column:
    """A text that starts with a year; Spark would read a bare time of day as today.

    Plain looks at characters: regular expressions were a fifth of the time of reading.
    """
    has_year = (F.substring(text, 5, 1) == "-") | ((F.length(text) == 4) & text.try_cast("int").isNotNull())
    parsed = F.when(has_year, F.try_to_timestamp(text))
    after_date = F.substring(text, 11, 40)
    has_zone = after_date.contains("+") | after_date.contains("-") | F.right(text, F.lit(1)).between("A", "z")
    # the session's zone is UTC
    return parsed if timezone == "UTC" else F.when(has_zone, parsed).otherwise(F.to_utc_timestamp(parsed, timezone))


def _gender(text: Column) -> Column:
    lowered = F.lower(text)
    return F.when(lowered.isin(*_MALE), F.lit("male")).when(lowered.isin(*_FEMALE), F.lit("female"))


def _event_type(word: Column, source: Source) -> Column:
    pairs = [F.lit(part) for pair in source.event_types.items() if pair[1] != IGNORED for part in pair]
    return F.try_element_at(F.create_map(*pairs), word) if pairs else F.lit(None).cast("string")


def _can_be_bad(table: Table, column: str) -> bool:
    return column != "event_type" and not isinstance(_type(table, column), T.StringType)


def _is_bad(column: str) -> Column:
    return (F.col(f"_v_{column}").isNotNull() & F.col(column).isNull()).alias(f"{BAD}{column}")
