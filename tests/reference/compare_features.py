"""Compares `user_features` with the DuckDB reference over the raw files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
from duckdb_raw import Loaded
from duckdb_reference import feature_names, reference_features

from profiling_spark.context import Context
from profiling_spark.contracts.features import user_features_table

WINDOWS = (7, 30, 90)
Loader = Callable[[Path, duckdb.DuckDBPyConnection], Loaded]


def assert_features_equal_the_reference(context: Context, loader: Loader, folder: Path, as_of: date) -> None:
    """Every feature of every customer at a date; doubles to 1e-9, all else exactly."""
    con = duckdb.connect(config={"threads": 1})
    raw = loader(folder, con)
    table = reference_features(
        *(raw.events, raw.users, raw.items, raw.reviews, as_of, WINDOWS, raw.timezone),
        connection=con,
        supplied=raw.supplied,
    )
    expected = pl.DataFrame(table).sort("user_id")
    found = pl.DataFrame(context.tables.read(user_features_table(WINDOWS), as_of=as_of).toArrow()).sort("user_id")
    assert found["user_id"].equals(expected["user_id"])
    different = {}
    for name in feature_names(WINDOWS):
        if name == "rfm_group":  # named by the settings' rule table, which the reference does not know
            continue
        row = _first_difference(expected[name], found[name])
        if row is not None:
            different[name] = (expected["user_id"][row], expected[name][row], found[name][row])
    assert not different, "customer, reference, found"


def _first_difference(want: pl.Series, have: pl.Series) -> int | None:
    if want.dtype.is_float():
        same = ((want - have).abs() <= 1e-9 * (1 + want.abs())).fill_null(False) | (want.is_null() & have.is_null())
    else:
        same = want.eq_missing(have.cast(want.dtype))
    rows = (~same).arg_true()
    return int(rows[0]) if len(rows) else None
