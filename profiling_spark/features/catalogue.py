"""Every feature of a customer: name, type, formula, unit, sources, meaning of null.

The one place that says what a feature is: the kernel takes order, types and zeros from here, the contract its columns,
docs/features.md its text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from profiling_spark.features.catalogue_entries import ENTRIES
from profiling_spark.features.catalogue_forms import Entry
from profiling_spark.features.custom_entries import custom_entry
from profiling_spark.features.page_notes import custom_notes, price_notes, rfm_notes, view_notes

if TYPE_CHECKING:  # the settings are checked against the built-in features, so at run time they import this room
    from profiling_spark.config.features import CustomFeature

_NEEDS: dict[str, str] = {
    "sessions": "session ids",
    "durations": "durations",
    "discounts": "discounts",
    "amounts": "amounts of purchases",
    "users": "users table",
    "reviews": "reviews table",
    "item_prices": "item prices",
    "popular_items": "list of popular items",
    "rfm_cuts": "cut points",
}
# what stands below a family's table
_NOTES = {"RFM": rfm_notes, "Preference": price_notes}


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


def user_feature_list(windows: tuple[int, ...], custom: Sequence[CustomFeature] = ()) -> tuple[Feature, ...]:
    """Every feature in the order of the table's columns, windows side by side, short to long; configured ones last."""
    return tuple(_expand(windows, custom))


def _expand(windows: tuple[int, ...], custom: Sequence[CustomFeature]) -> Iterator[Feature]:
    ever: tuple[int | None, ...] = (None,)
    spans = [(entry, windows if entry.windowed else ever) for entry in ENTRIES]
    for entry, own in (*spans, *((custom_entry(f), f.spans(windows)) for f in custom)):
        yield from (Feature(entry.name if w is None else f"{entry.name}_{w}d", w, entry) for w in own)


def render_markdown(windows: tuple[int, ...], custom: Sequence[CustomFeature] = ()) -> str:
    """Text of docs/features.md: a table a family, one row a feature, `w` standing for each of its windows."""
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
    entries = (*ENTRIES, *map(custom_entry, custom))
    for family in dict.fromkeys(entry.family for entry in entries):
        lines += ["", f"## {family}", ""]
        lines += [
            "| feature | formula | unit | type | window | null means | source columns |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [_row(entry) for entry in entries if entry.family == family]
        lines += _NOTES[family]() if family in _NOTES else []
    return "\n".join([*lines, *view_notes(), *custom_notes()]) + "\n"


def _row(entry: Entry) -> str:
    name = f"`{entry.name}_{{w}}d`" if entry.windowed else f"`{entry.name}`"
    feature = Feature(name, None, entry)
    formula, null = (text.replace("{w}", "w") for text in (entry.formula, feature.null))
    cells = (name, formula, entry.unit, entry.type, entry.period, null or "never null", entry.sources)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
