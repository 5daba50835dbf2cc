"""Features that the settings describe: what may be given, and what is refused before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from math import isfinite
from typing import Any, Literal

from pydantic import GetJsonSchemaHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from profiling_spark.config.base import Fault, Keys, Model, Name, nearest
from profiling_spark.contracts.gold import USER_PROFILE
from profiling_spark.contracts.silver import EVENT_TYPES
from profiling_spark.feature_catalogue.entries import ENTRIES
from profiling_spark.feature_catalogue.event_columns import CLOCK, DISTINCTS, FILTERS, FLAGS, NUMBERS, SUMS

WHOLE_HISTORY = "all"
Scalar = bool | int | float | str

_LARGEST = 10**14  # an amount has 14 digits before the point
# keys that a measure needs, and those that it may have besides; name, measure, unit and description always stand
_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "count": (("event_types",), ("where", "windows_days")),
    "sum": (("event_types", "column"), ("where", "windows_days")),
    "distinct": (("event_types", "column"), ("where", "windows_days")),
    "share": (("event_types", "where"), ("column", "windows_days")),
    "recency": (("event_types",), ("where",)),
    "ratio": (("numerator", "denominator"), ("windows_days",)),
}
_ALL_KEYS = ("event_types", "where", "column", "windows_days", "numerator", "denominator")
_COLUMNS = {"sum": tuple(SUMS), "distinct": DISTINCTS, "share": (*SUMS, *DISTINCTS)}


class Condition(Model):
    """What a filter asks of one column: one of some values, or a range with both ends in it. Unknown fits neither.

    In YAML `app` and `[app, web]` are short for `{any_of: [...]}`. Where `min` is above `max`, hours run over midnight
    and weekdays over Sunday.
    """

    any_of: tuple[Scalar, ...] = ()
    min: int | float | None = None
    max: int | float | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        if isinstance(value, Condition):
            return value
        long = value if isinstance(value, dict) else {"any_of": value if isinstance(value, list | tuple) else [value]}
        values = long.get("any_of", ())
        wrong = [v for v in values if not isinstance(v, Scalar)] if isinstance(values, list | tuple) else [values]
        wrong += [v for v in (long.get("min"), long.get("max")) if v is not None and not _is_number(v)]
        if wrong:
            raise ValueError(
                f"allowed: a value, a list of values, or min and max with numbers; found {wrong[0]!r}"
                " (a text that YAML takes for something else needs quotes)"
            )
        return long

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        reference = handler(core_schema)
        made = handler.resolve_ref_schema(reference)
        value = {"type": ["boolean", "number", "string"]}
        long = {k: made.pop(k) for k in [*made] if k not in ("title", "description")}
        made["anyOf"] = [value, {"type": "array", "items": value}, long]
        return reference

    @model_validator(mode="after")
    def _values_or_range(self) -> Condition:
        if bool(self.any_of) == (self.min is not None or self.max is not None):
            raise ValueError("allowed: either at least one value, or min, max or both")
        return self

    def fault(self, column: str) -> str | None:
        """What does not fit the column, if anything."""
        given = [v for v in (*self.any_of, self.min, self.max) if v is not None]
        found = ", ".join(repr(v) for v in given if not _fits(v, column))
        if found:
            return f"where.{column}: expected {_expected(column)}; found {found}"
        if column not in CLOCK and self.min is not None and self.max is not None and self.min > self.max:
            return f"where.{column}: min {self.min} is above max {self.max}"
        return None


class CustomFeature(Model):
    """One configured feature: a column `{name}_{w}d` for each of its windows, or `name` over the whole history."""

    name: Name
    measure: Literal["count", "sum", "distinct", "ratio", "share", "recency"]
    description: str
    unit: str
    event_types: tuple[str, ...] = ()
    where: dict[str, Condition] = {}
    column: str | None = None
    windows_days: Literal["all"] | tuple[int, ...] | None = None
    numerator: Name | None = None
    denominator: Name | None = None

    @field_validator("description", "unit")
    @classmethod
    def _one_line(cls, value: str) -> str:
        text = " ".join(value.split())
        if not text:
            raise ValueError("allowed: a text; the documentation shows it")
        return text

    @field_validator("windows_days", mode="before")
    @classmethod
    def _all_or_days(cls, value: Any) -> Any:
        days = list(value) if isinstance(value, list | tuple) else []
        rising = all(_is_whole(d) for d in days) and days == sorted(set(days))
        if value is None or value == WHOLE_HISTORY or (days and rising):
            return value
        raise ValueError(f"allowed: {WHOLE_HISTORY}, or some of the settings' windows_days in rising order")

    def faults(self) -> Iterable[Fault]:
        """What its measure lacks or does not take, and what it cannot read."""
        needed, optional = _KEYS[self.measure]
        given = [key for key in _ALL_KEYS if getattr(self, key)]
        faults = [((key,), f"a {self.measure} needs {key}") for key in needed if key not in given]
        others = [key for key in given if key not in (*needed, *optional)]
        faults += [((key,), f"a {self.measure} takes no {key}") for key in others]
        for keys, message in (*faults, *self._faults_of_what_it_reads()):
            yield Fault(keys, f"custom feature {self.name}: {message}", also=(("measure",),))

    @property
    def windowed(self) -> bool:
        """Whether it has windows. A recency never has: it looks for the last event ever."""
        return self.measure != "recency" and self.windows_days != WHOLE_HISTORY

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of events that it looks at, besides the type and the time."""
        return tuple(dict.fromkeys([*self.where, *([self.column] if self.column else [])]))

    def spans(self, windows: tuple[int, ...]) -> tuple[int | None, ...]:
        """Its windows, days, where `windows` are those of the settings; (None,) over the whole history."""
        if not self.windowed:
            return (None,)
        return self.windows_days if isinstance(self.windows_days, tuple) else windows

    def _faults_of_what_it_reads(self) -> Iterator[tuple[Keys, str]]:
        for place, word in enumerate(self.event_types):
            if word not in EVENT_TYPES:
                message = f"event_types: {word} unknown; allowed: {', '.join(EVENT_TYPES)}{nearest(word, EVENT_TYPES)}"
                yield ("event_types", str(place)), message
        if len(set(self.event_types)) < len(self.event_types):
            yield ("event_types",), "event_types: each once"
        for column, condition in self.where.items():
            keys = ("where", column)
            if column not in FILTERS:
                allowed = f"{', '.join(FILTERS)}{nearest(column, FILTERS)}"
                yield keys, f"where.{column}: no column to filter by; allowed: {allowed}"
            elif fault := condition.fault(column):
                yield keys, fault
        columns = _COLUMNS.get(self.measure)
        if columns and self.column is not None and self.column not in columns:
            allowed = f"{', '.join(columns)}{nearest(self.column, columns)}"
            yield ("column",), f"column {self.column}: no column for a {self.measure}; allowed: {allowed}"


