"""Versions of the attributes of users and items: what new deliveries make of those that are stored.

A kernel: no Spark, no I/O. Every row states what one key is at one delivery (`delivered_at`, one for each file of
a source). All that one source states of a key, in the order of deliveries, is cut where the content changes: each piece
is a version. Its row keeps the delivery that opened it and, as `confirmed_at`, the last one that brought the same
again. So the newest versions do not depend on the order in which deliveries are loaded. Older ones do in one case: of
several deliveries that confirmed a version only the first and the last are known, so a late one between these two ends
the version until the last of them.

Rows with a `valid_from` of their own are cut the same way among those of that time only: the later delivery wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from profiling_spark.ingest.files.deliveries import Snapshot
from profiling_spark.ingest.judging.rules import OK, REJECTED
from profiling_spark.ingest.resolving.resolve import (
    ACCEPTED,
    DUPLICATE,
    SUPERSEDED,
    Ends,
    Group,
    Resolved,
    as_before,
    grouped_rows,
    refused_rows,
)

STORED = "stored"
"""`_status` of rows that the table has, among the new ones."""
_OPT_OUT = "personalisation_opt_out"
_TIME = pl.Datetime("us", "UTC")
# what a row of the history of a key is, in their order at one time
_VERSION, _CONFIRMED, _NEW, _END = range(4)


@dataclass(frozen=True)
class Deliveries:
    """`times`: delivered_at by (source, file_id), of the new files and of those in the ledger. `removed`: files whose
    rows go in this run, so that they confirm nothing any more.
    """

    times: Mapping[tuple[str, str], datetime]
    snapshots: tuple[Snapshot, ...] = ()
    removed: frozenset[tuple[str, str]] = frozenset()
    timezone: str = "UTC"

    @property
    def files(self) -> dict[tuple[str, datetime], str]:
        """file_id by source and delivered_at."""
        return {(source, time): file_id for (source, file_id), time in self.times.items()}


def resolve_versions(
    rows: pl.DataFrame, *, key: str, content: Sequence[str], run_id: str, deliveries: Deliveries
) -> Resolved:
    """All versions of the keys among the rows: of stored rows (`_status` stored) and new ones (see `resolve`; with
    `_block` and `_place` where their format has an order). `accepted` is every version, stored ones included.
    """
    is_stored = pl.col("_status") == STORED
    stored = rows.filter(is_stored)
    new = rows.filter(~is_stored).with_row_index("_row").with_columns(delivered_at=_times(deliveries))
    good = new.filter(pl.col("_status") == OK)
    last, lost, beaten = _last_of_each_delivery(good, stored, key, content)
    kept = stored.join(beaten, on=_place(key), how="anti", nulls_equal=True)
    ends, counted = _ends(kept, new, key, deliveries)
    confirmed = _confirmations(kept, deliveries).join(last, on=_place(key), how="anti", nulls_equal=True)
    history = _history([kept, confirmed, last, ends], key, content)
    opened = history.filter("_opens")
    groups = _moves(history, beaten)
    judged = _with_outcomes(new, history, lost, deliveries.timezone)
    return Resolved(
        opened.with_columns(
            version_time=pl.coalesce("valid_from", "delivered_at"),
            run_id=pl.when(pl.col("_kind") == _VERSION).then("run_id").otherwise(pl.lit(run_id)),
        ),
        refused_rows(judged),
        [*grouped_rows(judged), *groups],
        [*counted, *_ended(history)],
    )


def _times(deliveries: Deliveries) -> pl.Expr:
    """delivered_at of the row's file."""
    names = {f"{source}\n{file_id}": time for (source, file_id), time in deliveries.times.items()}
    file = pl.concat_str("source", pl.lit("\n"), "file_id")
    return file.replace_strict(names, return_dtype=_TIME) if names else pl.lit(None, _TIME)


def _group(key: str) -> list[str]:
    return [key, "source", "valid_from"]


def _place(key: str) -> list[str]:
    return [*_group(key), "delivered_at"]


