"""SQL of the settings as Spark columns, with its faults as faults of the settings."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import cast

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from profiling_spark.config import Settings
from profiling_spark.config.quality import Target
from profiling_spark.config.sources import Source
from profiling_spark.config.targets import TARGETS, helping, mappable
from profiling_spark.contracts.features import user_features_columns
from profiling_spark.contracts.gold import tag_columns
from profiling_spark.errors import ConfigError
from profiling_spark.one_row import is_sound, one_row_faults

# formats of which every column is text until it is mapped
_TEXT_FORMATS = ("csv", "fixed", "pattern")
# what hardly any header has as a column's name: texts in quotes, comparisons, calls with several arguments or no end
_SQL = re.compile(r"""'[^']*'|"[^"]*"|::|[<>=|]|\w\([^()]*(?:[,(]|$)|\bcase\s+when\b|\bcast\s*\(""", re.IGNORECASE)


def check_expressions(spark: SparkSession, settings: Settings) -> None:
    """Raises ConfigError that names every expression of the settings that cannot be used, before a file is read.

    Sources' mappings and `where`, quality rules, what ingest keeps, tags: each must parse and look at one row; where
    the columns are known (those of text are texts), they and the functions must exist, and a condition be true or
    false. Analysis only: no Spark job. What is wrong with columns of JSON, Parquet and Delta shows where they are read.
    No value of the environment stands in the message.
    """
    faults: dict[str, str] = {}
    for name, source in settings.sources.items():
        faults |= _source_faults(spark, name, source)
    for target in TARGETS:
        faults |= _ingest_faults(spark, settings, cast(Target, target))
    faults |= _tag_faults(spark, settings)
    if faults:
        lines = "\n".join(f"  {setting}: {fault}" for setting, fault in faults.items())
        raise ConfigError(settings.concealed(f"the settings have SQL that cannot be used:\n{lines}"))


def condition(frame: DataFrame, setting: str, text: str) -> Column:
    """A condition over the frame's columns. Raises ConfigError where it does not parse, names an absent column, or is
    not true or false.
    """
    column, kind = expression(frame, setting, text)
    if kind != "boolean":
        raise ConfigError(f"{setting} = {text!r}: expected true or false, found {kind}")
    return column


def expression(frame: DataFrame, setting: str, text: str) -> tuple[Column, str]:
    """(an expression over the frame's columns, its type). Raises ConfigError where it is none."""
    try:
        column = F.expr(text)
        return column, frame.select(column.alias("value")).dtypes[0][1]
    except AnalysisException as err:
        raise ConfigError(f"{setting} = {text!r}: {_error_text(err)}") from err


def holds(condition: Column) -> Column:
    """`a <> b` is null where a is null; a rule whose condition is null does not hold."""
    return F.coalesce(condition, F.lit(False))


def _source_faults(spark: SparkSession, name: str, source: Source) -> dict[str, str]:
    here = f"sources.{name}"
    where = {f"{here}.where": source.where} if source.where is not None else {}
    # a text that may be a column's name as it stands in a header is judged when the header is known
    mapped = {f"{here}.columns.{c}": text for c, text in source.columns.items() if _SQL.search(text)}
    names = [text for text in source.columns.values() if not _SQL.search(text)]
    columns = dict.fromkeys((*names, *source.words), "string")
    if source.format in _TEXT_FORMATS:
        return _faults(spark, columns, {**mapped, **where}, conditions=where, source=here)
    frame = _empty(spark, columns)
    faults = _syntax_faults(frame, mapped | where)
    sound = {setting: text for setting, text in (mapped | where).items() if setting not in faults}
    others = one_row_faults(frame, sound, source=here)
    return faults | {setting: f"{sound[setting]!r}: {fault}" for setting, fault in others.items()}


