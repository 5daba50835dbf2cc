"""Tables whose files the tasks write themselves: one commit replaces whole partitions, and every reader agrees."""

import os
import re
import time
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import polars as pl
import pytest
from deltalake.exceptions import DeltaError
from pyspark.sql import DataFrame, SparkSession
from spark_only import by_spark_only

from profiling_spark.config import Settings
from profiling_spark.contracts.silver import EVENTS
from profiling_spark.contracts.table import AMOUNT_SUM, Column, Table
from profiling_spark.errors import ContractError, StorageError
from profiling_spark.storage import Tables, file_writes
from profiling_spark.storage.file_writes import discard_files
from profiling_spark.storage.files import FileWriter, as_frame, joined
from profiling_spark.storage.log import File, not_needed
from profiling_spark.storage.outputs import Passed, Staged
from profiling_spark.storage.stores import store_for
from profiling_spark.storage.tables import SMALL_BYTES
from profiling_spark.storage.upkeep import compact, remove_old_files

SCORES = Table(
    name="scores",
    layer="gold",
    row="customer and date",
    columns=(
        Column("as_of", "date", "date"),
        Column("user_id", "string", "customer", personal=True),
        Column("spent", AMOUNT_SUM, "money", "never bought", personal=True),
        Column("share", "double", "ratio", "no events", personal=True),
        Column("visits", "bigint", "count", personal=True),
        Column("is_new", "boolean", "flag", personal=True),
    ),
    key=("as_of", "user_id"),
    slice=("as_of",),
    partition_by=("as_of",),
)
MONDAY, TUESDAY, SUNDAY = date(2026, 5, 4), date(2026, 5, 5), date(2026, 5, 3)
Row = tuple[Any, ...]
OLD: list[Row] = [
    (SUNDAY, "a", Decimal("1.0000"), 0.1, 1, True),
    (MONDAY, "a", Decimal("2.5000"), None, 2, False),
    (MONDAY, "gone", Decimal("-3.1250"), 0.25, 3, True),
    (TUESDAY, "b", None, 0.5, 4, None),
]
NEW: list[Row] = [
    (MONDAY, "a", Decimal("123456789012345678901234.5678"), 1 / 3, 2**40, True),
    (MONDAY, "née 'é", None, None, 0, None),
]


def frame(spark: SparkSession, rows: list[Row], table: Table = SCORES) -> DataFrame:
    return spark.createDataFrame(rows, table.schema)


def polars_types() -> dict[str, Any]:
    types = (pl.Date, pl.String, pl.Decimal(28, 4), pl.Float64, pl.Int64, pl.Boolean)
    return dict(zip(SCORES.names, types, strict=True))


def stored(tables: Tables, table: Table = SCORES) -> list[Row]:
    """What a fresh run reads."""
    fresh = Tables(tables.spark, tables.root, run_id="fresh").read(table)
    return sorted((tuple(r) for r in fresh.select(*table.names).collect()), key=lambda r: r[:2])


def test_only_the_named_dates_are_replaced_and_all_readers_see_the_same(spark: SparkSession, tables: Tables) -> None:
    assert tables.replace_partitions(SCORES, frame(spark, OLD), [SUNDAY, MONDAY, TUESDAY]) == 4
    assert stored(tables) == OLD
    # Tuesday is named and has no new row: it is empty afterwards
    assert tables.replace_partitions(SCORES, frame(spark, NEW), [MONDAY, TUESDAY]) == 2
    expected = [OLD[0], *NEW]
    assert stored(tables) == expected
    assert [tuple(r) for r in tables.read(SCORES).orderBy("as_of", "user_id").collect()] == expected

    place = tables.path(SCORES)
    target, order = deltalake.DeltaTable(place), ("as_of", "user_id")
    assert pl.read_delta(place).select(SCORES.names).sort(order).rows() == expected
    through_arrow = pl.DataFrame(pl.from_arrow(target.to_pyarrow_table()))
    assert through_arrow.select(SCORES.names).sort(order).rows() == expected
    found = duckdb.sql(
        f"select {', '.join(SCORES.names)} from read_parquet({target.file_uris()}, hive_partitioning = true,"
        " hive_types = {'as_of': date}) order by as_of, user_id"
    )
    assert found.fetchall() == expected
    assert (target.protocol().min_reader_version, target.protocol().min_writer_version) == (1, 2)
    assert target.metadata().configuration["delta.enableDeletionVectors"] == "false"
    actions = pl.DataFrame(target.get_add_actions(flatten=True))
    assert actions["num_records"].sum() == 3
    assert not [c for c in actions.columns if c.startswith(("min.", "max."))]  # personal: they would outlive a delete
    assert (
        target.version() == len(list(Path(place, "_delta_log").glob("*.json"))) - 1 == 1
    )  # a commit a write, the table's first one too


