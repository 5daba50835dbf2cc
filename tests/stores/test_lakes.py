"""That the comparison of two lakes sees what differs, and only that."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake
from lakes import Lake, differences
from pyspark.sql.pandas.types import to_arrow_schema

from profiling_spark.contracts.operations import LIVE_MODELS, SOURCE_SETTINGS
from profiling_spark.contracts.table import Table

SETTING = {"source": "orders", "setting": "files", "value": "/a/data/orders", "run_id": "first"}
OTHER = {"source": "users", "setting": "own_id", "value": "true", "run_id": "first"}


@pytest.fixture
def lakes(tmp_path: Path) -> tuple[Lake, Lake]:
    return tuple(Lake(f"/{name}", str(tmp_path / name)) for name in ("a", "b"))  # type: ignore[return-value]


def write(lake: Lake, table: Table, rows: list[dict[str, object]]) -> None:
    arrow = pl.DataFrame(rows).select(table.names).to_arrow().cast(to_arrow_schema(table.schema))
    write_deltalake(f"{lake.seen_from_here}/lake/{table.name}", arrow)


def test_order_of_rows_names_of_runs_and_the_root_do_not_count(lakes: tuple[Lake, Lake]) -> None:
    write(lakes[0], SOURCE_SETTINGS, [SETTING, OTHER])
    write(lakes[1], SOURCE_SETTINGS, [OTHER, SETTING | {"value": "/b/data/orders", "run_id": "second"}])
    assert differences(*lakes, (7,)) == {}


def test_what_differs_is_named(lakes: tuple[Lake, Lake]) -> None:
    write(lakes[0], SOURCE_SETTINGS, [SETTING, OTHER])
    write(lakes[1], SOURCE_SETTINGS, [SETTING, OTHER | {"value": None}])
    assert differences(*lakes, (7,)) == {
        "source_settings": "value: 2 of 2 values, first 'data/orders' and '/a/data/orders'"
    }


@pytest.mark.parametrize(
    ("rows", "difference"),
    [
        ([SETTING], "2 and 1 rows, of which 1 and 0 have keys of their own"),
        ([SETTING, OTHER | {"setting": "target"}], "2 and 2 rows, of which 1 and 1 have keys of their own"),
        ([SETTING, OTHER, OTHER], "2 and 3 rows, of which 0 and 0 have keys of their own"),
    ],
)
def test_rows_too_few_others_and_double(
    lakes: tuple[Lake, Lake], rows: list[dict[str, object]], difference: str
) -> None:
    write(lakes[0], SOURCE_SETTINGS, [SETTING, OTHER])
    write(lakes[1], SOURCE_SETTINGS, rows)
    assert differences(*lakes, (7,)) == {"source_settings": difference}


def test_a_table_that_one_lake_lacks(lakes: tuple[Lake, Lake]) -> None:
    row = {"task": "churn", "model_version": "1", "path": "models/1", "sha256": "", "since": None}
    write(lakes[1], LIVE_MODELS, [row])
    assert differences(*lakes, (7,)) == {"live_models": "exists in /b only"}
