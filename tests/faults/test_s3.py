"""S3 that answers late, not at all or with an error, in the middle of a run, and two runs at once there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fault_shop import SMALL, FaultShop, arguments
from fault_table import FaultTable
from ingest_shop import GOOD, HEADER, settings
from lakes import Lake, differences
from product import run_python
from servers import BUCKET, S3Server

from profiling_spark.contracts.operations import JOB_RUNS

pytestmark = [pytest.mark.slow, pytest.mark.faults]
_LOST = {"kind": "lose", "requests": 1, "method": "PUT", "path": "/_delta_log/"}
_AWAY = {"kind": "answer", "status": "503 Slow Down", "code": "SlowDown", "seconds": 8}
_EXPIRED = {"kind": "answer", "status": "400 Bad Request", "code": "ExpiredToken"}


@dataclass(frozen=True)
class Fault:
    """What the server does from a point of a job on, and how the run may end then. `leaves_lease`: it could not give
    its lease back.
    """

    name: str
    job: str
    point: str
    passed: int
    fault: dict[str, Any]
    codes: Sequence[int]
    leaves_lease: bool = False


FAULTS = (
    Fault("a commit whose answer is lost", "ingest", "before commit of ingested_files", 1, _LOST, (0, 7)),
    Fault("a commit whose answer is lost", "ingest", "before commit of items", 1, _LOST, (0, 7)),
    Fault("a commit whose answer is lost", "ingest", "before commit of events", 1, _LOST, (0, 7)),
    Fault("a commit whose answer is lost", "ingest", "before commit of ingested_files", 2, _LOST, (0, 7)),
    Fault("a commit whose answer is lost", "build_features", "before commit of user_features", 1, _LOST, (0, 7)),
    Fault("503 for 8 seconds", "ingest", "after commit of ingested_files", 1, _AWAY, (0,)),
    Fault("a credential that expires", "ingest", "before commit of events", 1, _EXPIRED, (1, 7), True),
)
# one JVM for all; a lease that stays is waited for in seconds instead of two minutes
_STEPS = """
import json, sys, time
from urllib.request import Request, urlopen
from profiling_spark.storage import lease, points
from profiling_spark.cli.main import main

def wish(what, content=None):
    urlopen(Request(f"{endpoint}/~control/{what}", json.dumps(content).encode(), method="PUT"), timeout=30).close()

def at(point):
    global passed
    passed += point == step["point"]
    if point == step["point"] and passed == step["passed"]:
        wish("faults", step["fault"])

endpoint, steps = json.loads(sys.argv[1])
points.at = at
codes = []
for step in steps:
    passed = 0
    sys.stderr.write(f"~step {len(codes)}\\n")
    codes.append(main(step["command"]))
    wish("heal")
    if step["leaves_lease"]:
        lease.VALID_SECONDS, lease.COMMIT_SECONDS, lease.RENEW_SECONDS = 4, 2, 1
        time.sleep(8)
print(json.dumps(codes))
"""

# both in one session, as two threads: to the lease they are two runs
_RACE = """
import json, sys, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from profiling_spark.config import Settings
from profiling_spark.errors import StorageError
from profiling_spark.launch.driver import SparkOptions, prepare
from profiling_spark.messages import describe
from profiling_spark.pipeline import Pipeline
from profiling_spark.session import build_session

given, conf, files = json.loads(sys.argv[1])
settings = Settings.model_validate(given)
prepare(SparkOptions(master="local[2]", conf=tuple(f"{k}={v}" for k, v in conf.items())), verbose=False)
spark = build_session(settings, name="race")

def ingested(together):
    pipeline = Pipeline(settings, spark)
    together.wait()
    try:
        return pipeline.run("ingest").run_id, 0
    except StorageError as err:
        return describe(err), err.exit_code

ends = []
for number, text in enumerate(files):
    Path(settings.data_root, f"{number}.csv").write_text(text)
    together = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        ends.append([f.result() for f in [pool.submit(ingested, together) for _ in range(2)]])
