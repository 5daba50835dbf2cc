"""Each way in which this process commits, where S3 or the disk fails in the middle of it; without Spark."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from disks import fill, remount
from fault_table import FaultTable
from servers import BUCKET, S3Server

from profiling_spark.contracts.operations import LIVE_MODELS
from profiling_spark.errors import StorageError
from profiling_spark.storage import Tables, as_frame
from profiling_spark.storage.log import create
from profiling_spark.storage.undo import restore

WAYS = "each kind of commit by delta-rs"
Row = tuple[object, ...]
OLD: Row = ("churn", "1", "models/churn/1", "a", date(2026, 6, 1))
NEW: Row = ("churn", "2", "models/churn/2", "b", date(2026, 7, 1))
OTHER: Row = ("segments", "1", "models/segments/1", "c", date(2026, 7, 1))

COMMITS: dict[str, tuple[Callable[[Tables], object], list[Row]]] = {
    "append": (lambda t: t.append_rows(LIVE_MODELS, [OTHER]), [OLD, OTHER]),
    "replace_slice": (lambda t: t.replace_slice(LIVE_MODELS, as_frame(LIVE_MODELS, [NEW]), task="churn"), [NEW]),
    "replace_all": (lambda t: t.replace_all(LIVE_MODELS, as_frame(LIVE_MODELS, [OTHER])), [OTHER]),
    "replace_rows": (lambda t: t.replace_rows(LIVE_MODELS, [NEW], "task = 'churn'"), [NEW]),
    "restore": (lambda t: restore(t, {LIVE_MODELS: 0}, "first"), []),
}


@pytest.fixture
def stored(s3: S3Server) -> Tables:
    """A table of two versions: without a row, and with one."""
    tables = Tables(None, f"s3a://{BUCKET}/lost", run_id="first")
    store = tables.folder_of(LIVE_MODELS)
    for name in store.list(""):
        store.delete([name])
    s3.lose_answer(path="/_delta_log/")
    create(store, LIVE_MODELS, [], {}, "first")
    tables.append_rows(LIVE_MODELS, [OLD])
    return tables


@pytest.mark.parametrize("name", COMMITS)
def test_a_commit_whose_answer_is_lost_is_made_once(
    s3: S3Server, stored: Tables, fault_table: FaultTable, name: str
) -> None:
    commit, expected = COMMITS[name]
    run_id = "first" if name == "restore" else "second"
    tables = Tables(None, stored.root, run_id=run_id)
    s3.lose_answer(path="/_delta_log/")
    commit(tables)
    assert tables.version(LIVE_MODELS) == 2
    assert sorted(Tables(None, stored.root, run_id="").rows(LIVE_MODELS).rows(), key=str) == expected
    log = tables.folder_of(LIVE_MODELS).get(f"_delta_log/{2:020d}.json")
    assert log is not None
    assert any(json.loads(line).get("commitInfo", {}).get("userMetadata") == run_id for line in log.splitlines())
    fault_table.add("a commit whose answer is lost", f"S3, {WAYS}", "it counts as made, once; the run goes on")


@pytest.mark.parametrize("name", COMMITS)
@pytest.mark.parametrize("fault", ["refuse", "expire"])
def test_a_commit_that_was_not_made_is_an_error(
    s3: S3Server, stored: Tables, fault_table: FaultTable, name: str, fault: str
) -> None:
    getattr(s3, fault)(method="PUT", path="/_delta_log/")
    tables = Tables(None, stored.root, run_id="second")
    with pytest.raises(StorageError, match="cannot be"):
        COMMITS[name][0](tables)
    s3.heal()
    assert tables.version(LIVE_MODELS) == 1
    assert tables.rows(LIVE_MODELS).rows() == [OLD]
    kind = {"refuse": "a credential that may not write", "expire": "a credential that expires"}[fault]
    fault_table.add(kind, f"S3, {WAYS}", "the run ends with exit code 7; the table is as before")


@pytest.mark.parametrize("name", COMMITS)
def test_a_commit_while_s3_is_away_for_a_moment(
    s3: S3Server, stored: Tables, fault_table: FaultTable, name: str
) -> None:
    commit, expected = COMMITS[name]
    tables = Tables(None, stored.root, run_id="first" if name == "restore" else "second")
    s3.fail(method="PUT", path="/_delta_log/", requests=3)
    commit(tables)
    assert tables.version(LIVE_MODELS) == 2
    assert sorted(Tables(None, stored.root, run_id="").rows(LIVE_MODELS).rows(), key=str) == expected
    fault_table.add("503 three times", f"S3, {WAYS}", "the commit is made, once")


@pytest.mark.faults
@pytest.mark.parametrize("name", COMMITS)
def test_a_commit_on_a_disk_that_is_full_or_may_not_be_written(
    small_disk: Path, fault_table: FaultTable, name: str
) -> None:
    commit, expected = COMMITS[name]
    root = str(small_disk / "lake")
    tables = Tables(None, root, run_id="first")
    create(tables.folder_of(LIVE_MODELS), LIVE_MODELS, [], {}, "first")
    tables.append_rows(LIVE_MODELS, [OLD])
    filler = fill(small_disk, 0)
    for spoil, mend in (
        (lambda: None, filler.unlink),
        (lambda: remount(small_disk, "ro"), lambda: remount(small_disk, "rw")),
    ):
        spoil()
        with pytest.raises(StorageError, match=r"(cannot be|could not be).*(No space left|Read-only|space|write)"):
            commit(tables)
        assert Tables(None, root, run_id="").rows(LIVE_MODELS).rows() == [OLD]
        mend()
    commit(tables)
    assert sorted(Tables(None, root, run_id="").rows(LIVE_MODELS).rows(), key=str) == expected
    seen = "the run ends with exit code 7, the table is as before; with room, or writable again, the commit is made"
    fault_table.add("disk full, read-only disk", f"local disk, {WAYS}", seen)
