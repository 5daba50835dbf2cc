"""On which line of its file a row stands, found again from its raw text: a file is read once, to its last such row.

Only for text. A row that is not found, such as one whose bytes do not fit the encoding, has no line.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from itertools import chain

import polars as pl
from pyspark.sql import SparkSession

from profiling_spark.config.formats import CsvOptions
from profiling_spark.config.sources import Source
from profiling_spark.errors import StorageError
from profiling_spark.ingest.files.contents import Content, content_of
from profiling_spark.ingest.files.encodings import python_name

_BLOCK = 1 << 23
_LONGEST_FIELD = 1 << 30
_MARK = "\ufeff"
_HALF = re.compile("[\ud800-\udfff]")


def line_numbers(
    path: str, source: Source, texts: Collection[str], spark: SparkSession | None = None
) -> dict[str, int]:
    """Number of the first line of each raw text that is found (1: the first line of the file, also where that is a
    header). A row of several lines has the number of the first of them. `spark`: reaches what is on no local disk.
    """
    if not texts or source.format not in ("csv", "json", "fixed", "pattern"):
        return {}
    is_csv = source.format == "csv"
    csv.field_size_limit(_LONGEST_FIELD)  # of the whole process, in which several files are read side by side
    try:
        with _opened(content_of(spark, path), python_name(source.encoding)) as text:
            if is_csv and source.csv.multiline:
                return _by_record(text, source.csv, set(texts))
            return _by_line(text, source.csv if is_csv else None, texts)
    except (StorageError, OSError, EOFError, zlib.error, LookupError, ValueError, csv.Error):
        return {}  # the run does not depend on it


@contextmanager
def _opened(content: Content, encoding: str) -> Iterator[io.TextIOWrapper]:
    with content.unpacked() as file:
        yield io.TextIOWrapper(file, encoding, errors="replace", newline="\n")


def _by_line(text: io.TextIOWrapper, options: CsvOptions | None, texts: Collection[str]) -> dict[str, int]:
    blocks = _blocks(text)
    first = next(blocks, "").removeprefix(_MARK)
    header = first.partition("\n")[0].removesuffix("\r")
    wanted = _Wanted(options, header, texts)
    number = 1
    if options is not None:
        number, first = 2, first.partition("\n")[2]
    for block in filter(None, chain([first], blocks)):
        if not wanted.texts:
            break
        number = wanted.look(block, number)
    return wanted.found


def _blocks(text: io.TextIOWrapper) -> Iterator[str]:
    """The text in parts of whole lines."""
    rest: list[str] = []
    while chunk := text.read(_BLOCK):
        end = chunk.rfind("\n") + 1
        if end:
            yield "".join((*rest, chunk[:end]))
            rest = []
        rest.append(chunk[end:])
    if any(rest):
        yield "".join(rest)


class _Wanted:
    """Rows that are looked for, by the line that contains them. `texts` are those not found yet."""

    def __init__(self, options: CsvOptions | None, header: str, texts: Collection[str]) -> None:
        self.options, self.texts, self.found = options, set(texts), dict[str, int]()
        names = [] if options is None else _fields(header, options)
        values = {raw: _values(raw, names) for raw in self.texts}
        self.by_values = {v: raw for raw, v in values.items() if v is not None}
        join = "" if options is None else options.delimiter
        # a line without quotes is its values and the delimiters between them
        self.by_line = {raw if v is None else join.join(v): raw for raw, v in values.items()}
        self.quotes = () if options is None or not self.by_values else tuple({options.quote, options.escape} - {""})
        # half of a pair of UTF-16, which JSON can escape, stands in no file
        lines = pl.Series([line for line in self.by_line if not _HALF.search(line)], dtype=pl.String)
        self.bare_lines = self._bare(lines, self.quotes)

    @staticmethod
    def _bare(lines: pl.Series, quotes: Iterable[str]) -> pl.Series:
        return reduce(lambda found, quote: found.str.replace_all(quote, "", literal=True), quotes, lines)

    def look(self, block: str, number: int) -> int:
        """Look through a block whose first line has this number; returns the number of the line after it."""
        lines = pl.Series([block.removesuffix("\n")]).str.split("\n").explode(empty_as_null=True)
        lines = lines.str.strip_suffix("\r") if "\r" in block else lines
        # without its quotes a line is that of its values without theirs; few others are
        bare = self._bare(lines, [q for q in self.quotes if q in block])
        for place in bare.is_in(self.bare_lines.implode()).arg_true():
            line = lines[place]
            raw = self.by_line.get(line)
            if raw is None and self.options is not None:
                raw = self.by_values.get(tuple(_fields(line, self.options)))
            if raw in self.texts:
                self.found[raw] = number + place
                self.texts.discard(raw)
        return number + block.count("\n")


def _fields(line: str, options: CsvOptions) -> list[str]:
    return next(csv.reader([line.removesuffix("\r")], **_dialect(options)), [])  # type: ignore[arg-type]


def _dialect(options: CsvOptions) -> Mapping[str, object]:
    doubled = options.escape == options.quote
    return {
        "delimiter": options.delimiter,
        "quotechar": options.quote,
        "doublequote": doubled,
        "escapechar": None if doubled else options.escape or None,
    }


def _values(raw: str, header: list[str]) -> tuple[str, ...] | None:
    """The values of a row that is kept as JSON of them, in the order of the header; None where it is kept as a line."""
    if not header or not raw.startswith("{"):
        return None
    try:
        row = json.loads(raw)
    except ValueError:
        return None
    return tuple(v or "" for v in row.values()) if list(row) == header else None


def _by_record(text: io.TextIOWrapper, options: CsvOptions, texts: set[str]) -> dict[str, int]:
    """For CSV whose values hold line ends: the whole file goes through a parser."""
    lines: list[str] = []

    def remembered() -> Iterator[str]:
        for line in text:
            lines.append(line)
            yield line

    records = csv.reader(remembered(), **_dialect(options))  # type: ignore[arg-type]
    header = [name.removeprefix(_MARK) for name in next(records, [])]
    by_values = {v: raw for raw in texts if (v := _values(raw, header)) is not None}
    found: dict[str, int] = {}
    while texts:
        begins = records.line_num + 1
        lines.clear()
        record = next(records, None)
        if record is None:
            break
        raw = by_values.get(tuple(v.replace("\r\n", "\n") for v in record)) or "".join(lines).rstrip("\r\n")
        if raw in texts:
            found[raw] = begins
            texts.discard(raw)
    return found