# user_profile sits beside user_features where tags look, so a name may not mean two things
RESERVED = frozenset({*(entry.name for entry in ENTRIES), *USER_PROFILE.names})


def custom_faults(features: Sequence[CustomFeature], windows: tuple[int, ...]) -> Iterator[Fault]:
    """What does not fit the other features or the settings' windows."""
    names = [f.name for f in features]
    for place, feature in enumerate(features):
        here = ("custom_features", str(place))
        for message in _faults_of_name(feature.name, names, place):
            yield Fault((*here, "name"), message)
        also = (("windows_days",), (*here, "windows_days"))
        foreign = [w for w in feature.spans(windows) if w is not None and w not in windows]
        if foreign:
            message = f"windows_days {foreign} are not among the settings' windows_days {list(windows)}"
            yield Fault((*here, "windows_days"), f"{feature.name}: {message}", also=also)
        if feature.measure == "ratio":
            for key, message in _faults_of_operands(feature, features, windows):
                yield Fault((*here, key), f"{feature.name}: {message}", also=(*also, ("custom_features",)))


def _faults_of_name(name: str, names: Sequence[str], place: int) -> Iterator[str]:
    if name in RESERVED:
        yield f"{name} is the name of a built-in column"
    if name in names[:place]:
        yield f"{name} stands twice"
    stem, _, last = name.rpartition("_")
    if stem and last.endswith("d") and last[:-1].isdigit():
        yield f"{name} ends like a window; the windows' endings are added to the name, so call it {stem}"


def _faults_of_operands(
    ratio: CustomFeature, features: Sequence[CustomFeature], windows: tuple[int, ...]
) -> Iterator[tuple[str, str]]:
    """Operands are finished columns: numbers, known, of the same window, and no ratio that is itself configured."""
    built_in = {e.name: windows if e.windowed else (None,) for e in ENTRIES if is_numeric(e.type)}
    configured = {f.name: f.spans(windows) for f in features if f.measure != "ratio"}
    known = {**configured, **built_in}
    windowed_operand = False
    for key, operand in (("numerator", ratio.numerator), ("denominator", ratio.denominator)):
        if operand not in known:
            names = f"{', '.join(configured) or 'none configured'}; built in: {', '.join(built_in)}"
            near = nearest(str(operand), known)
            yield key, f"{operand} is no feature that a ratio can take; allowed: {names}{near}"
            return
        has = known[operand]
        windowed_operand |= has != (None,)
        lacks = [w for w in ratio.spans(windows) if w is not None and w not in has] if has != (None,) else []
        if lacks:
            yield key, f"{operand} has no window of {lacks} days; give windows_days that both operands have"
        if not ratio.windowed and has != (None,):
            yield key, f"{operand} has windows, so windows_days: {WHOLE_HISTORY} does not fit"
    if ratio.windowed and not windowed_operand:
        yield "windows_days", f"neither operand has windows; write windows_days: {WHOLE_HISTORY}"


def is_numeric(data_type: str) -> bool:
    """Whether Spark's simple name of a type is that of a number."""
    return data_type.startswith(("bigint", "int", "double", "decimal"))


def _expected(column: str) -> str:
    if column in CLOCK:
        return f"whole numbers from {CLOCK[column][0]} to {CLOCK[column][1]}"
    if column in NUMBERS:
        return f"numbers with at most {NUMBERS[column]} decimals"
    return "true or false" if column in FLAGS else "texts (in quotes where YAML takes them for something else)"


def _fits(value: Scalar, column: str) -> bool:
    if column in CLOCK:
        first, last = CLOCK[column]
        return isinstance(value, int) and _is_whole(value) and first <= value <= last
    if column in NUMBERS:
        return _is_number(value) and _has_places(value, NUMBERS[column])
    return isinstance(value, bool if column in FLAGS else str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and isfinite(value))


def _has_places(value: Any, places: int) -> bool:
    scaled = Decimal(str(value)).scaleb(places)
    return abs(value) < _LARGEST and scaled == scaled.to_integral_value()
