"""Bytes of text files: whether they fit the encoding that the settings name, and which one does where they do not."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

from profiling_spark.config.formats import Encoding
from profiling_spark.config.sources import Source
from profiling_spark.ingest.files.contents import Content

REPLACED = "\ufffd"
"""What decoders put for bytes that are no character: no row with it is taken."""
TEXT_FORMATS = ("csv", "json", "fixed", "pattern")
_NULL_SHARE = 0.02
_COMMON_SHARE = 0.6

# names of Python and of Java. GBK is a part of GB18030; Taiwanese and Japanese files are written by Windows, which has
# some letters more than the standards
_NAMES: dict[Encoding, tuple[str, str]] = {
    "UTF-8": ("utf-8", "UTF-8"),
    "UTF-16": ("utf-16-le", "UTF-16LE"),
    "UTF-16LE": ("utf-16-le", "UTF-16LE"),
    "UTF-16BE": ("utf-16-be", "UTF-16BE"),
    "ISO-8859-1": ("latin-1", "ISO-8859-1"),
    "windows-1252": ("cp1252", "windows-1252"),
    "GBK": ("gb18030", "GB18030"),
    "GB18030": ("gb18030", "GB18030"),
    "Big5": ("cp950", "x-windows-950"),
    "Shift-JIS": ("cp932", "windows-31j"),
}
# of these Python and Java agree about every byte
_SURE = ("UTF-8", "UTF-16", "UTF-16LE", "UTF-16BE", "ISO-8859-1")
# codec and first bytes of the letters that are common in each
_COMMON: dict[Encoding, tuple[str, bytes, bytes]] = {
    "GB18030": ("gb2312", b"\xb0", b"\xd7"),
    "Big5": ("big5", b"\xa4", b"\xc6"),
    "Shift-JIS": ("shift_jis", b"\x82", b"\x97"),
}


@dataclass(frozen=True)
class Fit:
    """`problem`: why a file is not read, empty if it is. `is_clean`: every byte is known to be part of a character, so
    rows need not be looked at. `hint`: the message for a file of which some lines do not fit.
    """

    problem: str = ""
    is_clean: bool = False
    hint: str = ""


def resolved(encoding: Encoding, head: bytes) -> Encoding:
    """UTF-16 with its order of bytes: by the mark at the begin, else by where the zeros of plain letters stand."""
    if encoding != "UTF-16":
        return encoding
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16LE" if head.startswith(codecs.BOM_UTF16_LE) else "UTF-16BE"
    return "UTF-16BE" if head[::2].count(0) > head[1::2].count(0) else "UTF-16LE"


def python_name(encoding: Encoding) -> str:
    """Python's codec."""
    return _NAMES[encoding][0]


def java_name(encoding: Encoding) -> str:
    """Java's charset."""
    return _NAMES[encoding][1]


class TextCheck:
    """Looks at a file's bytes while they are read for its fingerprint."""

    def __init__(self, source: Source) -> None:
        self.encoding = source.encoding
        self.fits = True
        self.is_clean = self.encoding in _SURE
        self._decoder: codecs.IncrementalDecoder | None = None

    def feed(self, chunk: bytes) -> None:
        """The next bytes."""
        if not self.fits:
            return
        if self._decoder is None:
            self.fits = _can_be(self.encoding, chunk)
            self._decoder = _decoder(resolved(self.encoding, chunk))
        try:
            text = self._decoder.decode(chunk)
        except UnicodeDecodeError:
            self.fits = False
            return
        self.fits = self.fits and not (self.encoding == "ISO-8859-1" and _has_controls(text))
        self.is_clean = self.is_clean and REPLACED not in text

    def result(self, content: Content, source: Source) -> Fit:
        """What is to be done with the file, after all bytes."""
        if self._decoder is None:
            return Fit(is_clean=True)
        try:
            self._decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            self.fits = False
        return Fit(is_clean=self.is_clean) if self.fits else _misfit(content, source)


def _decoder(encoding: Encoding, errors: str = "strict") -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder(python_name(encoding))(errors)


