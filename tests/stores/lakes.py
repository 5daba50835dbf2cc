"""Two lakes compared by values, without Spark: whatever wrote them, deltalake reads them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from profiling_spark.contracts.all_tables import all_tables
from profiling_spark.contracts.operations import JOB_RUNS, LIVE_MODELS
from profiling_spark.contracts.silver import INGESTED_FILES
from profiling_spark.contracts.table import Table

# names of runs and times of clocks; the files of MLlib's models hold a random id; settings hold the paths; how often a
# table was committed to is the writer's affair
_OF_THE_RUN = {
    LIVE_MODELS.name: {"sha256"},
    INGESTED_FILES.name: {"modified_at", "etag"},
    JOB_RUNS.name: {"started_at", "finished_at", "seconds", "config_hash", "tables_read", "tables_written"},
}


@dataclass(frozen=True)
class Lake:
    """A lake and its source files below one root. `seen_from_here`: the root for deltalake, where that is another."""

    root: str
    seen_from_here: str
    options: Mapping[str, str] = field(default_factory=dict)

    def rows(self, table: Table) -> pl.DataFrame | None:
        """The table's rows in order of its key, None where it does not exist. Paths are as seen from the root."""
        try:
            stored = DeltaTable(f"{self.seen_from_here}/lake/{table.name}", storage_options=dict(self.options))
        except TableNotFoundError:
            return None
        left_out = {"run_id"} | _OF_THE_RUN.get(table.name, set())
        found = pl.from_arrow(stored.to_pyarrow_table())
        assert isinstance(found, pl.DataFrame)  # for type checkers
        names = [name for name in table.names if name not in left_out]
        # a run's rows are those of the one run that a lake of these tests has
        first = [name for name in table.key if name not in left_out]
        texts = pl.col(pl.String).str.replace_all(f"{self.root}/", "", literal=True)
        # that there was a run counts, not its name
        runs = pl.col("^replayed_by$").str.replace("^.+$", "a run")
        return (
            found.select(names)
            .with_columns(texts)
            .with_columns(runs)
            .sort([*first, *(n for n in names if n not in first)])
        )


def differences(lake: Lake, other: Lake, windows: Sequence[int], *, without: Collection[str] = ()) -> dict[str, str]:
    """What differs, by table: rows that only one has, else each column with the number of its unequal values.

    `without`: tables that do not count.
    """
    found = {}
    for table in (t for t in all_tables(tuple(windows)) if t.name not in without):
        ours, theirs = lake.rows(table), other.rows(table)
        if ours is None or theirs is None:
            if ours is not theirs:
                found[table.name] = f"exists in {(lake if theirs is None else other).root} only"
        elif what := _difference(ours, theirs, [name for name in table.key if name in ours.columns]):
            found[table.name] = what
    return found


def _difference(ours: pl.DataFrame, theirs: pl.DataFrame, key: list[str]) -> str:
    if ours.schema != theirs.schema:
        return f"types: {ours.schema} and {theirs.schema}"
    if ours.equals(theirs):
        return ""
    if key and not ours.select(key).equals(theirs.select(key)):
        only = [len(a.join(b, on=key, how="anti", nulls_equal=True)) for a, b in ((ours, theirs), (theirs, ours))]
        return f"{len(ours)} and {len(theirs)} rows, of which {only[0]} and {only[1]} have keys of their own"
    if len(ours) != len(theirs):
        return f"{len(ours)} and {len(theirs)} rows"
    parts = []
    for name in ours.columns:
        unequal = ours[name].ne_missing(theirs[name])
        if unequal.any():
            first = [column.filter(unequal)[0] for column in (ours[name], theirs[name])]
            parts.append(f"{name}: {unequal.sum()} of {len(ours)} values, first {first[0]!r} and {first[1]!r}")
    return "; ".join(parts)
