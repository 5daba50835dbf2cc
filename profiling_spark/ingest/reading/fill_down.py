"""Values that stand on the first row of a group only (an order's status), on all its rows."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window, WindowSpec
from pyspark.sql import functions as F
from pyspark.sql import types as T

from profiling_spark.config.sources import FillDown
from profiling_spark.errors import ConfigError
from profiling_spark.ingest.reading.source_rows import HELPERS, POSITION

_KEY = "_group"
_BLANKS = " \t\r\n\u00a0\ufeff"


def filled_down(frame: DataFrame, fill: FillDown, *, setting: str) -> DataFrame:
    """A source's rows, read with their POSITION, with blank values of `fill.columns` as in the last row above of the
    same file and key that has one. A row without a key takes and gives nothing, nor does one that cannot be parsed.

    `_values` holds the filled values, so that a refused row is stored and replayed as it was judged. Raises
    ConfigError where the source lacks a column.
    """
    by, columns = _name(frame, fill.by, setting), list(dict.fromkeys(_name(frame, c, setting) for c in fill.columns))
    frame = frame.withColumn(_KEY, F.when(~F.col("_unreadable"), _given(frame, by).cast("string")))
    if by in columns:
        frame = frame.withColumn(_KEY, _key_above())
    frame = frame.withColumn(_KEY, F.btrim(_KEY, F.lit(_BLANKS)))
    above = Window.partitionBy("_file_id", _KEY).orderBy(*POSITION).rowsBetween(Window.unboundedPreceding, 0)
    has_key = ~F.col("_unreadable") & F.col(_KEY).isNotNull()
    filled = {c: _last(F.when(has_key, _given(frame, c)), above) for c in columns if c != by}
    values = {
        c: F.when(has_key, F.coalesce(value, F.col(f"`{c}`"))).otherwise(F.col(f"`{c}`")) for c, value in filled.items()
    }
    if by in columns:
        key = F.col(_KEY).try_cast(frame.schema[by].dataType)
        values[by] = F.coalesce(_given(frame, by), key, F.col(f"`{by}`"))
    return _with_values(frame.withColumns(values).drop(_KEY), columns)


def _name(frame: DataFrame, column: str, setting: str) -> str:
    """The frame's name of a column; capitals make no difference where it has none that is written like it."""
    names = [c for c in frame.columns if c not in (*HELPERS, *POSITION)]
    alike = [c for c in names if c.lower() == column.lower()]
    if not alike:
        raise ConfigError(f"{setting}: there is no column {column!r}. The source's columns: {', '.join(names)}")
    return column if column in alike else alike[0]


def _given(frame: DataFrame, column: str) -> Column:
    """Null where the value is blank."""
    value = F.col(f"`{column}`")
    is_text = isinstance(frame.schema[column].dataType, T.StringType)
    return F.when(F.btrim(value, F.lit(_BLANKS)) != "", value) if is_text else value


def _last(value: Column, window: WindowSpec) -> Column:
    return F.last(value, ignorenulls=True).over(window)


def _key_above() -> Column:
    """The key of the row or of the last one above with a key; null below a row that cannot be parsed, which may have
    begun a group.
    """
    above = Window.partitionBy("_file_id").orderBy(*POSITION).rowsBetween(Window.unboundedPreceding, 0)
    determines_key = F.col("_unreadable") | F.col(_KEY).isNotNull()
    return _last(F.when(determines_key, F.struct(_KEY)), above)[_KEY]


def _with_values(frame: DataFrame, columns: list[str]) -> DataFrame:
    kind = frame.schema["_values"].dataType
    if isinstance(kind, T.MapType):
        pairs = [part for c in columns for part in (F.lit(c), F.col(f"`{c}`").cast("string"))]
        others = F.map_filter("_values", lambda key, value: ~key.isin(*columns))
        filled = F.map_filter(F.create_map(*pairs), lambda key, value: value.isNotNull())
        return frame.withColumn("_values", F.map_concat(others, filled))
    # lines of text are stored as they are elsewhere
    names = (
        kind.names if isinstance(kind, T.StructType) else [c for c in frame.columns if c not in (*HELPERS, *POSITION)]
    )
    values = F.struct(*(F.col(f"`{c}`") for c in names))
    return frame.withColumns({"_values": values, "_raw": F.when(F.col("_unreadable"), F.col("_raw"))})