Pipeline(settings, spark).check()
print(json.dumps([ends, Pipeline(settings, spark).table("events").count()]))
"""
ROUNDS = 20


@dataclass(frozen=True)
class Ended:
    """A command's exit code and what it wrote to stderr."""

    code: int
    text: str


def run_steps(s3: S3Server, steps: Sequence[dict[str, Any]], folder: Path) -> list[Ended]:
    """Commands one after another in one process."""
    store = s3.store()
    conf = {"spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1", **store.conf}
    spark = [word for key, value in conf.items() for word in ("--conf", f"{key}={value}")]
    given = [{**step, "command": [*step["command"], "--quiet", *spark]} for step in steps]
    done = run_python(["-c", _STEPS, json.dumps([s3.endpoint, given])], folder, **store.environ)
    assert done.returncode == 0, done.stderr[-3000:]
    texts = [text.partition("\n")[2] for text in done.stderr.split("~step ")[1:]]
    return [Ended(code, text) for code, text in zip(json.loads(done.stdout), texts, strict=True)]


def test_what_s3_does_in_the_middle_of_a_run(
    fault_shop: FaultShop, fault_table: FaultTable, s3_process: S3Server, tmp_path: Path
) -> None:
    steps: list[dict[str, Any]] = []
    none = {"point": "", "passed": 0, "fault": {}, "leaves_lease": False}
    for number, fault in enumerate(FAULTS):
        case = fault_shop.case(fault.job)
        s3_process.upload(case.before / "lake", f"{number}/lake")
        given = arguments(fault_shop.folder, f"s3a://{BUCKET}/{number}/lake")
        run, check = [*case.job.command, *given], ["maintain", "--check", *given]
        now = {"point": fault.point, "passed": fault.passed, "fault": fault.fault, "leaves_lease": fault.leaves_lease}
        steps += [{"command": run, **now}, {"command": run, **none}, {"command": check, **none}]
    ends = run_steps(s3_process, steps, tmp_path)
    windows = SMALL["windows_days"]
    assert isinstance(windows, list)  # for type checkers
    wrong = {}
    for number, fault in enumerate(FAULTS):
        struck, again, checked = ends[3 * number : 3 * number + 3]
        after = fault_shop.case(fault.job).after
        here = Lake(f"s3a://{BUCKET}/{number}", f"s3://{BUCKET}/{number}", s3_process.options)
        differ = differences(here, Lake(str(after), str(after)), windows, without={JOB_RUNS.name})
        if struck.code not in fault.codes or again.code or checked.code or differ:
            wrong[f"{fault.job}, {fault.point}"] = (struck, again, checked, differ)
            continue
        seen = "the run went on and completed" if struck.code == 0 else f"the run ended with exit code {struck.code}"
        seen += "; equal values after the next one, `maintain --check` clean"
        fault_table.add(fault.name, f"S3, `{fault.job}`, {fault.point} ({fault.passed})", seen)
    assert wrong == {}


def test_two_runs_in_the_same_second(fault_table: FaultTable, s3_process: S3Server, tmp_path: Path) -> None:
    data, store = tmp_path / "raw", s3_process.store("race")
    data.mkdir()
    files = [HEADER + GOOD[0].replace("1,", f"{number},", 1) + "\n" for number in range(ROUNDS)]
    given = settings(store.root, data).model_dump(mode="json", exclude_unset=True)
    done = run_python(["-c", _RACE, json.dumps([given, dict(store.conf), files])], tmp_path, **store.environ)
    assert done.returncode == 0, done.stderr[-3000:]
    ends, events = json.loads(done.stdout)
    assert events == ROUNDS
    for ended in ends:
        run_ids = [text for text, code in ended if code == 0]
        refusals = [text for text, code in ended if code]
        assert run_ids
        assert all(code in (0, 7) for _, code in ended)
        assert all(f"run {run_ids[0]} of ingest on host" in text for text in refusals), ended
    seen = "each time one took the file; the other ended with exit code 7 and the name of the first, or ran after it"
    fault_table.add("two runs in the same second", f"`ingest` on S3, {ROUNDS} times", seen)
