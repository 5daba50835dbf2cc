"""`${NAME}` in a value of the settings stands for a variable of the environment; `$${` is a literal `${`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_PLACE = re.compile(r"\$\$\{|\$\{([^{}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# the path of a setting that a line is about, which stays as it is, and the rest of the line
_OF_SETTING = re.compile(r"(\s*(?:[\w.]+(?: = |: ))?)(.*)")
_WORD = re.compile(r"\w{3,}")
SHORT = 6
"""Values of fewer characters occur in texts that have nothing to do with them."""


@dataclass(frozen=True)
class Expanded:
    """A text with its variables replaced. `is_whole`: it is one variable and nothing else.

    `values`: by how each variable was written. `faults`: what cannot be replaced; they name variables, never values.
    """

    text: str
    values: Mapping[str, str]
    faults: tuple[str, ...]
    is_whole: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Variables in the order in which they stand."""
        return tuple(written[2:-1] for written in self.values)


def expand(text: str, environ: Mapping[str, str]) -> Expanded:
    """Replace every variable; one that is not set is a fault, and so is what looks like one and is none."""
    values: dict[str, str] = {}
    faults: list[str] = []

    def replaced(match: re.Match[str]) -> str:
        if match[1] is None:
            return "${"
        if not match[2] or not _NAME.fullmatch(match[1]):
            faults.append(f"expected ${{NAME}}, found {match[0]}; a literal ${{ is written $${{")
        elif match[1] not in environ:
            faults.append(f"the environment variable {match[1]} is not set")
        else:
            values[match[0]] = environ[match[1]]
            return environ[match[1]]
        return match[0]

    found = _PLACE.sub(replaced, text)
    whole = _PLACE.fullmatch(text)
    return Expanded(found, values, tuple(faults), whole is not None and whole[1] is not None)


def concealed(message: str, secrets: Iterable[tuple[str, str]]) -> str:
    """The message with every value of the environment replaced by how its variable was written (pairs of these two).

    A short value counts where it stands as a word of its own: a 1 does not take the digits of other numbers.
    """
    for written, value in sorted(secrets, key=lambda pair: -len(pair[1])):
        for form in sorted({value, repr(value)[1:-1]} - {""}, key=len, reverse=True):
            pattern = rf"(?<!\w){re.escape(form)}(?!\w)" if len(form) < SHORT else re.escape(form)
            message = re.sub(pattern, written.replace("\\", r"\\"), message)
    return message


@dataclass(frozen=True)
class Secrets:
    """What variables stood for in settings. `by_setting`: by path (`sources.log.where`), how each variable was written
    and its value.
    """

    by_setting: Mapping[str, tuple[tuple[str, str], ...]]

    def concealed(self, message: str) -> str:
        """A message about settings without these values.

        A line that names a setting, or the one above it, has none of the setting's values in it, whole or a word of
        one (as Spark quotes them); a long value stands nowhere.
        """
        return "\n".join(map(self._concealed_line, message.split("\n")))

    def _concealed_line(self, line: str) -> str:
        named, text = _OF_SETTING.fullmatch(line).groups()  # type: ignore[union-attr]  # it matches every line
        found: set[tuple[str, str]] = set()
        for setting, pairs in self.by_setting.items():
            is_named = any(f in line for f in (setting, f"{setting.rpartition('.')[0]}:"))
            found |= {pair for pair in pairs if is_named or len(pair[1]) >= SHORT}
            if is_named:
                found |= {(written, word) for written, value in pairs for word in _WORD.findall(value)}
        return f"{named}{concealed(text, found)}"
