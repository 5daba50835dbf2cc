"""Files of tables that tasks or this process write and read themselves; `log` commits them.

A new file is written where it will stay, in its table's folder under a name that holds the run's: until a commit names
it no reader sees it, and `discard` knows those of a run that failed.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_schema

from profiling_spark.contracts.table import Table
from profiling_spark.errors import ContractError, StorageError
from profiling_spark.storage.paths import as_written
from profiling_spark.storage.stores import Store

_STATISTIC_LENGTH = 32
_ROW_GROUP = 250_000
_SMALL = 16 * 2**20


@dataclass(frozen=True)
class NewFile:
    """A Parquet file in a table's folder that is to become part of it. `partition`: value of its partition column."""

    name: str
    bytes: int
    rows: int
    statistics: str
    partition: str | None

    def check_slice(self, table: Table, values: Mapping[str, object]) -> None:
        """Raises ContractError where a row may lie outside of a slice."""
        known = json.loads(self.statistics)
        for name, value in values.items():
            ends = {known["minValues"].get(name), known["maxValues"].get(name)}
            found = {self.partition} if name in table.partition_by else ends
            # the log has no statistics of long texts
            if found not in ({str(value)}, {None}):
                raise ContractError(f"{table.name}: expected rows of {name} = {value}, found {sorted(map(str, found))}")


@dataclass(frozen=True)
class FileWriter:
    """Writes rows of a table, which has one partition column at most, as its files. Has only plain values, so that it
    travels to any worker. `store`: the table's folder.
    """

    contract: Table
    store: Store
    run_id: str

    @property
    def schema(self) -> pa.Schema:
        """What a file has: all columns but that of the partition."""
        in_file = [f for f in self.contract.schema if f.name not in self.contract.partition_by]
        return to_arrow_schema(T.StructType(in_file), timezone="UTC")

    @property
    def partition(self) -> str | None:
        """The partition column."""
        return next(iter(self.contract.partition_by), None)

    def write(self, rows: pl.DataFrame) -> NewFile:
        """One file of rows of one partition; columns that the rows lack are null. A null key is refused."""
        for column in self.contract.key:
            if rows[column].null_count():
                raise ContractError(f"{self.contract.name}.{column}: the key must not be null")
        partition = None if self.partition is None else str(rows[self.partition][0])
        return self.written(rows, partition)

    def written(self, rows: pl.DataFrame, partition: str | None) -> NewFile:
        """One file of rows, which need not name their partition."""
        statistics = file_statistics(rows, [c for c in self.contract.statistics_columns if c in rows.columns])
        # a task can run twice: only the files that it names at its end count
        name = f"{_begin(self.run_id)}{uuid4()}.parquet"
        name = name if self.partition is None else f"{self.partition}={partition}/{name}"
        size = write_parquet(conformed(rows, self.schema), self.store, name)
        return NewFile(name, size, len(rows), statistics, partition)

    def write_partitions(self, rows: pl.DataFrame, *, lacks_columns: bool = False) -> list[NewFile]:
        """A file for each value of the table's partition column; the rows must have all columns of the table, unless
        they are known to lack some, which are null then.
        """
        rows = rows.select([c for c in self.contract.names if not lacks_columns or c in rows.columns])
        if self.partition is None or not len(rows):
            return [self.write(rows)] if len(rows) else []
        values = rows[self.partition].unique(maintain_order=True)
        if len(values) == 1:
            return [self.write(rows)]
        return [self.write(rows.filter(pl.col(self.partition).eq_missing(pl.lit(v)))) for v in values]


def discard(store: Store, run_ids: Collection[str], *, but: Collection[str] = ()) -> None:
    """Delete what these runs wrote into a table's folder, `but` the files of these names, which commits name."""
    begins = tuple(map(_begin, run_ids))
    found = [n for n in store.list("") if n.rpartition("/")[2].startswith(begins)] if begins else []
    store.delete(sorted(set(found) - set(but)))


def _begin(run_id: str) -> str:
    return f"part-{run_id}-"


