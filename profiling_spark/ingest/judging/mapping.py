"""Source columns to canonical columns: expressions from the settings, typed without raising.

A value that is there but does not fit its type leaves null and the reason `bad_<column>`; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from profiling_spark.config.sources import EQUAL_BEFORE, Source
from profiling_spark.config.targets import IGNORED, TARGETS, helping, mappable
from profiling_spark.contracts.table import Table
from profiling_spark.errors import ConfigError
from profiling_spark.expressions import condition, holds
from profiling_spark.ingest.files.identity import ID_COLUMN, Identity
from profiling_spark.ingest.judging.times import check_shift, day, instant, is_possible, shifts_zone
from profiling_spark.ingest.reading.source_rows import HELPERS, identity, line_hash, position_of
from profiling_spark.one_row import check_one_row
from profiling_spark.session import session_setting

ROW_ID, LINE = "_row_id", "_line"
_SEPARATOR = "\u001f"
# what an id is made of, so that one kind is never taken for another
_OF_LINE, _OF_COLUMNS = "\u0001", "\u0002"
_MALE = ("male", "m", "man", "男", "男性")
_FEMALE = ("female", "f", "woman", "女", "女性")
_TRUE = ("true", "t", "yes", "y", "1", "是")
_FALSE = ("false", "f", "no", "n", "0", "否")
# a byte-order mark or a no-break space before an id would make another customer of it
_BLANKS = " \t\r\n\u00a0\ufeff"
# of those that are longer than one byte
_LAST_BYTES = tuple(b.encode()[-1:] for b in _BLANKS if b > "!")
WORD = "_word"
BAD = "_bad_"
WANTED = "_wanted"
TOO_FAR = "_too_far"


def map_columns(frame: DataFrame, name: str, source: Source, *, timezone: str) -> DataFrame:
    """Canonical columns of the source's target, helper columns, and `_bad_<column>` (true: a value that does not fit).

    `event_type` is canonical or null; `_word` is the source's own. Times without a zone are local in the source's zone,
    else in `timezone`, the business one. `_wanted` is false where the source's `where` does not hold; `_too_far` is
    true of events whose time lies outside the years 1 to 9999: `event_time` is null then.
    """
    table = TARGETS[source.target]
    _check_expressions(frame, name, source)
    zones = (source.timezone or timezone, timezone)
    with session_setting(frame.sparkSession, "spark.sql.session.timeZone", zones[0]):
        frame = frame.withColumn(WANTED, _wanted(frame, name, source))
    mapped = _blank_to_null(_given(frame, name, source, zones[0]))
    types = dict(mapped.dtypes)
    typed: dict[str, Column] = {}
    mapped_only = [c for c in helping(source.target) if c in source.columns]
    for column in (*mappable(source.target), *mapped_only):
        raw = f"_v_{column}"
        typed[column] = (
            _typed(table, column, F.col(raw), types[raw], name, source, zones)
            if raw in types
            else F.lit(None).cast(_type(table, column))
        )
    if source.target == "events":
        word = F.col("_v_event_type").cast("string")
        typed["event_type"] = _event_type(word, source)
        typed[WORD] = word
    times = {c for c in source.columns if isinstance(_type(table, c), T.TimestampType)}
    bad = [_is_bad(column, column in times) for column in source.columns if _can_be_bad(table, column)]
    kept = (*HELPERS, *position_of(frame), WANTED)
    typed_frame = mapped.select(*kept, *(f"_v_{c}" for c in source.columns), *(c.alias(n) for n, c in typed.items()))
    possible = [F.when(is_possible(F.col(c)), F.col(c)).alias(c) if c in times else F.col(c) for c in typed]
    far = [holds(~is_possible(F.col("event_time"))).alias(TOO_FAR)] if source.target == "events" else []
    return typed_frame.select(*kept, *possible, *bad, *far)


def _check_expressions(frame: DataFrame, name: str, source: Source) -> None:
    texts = {f"sources.{name}.columns.{column}": text for column, text in source.columns.items()}
    if source.where is not None:
        texts[f"sources.{name}.where"] = source.where
    check_one_row(frame, texts, source=f"sources.{name}")


def _wanted(frame: DataFrame, name: str, source: Source) -> Column:
    if source.where is None:
        return F.lit(True)
    return holds(condition(frame, f"sources.{name}.where", source.where))


def _given(frame: DataFrame, name: str, source: Source, timezone: str) -> DataFrame:
    """`_v_<column>`: what the mapping's expressions give. They see times in the source's zone, so that a text which
    they parse without a zone becomes the right instant.

    In UTC stay ids, whose text must not change where a lake has them already, and what moves times by itself.
    """
    kept = (*HELPERS, *position_of(frame), WANTED)
    in_utc = {c: text for c, text in source.columns.items() if c.endswith("_id") or shifts_zone(text)}
    in_zone = {c: text for c, text in source.columns.items() if c not in in_utc}
    try:
        if in_utc:
            ids = [_expression(frame, name, source, c, text).alias(f"_v_{c}") for c, text in in_utc.items()]
            frame = frame.select("*", *ids)
        with session_setting(frame.sparkSession, "spark.sql.session.timeZone", timezone):
            others = [_expression(frame, name, source, c, text).alias(f"_v_{c}") for c, text in in_zone.items()]
            return frame.select(*kept, *(f"_v_{c}" for c in in_utc), *others)
    except AnalysisException as err:
        columns = ", ".join(c for c in frame.columns if c not in kept and not c.startswith("_v_"))
        first = str(err).splitlines()[0]
        raise ConfigError(f"sources.{name}.columns: {first} The source's columns: {columns}") from err


def _expression(frame: DataFrame, name: str, source: Source, column: str, text: str) -> Column:
    if text in frame.columns:
        return F.col(f"`{text}`")
    setting = f"sources.{name}.columns.{column}"
    if isinstance(_type(TARGETS[source.target], column), (T.TimestampType, T.DateType)):
        check_shift(setting, text)
    try:
        return F.expr(text)
    except AnalysisException as err:
        first = str(err).strip().splitlines()[0]
        raise ConfigError(f"{setting} = {text!r}: is neither a column nor SQL: {first}") from err


def _type(table: Table, column: str) -> T.DataType:
    """A column that the table does not store is text."""
    return next((c.data_type for c in table.columns if c.name == column), T.StringType())


def _typed(
    table: Table, column: str, raw: Column, found: str, name: str, source: Source, zones: tuple[str, str]
) -> Column:
    """`zones`: the source's and the business's."""
    want = _type(table, column)
    text = raw.cast("string")
    if isinstance(want, T.StringType):
        return _gender(text) if column == "gender" else text
    if isinstance(want, T.TimestampType):
        setting, unit = f"sources.{name}.columns.{column}", source.epochs.get(column)
        return instant(raw, found, setting=setting, unit=unit, timezone=zones[0], day_timezone=zones[1])
    if isinstance(want, T.DateType):
        return day(raw, found, zones[0])
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
    last = F.substring(text.cast("binary"), -1, 1)
    ends = (last == F.lit(byte) for byte in _LAST_BYTES)
    has_blank = reduce(or_, (text < "!", *begins, last < F.lit(b"!"), *ends))
    return F.when(has_blank, F.btrim(text, F.lit(_BLANKS))).otherwise(text)


def _gender(text: Column) -> Column:
    lowered = F.lower(text)
    return F.when(lowered.isin(*_MALE), F.lit("male")).when(lowered.isin(*_FEMALE), F.lit("female"))


def _event_type(word: Column, source: Source) -> Column:
    pairs = [F.lit(part) for pair in source.event_types.items() if pair[1] != IGNORED for part in pair]
    return F.try_element_at(F.create_map(*pairs), word) if pairs else F.lit(None).cast("string")


def _can_be_bad(table: Table, column: str) -> bool:
    return column != "event_type" and not isinstance(_type(table, column), T.StringType)


def _is_bad(column: str, is_time: bool) -> Column:
    is_lost = F.col(column).isNull()
    # an event beyond all years has a reason of its own
    if is_time and column != "event_time":
        is_lost = is_lost | ~is_possible(F.col(column))
    return (F.col(f"_v_{column}").isNotNull() & is_lost).alias(f"{BAD}{column}")


def with_row_id(frame: DataFrame, source: Source, made: Identity) -> DataFrame:
    """Adds ROW_ID, and LINE: of sources without an id of their own, a hash of the whole line.

    `frame`: what `map_columns` gives, before anything is derived from it. With the customer, since shops number the
    events of each customer, and since rows of one id must meet in one bucket whatever the number of buckets.
    """
    own = F.col(ID_COLUMN[source.target])
    with_user = F.concat(F.coalesce("user_id", F.lit("")), F.lit(_SEPARATOR), own)
    whole = F.concat(F.lit(_OF_LINE), identity(frame, source))
    id_text = F.coalesce(with_user, whole if made.columns is None else _of_columns(frame, source, made.columns))
    row_id = F.md5(F.concat(F.lit(f"{made.namespace}{_SEPARATOR}"), id_text))
    # where rows have ids the few without one are not worth a hash of every line, which the compiled code would carry
    line = F.lit(None).cast("bigint") if source.has_own_id else line_hash(frame)
    return frame.withColumns({ROW_ID: row_id, LINE: line})


def _of_columns(frame: DataFrame, source: Source, columns: Sequence[str]) -> Column:
    """Names and values of the columns that are not null: one that the files gain later, empty, changes no id.

    Equal elements of one array are several: each is known by how many stand before it.
    """
    named = [_named(frame, c) for c in columns]
    if source.lines.array is not None:
        named.append(F.concat(F.lit(f"{EQUAL_BEFORE}="), F.col("_values").getItem(EQUAL_BEFORE)))
    return F.concat(F.lit(_OF_COLUMNS), F.concat_ws(_SEPARATOR, *named))


def _named(frame: DataFrame, column: str) -> Column:
    # two words that mean one event type are two words
    name = WORD if column == "event_type" else column
    kind = frame.schema[name].dataType
    # a time as text would be dear, and would follow the session's zone
    value = F.unix_micros(name) if isinstance(kind, T.TimestampType) else F.col(name)
    return F.concat(F.lit(f"{column}="), value.cast("string"))
