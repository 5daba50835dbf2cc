"""How a source's files become rows of a silver table."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, field_validator, model_validator

from profiling_spark.config.base import Model
from profiling_spark.contracts.silver import EVENT_TYPES, EVENTS, ITEMS, REVIEWS, USERS

TARGETS = {table.name: table for table in (EVENTS, USERS, ITEMS, REVIEWS)}
IGNORED = "ignored"

# columns that ingest fills itself; all others of a target can be mapped
_DERIVED = {"user_bucket", "event_date", "flags", "rescued", "source", "file_id", "run_id"}
_REQUIRED = {
    "events": ("event_time", "user_id", "event_type"),
    "users": ("user_id",),
    "items": ("item_id",),
    "reviews": ("text",),
}


def mappable(target: str) -> tuple[str, ...]:
    """Columns of a target table that a source may map."""
    return tuple(c for c in TARGETS[target].names if c not in _DERIVED)


def check_timezone(value: str) -> str:
    """Refuse a name that the time zone database does not know."""
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as err:
        raise ValueError("allowed: a name of the time zone database, such as Europe/London or UTC") from err
    return value


# "order total" is a column's name; "paid or free" is SQL
_NAME_WITH_BLANKS = re.compile(r"[^\W\d]\w*(?: \w+)+")
_SQL_WORDS = re.compile(r"\b(?:not|is|and|or|like|ilike|rlike|in|between|case|div|as)\b", re.IGNORECASE)


Encoding = Literal["UTF-8", "ISO-8859-1", "GBK"]


class CsvOptions(Model):
    """How a CSV source is written. `escape` is the character that stands before a quote inside quotes."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    quote: Annotated[str, Field(min_length=1, max_length=1)] = '"'
    escape: Annotated[str, Field(min_length=1, max_length=1)] = '"'
    multiline: bool = False
    encoding: Encoding = "UTF-8"


Place = Annotated[int, Field(ge=1)]