def write_parquet(rows: pl.DataFrame, store: Store, name: str) -> int:
    """The rows as one Parquet file. Returns its bytes."""
    if store.kind == "disk":
        path = Path(store.delta_uri, name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            rows.write_parquet(path, compression="snappy", row_group_size=_ROW_GROUP)
        except (OSError, pl.exceptions.ComputeError) as err:  # Polars has the second for a disk without room
            raise StorageError(f"{path}: cannot be written: {str(err).partition(chr(10))[0]}") from err
        return path.stat().st_size
    buffer = io.BytesIO()
    rows.write_parquet(buffer, compression="snappy", row_group_size=_ROW_GROUP)
    store.put(name, buffer.getvalue())
    return buffer.tell()


def conformed(rows: pl.DataFrame, schema: pa.Schema) -> pl.DataFrame:
    """The schema's columns, in order; what the rows lack is null. Raises ContractError where values would be cut."""
    wanted = pl.from_arrow(schema.empty_table())
    assert isinstance(wanted, pl.DataFrame)  # for mypy
    cut = {n: (t, found) for n, t in wanted.schema.items() if _loses(found := rows.schema.get(n, t), t)}
    if cut:
        raise ContractError(f"(expected, found) differs for {cut}")
    absent = [pl.lit(None, t).alias(n) for n, t in wanted.schema.items() if n not in rows.columns]
    return rows.with_columns(absent).select(pl.col(n).cast(t) for n, t in wanted.schema.items())


def _loses(found: pl.DataType, wanted: pl.DataType) -> bool:
    """Whether Polars would drop decimals in a cast without a word."""
    if isinstance(found, pl.Decimal) and isinstance(wanted, pl.Decimal):
        return found.scale > wanted.scale
    return wanted.is_integer() and (found.is_float() or isinstance(found, pl.Decimal))


def as_frame(table: Table, rows: Sequence[tuple[object, ...]]) -> pl.DataFrame:
    """Rows of a table, values in the order of its columns."""
    empty = pl.from_arrow(to_arrow_schema(table.schema, timezone="UTC").empty_table())
    assert isinstance(empty, pl.DataFrame)  # for mypy
    return pl.DataFrame(rows, schema=empty.schema, orient="row")


def joined(writer: FileWriter, files: Sequence[NewFile]) -> list[NewFile]:
    """The files, of each partition one of all rows where they are small."""
    groups: dict[str | None, list[NewFile]] = {}
    for file in files:
        groups.setdefault(file.partition, []).append(file)
    return [whole for group in groups.values() for whole in _joined(writer, group)]


def _joined(writer: FileWriter, files: list[NewFile]) -> list[NewFile]:
    if len(files) == 1 or sum(f.bytes for f in files) > _SMALL:
        return files
    rows = pl.concat([read_parquet(writer.store, f.name) for f in files])
    whole = writer.written(rows, files[0].partition)
    writer.store.delete([f.name for f in files])
    return [whole]


def read_files(
    spark: SparkSession, store: Store, names: Sequence[str], schema: T.StructType, *, has_partitions: bool = True
) -> DataFrame:
    """The rows of a table's files by Spark. `has_partitions`: the schema has the columns that folders name."""
    if not names:
        return spark.createDataFrame([], schema)
    reader = spark.read.schema(schema)
    reader = reader.option("basePath", spark_uri(store)) if has_partitions else reader
    # partitions come last otherwise
    return reader.parquet(*(as_written(f"{spark_uri(store)}/{n}") for n in names)).select(*schema.names)


def spark_uri(store: Store) -> str:
    """A folder as Spark opens it."""
    return f"file://{store.delta_uri}" if store.kind == "disk" else store.root


def read_parquet(
    store: Store, name: str, columns: Sequence[str] | None = None, most: int | None = None
) -> pl.DataFrame:
    """The rows of one file, whatever characters its path has; these columns, and `most` rows, of them."""
    return pl.read_parquet(
        f"{store.delta_uri}/{name}",
        columns=None if columns is None else list(columns),
        n_rows=most,
        glob=False,
        hive_partitioning=False,
        storage_options=dict(store.polars_options) or None,
    )


def file_statistics(rows: pl.DataFrame, columns: Sequence[str]) -> str:
    """Delta's statistics of a file: rows, nulls, and least and greatest value of texts, dates and times."""
    found = {c: (rows[c].null_count(), rows[c].min(), rows[c].max()) for c in columns}
    ends = {c: (_statistic(low), _statistic(high)) for c, (_, low, high) in found.items()}
    known = [c for c, (low, high) in ends.items() if low is not None and high is not None]
    statistics = {
        "numRecords": len(rows),
        "minValues": {c: ends[c][0] for c in known},
        "maxValues": {c: ends[c][1] for c in known},
        "nullCount": {c: nulls for c, (nulls, _, _) in found.items()},
    }
    return json.dumps(statistics)


def _statistic(value: Any) -> str | None:
    if isinstance(value, datetime):
        # Delta cuts to milliseconds, also the greatest value, and readers know
        return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03d}Z"
    if isinstance(value, date):
        return value.isoformat()
    # a longer text would have to be cut, and the greatest value then raised
    return value if isinstance(value, str) and len(value) <= _STATISTIC_LENGTH else None
