"""All tables in one list, and their page: `python -m profiling_spark.contracts.all_tables > docs/tables.md`."""

from __future__ import annotations

import sys

from profiling_spark.contracts.features import ITEM_FEATURES, RFM_CUTS, user_features_table
from profiling_spark.contracts.gold import (
    BUNDLES,
    ITEM_AUDIENCE,
    ITEM_NEIGHBOURS,
    REPEAT_CATEGORIES,
    SEGMENT_FEATURES,
    SEGMENTS,
    USER_PROFILE,
    USER_RECOMMENDATIONS,
    USER_SCORES,
    USER_SEGMENTS,
    USER_TAGS,
)
from profiling_spark.contracts.operations import (
    FEATURE_RANKINGS,
    JOB_RUNS,
    LIVE_MODELS,
    MODEL_RUNS,
    QUALITY_METRICS,
    SOURCE_SETTINGS,
)
from profiling_spark.contracts.silver import EVENTS, INGESTED_FILES, ITEMS, REJECTED_ROWS, REVIEWS, USERS
from profiling_spark.contracts.table import Table

DEFAULT_WINDOWS = (7, 30, 90)
_HEAD = """# Tables

Generated from `profiling_spark/contracts`; a test compares. Regenerate with
`python -m profiling_spark.contracts.all_tables > docs/tables.md`.

All tables are Delta tables with reader version 1 and writer version 2, without deletion vectors or column mapping.
Times are UTC; dates are in `business_timezone`. A column without a word under "null" is never null. Columns marked
*personal* keep no statistics in the log, because those outlive a delete.
"""


def all_tables(windows: tuple[int, ...] = DEFAULT_WINDOWS) -> tuple[Table, ...]:
    """Every table, in the order in which the pipeline fills them."""
    return (
        EVENTS,
        USERS,
        ITEMS,
        REVIEWS,
        REJECTED_ROWS,
        INGESTED_FILES,
        user_features_table(windows),
        ITEM_FEATURES,
        RFM_CUTS,
        SEGMENTS,
        SEGMENT_FEATURES,
        USER_SEGMENTS,
        USER_SCORES,
        ITEM_NEIGHBOURS,
        USER_RECOMMENDATIONS,
        BUNDLES,
        ITEM_AUDIENCE,
        REPEAT_CATEGORIES,
        USER_TAGS,
        USER_PROFILE,
        MODEL_RUNS,
        FEATURE_RANKINGS,
        LIVE_MODELS,
        QUALITY_METRICS,
        SOURCE_SETTINGS,
        JOB_RUNS,
    )


def render() -> str:
    """The page as Markdown."""
    parts = [_HEAD]
    layer = ""
    for table in all_tables():
        if table.layer != layer:
            layer = table.layer
            parts.append(f"## {layer.capitalize()}\n")
        parts.append(_section(table))
    return "\n".join(parts)


def _section(table: Table) -> str:
    facts = [f"One row per {table.row}.", f"Key: {_listed(table.key)}."]
    if table.slice:
        facts.append(f"One write replaces the rows of one {_listed(table.slice)}.")
    if table.partition_by:
        facts.append(f"Partitioned by {_listed(table.partition_by)}.")
    rows = [
        f"| `{c.name}` | {c.type} | {c.meaning}{' *personal*' if c.personal else ''} | {c.null} |"
        for c in table.columns
    ]
    head = "| column | type | meaning | null |\n|---|---|---|---|"
    return f"### `{table.name}`\n\n{' '.join(facts)}\n\n{head}\n" + "\n".join(rows) + "\n"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{n}`" for n in names)


if __name__ == "__main__":
    sys.stdout.write(render())
