"""A run that dies at any of its commits, on a lake with history, is undone as if it had never begun."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import deltalake
import polars as pl
import pytest
from ingest_shop import settings
from pyspark.sql import SparkSession
from spark_only import by_spark_only

from profiling_spark.config import Settings
from profiling_spark.context import Context
from profiling_spark.contracts.silver import EVENTS, INGESTED_FILES, REVIEWS, USERS
from profiling_spark.contracts.table import Table
from profiling_spark.ingest.again import recover
from profiling_spark.ingest.again.recover import WRITTEN, clear_unfinished
from profiling_spark.ingest.job import ingest, replay
from profiling_spark.maintain.job import check, maintain
from profiling_spark.storage import Tables, points, undo
from profiling_spark.storage.log import files_of
from profiling_spark.storage.stores import store_for
from profiling_spark.storage.undo import restore, why_not

STARTED = datetime(2026, 7, 1, tzinfo=UTC)
HEADER = "id,when,who,what,sku,qty,price,order\n"
Rows = dict[str, list[dict[str, Any]]]


def event(n: int, *, hour: int = 10, what: str = "buy", price: str = "5") -> str:
    return f"{n},2026-05-{1 + n % 9:02d} {hour}:00:00,u{n % 7},{what},a,1,{price},o{n}\n"


def write(data: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (data / name).write_text(text, encoding="utf-8")


FIRST = {
    "log_1.csv": HEADER + "".join(event(n) for n in range(20)) + event(20, what="BUY") + event(21, price="x"),
    "log_2.csv": HEADER + "".join(event(n) for n in range(30, 50)) + event(3),
    "people_1.csv": "uid,age\nu1,30\nu2,40\nu3,200\n",
    "goods_1.csv": "sku,cate\na,toys\nb,books\n",
    "reviews_1.csv": "rid,uid,body\n1,u1,good\n2,u2,bad\n",
}
# refused until its word is known; then it is a later version of a stored event
MENDED_LATER = event(8, hour=12, what="BUY", price="9")
# later versions of stored events, a file that grew and loses a row, attributes and a review that replace stored ones
SECOND = {
    "log_2.csv": HEADER + "".join(event(n) for n in range(31, 50)) + event(60),
    "log_3.csv": HEADER
    + "".join(event(n, hour=11, price="7") for n in range(5))
    + event(70)
    + event(6)
    + "71,cut\n"
    + MENDED_LATER,
    "people_2.csv": "uid,age\nu1,31\nu4,50\n",
    "goods_2.csv": "sku,cate\na,games\nc,food\n",
    "reviews_2.csv": "rid,uid,body\n1,u1,very good\n3,u3,fine\n",
}


def with_words(base: Settings, **words: str) -> Settings:
    dumped = base.model_dump(mode="json")
    dumped["sources"]["log"]["event_types"] |= words
    return Settings.model_validate(dumped)


def shop(root: Path, data: Path) -> Settings:
    """A log that is taken again where it changed, attributes, a catalogue, reviews."""
    dumped = settings(str(root), data).model_dump(mode="json")
    dumped["sources"]["log"] |= {"path": "log_*.csv", "changed_files": "take_again"}
    for name, target, columns in (
        ("people", "users", {"user_id": "uid", "age": "age"}),
        ("goods", "items", {"item_id": "sku", "category": "cate"}),
        ("reviews", "reviews", {"review_id": "rid", "user_id": "uid", "text": "body"}),
    ):
        one = {"format": "csv", "path": f"{name}_*.csv", "target": target, "columns": columns}
        dumped["sources"][name] = one
    return Settings.model_validate(dumped)


def content(root: Path, *, without: tuple[str, ...] = ()) -> Rows:
    """All rows of what an ingest writes, in one order."""
    found: Rows = {}
    for table in WRITTEN:
        place = root / table.name
        is_table = (place / "_delta_log").exists()  # else files at the most, of a run that died
        files = files_of(store_for(str(place), None), deltalake.DeltaTable(place).version()) if is_table else []
        rows = [
            r for f in files for r in pl.read_parquet(place / f.name, glob=False, hive_partitioning=False).to_dicts()
        ]
        kept = [{k: v for k, v in row.items() if k not in without and v is not None} for row in rows]
        found[table.name] = sorted(kept, key=lambda row: json.dumps(row, default=str, sort_keys=True))
    return found


def values(root: Path) -> Rows:
    """What counts for a reader: not which run wrote a row."""
    found = content(root, without=("run_id", "replayed_by"))
    del found["quality_metrics"]  # one set of rows for each run
    return found


@dataclass
class Lakes:
    """Copies of the lake: `before` and `after` the run, and as a process that is killed would leave it at each point
    where it differs from the point before.
    """

    before: Path
    after: Path
    killed: list[tuple[str, Path]]


@contextmanager
def copied_at_each_commit(root: Path, folder: Path) -> Iterator[list[tuple[str, Path]]]:
    made: list[tuple[str, Path]] = []

    states: list[set[tuple[str, int]]] = []

    def copy(what: str) -> None:
        state = {(str(p), p.stat().st_mtime_ns) for p in root.rglob("*") if p.is_file()}
        if not states or state != states[-1]:
            states.append(state)
            made.append((what, folder / str(len(made))))
            shutil.copytree(root, made[-1][1])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "at", copy)
        yield made


class Shop:
    """Runs of the shop's ingest on copies of one lake."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.spark, self.folder, self.data = spark, folder, folder / "raw"
        self.data.mkdir()

    def context(self, root: Path, run_id: str, **words: str) -> Context:
        tables = Tables(self.spark, str(root), run_id=run_id)
        made = with_words(shop(root, self.data), **words)
        return Context(made, self.spark, tables, STARTED)

    def struck(self, name: str, run: Callable[[Path], object], root: Path) -> Lakes:
        before, folder = self.folder / f"{name} before", self.folder / name
        shutil.copytree(root, before)
        with copied_at_each_commit(root, folder) as killed:
            run(root)
        return Lakes(before, root, killed)


