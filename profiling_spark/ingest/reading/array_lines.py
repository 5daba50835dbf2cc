"""One row for each element of an array, with the fields of its parent: the lines of an order in one document.

An element's fields are known to expressions by the array's name: of `lines: items` as `items.sku`, of
`lines: order.lines` as `lines.sku`. An element that is a bare value is known as `items.value`. A parent whose array is
empty, absent or null is one row, and so is one that is ignored as a whole.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from operator import or_

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from profiling_spark.config.sources import EQUAL_BEFORE, Source, words_of
from profiling_spark.config.targets import IGNORED
from profiling_spark.errors import ConfigError
from profiling_spark.expressions import holds

_TEXTS = "map<string,string>"
_ELEMENTS, _ELEMENT = "_elements", "_element"


def json_elements(
    frame: DataFrame, source: Source, *, values: Mapping[str, Column], known: Collection[str], kept: Sequence[str]
) -> DataFrame:
    """Parents (`value`: a line, `_row`: a map of its fields, `kept`: other columns) as one row for each element.

    The array's name is a map of the element's fields; the other columns are `values`, as of a line without an array.
    Where the path leads to something else than an array, the line is unreadable. `_values` are the parent's fields with
    the element for an array: read again, they give this row and no other.
    """
    path, name = _path_and_name(source)
    text = F.nullif(F.trim(_json_array(path)), F.lit(""))
    parents = frame.select(
        *(value.alias(word) for word, value in values.items() if word not in (path, name, EQUAL_BEFORE)),
        F.lit(None).cast(_TEXTS).alias(name),
        *kept,
        F.col("value").alias("_line"),
        "_row",
        F.from_json(text, "array<string>").alias(_ELEMENTS),
        text.isNotNull().alias("_is_given"),
    )
    is_no_array = F.col("_is_given") & F.col(_ELEMENTS).isNull()
    rows = _exploded(parents.withColumn("_unreadable", F.col("_row").isNull() | is_no_array), source)
    # a row that is replayed brings its number along
    before = F.coalesce(EQUAL_BEFORE, F.try_element_at("_row", F.lit(EQUAL_BEFORE)).try_cast("int"))
    rows = rows.withColumns({name: _fields(F.col(_ELEMENT)), EQUAL_BEFORE: before.cast("string")})
    own = F.create_map(F.lit(path), F.to_json(F.array(name)), F.lit(EQUAL_BEFORE), F.col(EQUAL_BEFORE))
    others = F.map_filter("_row", lambda key, value: ~key.isin(path, EQUAL_BEFORE))
    whole = F.map_concat(others, F.map_filter(own, lambda key, value: value.isNotNull()))
    extra = F.map_concat(_unknown(F.col("_row"), known), _unknown_fields(name, known))
    made = {
        "_values": F.when(F.col(name).isNotNull(), whole).otherwise(F.col("_row")),
        "_raw": F.when(F.col("_unreadable"), F.col("_line")),
        "_extra": F.when(F.size(extra) > 0, F.to_json(extra)),
    }
    return rows.withColumns(made).drop("_line", "_row", "_is_given", _ELEMENT)


def _fields(element: Column) -> Column:
    """A map of the fields of an element of JSON; of a bare value, such as the number of an article, `value`."""
    fields = F.when(F.startswith(F.ltrim(element), F.lit("{")), F.from_json(element, _TEXTS))
    return F.coalesce(fields, F.when(element.isNotNull(), F.create_map(F.lit("value"), element)))


def _unknown(fields: Column, known: Collection[str]) -> Column:
    return F.map_filter(fields, lambda key, value: ~key.isin(*sorted(known)) & value.isNotNull())


def _unknown_fields(name: str, known: Collection[str]) -> Column:
    """Fields of the element that the settings do not know, by `items.field`; empty where there is none."""
    unknown = _unknown(F.col(f"`{name}`"), {k.removeprefix(f"{name}.") for k in known})
    named = F.transform_keys(unknown, lambda key, value: F.concat(F.lit(f"{name}."), key))
    # a parent's field of such a name would be there twice
    free = F.map_filter(named, lambda key, value: ~F.map_contains_key("_row", key))
    return F.coalesce(free, F.create_map().cast(_TEXTS))


def typed_elements(parents: DataFrame, source: Source, *, setting: str) -> DataFrame:
    """Rows of Parquet or Delta as one for each element, in the column of the array's name, and EQUAL_BEFORE.

    Raises ConfigError where the path leads to no array.
    """
    path, name = _path_and_name(source)
    found = _element_type(parents, path, setting, may_be_absent=source.missing_columns == "null")
    if found is None:
        return parents.withColumns({name: F.lit(None).cast(_TEXTS), EQUAL_BEFORE: F.lit(None).cast("string")})
    array = _typed_path(path)
    if not isinstance(found, (T.StructType, T.MapType)):
        array, found = F.transform(array, lambda x: F.struct(x.alias("value"))), T.StructType().add("value", found)
    # the parent's own column of that name is hidden by the element
    hidden = {name: F.lit(None).cast(found), "_unreadable": F.lit(False)}
    rows = _exploded(parents.withColumn(_ELEMENTS, array).withColumns(hidden), source)
    made = {name: F.col(_ELEMENT), EQUAL_BEFORE: F.col(EQUAL_BEFORE).cast("string")}
    return rows.withColumns(made).drop(_ELEMENT, "_unreadable")


def read_again(rows: DataFrame, source: Source) -> DataFrame:
    """Rows of texts, as they are replayed, with the element as a map of its fields."""
    name = source.lines.element
    return rows if name not in rows.columns else rows.withColumn(name, F.from_json(f"`{name}`", _TEXTS))


def unknown_fields(frame: DataFrame, source: Source, known: Collection[str]) -> list[Column]:
    """Texts of the element's fields that the settings do not know, by `items.field`, where it is a struct."""
    name = source.lines.element
    kind = frame.schema[name].dataType if name in frame.columns else None
    if not isinstance(kind, T.StructType):
        return []
    lowered = {k.lower() for k in known}
    fields = [f for f in kind.names if not {f.lower(), f"{name}.{f}".lower()} & lowered]
    return [F.col(f"`{name}`.`{f}`").cast("string").alias(f"{name}.{f}") for f in fields]