@pytest.mark.parametrize(("ends", "stays"), [(DeltaError("gone"), False), (KeyboardInterrupt(), True)])
def test_the_end_of_a_run_between_writing_and_committing_leaves_the_old_version(
    spark: SparkSession, tables: Tables, monkeypatch: pytest.MonkeyPatch, ends: BaseException, stays: bool
) -> None:
    tables.replace_partitions(SCORES, frame(spark, OLD), [SUNDAY, MONDAY, TUESDAY])
    before = set(Path(tables.path(SCORES)).rglob("*.parquet"))

    def die(*args: Any, **named: Any) -> None:
        raise ends

    with monkeypatch.context() as patch:
        patch.setattr(deltalake.DeltaTable, "create_write_transaction", die)
        with pytest.raises(
            KeyboardInterrupt if stays else StorageError, match=None if stays else "cannot be committed"
        ):
            tables.replace_partitions(SCORES, frame(spark, NEW), [MONDAY])
    left = set(Path(tables.path(SCORES)).rglob("*.parquet")) - before
    assert bool(left) is stays  # of no version: a process that is killed cannot clear up
    assert stored(tables) == OLD
    discard_files(tables, [tables.run_id], SCORES)
    assert set(Path(tables.path(SCORES)).rglob("*.parquet")) == before
    assert stored(tables) == OLD
    tables.replace_partitions(SCORES, frame(spark, NEW), [MONDAY])
    assert stored(tables) == [OLD[0], *NEW, OLD[3]]


@pytest.mark.parametrize("is_local", [True, False])
def test_other_storage_and_rows_of_this_process_give_the_same_table(
    spark: SparkSession, tables: Tables, is_local: bool
) -> None:
    if not is_local:
        tables = Tables(spark, by_spark_only(tables.root), run_id="r")
    tables.replace_partitions(SCORES, frame(spark, OLD), [SUNDAY, MONDAY, TUESDAY])
    rows = pl.DataFrame(NEW, schema=polars_types(), orient="row")
    assert tables.replace_partitions(SCORES, rows, [MONDAY, TUESDAY]) == 2
    assert stored(tables) == [OLD[0], *NEW]


def test_many_commits_keep_the_log_readable_and_new_columns_join(spark: SparkSession, tables: Tables) -> None:
    rows = pl.DataFrame(NEW, schema=polars_types(), orient="row")
    for _ in range(101):  # the hundredth writes a checkpoint
        tables.replace_partitions(SCORES, rows, [MONDAY])
    assert list(Path(tables.path(SCORES), "_delta_log").glob("*.checkpoint.parquet"))
    wider = replace(SCORES, columns=(*SCORES.columns, Column("level", "string", "word", "unknown", personal=True)))
    tables.replace_partitions(wider, frame(spark, [(*OLD[0], "high")], wider), [SUNDAY])
    assert stored(tables, wider) == [(*OLD[0], "high"), *((*row, None) for row in NEW)]
    assert pl.read_delta(tables.path(SCORES)).sort("as_of", "user_id")["level"].to_list() == ["high", None, None]


