"""Versions of attributes: any deliveries, in any order, against plain Python; snapshots; what the counts say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from profiling_spark.ingest.files.deliveries import Snapshot
from profiling_spark.ingest.judging.rules import OK, REJECTED
from profiling_spark.ingest.resolving.resolve import Ends, Resolved
from profiling_spark.ingest.resolving.versions import STORED, Deliveries, resolve_versions

START = datetime(2026, 5, 1, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")
CONTENT = ("city", "personalisation_opt_out", "ended")
SCHEMA = {
    "user_id": pl.String,
    "source": pl.String,
    "valid_from": TIME,
    "city": pl.String,
    "personalisation_opt_out": pl.Boolean,
    "ended": pl.Boolean,
    "version_time": TIME,
    "delivered_at": TIME,
    "confirmed_at": TIME,
    "file_id": pl.String,
    "run_id": pl.String,
    "_status": pl.String,
    "_reasons": pl.String,
    "_warned": pl.String,
    "_raw": pl.String,
    "_hash": pl.String,
    "_new": pl.String,
    "_day": pl.Date,
    "_block": pl.Int64,
    "_place": pl.Int64,
}

Delivery = tuple[int, list[dict[str, Any]]]  # number of the day (also the file's name), rows in the order of the file


class Lake:
    """A table of versions, its ledger of accepted, duplicate, superseded and ended rows by file, and its deliveries."""

    def __init__(self) -> None:
        self.stored = pl.DataFrame(schema=SCHEMA)
        self.counts: dict[tuple[str, str], int] = {}
        self.times: dict[tuple[str, str], datetime] = {}
        self.runs = 0

    def load(self, *given: Delivery, snapshot: bool = False) -> Resolved:
        """One run that loads these files, in whatever order."""
        self.runs += 1
        rows = []
        before = {file_id: time for (_, file_id), time in self.times.items()} if snapshot else {}
        for day, lines in given:
            self.times["crm", f"f{day}"] = START + timedelta(days=day)
            for place, line in enumerate(lines):
                row = {"source": "crm", "file_id": f"f{day}", "_status": OK, "_block": 0, "_place": place, **line}
                rows.append({name: row.get(name) for name in SCHEMA})
        first = START + timedelta(days=min((d for d, _ in given), default=99))
        snapshots = (
            *(Snapshot("crm", f"f{d}", *[START + timedelta(days=d)] * 2) for d, _ in given if snapshot),
            *(Snapshot("crm", f, time, time, is_new=False) for f, time in before.items() if time > first),
        )
        both = pl.concat([self.stored.with_columns(_status=pl.lit(STORED)), pl.DataFrame(rows, schema=SCHEMA)])
        found = resolve_versions(
            both.sample(fraction=1, shuffle=True, seed=self.runs),
            key="user_id", content=CONTENT, run_id=f"run {self.runs}", deliveries=Deliveries(self.times, snapshots),
        )  # fmt: skip
        self.stored = found.accepted.select(*SCHEMA)
        for group in found.groups:
            self._count(group.file_id, group.status, group.rows)
        for end in found.ends:
            self._count(end.file_id, "ended", end.rows)
        return found

    def _count(self, file_id: str, status: str, rows: int) -> None:
        self.counts[file_id, status] = self.counts.get((file_id, status), 0) + rows

    def versions(self, *columns: str) -> list[tuple[Any, ...]]:
        """What is stored, in order."""
        keys = ["user_id", "source", "version_time", "delivered_at"]
        assert not self.stored.select(keys).is_duplicated().any()
        return self.stored.sort(keys).select(columns).rows()

    def newest(self) -> dict[str, tuple[Any, ...]]:
        last = self.stored.sort("version_time", "delivered_at").group_by("user_id", maintain_order=True).last()
        return {r["user_id"]: tuple(r[c] for c in CONTENT) for r in last.rows(named=True)}


def user(name: str, city: str | None, **other: Any) -> dict[str, Any]:
    return {"user_id": name, "city": city, **other}


def test_the_later_delivery_wins_and_unchanged_rows_open_no_version():
    lake = Lake()
    lake.load((1, [user("u", "Ulm"), user("v", "Bonn")]))
    lake.load((2, [user("u", "Kiel"), user("v", "Bonn")]))
    again = lake.load((3, [user("u", "Ulm"), user("v", "Bonn")]))
    assert lake.versions("user_id", "city", "file_id", "run_id") == [
        ("u", "Ulm", "f1", "run 1"),
        ("u", "Kiel", "f2", "run 2"),
        ("u", "Ulm", "f3", "run 3"),
        ("v", "Bonn", "f1", "run 1"),
    ]
    confirmed = {(u, t.day) for u, t in lake.versions("user_id", "confirmed_at")}
    assert confirmed == {("u", 2), ("u", 3), ("u", 4), ("v", 4)}
    assert {(g.status, g.rows, g.first) for g in again.groups} == {
        ("accepted", 1, date(2026, 5, 4)),
        ("duplicate", 1, None),
    }


def test_within_a_delivery_the_last_row_wins_and_a_yes_to_opting_out():
    lake = Lake()
    lake.load(
        (
            1,
            [
                user("u", "Ulm", personalisation_opt_out=True),
                user("u", "Bonn", personalisation_opt_out=False),
                user("u", "Aalen", personalisation_opt_out=None),
                user("w", "Ulm"),
                user("w", "Ulm"),
            ],
        )
    )
    assert lake.newest() == {"u": ("Aalen", True, None), "w": ("Ulm", None, None)}
    assert lake.counts == {("f1", "accepted"): 2, ("f1", "superseded"): 2, ("f1", "duplicate"): 1}
    # rows without a place (a Delta table): the greatest content, whatever the order of arrival
    other = Lake()
    other.load((1, [user("u", c, _block=None, _place=None) for c in ("Bonn", "Ulm", "Aalen")]))
    assert other.newest() == {"u": ("Ulm", None, None)}


def test_a_late_delivery_takes_its_place_and_a_confirmed_version_comes_back_after_it():
    lake = Lake()
    lake.load((1, [user("u", "Ulm")]))
    lake.load((3, [user("u", "Ulm")]))
    lake.load((2, [user("u", "Kiel")]))
    assert [(c, f, t.day) for c, f, t in lake.versions("city", "file_id", "delivered_at")] == [
        ("Ulm", "f1", 2),
        ("Kiel", "f2", 3),
        ("Ulm", "f3", 4),
    ]
    assert {k: n for k, n in lake.counts.items() if n} == dict.fromkeys(
        [("f1", "accepted"), ("f2", "accepted"), ("f3", "accepted")], 1
    )
    # what it said first makes the version of the third day needless
    lake = Lake()
    lake.load((1, [user("u", "Ulm")]))
    lake.load((3, [user("u", "Kiel")]))
    lake.load((2, [user("u", "Kiel")]))
    assert lake.versions("city", "file_id") == [("Ulm", "f1"), ("Kiel", "f2")]
    assert {k: n for k, n in lake.counts.items() if n} == dict.fromkeys(
        [("f1", "accepted"), ("f2", "accepted"), ("f3", "duplicate")], 1
    )


def test_a_snapshot_ends_what_it_lacks_but_not_what_it_refused():
    lake = Lake()
    first = lake.load((1, [user(u, "Ulm") for u in "abcd"]), snapshot=True)
    assert first.ends == [Ends("crm", "f1", rows=0, alive=0)]
    rows = [user("a", "Ulm"), user("b", "Kiel"), user("c", "?", _status=REJECTED, _reasons="bad", _hash="h", _raw="r")]
    second = lake.load((2, rows), snapshot=True)
    assert sorted((e.rows, e.alive) for e in second.ends) == [(0, 4), (1, 0)]
    lake.load((3, rows[:2]), snapshot=True)
    assert {u: e for u, (_, _, e) in lake.newest().items()} == {"a": None, "b": None, "c": True, "d": True}
    # back again, and a late snapshot between: c is ended by the third, d by the second
    lake.load((4, [user("d", "Ulm"), user("a", "Ulm"), user("b", "Kiel")]), snapshot=True)
    assert {u: e for u, (_, _, e) in lake.newest().items()} == {"a": None, "b": None, "c": True, "d": None}
    ended = sum(n for (_, status), n in lake.counts.items() if status == "ended")
    assert (ended, len(lake.stored)) == (2, 8)


def test_a_late_snapshot_ends_what_it_lacks_until_another_version_comes():
    lake = Lake()
    lake.load((1, [user("a", "Ulm"), user("b", "Ulm")]), snapshot=True)
    lake.load((3, [user("a", "Ulm"), user("b", "Kiel")]), snapshot=True)
    lake.load((2, [user("a", "Ulm")]), snapshot=True)
    assert [(u, c, e, t.day) for u, c, e, t in lake.versions("user_id", "city", "ended", "delivered_at")] == [
        ("a", "Ulm", None, 2),
        ("b", "Ulm", None, 2),
        ("b", None, True, 3),
        ("b", "Kiel", None, 4),
    ]


def test_rows_with_a_time_of_their_own_hold_from_it():
    lake = Lake()
    on = {n: START + timedelta(days=n) for n in range(9)}
    lake.load((8, [user("u", "new", valid_from=on[5]), user("u", "old", valid_from=on[1])]))
    assert lake.newest()["u"][0] == "new"
    lake.load((9, [user("u", "mended", valid_from=on[1]), user("u", "new", valid_from=on[5])]))
    assert [(c, t.day) for c, t in lake.versions("city", "version_time")] == [("old", 2), ("mended", 2), ("new", 6)]


LINES = st.builds(
    user,
    st.sampled_from("uvw"),
    st.sampled_from(["A", "B"]),
    personalisation_opt_out=st.sampled_from([None, True, False]),
)
FILES = st.lists(st.lists(LINES, max_size=4), min_size=1, max_size=5)


def last_stated(files: Sequence[list[dict[str, Any]]], *, snapshot: bool) -> dict[str, tuple[Any, ...]]:
    """Plain Python: day by day, the last row of a key in a file, but a yes in any of them."""
    state: dict[str, tuple[Any, ...]] = {}
    for lines in files:
        names = {line["user_id"] for line in lines}
        for name in names:
            own = [line for line in lines if line["user_id"] == name]
            wish = True if any(x["personalisation_opt_out"] for x in own) else own[-1]["personalisation_opt_out"]
            state[name] = (own[-1]["city"], wish, None)
        if snapshot:
            state |= {name: (None, None, True) for name in state if name not in names}
    return state


@settings(max_examples=40, deadline=None)
@given(FILES, st.randoms(use_true_random=False), st.booleans())
def test_any_deliveries_in_any_order_end_as_plain_python_says(files, chance, snapshot):
    expected = last_stated(files, snapshot=snapshot)
    forward, shuffled = Lake(), Lake()
    for day, lines in enumerate(files):
        forward.load((day, lines), snapshot=snapshot)
    assert forward.newest() == expected
    changes = forward.versions("user_id", *CONTENT)
    assert all(a != b for a, b in pairwise(changes))  # a version differs from the one before it

    order = list(enumerate(files))
    chance.shuffle(order)
    cut = chance.randint(0, len(order))
    shuffled.load(*order[:cut], snapshot=snapshot)  # several files in one run
    for delivery in order[cut:]:
        shuffled.load(delivery, snapshot=snapshot)
    assert shuffled.newest() == expected
    for lake in (forward, shuffled):
        by_file = lake.stored.group_by("file_id").len().rows()
        kept = {f: lake.counts.get((f, "accepted"), 0) + lake.counts.get((f, "ended"), 0) for f, _ in by_file}
        assert kept == dict(by_file)  # what `maintain --check` asks
        for day, lines in enumerate(files):
            read = sum(lake.counts.get((f"f{day}", s), 0) for s in ("accepted", "duplicate", "superseded"))
            assert read == len(lines)
        assert all(n >= 0 for n in lake.counts.values())