def _last_of_each_delivery(
    good: pl.DataFrame, stored: pl.DataFrame, key: str, content: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """(the row of each key that a delivery ends with; _row and _lost of the others; stored rows that lose, with _lost).

    The last by its place in the file, where every row has one; else the greatest content. Who opted out in any of the
    rows did so: at equal time "yes" wins.
    """
    place = _place(key)
    rivals = stored.join(good.select(place), on=place, how="semi", nulls_equal=True)
    both = pl.concat([good, rivals], how="diagonal")
    if both.is_empty():
        return good.with_columns(_kind=pl.lit(_NEW)), _no_losers(both), _no_losers(both)
    has_place = pl.col("_block").is_not_null().all().over(place)
    ordered = both.with_columns(pl.when(has_place).then(c).alias(c) for c in ("_block", "_place")).sort(
        *place, "_block", "_place", *content, "file_id", nulls_last=False
    )
    if _OPT_OUT in content:
        ordered = ordered.with_columns(_wish=pl.col(_OPT_OUT).any().over(place))
    is_last = ~_same_as_next(place)
    same = pl.all_horizontal(pl.lit(True), *(pl.col(c).eq_missing(pl.col(c).last().over(place)) for c in content))
    judged = ordered.with_columns(
        _last=is_last, _lost=pl.when(same).then(pl.lit(DUPLICATE)).otherwise(pl.lit(SUPERSEDED))
    )
    winners, losers = judged.filter("_last"), judged.filter(~pl.col("_last"))
    if _OPT_OUT in content:
        winners = winners.with_columns(pl.when("_wish").then(pl.lit(True)).otherwise(pl.col(_OPT_OUT)).alias(_OPT_OUT))
    new = winners.filter(pl.col("_status") == OK).with_columns(_kind=pl.lit(_NEW))
    return new, losers.filter(pl.col("_row").is_not_null()), losers.filter(pl.col("_row").is_null())


def _no_losers(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.clear().with_columns(_lost=pl.lit(None, pl.String))


def _same_as_next(columns: Sequence[str]) -> pl.Expr:
    here = pl.all_horizontal(pl.col(c).eq_missing(pl.col(c).shift(-1)) for c in columns)
    return here & (pl.int_range(pl.len()) < pl.len() - 1)


def _confirmations(stored: pl.DataFrame, deliveries: Deliveries) -> pl.DataFrame:
    """Each stored version once more at the last delivery that brought it, with that delivery's file."""
    files = pl.DataFrame(
        [(source, time, file_id) for (source, time), file_id in deliveries.files.items()],
        schema={"source": pl.String, "confirmed_at": _TIME, "_file": pl.String},
        orient="row",
    )
    gone = pl.DataFrame(list(deliveries.removed), schema={"source": pl.String, "file_id": pl.String}, orient="row")
    later = stored.filter(pl.col("confirmed_at") > pl.col("delivered_at"))
    named = later.join(files, on=["source", "confirmed_at"], how="left", maintain_order="left")
    points = named.with_columns(
        delivered_at=pl.col("confirmed_at"), file_id=pl.coalesce("_file", "file_id"), _kind=pl.lit(_CONFIRMED)
    ).drop("_file")
    return points.join(gone, on=["source", "file_id"], how="anti")


def _ends(stored: pl.DataFrame, new: pl.DataFrame, key: str, deliveries: Deliveries) -> tuple[pl.DataFrame, list[Ends]]:
    """(a row that ends each key which a snapshot lacks, how many keys there were before each snapshot).

    A row that was refused names its key all the same: a wrong price does not end an item.
    """
    mentions = [
        stored.select(key, "source", "delivered_at", "ended"),
        stored.select(key, "source", pl.col("confirmed_at").alias("delivered_at"), "ended"),
        new.filter(pl.col("_status").is_in([OK, REJECTED])).select(key, "source", "delivered_at", "ended"),
    ]
    points = pl.concat(mentions).filter(pl.col(key).is_not_null(), pl.col("delivered_at").is_not_null())
    made, counted = [], []
    for snapshot in sorted(deliveries.snapshots, key=lambda s: s.last):
        of_source = points.filter(pl.col("source") == snapshot.source)
        before = (
            of_source.filter(pl.col("delivered_at") < snapshot.first)
            .sort("delivered_at")
            .unique(key, keep="last", maintain_order=True)
        )
        here = of_source.filter(pl.col("delivered_at").is_between(snapshot.first, snapshot.last), ~_is_ended()).select(
            key
        )
        here = pl.concat([here, _standing(stored, snapshot).select(key)])
        # also those that are ended already: a late delivery may still bring them back before this snapshot
        absent = before.join(here, on=key, how="anti")
        ended = absent.select(
            key,
            "source",
            pl.lit(snapshot.last, _TIME).alias("delivered_at"),
            pl.lit(True).alias("ended"),
        )
        points = pl.concat([points, ended])
        made.append(ended.with_columns(file_id=pl.lit(snapshot.file_id), _kind=pl.lit(_END)))
        counted.append(
            Ends(
                snapshot.source,
                snapshot.file_id,
                rows=0,
                alive=len(before.filter(~_is_ended())) if snapshot.is_new else 0,
            )
        )
    return (pl.concat(made) if made else stored.clear().select(key, "source")), counted


def _standing(stored: pl.DataFrame, snapshot: Snapshot) -> pl.DataFrame:
    """Versions that were there before the snapshot and are confirmed after it."""
    covers = (pl.col("delivered_at") < snapshot.first) & (pl.col("confirmed_at") > snapshot.last)
    return stored.filter(pl.col("source") == snapshot.source, covers, ~_is_ended())


def _is_ended() -> pl.Expr:
    return pl.col("ended").fill_null(False)


def _history(parts: Sequence[pl.DataFrame], key: str, content: Sequence[str]) -> pl.DataFrame:
    """The states of each key, in order, with `_opens` (other content than the state before) and `confirmed_at` (of the
    last row in a line with the same content).
    """
    first = parts[0].with_columns(_kind=pl.lit(_VERSION))
    rows = pl.concat([first, *parts[1:]], how="diagonal_relaxed").sort(*_place(key), "_kind", nulls_last=False)
    follows = as_before(_group(key)) & (pl.int_range(pl.len()) > 0)
    repeats = follows & as_before(content)
    return rows.with_columns(_opens=~repeats, _is_first=~follows).with_columns(
        confirmed_at=pl.col("delivered_at").last().over(pl.col("_opens").cum_sum())
    )


def _with_outcomes(new: pl.DataFrame, history: pl.DataFrame, lost: pl.DataFrame, timezone: str) -> pl.DataFrame:
    """The new rows with what became of each, and the first day on which it changes what is known of its key.

    The first state of a key without a time of its own holds for every day, and is not counted as a change.
    """
    found = history.filter(pl.col("_kind") == _NEW).select(
        "_row",
        pl.when("_opens").then(pl.lit(ACCEPTED)).otherwise(pl.lit(DUPLICATE)).alias("_outcome"),
        pl.when("_opens", ~pl.col("_is_first") | pl.col("valid_from").is_not_null())
        .then(pl.coalesce("valid_from", "delivered_at").dt.convert_time_zone(timezone).dt.date())
        .alias("_from_day"),
    )
    beaten = lost.select("_row", pl.col("_lost").alias("_outcome"), pl.lit(None, pl.Date).alias("_from_day"))
    outcomes = pl.concat([found, beaten], how="vertical_relaxed")
    joined = new.join(outcomes, on="_row", how="left", maintain_order="left")
    return joined.with_columns(_status=pl.coalesce("_outcome", "_status"), _day=pl.col("_from_day")).drop(
        "_outcome", "_from_day"
    )


def _moves(history: pl.DataFrame, beaten: pl.DataFrame) -> list[Group]:
    """What files of earlier runs gain and lose: a late delivery opens versions that theirs only confirm, and so on."""
    is_end = _is_ended()
    joins = history.filter(pl.col("_kind") == _VERSION, ~pl.col("_opens"), ~is_end)
    opens = history.filter(pl.col("_kind") == _CONFIRMED, "_opens", ~is_end)
    return [
        *_moved(joins, ACCEPTED, pl.lit(DUPLICATE)),
        *_moved(opens, DUPLICATE, pl.lit(ACCEPTED)),
        *_moved(beaten, ACCEPTED, pl.col("_lost")),
    ]


def _moved(rows: pl.DataFrame, status: str, outcome: pl.Expr) -> list[Group]:
    counted = rows.group_by("source", "file_id", outcome.alias("_outcome")).agg(rows=pl.len())
    found = []
    for source, file_id, now, count in counted.rows():
        left = Group(source, file_id, status, -count)
        found += [left, replace(left, status=now, rows=count)]
    return found


def _ended(history: pl.DataFrame) -> list[Ends]:
    """Ends that files gain (new ones) and lose (those that another one before makes needless)."""
    made = history.filter(_is_ended(), pl.col("_kind").is_in([_END, _CONFIRMED]), "_opens")
    needless = history.filter(_is_ended(), pl.col("_kind") == _VERSION, ~pl.col("_opens"))
    return [
        Ends(source, file_id, rows=sign * count, alive=0)
        for rows, sign in ((made, 1), (needless, -1))
        for source, file_id, count in rows.group_by("source", "file_id").agg(pl.len()).rows()
    ]
