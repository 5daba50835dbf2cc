"""One pass over the new rows of a table: shuffle to the customers' buckets, resolve there, stage until published."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from math import ceil

import polars as pl
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from profiling_spark.buckets import bucket_of
from profiling_spark.contracts.silver import ATTRIBUTES, EVENTS, REJECTED_ROWS
from profiling_spark.contracts.table import Table
from profiling_spark.ingest.files.source_files import SourceFile
from profiling_spark.ingest.judging.rules import OK
from profiling_spark.ingest.reading.source_rows import POSITION
from profiling_spark.ingest.resolving.deduplicate import content
from profiling_spark.ingest.resolving.resolve import HELPERS, Ends, Group, Resolved, from_json, resolve, to_json
from profiling_spark.ingest.resolving.versions import Deliveries, resolve_versions
from profiling_spark.storage import Part, Tables
from profiling_spark.storage.outputs import FileOutput, RowOutput

_TASK_BYTES = 128 * 2**20
_PARTS, _PARTS_PER_CORE, _PART_BYTES = "spark.sql.files.minPartitionNum", 8, 8 * 2**20
# text that a byte of a file stands for
_UNPACKED = {".gz": 8, ".parquet": 4}
_ORIGIN = "_origin"


@dataclass(frozen=True)
class StagedRows:
    """`accepted`: of the table; `refused`: of rejected_rows, without a reason where a row is refused no longer."""

    accepted: Part
    refused: Part
    groups: list[Group]
    ends: list[Ends]
    release: Callable[[], None]


def stage_rows(
    rows: DataFrame,
    table: Table,
    tables: Tables,
    *,
    files: Collection[SourceFile],
    keep: str | None,
    absent: Collection[str],
    counted: Collection[str] = (),
    buckets: int,
    tasks_per_bucket: int,
    deliveries: Deliveries | None = None,
) -> StagedRows:
    """Judge and stage the rows; each source file is read once, here.

    `absent`: columns that no source fills; `files`: where the rows come from, empty where that is not known; `keep`:
    the column whose greatest value survives, where it is a column as it is (else `_keep`, or none); `counted`: sources
    whose equal rows of one file are several. `deliveries`: of attributes, whose stored rows are among `rows`.
    """
    origins = _origins(files) if deliveries is None else {}
    # columns without values, or with one for all rows, need not travel: they are added where the rows are written
    short = _shortened(rows.drop(*absent, "run_id"), origins) if deliveries is None else rows
    placed = _placed(short, table, buckets, tasks_per_bucket)
    task = _Task(
        table.name,
        table.key,
        content(table),
        _order(table),
        keep,
        tables.run_id,
        origins,
        tuple(counted),
        deliveries,
    )
    with _in_parts(tables.spark, sum(f.bytes for f in files)):
        output = tables.output(accepted=table, refused=REJECTED_ROWS)
        made = tables.staged(output, placed.mapInArrow(_ToOutput(task, output), output.schema))
    groups = from_json(g for r in made.reports for g in r["groups"])
    ends = [Ends(**e) for r in made.reports for e in r["ends"]]
    return StagedRows(made.parts["accepted"], made.parts["refused"], groups, ends, made.release)


@contextmanager
def _in_parts(spark: SparkSession, size: int) -> Iterator[None]:
    """Large input in several parts a core: Spark's own are so few that a core which is done waits for the last ones."""
    cores = spark.sparkContext.defaultParallelism
    parts = min(_PARTS_PER_CORE * cores, size // _PART_BYTES)
    if parts <= cores or spark.conf.get(_PARTS, None) is not None:  # a user's own number stands
        yield
        return
    spark.conf.set(_PARTS, str(parts))
    try:
        yield
    finally:
        spark.conf.unset(_PARTS)


def _origins(files: Iterable[SourceFile]) -> dict[int, tuple[str, str]]:
    """(source, file_id) by the number that travels for them; empty where two would have one number."""
    keys = {(f.source, f.file_id) for f in files}
    numbers = {zlib.crc32(file_id.encode()): (source, file_id) for source, file_id in keys}
    return numbers if len(numbers) == len(keys) else {}


def _shortened(rows: DataFrame, origins: Mapping[int, tuple[str, str]]) -> DataFrame:
    """Rows as they travel: a number for where they come from. `_Task` writes it out again."""
    if not origins:
        return rows
    return rows.withColumn(_ORIGIN, F.crc32("file_id")).drop("source", "file_id")


def tasks_per_bucket(files: Iterable[SourceFile], table: Table, buckets: int, *, stored_bytes: int = 0) -> int:
    """So many that a task holds about 128 MB of raw text, or all rows of one customer where those are more.

    `stored_bytes`: of the table, where its rows are read with the new ones.
    """
    text = stored_bytes * _UNPACKED[".parquet"] + sum(
        f.bytes * next((n for end, n in _UNPACKED.items() if f.path.endswith(end)), 1) for f in files
    )
    return max(1, ceil(text / _TASK_BYTES / (buckets if table is EVENTS else 1)))


def _placed(rows: DataFrame, table: Table, buckets: int, tasks: int) -> DataFrame:
    """All rows that can have one key in one task; events by user bucket. Refused rows often lack a user: by text."""
    is_ok = F.col("_status") == OK
    owner = F.coalesce(*(F.col(c).cast("string") for c in ("user_id", *table.key) if c in rows.columns))
    spread = F.pmod(F.xxhash64("_raw", owner), F.lit(buckets if table is EVENTS else 1)).cast("int")
    bucket = F.when(is_ok, bucket_of(owner, buckets)).otherwise(spread) if table is EVENTS else F.lit(0)
    # another hash than that of buckets, which is the same for all of a bucket's customers
    if table in ATTRIBUTES:
        is_ok = owner.isNotNull()  # a refused row names its key all the same, which a snapshot asks for
    share = F.pmod(F.when(is_ok, F.hash(owner)).otherwise(F.hash("_raw", owner)), F.lit(tasks))
    ids = {"user_bucket": bucket} if table is EVENTS else {}
    named = rows.withColumns({**ids, "_task": bucket if tasks == 1 else bucket * F.lit(tasks) + share})
    # almost every row is good: null is the shortest status
    named = named.withColumn("_status", F.nullif("_status", F.lit(OK)))
    columns = [n for n in (*table.names, *HELPERS, *POSITION, _ORIGIN, "_task") if n in named.columns]
    return named.select(*columns).repartitionById(tasks * (buckets if table is EVENTS else 1), "_task").drop("_task")


@dataclass(frozen=True)
class _Task:
    """What a worker runs on its rows. Holds only plain values, so that it travels to any cluster."""

    target: str
    key: tuple[str, ...]
    content: tuple[str, ...]
    order: tuple[str, ...]
    keep: str | None
    run_id: str
    origins: dict[int, tuple[str, str]]
    counted: tuple[str, ...] = ()
    deliveries: Deliveries | None = None

    def resolved(self, batches: Iterable[pa.RecordBatch]) -> Resolved | None:
        """None: no rows."""
        filled = [b for b in batches if b.num_rows]
        if not filled:
            return None
        rows = pl.from_arrow(pa.Table.from_batches(filled))
        assert isinstance(rows, pl.DataFrame)  # for mypy
        found = self._found(rows)
        refused = found.refused.with_columns(target_table=pl.lit(self.target), run_id=pl.lit(self.run_id))
        return replace(found, refused=refused)

    def _found(self, rows: pl.DataFrame) -> Resolved:
        if self.deliveries is None:
            return resolve(
                self._whole(rows), key=self.key, content=self.content, order=self.order, counted=self.counted
            )
        whole = rows.with_columns(_status=pl.col("_status").fill_null(OK))
        return resolve_versions(
            whole, key=self.key[0], content=self.content, run_id=self.run_id, deliveries=self.deliveries
        )

    def _whole(self, rows: pl.DataFrame) -> pl.DataFrame:
        """With the columns that did not travel, since they follow from the others."""
        follow = {"run_id": pl.lit(self.run_id), "_status": pl.col("_status").fill_null(OK)}
        if "_day" not in rows.columns:
            follow["_day"] = pl.col("event_date")
        for place, name in enumerate(("source", "file_id") if self.origins else ()):
            texts = {number: key[place] for number, key in self.origins.items()}
            follow[name] = pl.col(_ORIGIN).replace_strict(texts, return_dtype=pl.String)
        whole = rows.with_columns(**follow).drop(_ORIGIN, strict=False)
        if "_keep" in whole.columns:
            return whole
        return whole.with_columns(_keep=pl.col(self.keep) if self.keep in whole.columns else pl.lit(1))


def _order(table: Table) -> tuple[str, ...]:
    return ("event_time", "event_id") if table is EVENTS else table.key


@dataclass(frozen=True)
class _ToOutput:
    task: _Task
    output: FileOutput | RowOutput

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        found = self.task.resolved(batches)
        if found is not None:
            report = {"groups": to_json(found.groups), "ends": [asdict(e) for e in found.ends]}
            rows = {"accepted": found.accepted, "refused": found.refused}
            yield from self.output(rows, report).to_batches()
