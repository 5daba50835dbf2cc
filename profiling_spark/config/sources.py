"""How a source's files become rows of a silver table."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, field_validator

from profiling_spark.config.base import Fault, Model, Name, Share
from profiling_spark.config.formats import CsvOptions, Encoding, LineOptions
from profiling_spark.config.source_faults import source_faults
from profiling_spark.config.targets import IGNORED, ROW_ID, TARGETS
from profiling_spark.contracts.silver import ATTRIBUTES


def check_timezone(value: str) -> str:
    """Refuse a name that the time zone database does not know."""
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as err:
        raise ValueError("allowed: a name of the time zone database, such as Europe/London or UTC") from err
    return value


_DIRECTIVES = {"%Y": r"(\d{4})", **dict.fromkeys(("%m", "%d", "%H", "%M", "%S"), r"(\d{2})")}


def path_time_pattern(text: str) -> tuple[re.Pattern[str], str]:
    """(regular expression of a `delivered_at`, the strptime format of its groups, joined by blanks).

    Raises ValueError where it names no day.
    """
    parts = re.split(r"(%.)", text)
    used = [p for p in parts if p.startswith("%")]
    wrong = sorted({p for p in used if p not in _DIRECTIVES})
    if wrong or len(used) != len(set(used)) or not {"%Y", "%m", "%d"} <= set(used):
        raise ValueError(f"delivered_at {text!r}: expected %Y, %m and %d, each once, and %H, %M, %S if you have them")
    return re.compile("".join(_DIRECTIVES.get(p) or re.escape(p) for p in parts)), " ".join(used)


# "order total" is a column's name; "paid or free" is SQL
_NAME_WITH_BLANKS = re.compile(r"[^\W\d]\w*(?: \w+)+")
_SQL_WORDS = re.compile(r"\b(?:not|is|and|or|like|ilike|rlike|in|between|case|div|as)\b", re.IGNORECASE)


EpochUnit = Literal["s", "ms", "us", "ns"]


class Covers(Model):
    """The part of its event types for which a source is the authority, where it shares them with another source.

    `channel`: its events have this channel; those of another are counted as ignored. `first_date`, `last_date`: its
    events lie on these days or between them (business_timezone), others are counted as ignored; null: no bound.
    """

    channel: Annotated[str, Field(min_length=1)] | None = None
    first_date: date | None = None
    last_date: date | None = None

    def faults(self) -> Iterable[Fault]:
        """A part that is none."""
        if self.channel is None and self.first_date is None and self.last_date is None:
            yield Fault((), "expected channel, first_date or last_date")
        if self.first_date is not None and self.last_date is not None and self.last_date < self.first_date:
            message = f"last_date {self.last_date} lies before first_date {self.first_date}"
            yield Fault(("last_date",), message, also=(("first_date",),))

    def overlaps(self, other: Covers) -> bool:
        """Whether an event could be covered by both."""
        if self.channel is not None and other.channel is not None and self.channel != other.channel:
            return False
        first = max(self.first_date or date.min, other.first_date or date.min)
        last = min(self.last_date or date.max, other.last_date or date.max)
        return first <= last


def _as_options(lines: Any) -> Any:
    return {"array": lines} if isinstance(lines, str) else lines


class FillDown(Model):
    """Source columns that stand on the first row of a group only, the rows whose column `by` is equal in one file.

    A blank value becomes that of the last row above with one. `by` among `columns`: it stands on the first row only
    too, and is filled first, from the row above.
    """

    by: Annotated[str, Field(min_length=1)]
    columns: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]


# what a row of an array's elements has beside its own values: how many equal elements stand before it in its array
EQUAL_BEFORE = "_equal_before"


class Source(Model):
    """One source: where its files are, how they are read, what each canonical column is made of.

    `required`: false: that no file is there does not stop the run; a source that never delivered counts as if it were
    not in the settings. `where` (SQL over the source's columns): rows for which it is not true are counted as ignored.
    `unused`: columns that are known and not wanted; any other unmapped column is kept in `rescued`. `missing_columns`:
    what a file is that lacks a mapped column (a field of JSON is null where absent). `changed_files`: what happens to a
    file that has other content than when it was taken: `refuse` it, `take_again` (its old rows go), or `add` it as a
    further file; null: refuse; of attributes, where it is another delivery, add; of a Delta table of events or reviews
    take_again. `id_namespace`: stands in the rows' ids for the source's name (null), so that a source that is renamed
    keeps its rows. `repeats`: rows without an id that are equal in the mapped columns are `one`, or `count` as often as
    they stand in one file; several files give the larger number, not the sum. `covers`: the part of its event types
    that comes from this source, where another one gives such events too. `timezone`: of times without a zone; null: the
    business timezone. `epochs`: the unit of each time column that is a number since 1970. `negative_figures`: whether a
    purchase with a negative quantity, price or amount is refused or read `as_refund`; then a refund's figures may have
    any sign, and a negative discount is what was taken off.

    Of users and items: `delivered_at` says where in a file's path the time of its delivery stands, as in
    `products_%Y-%m-%d` (%Y %m %d %H %M %S; in the source's zone); null: the start of the run that loads it. `snapshot`:
    all files of one delivery are the full list, and end what is not in it, but no more than `max_ended_share` of it.
    """

    format: Literal["csv", "json", "parquet", "delta", "fixed", "pattern"]
    path: Annotated[str, Field(min_length=1)]
    target: Literal["events", "users", "items", "reviews"]
    columns: dict[str, str]
    required: bool = True
    where: Annotated[str, Field(min_length=1)] | None = None
    unused: tuple[str, ...] = ()
    missing_columns: Literal["error", "null"] = "error"
    changed_files: Literal["refuse", "take_again", "add"] | None = None
    delivered_at: Annotated[str, Field(min_length=1)] | None = None
    snapshot: bool = False
    max_ended_share: Share = 0.2
    event_types: dict[str, str] = {}
    id_namespace: Name | None = None
    repeats: Literal["one", "count"] = "one"
    covers: Covers | None = None
    timezone: str | None = None
    epochs: dict[str, EpochUnit] = {}
    negative_figures: Literal["refuse", "as_refund"] = "refuse"
    csv: CsvOptions = CsvOptions()
    lines: Annotated[LineOptions, BeforeValidator(_as_options, json_schema_input_type=LineOptions | str)] = (
        LineOptions()
    )
    fill_down: FillDown | None = None

    @field_validator("delivered_at")
    @classmethod
    def _names_a_day(cls, value: str | None) -> str | None:
        if value is not None:
            path_time_pattern(value)
        return value

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str | None) -> str | None:
        return None if value is None else check_timezone(value)

    def faults(self) -> Iterable[Fault]:
        """What does not fit the format, the target, or another setting of the source."""
        return source_faults(self)

    @property
    def has_versions(self) -> bool:
        """Whether the source reports attributes, of which each delivery adds to what is known."""
        return TARGETS[self.target] in ATTRIBUTES

    @property
    def when_changed(self) -> Literal["refuse", "take_again", "add"]:
        """What happens to a file with other content than when it was taken. A Delta table is one file, and changes."""
        if self.changed_files is not None:
            return self.changed_files
        return "add" if self.has_versions else "take_again" if self.format == "delta" else "refuse"

    def namespace(self, name: str) -> str:
        """What stands in the rows' ids for the source, whose name is given."""
        return self.id_namespace or name

    @property
    def has_own_id(self) -> bool:
        """Whether the source gives its rows an id."""
        return ROW_ID.get(self.target) in self.columns

    @property
    def given_columns(self) -> frozenset[str]:
        """Columns that are mapped, and the channel where the source covers one."""
        has_channel = self.covers is not None and self.covers.channel is not None
        return frozenset(self.columns) | ({"channel"} if has_channel else set())

    @property
    def id_columns(self) -> tuple[str, ...]:
        """Mapped columns of which the ids of rows without one of their own are made."""
        return tuple(sorted(set(self.columns) - {ROW_ID.get(self.target)}))

    @property
    def encoding(self) -> Encoding:
        """Of a source of text."""
        if self.format in ("fixed", "pattern"):
            return self.lines.encoding
        return self.csv.encoding if self.format == "csv" else "UTF-8"

    @property
    def supplied(self) -> frozenset[str]:
        """Canonical event types that this source can give."""
        given = frozenset(self.event_types.values()) - {IGNORED}
        return given | {"refund"} if self.negative_figures == "as_refund" and "purchase" in given else given

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