def _ingest_faults(spark: SparkSession, settings: Settings, target: Target) -> dict[str, str]:
    """Of the rules of a table, and of what decides which of two rows with one key is kept."""
    rules = {f"ingest.rules.{n}.when": r.when for n, r in enumerate(settings.ingest.rules) if r.target == target}
    kept = {f"ingest.keep.{target}": settings.ingest.keep[target]} if target in settings.ingest.keep else {}
    types = {c.name: c.type for c in TARGETS[target].columns}
    judged = {c: types.get(c, "string") for c in (*mappable(target), *helping(target))}
    if target == "events":
        judged["event_date"] = "date"
    is_column = all(text in types for text in kept.values())
    faults = _faults(spark, judged, rules, conditions=rules)
    return faults if is_column else faults | _faults(spark, types, kept)


def _tag_faults(spark: SparkSession, settings: Settings) -> dict[str, str]:
    tags = settings.profile.tags
    when = {f"profile.tags.{name}.when": tag.when for name, tag in tags.items()}
    value = {f"profile.tags.{name}.value": tag.value for name, tag in tags.items() if tag.value is not None}
    columns = tag_columns(user_features_columns(settings.windows_days, settings.custom_features))
    return _faults(spark, {c.name: c.type for c in columns}, {**when, **value}, conditions=when)


def _empty(spark: SparkSession, columns: Mapping[str, str]) -> DataFrame:
    """No row of these columns. Of names that differ in capitals only, which Spark takes for one, the first stays."""
    types: dict[str, tuple[str, str]] = {}
    for name, kind in columns.items():
        types.setdefault(name.lower(), (name.replace("`", "``"), kind))
    return spark.range(0).selectExpr(*(f"cast(null as {kind}) as `{name}`" for name, kind in types.values()))


def _faults(
    spark: SparkSession,
    columns: Mapping[str, str],
    texts: Mapping[str, str],
    *,
    conditions: Collection[str] = (),
    source: str = "",
) -> dict[str, str]:
    """By setting, what is wrong with expressions over columns of these types; `conditions` are to be true or false.

    One analysis of all, of the columns that they name; one by one only where that fails.
    """
    all_texts = " ".join(texts.values()).lower()
    named = {name: kind for name, kind in columns.items() if name.lower() in all_texts}
    if not texts or is_sound(_empty(spark, named), texts, conditions):
        return {}
    frame = _empty(spark, columns)
    faults: dict[str, str] = {}
    try:
        kinds = _kinds(frame, texts)
    except AnalysisException:
        kinds = {}
        for setting, text in texts.items():
            try:
                kinds |= _kinds(frame, {setting: text})
            except AnalysisException as err:
                faults[setting] = f"{text!r}: {_error_text(err)}"
    for setting in conditions:
        if kinds.get(setting, "boolean") != "boolean":
            faults[setting] = f"{texts[setting]!r}: expected true or false, found {kinds[setting]}"
    others = one_row_faults(frame, texts, source=source)
    return faults | {setting: f"{texts[setting]!r}: {fault}" for setting, fault in others.items()}


def _kinds(frame: DataFrame, texts: Mapping[str, str]) -> dict[str, str]:
    """Types of the expressions. Raises AnalysisException where one of them is none."""
    is_column = set(frame.columns)
    columns = [F.col(f"`{t}`") if t in is_column else F.expr(t) for t in texts.values()]
    found = frame.select(*(c.alias(f"_{n}") for n, c in enumerate(columns))).dtypes
    return {setting: kind for setting, (_, kind) in zip(texts, found, strict=True)}


def _syntax_faults(frame: DataFrame, texts: Mapping[str, str]) -> dict[str, str]:
    """Of expressions over columns whose types are not known: all are parsed before the first one is analysed."""
    try:
        _kinds(frame, texts)
    except ParseException as err:
        if len(texts) == 1:
            return {setting: f"{text!r}: {_error_text(err)}" for setting, text in texts.items()}
        return {k: v for setting, text in texts.items() for k, v in _syntax_faults(frame, {setting: text}).items()}
    except AnalysisException:
        pass
    return {}


def _error_text(err: AnalysisException) -> str:
    """Spark's words in one line, without its codes."""
    first = str(err).strip().splitlines()[0]
    return re.sub(r"^\[[\w.]+\]\s*|\s*SQLSTATE: \w+;?|[;\s]*line \d+ pos \d+;?$", "", first).strip()
