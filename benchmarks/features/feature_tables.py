"""Compares the engines' tables: every feature of every customer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl
from duckdb_reference import feature_names
from feature_shop import WINDOWS

TOLERANCE = 1e-9  # of doubles, times 1 + the value: the project's means are exact to 1e-9 of a share


class Written:
    """A table of features, Parquet or Delta of one commit, read a column at a time in the order of user_id."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted(f for f in folder.rglob("*.parquet") if "_delta_log" not in f.parts)
        users = self._read("user_id")
        self._order = users.arg_sort()
        self.users = users.gather(self._order)

    def column(self, name: str) -> pl.Series:
        """One feature, a value a customer."""
        return self._read(name).gather(self._order)

    def _read(self, name: str) -> pl.Series:
        return pl.read_parquet(self.files, columns=[name], hive_partitioning=False)[name]


def differences(folders: Mapping[str, Path]) -> list[str]:
    """Where the tables are not the same, one text a feature and engine; the first table is what the others must be."""
    if len(folders) < 2:
        return []
    (first, *others) = folders.items()
    want = Written(first[1])
    found = []
    tables = {}
    for name, folder in others:
        table = Written(folder)
        if table.users.equals(want.users):
            tables[name] = table
        else:
            found.append(f"customers: {first[0]} has {len(want.users)}, {name} {len(table.users)} or others")
    for feature in feature_names(WINDOWS):
        column = want.column(feature)
        for name, table in tables.items():
            other = table.column(feature)
            row = _first_difference(column, other)
            if row is not None:
                found.append(f"{feature} of {want.users[row]}: {first[0]} has {column[row]!r}, {name} {other[row]!r}")
    return found


def _first_difference(want: pl.Series, have: pl.Series) -> int | None:
    """The first row that differs; another kind of type (double, text) differs from the first row on."""
    if want.dtype.is_float() != have.dtype.is_float() or (want.dtype == pl.String) != (have.dtype == pl.String):
        return 0
    if want.dtype.is_float():
        near = ((want - have).abs() <= TOLERANCE * (1 + want.abs())).fill_null(False)
        same = (near & have.is_finite().fill_null(False)) | (want.is_null() & have.is_null())
    else:
        same = want.eq_missing(have.cast(want.dtype))
    rows = (~same).arg_true()
    return int(rows[0]) if len(rows) else None
