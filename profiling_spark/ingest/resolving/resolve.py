"""Of the rows of some customers: which of those with one key survives, what is refused, and how many of each there are.

A kernel: no Spark, no I/O. Incoming rows have the target's columns and

- `_status` (ok, rejected, ignored), `_reasons`, `_warned` (see `check_rows`), `_raw` where its text is needed again;
- `_hash`: hash by which a refused row is stored (of a replay: of every row the one it was stored by), else null;
- `_keep`: of rows with one key the greatest survives, then that of the greatest content;
- `_line`: hash of the whole row where its key is made of the mapped columns, else null (or no such column);
- `_new`: names of columns that the settings do not know; `_day`: first day whose features the row changes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

import polars as pl

from profiling_spark.errors import ContractError
from profiling_spark.ingest.judging.rules import OK, REJECTED

DUPLICATE, SUPERSEDED, ACCEPTED = "duplicate", "superseded", "accepted"
HELPERS = ("_status", "_reasons", "_warned", "_raw", "_hash", "_keep", "_new", "_day", "_line")
EXAMPLES = 3
DIFFERS = "_differs"
_SAME = ("source", "file_id", "_status", "_reasons", "_warned", "flags", "_new", DIFFERS)


@dataclass(frozen=True)
class Group:
    """Rows of a file that had the same outcome. `reasons`, `warned`, `flags` and `new` are comma separated names.

    `first` and `last`: days whose features the rows change. `examples`: the first raw texts in alphabetical order.
    `lost_source`, `lost_file`: whose stored rows these replace. `differs`: true where another row has the same mapped
    columns, of which the key is made, and they differ elsewhere.
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
    differs: bool | None = None


@dataclass(frozen=True)
class Ends:
    """Of one snapshot of a source, in the name of its last file: keys that it ended, of those that there were."""

    source: str
    file_id: str
    rows: int
    alive: int


@dataclass(frozen=True)
class Resolved:
    """`accepted`: the target's columns, in order; `refused`: distinct, with occurrences; `groups` count every row;
    `ends`: of snapshots of users or items.
    """

    accepted: pl.DataFrame
    refused: pl.DataFrame
    groups: list[Group]
    ends: list[Ends] = field(default_factory=list)


def resolve(
    rows: pl.DataFrame,
    *,
    key: Sequence[str],
    content: Sequence[str],
    order: Sequence[str],
    counted: Collection[str] = (),
) -> Resolved:
    """Decide about the rows; all rows of one key must be among them. `content`: columns to compare, see `deduplicate`.

    `counted`: sources whose equal rows of one file are several. Raises ContractError where a key is null.
    """
    rows = _numbered(rows, key, content, counted) if counted else rows
    judged = rows.with_columns(_outcomes(rows, key, content))
    # one copy of the wide rows, in their order
    places = judged.select(_row=pl.arg_sort_by(order))["_row"]
    accepted = judged.drop(*HELPERS, DIFFERS, strict=False)[
        places.filter((judged["_status"] == ACCEPTED).gather(places))
    ]
    for column in key:
        if accepted[column].null_count():
            raise ContractError(f"{column}: the key must not be null")
    return Resolved(accepted, refused_rows(judged), grouped_rows(judged))


def _numbered(rows: pl.DataFrame, key: Sequence[str], content: Sequence[str], counted: Collection[str]) -> pl.DataFrame:
    """Of good rows of one key, file and counted source the second and later get keys of their own: key-2, key-3, ...

    Every file numbers its rows anew, so that a row that is delivered again finds its number.
    """
    (name,) = key
    good = (pl.col("_status") == OK) & pl.col("source").is_in(sorted(counted))
    one = [name, "source", "file_id"]
    several = rows.select(*one).is_duplicated()
    compared = [c for c in (*content, "_line") if c in rows.columns]
    equal = rows.with_row_index("_row").filter(good, several).select("_row", *one, "_keep", *compared)
    ranked = equal.sort(
        *one, "_keep", *compared, "_row", descending=[*(False for _ in one), True, *(True for _ in compared), False]
    )
    number = pl.int_range(1, pl.len() + 1).over(one)
    keyed = ranked.select("_row", _key=pl.when(number > 1).then(pl.format("{}-{}", name, number))).drop_nulls()
    return rows.with_columns(rows[name].scatter(keyed["_row"], keyed["_key"]))


