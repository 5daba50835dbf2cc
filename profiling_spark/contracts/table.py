"""What a table is: columns with types and meanings, key, slice, partition. Schemas are data and live here only.

The settings look at contracts too, and are read where there is no Spark: functions that need it import it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from profiling_spark.errors import ContractError

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame
    from pyspark.sql import types as T

# Spark's class of each simple type
_SIMPLE = {
    "string": "StringType",
    "bigint": "LongType",
    "int": "IntegerType",
    "tinyint": "ByteType",
    "double": "DoubleType",
    "boolean": "BooleanType",
    "date": "DateType",
    "timestamp": "TimestampType",
}
_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")

PRICE = "decimal(18,6)"
AMOUNT = "decimal(18,4)"
AMOUNT_SUM = "decimal(28,4)"


@dataclass(frozen=True)
class Column:
    """One column: `type` is Spark's simple string; `null` says what null means, empty where it never occurs."""

    name: str
    type: str
    meaning: str
    null: str = ""
    personal: bool = False

    @property
    def data_type(self) -> T.DataType:
        """Spark's type of this column."""
        from pyspark.sql import types as T

        if self.type in _SIMPLE:
            made: T.DataType = getattr(T, _SIMPLE[self.type])()
            return made
        match = _DECIMAL.fullmatch(self.type)
        if match is None:
            raise ContractError(f"column {self.name}: unknown type {self.type!r}")
        return T.DecimalType(int(match[1]), int(match[2]))


@dataclass(frozen=True)
class Table:
    """The promise of one Delta table.

    `key`: columns that identify a row. `slice`: columns whose rows one write replaces in one commit (empty: the table
    is appended to, merged on its key, or replaced whole).
    """

    name: str
    layer: str
    row: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    slice: tuple[str, ...] = ()
    partition_by: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(c.name for c in self.columns)

    @property
    def schema(self) -> T.StructType:
        """Spark schema; every column nullable, as Delta stores it (keys are guarded by `conform`)."""
        from pyspark.sql import types as T

        return T.StructType([T.StructField(c.name, c.data_type, nullable=True) for c in self.columns])

    @property
    def statistics_columns(self) -> tuple[str, ...]:
        """Columns whose per-file minimum and maximum may stand in the log: never personal ones, they outlive a delete.

        Delta refuses booleans, and partition columns (their value stands in the log anyway).
        """
        return tuple(
            c.name for c in self.columns if not c.personal and c.type != "boolean" and c.name not in self.partition_by
        )

    def conform(self, frame: DataFrame) -> DataFrame:
        """Select exactly this table's columns; refuse an absent column or another type; a null key fails the write."""
        want = {c.name: c.type for c in self.columns}
        have = dict(frame.dtypes)
        wrong = {c: (t, have.get(c, "absent")) for c, t in want.items() if have.get(c) != t}
        if wrong:
            raise ContractError(f"{self.name}: (expected, found) differs for {wrong}")
        return frame.select(*(self._guarded(c) for c in self.columns))

    def _guarded(self, column: Column) -> SparkColumn:
        from pyspark.sql import functions as F

        if column.name not in self.key:
            return F.col(column.name)
        message = F.lit(f"{self.name}.{column.name}: the key must not be null")
        return F.coalesce(F.col(column.name), F.raise_error(message).cast(column.data_type)).alias(column.name)


def cast_to(table: Table, frame: DataFrame) -> DataFrame:
    """Cast widened types (a sum's decimal, a count's long) to the contract's; columns must all be there.

    `sum` of DECIMAL(p,s) is DECIMAL(p+10,s), so a writer says explicitly that it narrows.
    """
    from pyspark.sql import functions as F

    missing = [c for c in table.names if c not in frame.columns]
    if missing:
        raise ContractError(f"{table.name}: absent columns {missing}")
    return frame.select(*(F.col(c.name).cast(c.data_type).alias(c.name) for c in table.columns))
