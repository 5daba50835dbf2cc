"""Tags: rules from the settings, each with a figure and a reason that a person can read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from profiling_spark.config.settings import Tag
from profiling_spark.errors import ConfigError
from profiling_spark.expressions import condition, expression, holds
from profiling_spark.features.flagged import flagged_share, note_column

_NAME = re.compile(r"\w+")
_PLACE = re.compile(r"\{(\w+)\}")
_FRACTIONS = ("double", "float", "decimal")


def tag_rows(wide: DataFrame, tags: Mapping[str, Tag], rules: Sequence[str] = ()) -> DataFrame:
    """One row a customer and tag that holds (columns: contracts USER_TAGS). `wide` has one row a customer.

    `rules`: names of the rules whose flagged events count; a reason says where amounts rest on such events.
    """
    structs = [
        F.when(
            _condition(wide, name, tag),
            F.struct(
                F.lit(name).alias("tag"),
                F.lit(tag.name_en).alias("name_en"),
                F.lit(tag.name_zh).alias("name_zh"),
                _value(wide, name, tag).alias("value"),
                F.concat(reason_text(wide, name, tag.reason), flagged_text(wide, tag, rules)).alias("reason"),
            ),
        )
        for name, tag in tags.items()
    ]
    exploded = wide.select("as_of", "user_id", F.explode(F.array_compact(F.array(*structs))).alias("_tag"))
    return exploded.select("as_of", "user_id", "_tag.*")


def tag_names(wide: DataFrame, tags: Mapping[str, Tag]) -> Column:
    """Names of the customer's tags, comma separated, in the order of the settings; null without one."""
    names = F.concat_ws(",", *(F.when(_condition(wide, name, tag), F.lit(name)) for name, tag in tags.items()))
    return F.when(names != "", names)


def reason_text(wide: DataFrame, name: str, template: str) -> Column:
    """The template with `{column}` replaced by the customer's value; fractions with two digits, null as `unknown`."""
    types = dict(wide.dtypes)
    unknown = sorted({c for c in _PLACE.findall(template) if c not in types})
    if unknown:
        raise ConfigError(f"profile.tags.{name}.reason = {template!r}: {unknown} are no columns of the profile")
    parts: list[Column] = []
    for position, text in enumerate(_PLACE.split(template)):
        if position % 2 == 0:
            parts.append(F.lit(text))
            continue
        value = F.col(text)
        shown = F.format_string("%.2f", value.cast("double")) if types[text].startswith(_FRACTIONS) else value
        parts.append(F.when(value.isNotNull(), shown.cast("string")).otherwise(F.lit("unknown")))
    return F.concat(*parts)


def flagged_text(wide: DataFrame, tag: Tag, rules: Sequence[str]) -> Column:
    """What the reason adds where the tag looks at amounts of which a notable part rests on flagged rows; else ''."""
    looked_at = {*_NAME.findall(" ".join((tag.when, tag.value or "", *_PLACE.findall(tag.reason))))}
    share = flagged_share(looked_at, wide.columns)
    return F.lit("") if share is None else note_column(share, rules, "en")


def _condition(wide: DataFrame, name: str, tag: Tag) -> Column:
    return holds(condition(wide, f"profile.tags.{name}.when", tag.when))


def _value(wide: DataFrame, name: str, tag: Tag) -> Column:
    if tag.value is None:
        return F.lit(None).cast("double")
    return expression(wide, f"profile.tags.{name}.value", tag.value)[0].try_cast("double")