def _outcomes(rows: pl.DataFrame, key: Sequence[str], content: Sequence[str]) -> list[pl.Series]:
    """`_status`, where good rows are accepted, duplicate or superseded, and DIFFERS (see `Group.differs`).

    Of rows with one key the one with the greatest `_keep` survives, then the greatest content, then the smallest
    file_id: never the order of arrival. Rows with the content of the row before them are duplicates, others are
    superseded.
    """
    good = pl.col("_status") == OK
    accepted = rows.select(_status=pl.when(good).then(pl.lit(ACCEPTED)).otherwise("_status"))["_status"]
    # few rows share a key with another: only those are compared in full (and those with the same hash of another key)
    several = rows.select(*key).hash_rows().is_duplicated()
    compared = [c for c in content if c in rows.columns]
    differs = pl.Series(DIFFERS, [None], pl.Boolean).new_from_index(0, len(rows))
    line = [c for c in ("_line",) if c in rows.columns]
    suspects = (
        rows.with_row_index("_row").filter(several, good).select("_row", *key, "_keep", *compared, "file_id", *line)
    )
    if suspects.is_empty():
        return [accepted, differs]
    ranked = suspects.sort(
        *key,
        "_keep",
        *compared,
        "file_id",
        "_row",
        descending=[*(False for _ in key), True, *(True for _ in compared), False, False],
        nulls_last=True,
    )
    follows = as_before(key) & (pl.int_range(pl.len()) > 0)
    how = pl.when(as_before(compared)).then(pl.lit(DUPLICATE)).otherwise(pl.lit(SUPERSEDED))
    lost = ranked.select("_row", _lost=pl.when(follows).then(how)).drop_nulls()
    accepted = accepted.scatter(lost["_row"], lost["_lost"])
    if line:
        # the first of each further text that a key has
        other = follows & pl.col("_line").is_not_null() & pl.struct(*key, "_line").is_first_distinct()
        odd = ranked.select("_row", other=other).filter("other")["_row"]
        differs = differs.scatter(odd, True)
    return [accepted, differs]


def as_before(columns: Sequence[str]) -> pl.Expr:
    """Whether a row has the values of the row before it, null among them."""
    return pl.all_horizontal(pl.lit(True), *(pl.col(c).eq_missing(pl.col(c).shift(1)) for c in columns))


def refused_rows(judged: pl.DataFrame) -> pl.DataFrame:
    """One row per distinct row of a file that has a `_hash`; `reasons` is null where it is refused no longer."""
    needed = judged.select("source", "file_id", "_status", "_reasons", "_raw", "_hash")
    stored = needed.filter(pl.col("_hash").is_not_null())
    reasons = pl.col("_reasons").filter(pl.col("_status") == REJECTED)
    return stored.group_by("source", "file_id", pl.col("_hash").alias("row_hash")).agg(
        raw=pl.col("_raw").min(), reasons=reasons.max(), occurrences=pl.len().cast(pl.Int64)
    )


def grouped_rows(judged: pl.DataFrame) -> list[Group]:
    """Rows of each file with the same outcome, counted; `judged` has `_status` as it became."""
    kinds = {"flags": pl.String, DIFFERS: pl.Boolean}  # columns that not every table's rows have
    flagged = judged.with_columns(pl.lit(None, t).alias(c) for c, t in kinds.items() if c not in judged.columns)
    outcomes = flagged.select(*_SAME, "_day", "_raw")
    # most rows have nothing to report but that they are accepted
    is_plain = outcomes.select(
        (pl.col("_status") == ACCEPTED) & pl.all_horizontal(pl.col(c).is_null() for c in (*_SAME[3:], "_raw"))
    ).to_series()
    parts = (
        outcomes.filter(is_plain).group_by("source", "file_id").agg(pl.col("_status").first(), *_counted()),
        outcomes.filter(~is_plain)
        .group_by(_SAME)
        .agg(*_counted(), examples=pl.col("_raw").drop_nulls().sort().head(EXAMPLES)),
    )
    return [
        Group(**{k.lstrip("_"): v for k, v in row.items()} | {"examples": tuple(row.get("examples", ()))})
        for part in parts
        for row in part.to_dicts()
    ]


def _counted() -> tuple[pl.Expr, ...]:
    return pl.len().alias("rows"), pl.col("_day").min().alias("first"), pl.col("_day").max().alias("last")


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
