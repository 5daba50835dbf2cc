"""One writing process per root, on a storage without locks."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from servers import BUCKET, S3Server

from profiling_spark.config import Settings
from profiling_spark.context import Context, Outcome, Step
from profiling_spark.contracts.operations import JOB_RUNS
from profiling_spark.errors import StorageError
from profiling_spark.runner import run_steps
from profiling_spark.storage import Tables, lease, locked
from profiling_spark.storage.lease import Lease
from profiling_spark.storage.stores import Store, store_for

_BEGUN: list[Lease] = []


@pytest.fixture(autouse=True)
def _no_renewal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where a test does not ask for them, none comes between; and none goes on after its test."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 1000.0)
    yield
    for begun in _BEGUN:
        begun._ended.set()
        begun._thread.join(10)
    _BEGUN.clear()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> list[timedelta]:
    """What is added to the storage's clock: a test sets its one value."""
    added, real = [timedelta(0)], lease._now
    monkeypatch.setattr(lease, "_now", lambda store: real(store) + added[0])
    return added


def begin(store: Store, run_id: str = "r1", job: str = "features") -> Lease:
    _BEGUN.append(Lease(store, job=job, run_id=run_id).acquire())
    return _BEGUN[-1]


def contents(store: Store) -> list[dict[str, object]]:
    """All leases that are kept, in order."""
    names = [n for n in store.list("_lease") if n != "_lease/clock"]
    return [json.loads(store.get(n) or b"{}") for n in names]


def test_a_second_run_is_refused_and_told_by_whom(root: str) -> None:
    store = store_for(root, None)
    first = begin(store, "20260701T020000-abc123", "night")
    since = datetime.fromisoformat(first.holder.since)
    with pytest.raises(StorageError) as caught:
        begin(store, "r2")
    text = str(caught.value)
    assert text.startswith(f"storage {root}: run 20260701T020000-abc123 of night on host {first.holder.host} ")
    assert f"has been writing here since {first.holder.since}; another run is writing here" in text
    ends = datetime.fromisoformat(f"{text.partition('ends by itself at ')[2][:19]}+00:00")
    assert timedelta(seconds=115) < ends - since < timedelta(seconds=130)
    first.check()
    first.release()
    begin(store, "r2").release()
    assert [c["run_id"] for c in contents(store)] == [first.holder.run_id, first.holder.run_id, "r2", "r2"]
    assert [c["released"] for c in contents(store)] == [False, True, False, True]


@pytest.mark.parametrize("rounds", [pytest.param(5), pytest.param(50, marks=pytest.mark.slow)])
def test_of_eight_that_begin_at_once_one_wins(root: str, rounds: int) -> None:
    for number in range(rounds):
        store, start = store_for(f"{root}/{number}", None), threading.Barrier(8)

        def attempt(name: int, store: Store = store, start: threading.Barrier = start) -> Lease | None:
            start.wait(10)
            try:
                return begin(store, f"r{name}")
            except StorageError:
                return None

        with ThreadPoolExecutor(8) as pool:
            won = [found for found in pool.map(attempt, range(8)) if found is not None]
        assert len(won) == 1
        won[0].check()
        won[0].release()


def test_a_lease_is_renewed_and_old_ones_are_deleted(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.02)
    store = store_for(root, None)
    first = begin(store)
    until = time.monotonic() + 20
    while first._number < 12 and time.monotonic() < until:
        time.sleep(0.02)
    first.release()
    found = contents(store)
    assert len(found) == lease._KEPT
    assert len({c["token"] for c in found}) == len(found)
    assert [c["released"] for c in found] == [False] * (len(found) - 1) + [True]


def test_a_dead_run_is_followed_once_its_lease_has_ended(root: str, later: list[timedelta]) -> None:
    store = store_for(root, None)
    begin(store, "dead")
    later[0] = timedelta(seconds=lease.VALID_SECONDS - 5)
    with pytest.raises(StorageError, match="run dead of features"):
        begin(store, "next")
    later[0] = timedelta(seconds=lease.VALID_SECONDS + 5)
    second = begin(store, "next")
    second.check()
    later[0] = timedelta(0)
    with pytest.raises(StorageError, match="run next of features"):
        begin(store, "third")


def test_a_run_that_slept_past_its_lease_writes_nothing_more(root: str, later: list[timedelta]) -> None:
    store = store_for(root, None)
    slept = begin(store, "slept")
    later[0] = timedelta(seconds=lease.VALID_SECONDS + 5)
    begin(store, "next")
    slept._renewed -= lease.VALID_SECONDS
    for _ in range(2):
        with pytest.raises(StorageError, match=r"was taken over by run next of features .*; nothing more is written"):
            slept.check()
    before = contents(store)
    slept.release()  # is not its to release
    assert contents(store) == before


