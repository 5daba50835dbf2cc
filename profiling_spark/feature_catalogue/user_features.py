"""Every feature of a customer: name, type, formula, unit, sources, meaning of null.

The one definition of a feature: the kernel takes order, types and zeros from here, the contract its columns,
docs/features.md its text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from profiling_spark.feature_catalogue.configured import Configured, custom_entry
from profiling_spark.feature_catalogue.entries import ENTRIES
from profiling_spark.feature_catalogue.forms import Entry

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


def user_feature_list(windows: tuple[int, ...], custom: Sequence[Configured] = ()) -> tuple[Feature, ...]:
    """Every feature in the order of the table's columns, windows side by side, short to long; configured ones last."""
    return tuple(_expand(windows, custom))


def _expand(windows: tuple[int, ...], custom: Sequence[Configured]) -> Iterator[Feature]:
    ever: tuple[int | None, ...] = (None,)
    spans = [(entry, windows if entry.windowed else ever) for entry in ENTRIES]
    for entry, own in (*spans, *((custom_entry(f), f.spans(windows)) for f in custom)):
        yield from (Feature(entry.name if w is None else f"{entry.name}_{w}d", w, entry) for w in own)
