"""A worker that dies, a full disk, one that may not be written, two runs at once, readers while tables are written."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from disks import fill, remount
from fault_shop import JOBS, Case, FaultShop
from fault_table import FaultTable
from ingest_shop import GOOD, HEADER, settings
from pyspark.sql import SparkSession
from strikes import struck

from profiling_spark.contracts.silver import EVENTS
from profiling_spark.errors import StorageError
from profiling_spark.features import job as features_job
from profiling_spark.messages import describe
from profiling_spark.pipeline import Pipeline
from profiling_spark.storage import tables as storage_tables

pytestmark = [pytest.mark.slow, pytest.mark.faults]
FILES_BYTES = 64 << 10
"""What is left of the full disk: enough for a commit, not for the rows of a table."""


def ends_well(shop: FaultShop, case: Case, place: Path) -> None:
    """The next run completes, with the values of an undisturbed one."""
    assert case.job.run(shop.pipeline(place, case.job)).exit_code == 0
    assert shop.differ(place, case.after) == {}
    shop.pipeline(place).check()


def test_a_worker_that_dies(
    fault_shop: FaultShop, fault_table: FaultTable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    case = fault_shop.case("build_features")
    place = fault_shop.copy(case.before, "worker")
    inner, mark = features_job._features_of_bucket, str(tmp_path / "died")

    def dying(*given: Any, **values: Any) -> Any:  # of a test module, so that it travels as its code
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return inner(*given, **values)
        os._exit(9)

    with monkeypatch.context() as patch:
        patch.setattr(storage_tables, "SMALL_BYTES", 0)  # of a small lake this process does the work
        patch.setattr(features_job, "_features_of_bucket", dying)
        with pytest.raises(Exception, match=r"(?s)Python worker exited unexpectedly|[Cc]rashed") as caught:
            case.job.run(fault_shop.pipeline(place, case.job))
    assert Path(mark).exists()
    ends_well(fault_shop, case, place)
    seen = f"`local[n]` does not try a task again: the run failed ({type(caught.value).__name__}), the next completed"
    fault_table.add("a task's Python process dies", "`build_features`, first bucket", f"{seen}; equal values")


@pytest.mark.parametrize("name", ["ingest", "build_features", "score_users", "maintain"])
@pytest.mark.parametrize("left_bytes", [0, FILES_BYTES])
def test_a_disk_that_is_full(
    fault_shop: FaultShop, fault_table: FaultTable, small_disk: Path, name: str, left_bytes: int
) -> None:
    case = fault_shop.case(name)
    place = small_disk / "full"
    place.mkdir()
    subprocess.run(["cp", "-a", str(case.before / "lake"), str(place / "lake")], check=True)
    filler = fill(small_disk, left_bytes)
    with pytest.raises(Exception, match=r"(?i)space|disk|write|os error 28") as caught:
        case.job.run(fault_shop.pipeline(place, case.job))
    filler.unlink()
    ends_well(fault_shop, case, place)
    seen = f"the run failed ({type(caught.value).__name__}), the next one with room completed; equal values"
    fault_table.add("disk full", f"`{name}`, {left_bytes >> 10} KB left", seen)


def test_a_disk_that_may_not_be_written(fault_shop: FaultShop, fault_table: FaultTable, small_disk: Path) -> None:
    case = fault_shop.case("ingest")
    place = small_disk / "read only"
    place.mkdir()
    subprocess.run(["cp", "-a", str(case.before / "lake"), str(place / "lake")], check=True)
    remount(small_disk, "ro")
    with pytest.raises(StorageError, match="expected a folder that can be written, found Read-only file system"):
        case.job.run(fault_shop.pipeline(place, case.job))
    remount(small_disk, "rw")
    ends_well(fault_shop, case, place)
    seen = "the run ended before it began (exit code 7); once writable it completed, equal values"
    fault_table.add("read-only disk", "`ingest`", seen)


def test_a_table_that_may_not_be_written(fault_shop: FaultShop, fault_table: FaultTable, small_disk: Path) -> None:
    case = fault_shop.case("ingest")
    place = small_disk / "one table"
    place.mkdir()
    subprocess.run(["cp", "-a", str(case.before / "lake"), str(place / "lake")], check=True)
    events = str(place / "lake" / EVENTS.name)
    subprocess.run(["mount", "--bind", events, events], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", events], check=True)
    try:
        with pytest.raises(Exception, match=r"(?i)read-only|write") as caught:
            case.job.run(fault_shop.pipeline(place, case.job))
        assert fault_shop.differ(place, case.before) == {}
    finally:
        subprocess.run(["umount", events], check=True)
    ends_well(fault_shop, case, place)
    seen = f"the run failed ({type(caught.value).__name__}) and left the lake as before; once writable, equal values"
    fault_table.add("read-only folder", "`ingest`, the folder of events", seen)


ROUNDS = 20


def ingested(pipeline: Pipeline, together: threading.Barrier) -> str | StorageError:
    """The name of a run that begins with another, or why it did not."""
    together.wait()
    try:
        return pipeline.run("ingest").run_id
    except StorageError as err:
        return err


def test_two_runs_in_the_same_second(spark: SparkSession, fault_table: FaultTable, tmp_path: Path) -> None:
    root, data = tmp_path / "lake", tmp_path / "raw"
    data.mkdir()
    used = settings(str(root), data)
    refused = 0
    for number in range(ROUNDS):
        (data / f"{number}.csv").write_text(HEADER + GOOD[0].replace("1,", f"{number},", 1) + "\n", encoding="utf-8")
        together = threading.Barrier(2)
        with ThreadPoolExecutor(2) as pool:
            begun = [pool.submit(ingested, Pipeline(used, spark), together) for _ in range(2)]
            ends = [future.result() for future in begun]
        done = [end for end in ends if isinstance(end, str)]
        assert done
        for err in ends:
            if isinstance(err, StorageError):
                refused += 1
                assert err.exit_code == 7
                assert f"run {done[0]} of ingest on host" in describe(err)
        assert Pipeline(used, spark).table("events").count() == number + 1
    Pipeline(used, spark).check()
    assert refused
    seen = "each time one took the file; the other ended with exit code 7 and the name of the first, or ran after it"
    fault_table.add("two runs in the same second", f"`ingest` on a local disk, {ROUNDS} times", seen)


def test_readers_while_tables_are_written(fault_shop: FaultShop, fault_table: FaultTable) -> None:
    names = ("ingest", "build_features", "segment_users", "build_profiles", "maintain")
    place = fault_shop.copy(fault_shop.case("ingest").before, "read")
    ended, reads = threading.Event(), dict[tuple[str, int], set[int]]()
    errors: list[str] = []
    folders = [p.parent for p in (place / "lake").glob("*/_delta_log")]

    def read() -> None:
        while not ended.is_set():
            for folder in folders:
                try:
                    table = DeltaTable(folder)
                    rows = table.to_pyarrow_table().num_rows
                except Exception as err:  # whatever it is, a reader must not see it
                    errors.append(f"{folder.name}: {err!r}")
                    continue
                reads.setdefault((str(folder), table.version()), set()).add(rows)

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        for name in names:
            JOBS[name].run(fault_shop.pipeline(place, JOBS[name]))
        ended.set()
        reading.result()
    assert errors == []
    again = {(path, version): {DeltaTable(path, version).to_pyarrow_table().num_rows} for path, version in reads}
    assert reads == again
    assert len(reads) > len(folders) + len(names)
    seen = "each read had the rows of one version, none failed"
    fault_table.add("readers in a loop", f"every table, during {', '.join(f'`{n}`' for n in names)}", seen)


def test_of_two_commands_the_second_names_the_first(fault_shop: FaultShop, fault_table: FaultTable) -> None:
    case = fault_shop.case("ingest")
    place = fault_shop.copy(case.before, "two")
    code = "import sys; from profiling_spark.cli.main import main; sys.exit(main(sys.argv[1:]))"
    held, printed = list[str](), list[subprocess.CompletedProcess[str]]()

    def at(point: str) -> None:
        if point == "before commit of items":
            held.append(point)
            command = [sys.executable, "-c", code, "ingest", "--quiet", "--set", f"storage.root={place / 'lake'}"]
            printed.append(subprocess.run(command, capture_output=True, text=True, check=False, timeout=300))

    with struck(at):
        run_id = case.job.run(fault_shop.pipeline(place, case.job)).run_id
    (second,) = printed
    assert second.returncode == StorageError.exit_code, second.stderr
    assert f"run {run_id} of ingest on host" in second.stderr
    assert fault_shop.differ(place, case.after) == {}
    seen = "exit code 7; the message has run, job, host, process and time of the first, which was not disturbed"
    fault_table.add("a second command meanwhile", "`ingest`, before the commit of items", seen)
