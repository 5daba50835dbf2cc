"""The generated pages say what the code says."""

from pathlib import Path

import pytest

from profiling_spark.contracts.all_tables import DEFAULT_WINDOWS, all_tables, render
from profiling_spark.features.page import render_markdown

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_tables_page_is_current():
    assert (DOCS / "tables.md").read_text(encoding="utf-8") == render()


def test_features_page_is_current():
    assert (DOCS / "features.md").read_text(encoding="utf-8") == render_markdown(DEFAULT_WINDOWS)


@pytest.mark.parametrize("table", all_tables(), ids=lambda t: t.name)
def test_contract_is_sound(table):
    names = table.names
    assert len(set(names)) == len(names)
    assert set(table.key) <= set(names)
    assert set(table.slice) <= set(names)
    assert set(table.partition_by) <= set(names)
    assert set(table.slice) <= set(table.key) | {"as_of", "run_id"}
    personal = {c.name for c in table.columns if c.personal}
    assert not personal & set(table.statistics_columns)
    assert all(c.meaning for c in table.columns)
    assert len(table.schema) == len(names)  # every type is known
