"""docs/features.md: `python -m profiling_spark.features.page > docs/features.md`.

With settings files behind it, the page of their windows and with their configured features.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from profiling_spark.config import load_settings
from profiling_spark.config.features import CustomFeature
from profiling_spark.feature_catalogue.configured import custom_entry
from profiling_spark.feature_catalogue.entries import ENTRIES
from profiling_spark.feature_catalogue.forms import Entry
from profiling_spark.feature_catalogue.user_features import Feature
from profiling_spark.features.page_notes import custom_notes, price_notes, rfm_notes, view_notes

# what stands below a family's table
_NOTES = {"RFM": rfm_notes, "Preference": price_notes}


def page(files: Sequence[str]) -> str:
    """The page for the settings in `files`; for the defaults without one."""
    settings = load_settings([Path(f) for f in files])
    return render_markdown(settings.windows_days, settings.custom_features)


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


if __name__ == "__main__":
    sys.stdout.write(page(sys.argv[1:]))