def _path_and_name(source: Source) -> tuple[str, str]:
    path, name = source.lines.array, source.lines.element
    assert path is not None  # the reader asked
    assert name is not None
    return path, name


def _json_array(path: str) -> Column:
    """Text of the array. A row that is replayed has it under its whole path."""
    whole = F.try_element_at("_row", F.lit(path))
    root, _, rest = path.partition(".")
    if not rest:
        return whole
    inner = "$" + "".join(f"['{part}']" for part in rest.split("."))
    return F.coalesce(whole, F.get_json_object(F.try_element_at("_row", F.lit(root)), inner))


def _typed_path(path: str) -> Column:
    return F.col(".".join(f"`{part}`" for part in path.split(".")))


def _element_type(parents: DataFrame, path: str, setting: str, *, may_be_absent: bool) -> T.DataType | None:
    try:
        kind = parents.select(_typed_path(path).alias("array")).schema["array"].dataType
    except AnalysisException as err:
        if may_be_absent:
            return None
        names = ", ".join(c for c in parents.columns if not c.startswith("_"))
        raise ConfigError(f"{setting} = {path!r}: there is no such column. The source's columns: {names}") from err
    if not isinstance(kind, T.ArrayType):
        raise ConfigError(f"{setting} = {path!r}: expected an array, found {kind.simpleString()}")
    return kind.elementType


def _exploded(parents: DataFrame, source: Source) -> DataFrame:
    """One row for each element of `_elements` that is not null, else one: `_element`, EQUAL_BEFORE (null: none)."""
    is_whole = F.col("_unreadable") | _ignored_as_a_whole(parents, source)
    given = F.filter(_ELEMENTS, lambda x: x.isNotNull())
    parents = parents.withColumn(_ELEMENTS, F.when(~is_whole, given))
    # structs may hold maps, which cannot be compared
    parents = parents.withColumn("_texts", F.transform(_ELEMENTS, lambda x: F.to_json(F.struct(x.alias("x")))))
    are_distinct = F.size(F.array_distinct("_texts")) == F.size("_texts")
    before = F.transform("_texts", lambda x, i: F.size(F.filter(F.slice("_texts", F.lit(1), i), lambda y: y == x)))
    numbers = F.when(are_distinct, F.transform("_texts", lambda x: F.lit(0))).otherwise(before)
    pairs = F.zip_with(_ELEMENTS, numbers, lambda x, n: F.struct(x.alias("of"), n.alias("before")))
    rows = parents.select("*", F.explode_outer(pairs).alias("_pair")).drop(EQUAL_BEFORE, _ELEMENTS, "_texts")
    made = {_ELEMENT: F.col("_pair.of"), EQUAL_BEFORE: F.nullif(F.col("_pair.before"), F.lit(0))}
    return rows.withColumns(made).drop("_pair")


def _ignored_as_a_whole(parents: DataFrame, source: Source) -> Column:
    """Whether the parent's event word is ignored, or `where` does not hold, as far as neither names the array: then
    its elements need not be distinguished, and the ledger counts what was ignored, one event.
    """
    name = source.lines.element
    words = [word for word, kind in source.event_types.items() if kind == IGNORED]
    word, where = source.columns.get("event_type", ""), source.where
    conditions = []
    try:
        if words and name not in words_of(word):
            conditions.append(holds(F.trim(_expression(parents, word).cast("string")).isin(*words)))
        if where is not None and name not in words_of(where):
            conditions.append(~holds(_expression(parents, where)))
        found = reduce(or_, conditions, F.lit(False))
        _ = parents.select("*", found.alias("_whole")).schema
    except AnalysisException:
        return F.lit(False)  # the mapping reports what is wrong with it
    return found


def _expression(frame: DataFrame, text: str) -> Column:
    return F.col(f"`{text}`") if text in frame.columns else F.expr(text)
