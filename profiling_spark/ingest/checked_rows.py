"""The rows of source files, mapped to canonical columns and judged by the rules: all that a row says by itself."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from profiling_spark.config.sources import Source
from profiling_spark.contracts.table import Table
from profiling_spark.ingest.files import SourceFile
from profiling_spark.ingest.fill_down import filled_down
from profiling_spark.ingest.identity import ID_COLUMN, ROW_ID, with_row_id
from profiling_spark.ingest.mapping import map_columns
from profiling_spark.ingest.money import load_exchange
from profiling_spark.ingest.one_row import check_one_row
from profiling_spark.ingest.readers import read_source
from profiling_spark.ingest.rules import REJECTED, check_rows
from profiling_spark.ingest.source_rows import POSITION, Reading, raw_text
from profiling_spark.runner import Context


def rows_of_files(ctx: Context, table: Table, files: Sequence[SourceFile]) -> DataFrame:
    """Mapped and checked rows of the files; nothing is read yet, but the settings' expressions are known to be good."""
    frames = []
    for name in sorted({f.source for f in files}):
        source = ctx.settings.sources[name]
        has_position = source.has_versions or source.fill_down is not None
        reading = Reading(source, ctx.settings.known_columns(name), has_position=has_position)
        mine = [f for f in files if f.source == name]
        for frame in read_source(ctx.spark, reading, mine):
            if source.fill_down is not None:
                frame = filled_down(frame, source.fill_down, setting=f"sources.{name}.fill_down")
            frames.append(checked(ctx, name, frame))
    # a Delta table's rows have no place
    return reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), frames)


def checked(ctx: Context, name: str, frame: DataFrame) -> DataFrame:
    """The canonical columns of a source's rows, judged by the rules."""
    settings, source = ctx.settings, ctx.settings.sources[name]
    mapped = map_columns(frame, name, source, timezone=settings.business_timezone)
    has_row_id = source.target in ID_COLUMN
    rows = check_rows(
        with_row_id(mapped, source, ctx.identities[name]) if has_row_id else mapped,
        source,
        ingest=settings.ingest,
        exchange=load_exchange(ctx.spark, settings),
        started=ctx.started.date(),
        business_timezone=settings.business_timezone,
    )
    if has_row_id:
        rows = rows.withColumn(ID_COLUMN[source.target], F.col(ROW_ID)).drop(ROW_ID)
    lineage = {
        "source": F.lit(name),
        "file_id": F.col("_file_id"),
        "run_id": F.lit(ctx.run_id),
        "rescued": F.col("_extra"),
        "_raw": F.when(_needs_raw(ctx, source), raw_text(rows)),
    }
    needless = ("_file_id", "_values", "_unreadable", "_misfit", "_extra")
    made = rows.withColumns(lineage).drop(*needless, *(() if source.has_versions else POSITION))
    if source.target in settings.ingest.keep:
        check_one_row(made, {f"ingest.keep.{source.target}": settings.ingest.keep[source.target]})
    return made


def _needs_raw(ctx: Context, source: Source) -> Column:
    """A refused row, or an example of a rule with a limit, needs its text again; all would go through the shuffle."""
    needed = F.col("_status") == REJECTED
    if ctx.settings.ingest.limits:
        needed = needed | F.col("_warned").isNotNull()
        needed = needed | F.col("flags").isNotNull() if source.target == "events" else needed
    return needed
