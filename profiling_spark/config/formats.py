"""How text files are written: encodings, CSV, lines."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field, field_validator

from profiling_spark.config.base import Fault, Model

Encoding = Literal[
    "UTF-8", "UTF-16", "UTF-16LE", "UTF-16BE", "ISO-8859-1", "windows-1252", "GBK", "GB18030", "Big5", "Shift-JIS"
]
_SPELLINGS = {re.sub("[^a-z0-9]", "", name.lower()): name for name in get_args(Encoding)}
_SPELLINGS |= {"latin1": "ISO-8859-1", "cp1252": "windows-1252", "cp936": "GBK", "cp950": "Big5"}
_SPELLINGS |= {"sjis": "Shift-JIS", "cp932": "Shift-JIS", "windows31j": "Shift-JIS"}


def _spelled(value: object) -> object:
    """An encoding's name as it is written here: utf8 and Shift_JIS are understood too."""
    return _SPELLINGS.get(re.sub("[^a-z0-9]", "", value.lower()), value) if isinstance(value, str) else value


AnyEncoding = Annotated[Encoding, BeforeValidator(_spelled)]


class CsvOptions(Model):
    """How a CSV source is written. `escape` is the character that stands before a quote inside quotes."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    quote: Annotated[str, Field(min_length=1, max_length=1)] = '"'
    escape: Annotated[str, Field(min_length=1, max_length=1)] = '"'
    multiline: bool = False
    encoding: AnyEncoding = "UTF-8"

    def faults(self) -> Iterable[Fault]:
        """A line that cannot be cut."""
        if self.delimiter in (self.quote, self.escape):
            yield Fault(("delimiter",), "is the quote or the escape too", also=(("quote",), ("escape",)))


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
    encoding: AnyEncoding = "UTF-8"
    array: Annotated[str, Field(pattern=r"^[^.`$\[\]]+(\.[^.`$\[\]]+)*$")] | None = None

    @property
    def element(self) -> str | None:
        """Name under which expressions know an element of the array: the last part of its path."""
        return None if self.array is None else self.array.rsplit(".", 1)[-1]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of lines of text, in order."""
        return (*self.places, *(re.compile(self.pattern).groupindex if self.pattern else ()))

    @field_validator("pattern")
    @classmethod
    def _names_columns(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                groups = re.compile(value).groupindex
            except re.error as err:
                raise ValueError(f"pattern is no regular expression: {err}") from err
            if not groups:
                raise ValueError("pattern has no named group, such as (?P<user>[0-9]+)")
        return value

    def faults(self) -> Iterable[Fault]:
        """Columns that end before they begin."""
        for name, (first, last) in self.places.items():
            if last < first:
                yield Fault(("places", name), f"places {name}: the last character lies before the first")
