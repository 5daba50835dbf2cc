"""Tables for people: in colour on a terminal, plain and unbroken in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import date, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

_PIPE_WIDTH = 240
WIDE = 100
"""From so many columns on a table shows all that it has."""
_STYLES = {"done": "green", "ok": "green", "skipped": "yellow", "warn": "yellow", "failed": "bold red", "lost": "red"}
_STYLES |= {"FAIL": "bold red", "running": "cyan"}


def console() -> Console:
    """On stdout."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def rows(
    out: Console, names: Sequence[str], values: Iterable[Sequence[object]], *, title: str = "", last: str = "fold"
) -> None:
    """A table without borders; numbers to the right. `last`: what happens to a long last column (fold, ellipsis)."""
    if title:
        out.print(Text(title, style="bold"))
    lines = [[cell(v) for v in line] for line in values]
    kept = [n for n, _ in enumerate(names) if any(line[n] for line in lines)] or list(range(len(names)))
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    numbers = [all(_is_number(line[n]) for line in lines if line[n]) for n in range(len(names))]
    for n in kept:
        is_folded, justify = n == kept[-1] and last == "fold", "right" if numbers[n] else "left"
        overflow = "fold" if is_folded else "ellipsis"
        table.add_column(names[n], justify=justify, no_wrap=not is_folded, overflow=overflow)  # type: ignore[arg-type]
    for line in lines:
        table.add_row(*(Text(line[n], style=_STYLES.get(line[n], "")) for n in kept))
    out.print(table)


def cell(value: object) -> str:
    """A value for people: times to the second in UTC, numbers with separators, nothing for null."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 1 else f"{value:,.1f}"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}"
        case date():
            return value.isoformat()
        case _:
            return str(value)


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "").replace("%", "").replace("-", "").isdigit() and "-" not in text[1:]
