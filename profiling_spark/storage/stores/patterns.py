"""Glob patterns of storage that is no disk, in the words of Hadoop."""

from __future__ import annotations

import re

_SPECIAL = re.compile(r"[*?\[{\\]")
# what Spark leaves out of a folder: markers, checksums, files being written
_HIDDEN = r"(?![._])"


def fixed_folder(pattern: str) -> str:
    """The folders before the first special character, without a slash at the end."""
    found = _SPECIAL.search(pattern)
    return pattern[: found.start()].rpartition("/")[0] if found else pattern.rpartition("/")[0]


def is_plain(pattern: str) -> bool:
    """Whether the pattern names one file or folder as it stands."""
    return _SPECIAL.search(pattern) is None


def matcher(pattern: str) -> re.Pattern[str]:
    """For names of files: true (by fullmatch) of those that the pattern means.

    A folder that it means gives the files in it, and in its folders of partitions (`day=2026-01-01`).
    """
    parts = [_part(p) for p in pattern.strip("/").split("/")]
    body = ""
    for number, part in enumerate(parts):
        if part is None:
            is_last = number == len(parts) - 1
            body += rf"(?:{_HIDDEN}[^/]+/)*" + (rf"{_HIDDEN}[^/]+" if is_last else "")
        else:
            body += part + ("/" if number < len(parts) - 1 else "")
    return re.compile(rf"{body}(?:(?:/[^/=]+=[^/]*)*/{_HIDDEN}[^/]+)?")


def _part(glob: str) -> str | None:
    """One name of a pattern as a regular expression; None for any number of folders."""
    if glob == "**":
        return None
    place, found = 0, _HIDDEN if glob[:1] in ("*", "?", "[") else ""
    while place < len(glob):
        text, place = _next(glob, place)
        found += text
    return found


def _next(glob: str, place: int) -> tuple[str, int]:
    char = glob[place]
    if char == "*":
        return "[^/]*", place + 1
    if char == "?":
        return "[^/]", place + 1
    if char == "\\" and place + 1 < len(glob):
        return re.escape(glob[place + 1]), place + 2
    end = glob.find("]", place + 2) if char == "[" else glob.find("}", place) if char == "{" else -1
    if end < 0:
        return re.escape(char), place + 1
    inner = glob[place + 1 : end]
    if char == "{":
        choices = ("".join(_pieces(choice)) for choice in inner.split(","))
        return f"(?:{'|'.join(choices)})", end + 1
    negated = inner[0] in "!^"
    members = (inner[1:] if negated else inner).replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    return f"[{'^/' if negated else ''}{members}]", end + 1


def _pieces(glob: str) -> list[str]:
    place, found = 0, []
    while place < len(glob):
        text, place = _next(glob, place)
        found.append(text)
    return found
