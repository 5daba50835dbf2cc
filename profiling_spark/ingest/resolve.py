"""Of the rows of some customers: which of those with one key survives, what is refused, and how many of each there are.

A kernel: no Spark, no I/O. Incoming rows have the target's columns and

- `_status` (ok, rejected, ignored), `_reasons`, `_warned` (see `check_rows`), `_raw` where its text is needed again;
- `_hash`: hash by which a refused row is stored (of a replay: of every row the one it was stored by), else null;
- `_keep` and `_content`: of rows with one key the greatest survives;
- `_new`: names of columns that the settings do not know; `_day`: first day whose features the row changes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import polars as pl

from profiling_spark.errors import ContractError
from profiling_spark.ingest.rules import OK, REJECTED

DUPLICATE, SUPERSEDED, ACCEPTED = "duplicate", "superseded", "accepted"
HELPERS = ("_status", "_reasons", "_warned", "_raw", "_hash", "_keep", "_content", "_new", "_day")
EXAMPLES = 3
_SAME = ("source", "file_id", "_status", "_reasons", "_warned", "flags", "_new")


@dataclass(frozen=True)
class Group:
    """Rows of a file that had the same outcome. `reasons`, `warned`, `flags` and `new` are comma separated names.

    `first` and `last`: days whose features the rows change. `examples`: the first raw texts in alphabetical order.
    `lost_source`, `lost_file`: whose stored rows these replace.
    """

    source: str
    file_id: str
    status: str
    rows: int
    reasons: str | None = None
    warned: str | None = None
    flags: str | None = None
    new: str | None = None
    first: date | None = None
    last: date | None = None
    examples: tuple[str, ...] = ()
    lost_source: str | None = None
    lost_file: str | None = None


@dataclass(frozen=True)
class Resolved:
    """`accepted`: the target's columns, in order; `refused`: distinct, with occurrences; `groups` count every row."""

    accepted: pl.DataFrame
    refused: pl.DataFrame
    groups: list[Group]


def resolve(rows: pl.DataFrame, *, key: Sequence[str], order: Sequence[str]) -> Resolved:
    """Decide about the rows; all rows of one key must be among them. Raises ContractError where a key is null."""
    judged = _without_repeats(rows, key)
    accepted = judged.filter(pl.col("_status") == ACCEPTED).drop(HELPERS).sort(order)
    for column in key:
        if accepted[column].null_count():
            raise ContractError(f"{column}: the key must not be null")
    return Resolved(accepted, _refused(judged), _groups(judged))


def _without_repeats(rows: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Sets `_status` of good rows to accepted, duplicate or superseded.

    Of rows with one key the one with the greatest `_keep` survives, then the greatest `_content`, then the smallest
    file_id: never the order of arrival. Rows that say the same as the row before them are duplicates, others are
    superseded.
    """
    good = pl.col("_status") == OK
    accepted = rows.with_columns(_status=pl.when(good).then(pl.lit(ACCEPTED)).otherwise("_status"))
    several = rows.select(*key).is_duplicated()
    # few rows share a key with another: only those are compared in full
    suspects = rows.select(*key, "_keep", "_content", "file_id", "_status").with_row_index("_row").filter(several, good)
    if suspects.is_empty():
        return accepted
    ranked = suspects.sort(
        *key,
        "_keep",
        "_content",
        "file_id",
        "_row",
        descending=[*(False for _ in key), True, True, False, False],
        nulls_last=True,
    )
    follows = pl.all_horizontal(pl.col(c).eq_missing(pl.col(c).shift(1)) for c in key) & (pl.int_range(pl.len()) > 0)
    says_same = pl.col("_content") == pl.col("_content").shift(1)
    how = pl.when(says_same).then(pl.lit(DUPLICATE)).otherwise(pl.lit(SUPERSEDED))
    lost = ranked.select("_row", _lost=pl.when(follows).then(how)).drop_nulls()
    joined = accepted.with_row_index("_row").join(lost, on="_row", how="left", maintain_order="left")
    return joined.with_columns(_status=pl.coalesce("_lost", "_status")).drop("_row", "_lost")


def _refused(judged: pl.DataFrame) -> pl.DataFrame:
    """One row per distinct row of a file that has a `_hash`; `reasons` is null where it is refused no longer."""
    told = judged.filter(pl.col("_hash").is_not_null())
    reasons = pl.col("_reasons").filter(pl.col("_status") == REJECTED)
    return told.group_by("source", "file_id", pl.col("_hash").alias("row_hash")).agg(
        raw=pl.col("_raw").min(), reasons=reasons.max(), occurrences=pl.len().cast(pl.Int64)
    )


def _groups(judged: pl.DataFrame) -> list[Group]:
    flagged = judged if "flags" in judged.columns else judged.with_columns(flags=pl.lit(None, pl.String))
    found = flagged.group_by(_SAME).agg(
        rows=pl.len(),
        first=pl.col("_day").min(),
        last=pl.col("_day").max(),
        examples=pl.col("_raw").drop_nulls().sort().head(EXAMPLES),
    )
    return [Group(**{k.lstrip("_"): v for k, v in row.items()} | {"examples": tuple(row["examples"])})
            for row in found.to_dicts()]  # fmt: skip


def to_json(groups: Iterable[Group]) -> list[dict[str, Any]]:
    """Groups as plain values, on their way from a task to the driver."""
    loaded: list[dict[str, Any]] = json.loads(json.dumps([asdict(g) for g in groups], default=date.isoformat))
    return loaded


def from_json(values: Iterable[dict[str, Any]]) -> list[Group]:
    """The reverse of `to_json`."""
    return [
        Group(
            **v
            | {name: v[name] and date.fromisoformat(v[name]) for name in ("first", "last")}
            | {"examples": tuple(v["examples"])}
        )
        for v in values
    ]
