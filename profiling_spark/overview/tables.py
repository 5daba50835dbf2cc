"""The Delta tables of a storage: how large they are, and when they last changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from profiling_spark.config import Settings
from profiling_spark.contracts.all_tables import all_tables
from profiling_spark.storage import Tables
from profiling_spark.storage.upkeep import size


@dataclass(frozen=True)
class TableLine:
    """A table that exists. `rows` is None where its files are known to Spark alone."""

    name: str
    layer: str
    row: str
    rows: int | None
    files: int
    megabytes: float
    version: int
    changed: datetime | None


def table_lines(tables: Tables, settings: Settings) -> list[TableLine]:
    """Every table that has a version, in the order in which the pipeline fills them."""
    lines = []
    for table in all_tables(settings.windows_days):
        version = tables.version(table)
        if version is None:
            continue
        files, found = tables.newest_files(table), size(tables, table)
        changed = tables.folder_of(table).modified_at(f"_delta_log/{version:020d}.json")
        rows = sum(int(f.add_action["num_records"]) for f in files) if tables.has_files else None
        megabytes = round(found.bytes / 2**20, 2)
        lines.append(TableLine(table.name, table.layer, table.row, rows, found.files, megabytes, version, changed))
    return lines