def test_what_breaks_the_contract_is_refused(spark: SparkSession, tables: Tables) -> None:
    tables.replace_partitions(SCORES, frame(spark, OLD), [SUNDAY, MONDAY, TUESDAY])
    with pytest.raises(ContractError, match=r"expected files of .*2026-05-05.*, found \['2026-05-04'\]"):
        tables.replace_partitions(SCORES, frame(spark, NEW), [TUESDAY])
    with pytest.raises(Exception, match=r"scores\.user_id: the key must not be null"):
        tables.replace_partitions(SCORES, frame(spark, [(MONDAY, None, None, None, 1, None)]), [MONDAY])
    other = replace(SCORES, columns=(*SCORES.columns[:4], Column("visits", "int", "count", personal=True)))
    with pytest.raises(ContractError, match=r"\(expected, stored\) differs for {'visits': \('integer', 'long'\)}"):
        tables.replace_partitions(other, frame(spark, [(*OLD[1][:4], 1)], other), [MONDAY])
    assert stored(tables) == OLD


def test_old_files_are_those_that_spark_would_remove(spark: SparkSession, tmp_path: Path) -> None:
    lake = Tables(spark, str(tmp_path), run_id="r")
    lake.append(SCORES, frame(spark, OLD).coalesce(1))
    lake.replace_partitions(SCORES, frame(spark, NEW), [MONDAY])
    place, long_ago = tmp_path / "scores", time.time() - 31 * 86_400
    for entry in (place / "_delta_log").glob("*.json"):
        aged = re.sub(r'"deletionTimestamp":\d+', f'"deletionTimestamp":{int(long_ago * 1000)}', entry.read_text())
        entry.with_name(f".{entry.name}.crc").unlink(missing_ok=True)
        entry.write_text(aged)
    lake.replace_partitions(SCORES, frame(spark, []), [SUNDAY])  # not long ago
    died, running = (place / "as_of=2026-05-04" / f"{name}.parquet" for name in ("died", "running"))
    for file in (died, running):
        file.write_bytes(b"half a file")
    for file in place.rglob("*.parquet"):
        if file != running:
            os.utime(file, (long_ago, long_ago))
    spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()  # type: ignore[union-attr]
    theirs = {Path(row["path"].removeprefix("file:")) for row in spark.sql(f"VACUUM '{place}' DRY RUN").collect()}
    found = {place / name for name in not_needed(lake.folder_of(SCORES), keep_days=30)}
    assert found == {t for t in theirs if t.suffix == ".parquet"}
    assert died in found
    assert len(found) == 2
    before, version = stored(lake), lake.version(SCORES)
    remove_old_files(lake, SCORES, keep_days=30)
    assert not any(file.exists() for file in found)
    assert running.exists()
    assert stored(lake) == before
    assert lake.version(SCORES) == version


SHARES = replace(
    SCORES,
    name="shares",
    columns=(SCORES.columns[0], Column("task", "string", "task"), *SCORES.columns[1:4]),
    key=("as_of", "task", "user_id"),
    slice=("as_of", "task"),
)


@pytest.mark.parametrize("is_compacted", [False, True])
def test_a_slice_within_a_partition_goes_alone_also_from_a_file_with_others(tables: Tables, is_compacted: bool) -> None:
    rows = [(MONDAY, "churn", "a", None, 0.1), (MONDAY, "value", "a", Decimal("2.5000"), 0.2)]
    rows += [(MONDAY, "value", "b", None, None), (SUNDAY, "churn", "a", None, 0.3)]
    for day, task in ((MONDAY, "churn"), (MONDAY, "value"), (SUNDAY, "churn")):
        part = [r for r in rows if r[:2] == (day, task)]
        assert tables.replace_slice(SHARES, as_frame(SHARES, part), as_of=day, task=task) == len(part)
    if is_compacted:
        compact(tables, SHARES, file_bytes=2**20, order_by=None)
        assert len(tables.files(SHARES)) == 2
    commits = tables.version(SHARES)
    new = [(MONDAY, "value", "c", Decimal("-1.0000"), 0.5)]
    assert tables.replace_slice(SHARES, frame(tables.spark, new, SHARES), as_of=MONDAY, task="value") == 1
    assert tables.version(SHARES) == (commits or 0) + 1
    assert sorted(stored(tables, SHARES)) == [rows[3], rows[0], new[0]]
    assert tables.rows(SHARES, as_of=MONDAY, task="churn").rows() == rows[:1]
    assert tables.replace_slice(SHARES, as_frame(SHARES, []), as_of=MONDAY, task="churn") == 0
    assert sorted(stored(tables, SHARES)) == [rows[3], new[0]] == sorted(tables.rows(SHARES).rows())
    with pytest.raises(ContractError, match=r"expected rows of task = churn, found \['value'\]"):
        tables.replace_slice(SHARES, as_frame(SHARES, new), as_of=MONDAY, task="churn")


