"""Where rows stand in their files: for `rejected_rows.first_line`, and for messages, which never show a row itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import polars as pl
from pyspark.sql import SparkSession

from profiling_spark.config.sources import Source
from profiling_spark.context import Context
from profiling_spark.ingest.batch import Batch
from profiling_spark.ingest.files.source_files import SourceFile
from profiling_spark.ingest.findings.lines import line_numbers

# more texts than this process should have in memory; where so many are refused, nobody looks them up one by one
_MOST_ROWS = 500_000
_AT_ONCE = 2
_NUMBERS = {"raw": pl.String, "first_line": pl.Int64}
_TEXT = ("source", "file_id", "row_hash", "raw")


class Places:
    """Names a row by its file and its line."""

    def __init__(self, sources: Mapping[str, Source], files: Iterable[SourceFile], spark: SparkSession) -> None:
        self.spark, self.sources = spark, sources
        self.files = {(f.source, f.file_id): f for f in files}

    def __call__(self, source: str, file_id: str, raw: str) -> str:
        file = self.files[source, file_id]
        line = line_numbers(file.path, self.sources[source], [raw], self.spark).get(raw)
        return file.path if line is None else f"{file.path}, line {line}"


def fill_first_lines(ctx: Context, batch: Batch, files: Iterable[SourceFile]) -> None:
    """Fill `first_line` of the batch's refused rows. Each file that has any is read once more, to the last of them."""
    rows = batch.refused.rows(_TEXT, most=_MOST_ROWS)
    if rows is None or rows.is_empty():
        return
    found = _lines(ctx, files, rows)
    if not found.is_empty():
        batch.refused = batch.refused.updated(found, on=("source", "file_id", "row_hash"), spark=ctx.spark)


def _lines(ctx: Context, files: Iterable[SourceFile], rows: pl.DataFrame) -> pl.DataFrame:
    """`first_line` of the rows that are found, by source, file_id and row_hash."""
    by_key = {(f.source, f.file_id): f for f in files}
    of_files = rows.partition_by("source", "file_id", as_dict=True)

    def look(key: tuple[str, str]) -> pl.DataFrame:
        of_file = of_files[key]
        source, raws = ctx.settings.sources[key[0]], of_file["raw"].to_list()
        lines = line_numbers(by_key[key].path, source, raws, ctx.spark)
        numbers = pl.DataFrame({"raw": list(lines), "first_line": list(lines.values())}, schema=_NUMBERS)
        return of_file.join(numbers, on="raw").select("source", "file_id", "row_hash", "first_line")

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        parts = list(pool.map(look, of_files))
    return pl.concat(parts)