@pytest.fixture(scope="module")
def first(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Shop, Lakes]:
    """The first load of all, on no lake at all."""
    made = Shop(spark, tmp_path_factory.mktemp("struck shop"))
    write(made.data, FIRST)
    root = made.folder / "lake"
    root.mkdir()
    return made, made.struck("first", lambda r: ingest(made.context(r, "20260601T000000-first")), root)


@pytest.fixture(scope="module")
def second(first: tuple[Shop, Lakes]) -> Lakes:
    made, lakes = first
    write(made.data, SECOND)
    return made.struck("second", lambda r: ingest(made.context(r, "20260602T000000-second")), lakes.after)


@pytest.fixture(scope="module")
def replayed(first: tuple[Shop, Lakes], second: Lakes) -> Lakes:
    made, _ = first

    def run(root: Path) -> None:
        replay(made.context(root, "20260603T000000-third", BUY="purchase"), "20260602T000000-second")

    return made.struck("replay", run, second.after)


def copy_of(lakes: Lakes, what: str, to: Path) -> Path:
    """The lake as it was when the run was killed there."""
    return Path(shutil.copytree(next(root for at, root in reversed(lakes.killed) if at == what), to))


def recovered(made: Shop, root: Path) -> recover.Cleared:
    tables = Tables(made.spark, str(root), run_id="next")
    return clear_unfinished(tables)


@pytest.mark.slow
def test_a_run_after_a_crash_ends_like_an_undisturbed_one_though_files_were_gone(first, second, replayed):
    made, _ = first
    struck = copy_of(second, f"after commit of {EVENTS.name}", made.folder / "continued")
    assert content(struck)["events"] != content(second.before)["events"]
    for name in SECOND:
        (made.data / name).rename(made.folder / name)
    write(made.data, {"log_2.csv": FIRST["log_2.csv"]})
    ingest(made.context(struck, "20260604T000000-without"))
    assert content(struck) == content(second.before)
    assert check(made.context(struck, "check")).lines
    for name in SECOND:
        (made.folder / name).rename(made.data / name)
    ingest(made.context(struck, "20260605T000000-with"))
    assert check(made.context(struck, "check")).lines
    assert values(struck) == values(replayed.before)


@pytest.mark.slow
def test_a_recovery_that_dies_is_done_again_and_maintain_recovers_before_it_removes_files(first, second, monkeypatch):
    made, _ = first
    struck = copy_of(second, "after commit of rejected_rows", made.folder / "dies twice")
    inner, calls = undo._restore, []

    def die(tables: Tables, table: Table, *args: Any) -> None:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(table.name)
        inner(tables, table, *args)

    with monkeypatch.context() as patch:
        patch.setattr(undo, "_restore", die)
        with pytest.raises(KeyboardInterrupt):
            recovered(made, struck)
    assert calls == ["events", "users"]
    assert any(r["status"] == "taking" for r in content(struck)["ingested_files"])
    maintain(made.context(struck, "20260604T000000-upkeep"))
    assert content(struck) == content(second.before)


@pytest.mark.slow
def test_other_storage_restores_with_spark_and_a_commit_of_another_run_forbids_it(first, second):
    made, _ = first
    struck = copy_of(second, f"after commit of {EVENTS.name}", made.folder / "elsewhere")
    claim = next(r for r in content(struck)["ingested_files"] if r["status"] == "taking")
    versions = {EVENTS: json.loads(claim["versions"])["events"], REVIEWS: None}
    tables, run_id = Tables(made.spark, by_spark_only(struck), run_id="next"), "20260602T000000-second"
    assert "of reviews is of 20260601T000000-first" in why_not(tables, versions, [run_id])
    del versions[REVIEWS]
    assert why_not(tables, versions, [run_id]) == ""
    restore(tables, versions, run_id)
    assert content(struck)["events"] == content(second.before)["events"]
    assert why_not(tables, versions, [run_id]) == ""
    # a run of another kind writes in between: what the dead run wrote goes, by its name
    Tables(made.spark, str(struck), run_id="erasure").delete(EVENTS, "user_id = 'u2'")
    cleared = recovered(made, struck)
    assert "events is of erasure" in cleared.text
    left = content(struck)
    assert all(r["run_id"] == "20260601T000000-first" for name in ("events", "users") for r in left[name])
    assert all(r["status"] == "done" for r in left["ingested_files"])


@pytest.mark.slow
def test_at_every_commit_a_dead_run_is_undone(first, second, replayed):
    made, loaded = first
    for lakes, least in ((loaded, 12), (second, 9), (replayed, 4)):
        assert len(lakes.killed) >= least
        wanted, done = content(lakes.before), content(lakes.killed[-1][1])
        assert wanted != done
        for what, root in lakes.killed[:-1]:
            cleared = recovered(made, root)
            assert (content(root), cleared.loss) == (wanted, ""), what
        what, root = lakes.killed[-1]  # the ledger says that the run is done
        assert (recovered(made, root).runs, content(root), what) == ((), done, "after commit of ingested_files")


def test_of_several_dead_runs_the_first_says_what_is_restored():
    """Where storage is no local disk two can have died: a table goes back to before both, or away where it was new."""
    first, second = {"events": 3, "users": None, "ingested_files": 7}, {"events": 5, "users": 1, "ingested_files": 8}
    for claims in ((first, second), (second, first)):
        # the ledger last, and no table that neither names
        assert list(recover._by_table(claims).items()) == [(EVENTS, 3), (USERS, None), (INGESTED_FILES, 7)]