class LineOptions(Model):
    """How lines of text are cut: `places` (first and last character of each column, counted from 1) for the format
    fixed, `pattern` (a regular expression whose named groups are the columns) for the format pattern.

    `header`: the first line of each file is no row. `array`, for json, parquet and delta: path of an array each of
    whose elements is a row; `lines: items` is short for `lines: {array: items}`.
    """

    places: dict[str, tuple[Place, Place]] = {}
    pattern: Annotated[str, Field(min_length=1)] | None = None
    header: bool = False
    encoding: Encoding = "UTF-8"
    array: Annotated[str, Field(pattern=r"^[^.`$\[\]]+(\.[^.`$\[\]]+)*$")] | None = None

    @property
    def element(self) -> str | None:
        """Name under which expressions know an element of the array: the last part of its path."""
        return None if self.array is None else self.array.rsplit(".", 1)[-1]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of lines of text, in order."""
        return (*self.places, *(re.compile(self.pattern).groupindex if self.pattern else ()))

    @model_validator(mode="after")
    def _readable(self) -> LineOptions:
        backwards = [name for name, (first, last) in self.places.items() if last < first]
        if backwards:
            raise ValueError(f"places {backwards}: the last character lies before the first")
        if self.pattern is not None:
            try:
                groups = re.compile(self.pattern).groupindex
            except re.error as err:
                raise ValueError(f"pattern is no regular expression: {err}") from err
            if not groups:
                raise ValueError("pattern has no named group, such as (?P<user>[0-9]+)")
        return self


def _as_options(lines: Any) -> Any:
    return {"array": lines} if isinstance(lines, str) else lines


class FillDown(Model):
    """Source columns that stand on the first row of a group only, the rows whose column `by` is equal in one file.

    A blank value becomes that of the last row above with one. `by` among `columns`: it stands on the first row only
    too, and is filled first, from the row above.
    """

    by: Annotated[str, Field(min_length=1)]
    columns: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]


# what a row of an array's elements says beside its own values: how many equal elements stand before it in its array
EQUAL_BEFORE = "_equal_before"


class Source(Model):
    """One source: where its files are, how they are read, what each canonical column is made of.

    `where` (SQL over the source's columns): rows for which it is not true are counted as ignored. `unused`: columns
    that are known and not wanted; any other unmapped column is kept in `rescued`. `missing_columns`: what a file is
    that lacks a mapped column (a field of JSON is null where absent). `changed_files`: what happens to a file that has
    other content than when it was taken: `refuse` it, `take_again` (its old rows go), or `add` it as a further file;
    null: refuse, of a Delta table take_again.
    """

    format: Literal["csv", "json", "parquet", "delta", "fixed", "pattern"]
    path: Annotated[str, Field(min_length=1)]
    target: Literal["events", "users", "items", "reviews"]
    columns: dict[str, str]
    where: Annotated[str, Field(min_length=1)] | None = None
    unused: tuple[str, ...] = ()
    missing_columns: Literal["error", "null"] = "error"
    changed_files: Literal["refuse", "take_again", "add"] | None = None
    event_types: dict[str, str] = {}
    timezone: str | None = None
    csv: CsvOptions = CsvOptions()
    lines: Annotated[LineOptions, BeforeValidator(_as_options)] = LineOptions()
    fill_down: FillDown | None = None

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str | None) -> str | None:
        return None if value is None else check_timezone(value)

    @model_validator(mode="after")
    def _mapping_fits_target(self) -> Source:
        if self.format == "fixed" and not self.lines.places:
            raise ValueError("lines.places is empty: say where each column begins and ends")
        if self.format == "pattern" and self.lines.pattern is None:
            raise ValueError("lines.pattern is absent: its named groups are the columns")
        if self.lines.array is not None and self.format not in ("json", "parquet", "delta"):
            raise ValueError(f"lines {self.lines.array!r}: the path of an array is for json, parquet and delta")
        if self.fill_down is not None and self.format == "delta":
            raise ValueError("fill_down: rows of a Delta table have no order; fill the values in where it is written")
        if self.fill_down is not None and self.lines.array is not None:
            raise ValueError("fill_down and the lines of an array do not go together: an element has its parent's row")
        allowed = mappable(self.target)
        unknown = [c for c in self.columns if c not in allowed]
        if unknown:
            raise ValueError(f"columns {unknown} are not in {self.target}; allowed: {', '.join(allowed)}")
        missing = [c for c in _REQUIRED[self.target] if c not in self.columns]
        if missing:
            raise ValueError(f"columns lacks {missing}, which {self.target} needs")
        if self.target == "events":
            self._check_event_types()
        elif self.event_types:
            raise ValueError("event_types is for sources of events only")
        return self

    def _check_event_types(self) -> None:
        if not self.event_types:
            raise ValueError("event_types is empty: map each of the source's event words to a canonical type")
        wrong = {w: t for w, t in self.event_types.items() if t not in (*EVENT_TYPES, IGNORED)}
        if wrong:
            raise ValueError(f"event_types {wrong}: allowed are {', '.join(EVENT_TYPES)} and {IGNORED}")

    @property
    def when_changed(self) -> Literal["refuse", "take_again", "add"]:
        """What happens to a file with other content than when it was taken. A Delta table is one file, and changes."""
        return self.changed_files or ("take_again" if self.format == "delta" else "refuse")

    @property
    def supplied(self) -> frozenset[str]:
        """Canonical event types that this source can give."""
        return frozenset(self.event_types.values()) - {IGNORED}

    @property
    def words(self) -> tuple[str, ...]:
        """Every word in the mapped expressions that may be the name of a source column, in order.

        Superfluous words (function names, keywords) do no harm: a column of that name is null where absent. An
        expression as a whole is never one: a null column of its name would hide what it computes.
        """
        found: dict[str, None] = {}
        for expression in (*self.columns.values(), *([self.where] if self.where else [])):
            found |= dict.fromkeys(words_of(expression))
        if self.fill_down is not None:
            found |= dict.fromkeys((self.fill_down.by, *self.fill_down.columns))
        if self.lines.array is not None:
            path = self.lines.array
            found |= dict.fromkeys((path.split(".")[0], path, path.rsplit(".", 1)[-1], EQUAL_BEFORE))
        return tuple(found)


def words_of(expression: str) -> tuple[str, ...]:
    """Every word of an expression that may be the name of a source column, in order."""
    if _NAME_WITH_BLANKS.fullmatch(expression) and not _SQL_WORDS.search(expression):
        return (expression,)
    bare = re.sub(r"'(?:[^'\\]|\\.|'')*'", " ", expression)
    return tuple(quoted or plain for quoted, plain in re.findall(r"`([^`]+)`|([^\W\d]\w*)", bare))
