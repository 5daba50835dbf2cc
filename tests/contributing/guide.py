"""CONTRIBUTING.md as data: its examples, how many lines each says it takes, and what they make of a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^`(\S+)`\n\n```(diff|python|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COUNTS = re.compile(r"^(\d+) lines in (\d+) files?\.$", re.MULTILINE)


@dataclass(frozen=True)
class Change:
    """One block of code: a whole new file, or what is added to one."""

    path: str
    kind: str
    text: str

    @property
    def lines(self) -> int:
        """Lines that are added or changed, without blank ones."""
        lines = self.text.splitlines()
        if self.kind == "diff":
            lines = [line[1:] for line in lines if line.startswith("+")]
        return sum(bool(line.strip()) for line in lines)

    def apply(self, root: Path) -> None:
        """Make the change below `root`. Fails where the page shows lines that the file does not have just once."""
        path = root / self.path
        if self.kind != "diff":
            assert not path.exists(), f"{self.path} is no new file"
            path.write_text(self.text, encoding="utf-8")
            return
        text = path.read_text(encoding="utf-8")
        for before, after in self._hunks():
            found = text.count(before)
            assert found == 1, f"CONTRIBUTING.md: {self.path} has these lines {found} times, not once:\n{before}"
            text = text.replace(before, after)
        path.write_text(text, encoding="utf-8")

    def _hunks(self) -> Iterator[tuple[str, str]]:
        for hunk in re.split(r"^@@\n", self.text, flags=re.MULTILINE):
            # a blank line of context has lost its blank
            lines = [line or " " for line in hunk.splitlines()]
            assert all(line[0] in " +-" for line in lines), hunk
            before, after = ("".join(f"{line[1:]}\n" for line in lines if line[0] != sign) for sign in "+-")
            yield before, after


@dataclass(frozen=True)
class Example:
    """A section of the page: what it says it takes, and its blocks."""

    title: str
    counts: tuple[int, int]
    changes: tuple[Change, ...]


def examples() -> dict[str, Example]:
    """By title, in the order of the page: every section that states a number of lines."""
    found = {}
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        counts = _COUNTS.search(text)
        if counts:
            changes = tuple(Change(*match.groups()) for match in _BLOCK.finditer(text))
            found[title] = Example(title, (int(counts[1]), int(counts[2])), changes)
    return found


def levels() -> list[set[str]]:
    """The rooms of each line of the page's table, from the first level on."""
    rows = re.findall(r"^\| \d+ \| (.*?) \|", PAGE, flags=re.MULTILINE)
    return [set(re.findall(r"`(\w+)`", row)) for row in rows]