@pytest.mark.parametrize("few", [32, 0])
def test_a_stored_column_that_a_reader_does_not_name_is_read_too(
    tables: Tables, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """A feature of one's own stands in user_features; jobs that ask for the built-in ones may be told to use it."""
    monkeypatch.setattr("profiling_spark.storage.tables._FEW_FILES", few)
    wider = replace(SCORES, columns=(*SCORES.columns, Column("own", "double", "own", "unknown", personal=True)))
    tables.replace_slice(SCORES, as_frame(SCORES, OLD[:1]), as_of=SUNDAY)
    tables.replace_slice(wider, as_frame(wider, [(*OLD[3], 0.75)]), as_of=TUESDAY)
    found = tables.read(SCORES).orderBy("as_of")
    assert [(r["user_id"], r["own"]) for r in found.collect()] == [("a", None), ("b", 0.75)]
    assert tables.read(SCORES, as_of=MONDAY).columns == found.columns
    later = replace(wider, columns=(*wider.columns, Column("newer", "double", "not stored yet", "unknown")))
    assert [r["newer"] for r in tables.read(later, as_of=TUESDAY).collect()] == [None]


def test_what_is_on_its_way_counts_and_to_look_pins_nothing(tables: Tables) -> None:
    assert tables.is_small
    tables.incoming_bytes = SMALL_BYTES + 1
    assert not tables.is_small
    tables.incoming_bytes = 0
    tables.append(EVENTS, as_frame(EVENTS, []))
    fresh = Tables(tables.spark, tables.root, run_id="fresh")
    assert fresh.is_small
    assert fresh.read_versions == {}


@pytest.mark.parametrize(
    ("add_action", "is_in"),
    [
        ({"partition.as_of": MONDAY, "min.task": "churn", "max.task": "churn", "null_count.task": 0}, True),
        ({"partition.as_of": SUNDAY, "min.task": "churn", "max.task": "churn", "null_count.task": 0}, False),
        ({"partition.as_of": MONDAY, "min.task": "churn", "max.task": "churn", "null_count.task": 1}, None),
        ({"partition.as_of": MONDAY, "min.task": "a", "max.task": "value", "null_count.task": 0}, None),
        ({"partition.as_of": MONDAY, "min.task": "d", "max.task": "value", "null_count.task": 0}, False),
        ({"partition.as_of": MONDAY}, None),
        ({"partition.as_of": SUNDAY}, False),
        # what was cut may stand for more than it says
        ({"partition.as_of": MONDAY, "min.task": "c" * 32, "max.task": "c" * 32, "null_count.task": 0}, None),
        ({"min.as_of": SUNDAY, "max.as_of": TUESDAY, "min.task": "churn", "max.task": "churn"}, None),
    ],
)
def test_what_the_log_tells_of_a_file_and_a_slice(add_action: dict[str, Any], is_in: bool | None) -> None:
    assert File("a.parquet", add_action).in_slice({"as_of": MONDAY, "task": "churn"}) is is_in


NOTES = Table(
    name="notes",
    layer="silver",
    row="note",
    columns=(Column("key", "string", "key"), Column("run", "string", "run")),
    key=("key",),
)


@pytest.mark.parametrize("others", [0, 1000])
def test_rows_take_the_place_of_those_of_a_predicate_however_long(tables: Tables, others: int) -> None:
    tables.append_rows(NOTES, [("a", "1"), ("b", "1"), ("c", "2")])
    which = ["run = '2'", "key = 'a'", *(f"(key = 'other{n}' AND run = '1')" for n in range(others))]
    assert tables.replace_rows(NOTES, [("a", "3"), ("d", "2")], " OR ".join(which)) == 2
    assert stored(tables, NOTES) == [("a", "3"), ("b", "1"), ("d", "2")]


def test_a_merge_reads_no_file_elsewhere_than_it_is_said_to_look(spark: SparkSession, tables: Tables) -> None:
    tables.replace_partitions(SCORES, frame(spark, OLD), [SUNDAY, MONDAY, TUESDAY])
    new = frame(spark, [(MONDAY, "a", None, 0.5, 7, True)])
    (elsewhere,) = Path(tables.path(SCORES), f"as_of={TUESDAY}").glob("*.parquet")
    elsewhere.rename(elsewhere.with_suffix(".away"))
    with pytest.raises(Exception, match=elsewhere.name):
        tables.upsert(SCORES, new)
    tables.upsert(SCORES, new, near=[f"as_of = DATE'{MONDAY}'"])
    elsewhere.with_suffix(".away").rename(elsewhere)
    assert stored(tables) == [OLD[0], (MONDAY, "a", None, 0.5, 7, True), *OLD[2:]]


def test_removed_files_are_remembered_as_long_as_versions_are_kept(tables: Tables) -> None:
    properties = "delta.deletedFileRetentionDuration"
    tables.append_rows(NOTES, [("a", "1")])  # made without Spark
    tables.append(SCORES, frame(tables.spark, OLD))  # made by it
    for table in (NOTES, SCORES):
        made = deltalake.DeltaTable(tables.path(table)).metadata().configuration
        assert made[properties] == f"interval {Settings().maintain.keep_days} days"


def test_rows_that_are_staged_go_where_they_are_not_committed_and_else_no_folder_is_listed(
    spark: SparkSession, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    def staged(rows: list[Row]) -> Staged:
        output = tables.output(rows=SCORES)
        return tables.staged(output, frame(spark, rows).coalesce(1).mapInArrow(Passed(output), output.schema))

    first, second = staged(OLD), staged(NEW)
    days = [SUNDAY, MONDAY, TUESDAY]
    assert tables.replace_partitions(SCORES, first.parts["rows"], days) == 4
    names = {f.name for f in first.parts["rows"].files or ()}
    assert len(names) == 3
    listed: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(file_writes, "discard", lambda store, *args, **named: listed.append(store.root))
        first.release()
    assert listed == []
    second.release()
    there = Path(tables.path(SCORES)).rglob("part-*.parquet")
    assert {p.relative_to(tables.path(SCORES)).as_posix() for p in there} == names
    assert stored(tables) == OLD


def test_small_files_become_one_wherever_they_lie(tmp_path: Path) -> None:
    folder = tmp_path / "a [1] {b} *"
    folder.mkdir()
    writer = FileWriter(NOTES, store_for(str(folder), None), "r")
    files = [writer.write(pl.DataFrame({"key": [key]})) for key in "ab"]
    (one,) = joined(writer, files)
    assert pl.read_parquet(folder / one.name, glob=False).rows() == [("a", None), ("b", None)]
    assert (one.rows, [p.name for p in folder.iterdir()]) == (2, [one.name])


def test_decimals_that_would_be_cut_are_refused(tmp_path: Path) -> None:
    rows = pl.DataFrame({"user_id": ["a"], "as_of": [MONDAY], "spent": [Decimal("1.234567")]})
    writer = FileWriter(SCORES, store_for(str(tmp_path), None), "r")
    with pytest.raises(ContractError, match="spent"):
        writer.write(rows)
    with pytest.raises(ContractError, match="visits"):
        writer.write(rows.select("user_id", "as_of", visits=pl.lit(0.5)))