def test_a_number_that_was_cleared_away_is_no_lease(
    root: str, later: list[timedelta], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_KEPT", 1)
    store = store_for(root, None)
    slept = begin(store, "slept")
    later[0] = timedelta(seconds=lease.VALID_SECONDS + 5)
    following = begin(store, "next")
    following._renew()
    following._renew()
    assert [c["run_id"] for c in contents(store)] == ["next"]
    slept._renewed -= lease.VALID_SECONDS
    with pytest.raises(StorageError, match="taken over by run next"):
        slept.check()
    following.check()
    following._renewed -= lease.VALID_SECONDS
    following.check()


def test_a_run_that_slept_and_was_not_followed_goes_on(root: str) -> None:
    store = store_for(root, None)
    slept = begin(store)
    slept._renewed -= lease.VALID_SECONDS
    slept.check()
    assert slept._number == 2


def test_a_renewal_in_the_background_sees_a_takeover(
    root: str, later: list[timedelta], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_for(root, None)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.3)
    first = begin(store, "first")
    later[0] = timedelta(seconds=lease.VALID_SECONDS + 5)
    begin(store, "next")
    first._thread.join(10)
    with pytest.raises(StorageError, match="taken over by run next"):
        first.check()


def test_a_storage_that_is_away_ends_the_right_to_commit(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_for(f"s3a://{BUCKET}/away", None)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(lease, "_RETRY_SECONDS", 0.05)
    first = begin(store)
    s3.fail()
    first.check()  # for the lease is still its own
    first._renewed -= lease.VALID_SECONDS
    with pytest.raises(StorageError, match=r"could not be renewed in time: .*could not be reached"):
        first.check()
    s3.heal()
    first.check()
    first.release()


def test_answers_that_are_lost_cost_no_lease(s3: S3Server) -> None:
    store = store_for(f"s3a://{BUCKET}/lost", None)
    s3.lose_answer(path="/lost/_lease/0")
    first = begin(store)
    s3.lose_answer(path="/lost/_lease/0")
    first._renew()
    # the answer, and that of the look that follows
    s3.lose_answer(path="/lost/_lease/0")
    s3.fail(method="GET", path="/lost/_lease/0", requests=6)
    first._renewed -= lease.VALID_SECONDS
    with pytest.raises(StorageError, match="could not be renewed in time"):
        first.check()
    first.check()
    first.release()
    assert contents(store)[-1]["released"]


def test_a_lease_is_given_back_whatever_happens(s3: S3Server) -> None:
    root = f"s3a://{BUCKET}/back"
    for error in (ZeroDivisionError, KeyboardInterrupt, SystemExit):
        with pytest.raises(error), locked(root, job="a", run_id="r"):
            raise error
    with locked(root, job="b", run_id="r2") as check:
        check()
        with pytest.raises(StorageError, match="run r2 of b"), locked(root, job="c", run_id="r3"):
            pass


def test_a_lease_that_cannot_be_read_counts_until_it_is_old(root: str, later: list[timedelta]) -> None:
    store = store_for(root, None)
    store.put("_lease/00000000000000000007", b"")  # of HDFS while it is written
    with pytest.raises(StorageError, match="a run that is not known"):
        begin(store)
    later[0] = timedelta(seconds=lease.VALID_SECONDS + 5)
    assert begin(store)._number == 8


_PROCESS = """
import sys, time
from profiling_spark.errors import StorageError
from profiling_spark.storage import locked
time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
try:
    with locked(sys.argv[1], job="a", run_id=sys.argv[3]):
        print("has it", flush=True)
        sys.stdin.read()
except StorageError as err:
    print(err, flush=True)
    sys.exit(err.exit_code)
"""


def test_of_two_processes_in_the_same_second_one_writes_also_after_one_was_killed(s3: S3Server) -> None:
    root, at = f"s3a://{BUCKET}/processes", time.time() + 6
    command = [sys.executable, "-c", _PROCESS, root, str(at)]
    pipe = subprocess.PIPE
    both = [subprocess.Popen([*command, f"r{n}"], stdin=pipe, stdout=pipe, text=True) for n in range(2)]
    printed = {p.stdout.readline(): p for p in both if p.stdout is not None}
    winner = printed.pop("has it\n")
    ((refusal, loser),) = printed.items()
    assert "another run is writing here" in refusal
    assert loser.wait() == StorageError.exit_code
    winner.kill()  # without a chance to give it back
    winner.wait()
    with pytest.raises(StorageError, match=r"run r[01] of a on host"), locked(root):
        pass


@pytest.mark.slow
def test_a_run_that_is_alive_is_never_marked_lost(spark: SparkSession, viewfs: str, tmp_path: Path) -> None:
    settings = Settings.model_validate({"storage": {"root": viewfs}})
    refused: list[str] = []

    def stage(ctx: Context) -> Outcome:
        with pytest.raises(StorageError, match="of a on host") as caught:
            run_steps(spark, settings, [Step("b", lambda _: Outcome())], job="b")
        refused.append(str(caught.value))
        rows = Tables(spark, viewfs, run_id="reader").rows(JOB_RUNS)
        assert rows.select("job", "status").rows() == [("a", "running")]
        return Outcome()

    run_steps(spark, settings, [Step("a", stage)], job="a")
    run_steps(spark, settings, [Step("c", lambda _: Outcome())], job="c")
    rows = Tables(spark, viewfs, run_id="reader").rows(JOB_RUNS).sort("started_at")
    assert rows.select("job", "status").rows() == [("a", "done"), ("c", "done")]
    assert len(refused) == 1


def test_a_file_in_the_place_of_the_root_is_named(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("")
    with pytest.raises(StorageError, match="expected a folder that can be written, found File exists"):
        locked(str(tmp_path / "lake")).__enter__()


def test_a_local_disk_keeps_its_lock(tmp_path: Path) -> None:
    root = str(tmp_path / "lake")
    with (
        locked(root, job="a", run_id="r") as check,
        pytest.raises(StorageError, match=r"run r of a on host \S+ .*since .*; another run is writing here"),
        locked(root),
    ):
        check()
    with locked(root, job="b", run_id="r2"), pytest.raises(StorageError, match="run r2 of b"), locked(root):
        pass
    assert [p.name for p in (tmp_path / "lake").iterdir()] == [".lock"]
