"""Every feature of a customer: name, type, formula, unit, sources, meaning of null.

The one place that says what a feature is: the kernel takes order, types and zeros from here, the contract its columns,
docs/features.md its text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from profiling_spark.features.catalogue_entries import ENTRIES, Entry

_NEEDS: dict[str, str] = {
    "sessions": "session ids",
    "durations": "durations",
    "discounts": "discounts",
    "users": "users table",
    "reviews": "reviews table",
    "item_prices": "item prices",
    "popular_items": "list of popular items",
    "rfm_cuts": "cut points",
}


@dataclass(frozen=True)
class Feature:
    """One column of user_features. `window` is None where the feature has no configured window."""

    name: str
    window: int | None
    entry: Entry

    @property
    def type(self) -> str:
        """Spark's simple name of the type."""
        return self.entry.type

    @property
    def meaning(self) -> str:
        """What it is, with its unit."""
        return f"{self._filled(self.entry.formula)} ({self.entry.unit})"

    @property
    def null(self) -> str:
        """What null means; empty where it never occurs."""
        needs = " or no ".join(_NEEDS.get(need, f"{need} events") for need in self.entry.needs)
        unsupplied = f"no {needs} supplied" if needs else ""
        return self._filled("; ".join(reason for reason in (self.entry.null, unsupplied) if reason))

    def _filled(self, text: str) -> str:
        return text.replace("{w}", "w" if self.window is None else str(self.window))


def user_feature_list(windows: tuple[int, ...]) -> tuple[Feature, ...]:
    """Every feature in the order of the table's columns, windows side by side, short to long."""
    return tuple(_expand(windows))


def _expand(windows: tuple[int, ...]) -> Iterator[Feature]:
    for entry in ENTRIES:
        if not entry.windowed:
            yield Feature(entry.name, None, entry)
        else:
            yield from (Feature(f"{entry.name}_{w}d", w, entry) for w in windows)


def render_markdown(windows: tuple[int, ...]) -> str:
    """Text of docs/features.md: a table a family, one row a feature, `w` standing for each of `windows`."""
    days = ", ".join(str(w) for w in windows)
    lines = [
        "# Customer features",
        "",
        "Generated from the feature catalogue; do not edit. One row of `user_features` per `as_of` and customer.",
        "",
        f"`{{w}}` (w in the text) stands for each window: {days} days. A window of w days holds the days"
        " `[as_of - w, as_of)` by `event_date`, which is in the business timezone: as_of itself is never in it.",
        "Counts and sums are 0 where nothing happened, and null where no source supplies the event type.",
        "Ratios are null where the denominator is 0 or null. Money is in the reporting currency.",
    ]
    for family in dict.fromkeys(entry.family for entry in ENTRIES):
        lines += ["", f"## {family}", ""]
        lines += [
            "| feature | formula | unit | type | window | null means | source columns |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [_row(entry) for entry in ENTRIES if entry.family == family]
    return "\n".join(lines) + "\n"


def _row(entry: Entry) -> str:
    name = f"`{entry.name}_{{w}}d`" if entry.windowed else f"`{entry.name}`"
    feature = Feature(name, None, entry)
    formula, null = (text.replace("{w}", "w") for text in (entry.formula, feature.null))
    window = "each" if entry.windowed else entry.span
    cells = (name, formula, entry.unit, entry.type, window, null or "never null", entry.sources)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