def _has_controls(text: str) -> bool:
    """Controls that no text holds: what Windows writes at their place are quotes, dashes and the euro."""
    return re.search("[\u0080-\u009f]", text) is not None


def _can_be(encoding: Encoding, head: bytes) -> bool:
    """UTF-16 without a mark shows zeros, and other text has none: almost any bytes could be read as UTF-16."""
    is_wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or head.count(0) > _NULL_SHARE * len(head)
    return is_wide == encoding.startswith("UTF-16")


def _misfit(content: Content, source: Source) -> Fit:
    """A file of which not all bytes fit: refused as a whole where most lines, or the names of its columns, do not."""
    encoding = source.encoding
    lines, wrong, is_header_wrong = _count(content, encoding)
    has_header = source.format == "csv" or (source.format in ("fixed", "pattern") and source.lines.header)
    rows, wrong_rows = (lines - 1, wrong - is_header_wrong) if has_header else (lines, wrong)
    fitting = _fitting(content)
    setting = {"csv": "csv.encoding", "json": ""}.get(source.format, "lines.encoding")
    remedy = f"; {' or '.join(fitting)} would fit" if fitting else "; no other known encoding fits"
    if fitting:
        remedy += f" ({setting} says so)" if setting else " (JSON is always UTF-8: convert the file)"
    if not _can_be(encoding, content.head()):
        return Fit(problem=f"does not look like {encoding}{remedy}")
    if has_header and is_header_wrong:
        return Fit(problem=f"its first line, with the names of the columns, does not fit {encoding}{remedy}")
    found = f"{wrong_rows:,} of {rows:,} lines do not fit {encoding}{remedy}"
    return Fit(problem=found) if 2 * wrong_rows > rows else Fit(hint=found)


def _count(content: Content, encoding: Encoding) -> tuple[int, int, bool]:
    """(lines that are not blank, those of them with bytes that do not fit, whether the first line is one)."""
    lines = wrong = 0
    is_first_wrong = False
    for number, text in enumerate(_whole_lines(content, encoding)):
        found = [line for line in text.split("\n") if line.strip()]
        bad = [REPLACED in line or (encoding == "ISO-8859-1" and _has_controls(line)) for line in found]
        is_first_wrong = is_first_wrong or (number == 0 and bool(bad) and bad[0])
        lines, wrong = lines + len(found), wrong + sum(bad)
    return lines, wrong, is_first_wrong


def _whole_lines(content: Content, encoding: Encoding) -> Iterator[str]:
    """The text in pieces that end with a line."""
    decoder, rest = _decoder(resolved(encoding, content.head()), "replace"), ""
    for chunk in content.chunks():
        text = rest + decoder.decode(chunk)
        cut = text.rfind("\n") + 1
        yield text[:cut]
        rest = text[cut:]
    yield rest + decoder.decode(b"", final=True)


def _fitting(content: Content) -> list[Encoding]:
    """Encodings that fit every byte, the likeliest first."""
    head = content.head()
    wide: tuple[Encoding, ...] = ("UTF-16",) if _can_be("UTF-16", head) else ("UTF-8", *_likely(head))
    return [encoding for encoding in wide if _fits(content, encoding)][:3]


def _fits(content: Content, encoding: Encoding) -> bool:
    decoder = _decoder(resolved(encoding, content.head()))
    try:
        for chunk in content.chunks():
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _likely(head: bytes) -> tuple[Encoding, ...]:
    """Chinese and Japanese text has mostly common letters in its own encoding, and western text few in any of them."""
    shares = {encoding: _common_share(head, encoding) for encoding in _COMMON}
    eastern = sorted(shares, key=lambda encoding: -shares[encoding])
    is_western = shares[eastern[0]] < _COMMON_SHARE
    return ("windows-1252", *eastern) if is_western else (*eastern, "windows-1252")


def _common_share(head: bytes, encoding: Encoding) -> float:
    codec, first, last = _COMMON[encoding]
    letters = [c for c in head.decode(python_name(encoding), "ignore") if c > "\x7f"]
    common = sum(first <= c.encode(codec, "ignore")[:1] <= last for c in letters)
    return common / len(letters) if letters else 0.0
