"""A job that fails at a point, or is killed there, is run again and ends with the values of an undisturbed run."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest
from fault_shop import IN_CI, JOBS, Case, FaultShop, arguments
from fault_table import FaultTable
from strikes import KILLED, Failing, InjectedError, run_killed, struck

from profiling_spark.contracts.operations import QUALITY_METRICS
from profiling_spark.job_runs import LOST

log = logging.getLogger(__name__)
pytestmark = pytest.mark.slow
AT_ONCE = "; between the two the lake was as before, or as after where the ledger was written"


def after_a_fault(shop: FaultShop, case: Case, point: tuple[str, int]) -> list[str]:
    """What is not as it should be after a run that fails at the point, and after the next run.

    Tables that equal those of the undisturbed run pass its check too; asked for again where the ledger was written.
    """
    began = time.monotonic()
    place = shop.copy(case.before, "struck")
    failing = Failing(point)
    with struck(failing), pytest.raises(InjectedError):
        case.job.run(shop.pipeline(place, case.job))
    faults = []
    half = shop.differ(place, case.after)
    if case.job.is_whole and half and shop.differ(place, case.before):
        faults.append(f"left neither as it was before nor as after: {half}")
    try:
        again = case.job.run(shop.pipeline(place, case.job))
        if again.exit_code:
            faults.append(f"the next run ended with {again.exit_code}: {again.problems}")
    except Exception as err:
        faults.append(f"the next run failed: {err!r}")
    left = shop.differ(place, case.after)
    # a reload that failed after its last table is done; asked for again it is a second one, which measures once more
    if not half and case.job.name == "ingest --reload" and shop.measured_twice(place, case):
        left.pop(QUALITY_METRICS.name)
    faults += [f"{table}: {what}" for table, what in left.items()]
    if case.job.is_whole:
        shop.pipeline(place).check()
    log.info("%s: %s: %.1f s %s", case.job.name, point, time.monotonic() - began, faults or "as it should be")
    return faults


@pytest.mark.parametrize("name", [n if n in IN_CI else pytest.param(n, marks=pytest.mark.faults) for n in JOBS])
def test_a_run_after_one_that_failed_at_a_point_ends_like_an_undisturbed_one(
    fault_shop: FaultShop, fault_table: FaultTable, every: int, name: str
) -> None:
    case = fault_shop.case(name)
    assert case.points
    chosen = case.points[list(JOBS).index(name) % min(every, len(case.points)) :: every]
    found = {point: faults for point in chosen if (faults := after_a_fault(fault_shop, case, point))}
    assert found == {}
    seen = f"{len(chosen)} of {len(case.points)} points: the run failed, the next one completed; equal values"
    fault_table.add("exception", f"each point of `{name}`", seen + (AT_ONCE if case.job.is_whole else ""))


KILLS = (
    ("ingest", ("after commit of ingested_files", 1), "claimed, nothing written yet"),
    ("ingest", ("rows of events and rejected_rows staged", 1), "files of rows that no commit names"),
    ("ingest", ("after commit of items", 1), "a whole table replaced by delta-rs"),
    ("ingest", ("after commit of events", 1), "rows merged by Spark"),
    ("ingest", ("before commit of ingested_files", 2), "all tables written, the ledger not"),
    ("ingest", ("after commit of ingested_files", 2), "the ledger's rows replaced by delta-rs, job_runs not"),
    ("build_features", ("rows of user_features staged", 1), "files of a slice that no commit names"),
    ("build_features", ("after commit of item_features", 1), "one of several slices replaced by delta-rs"),
    ("segment_users", ("before seal of model segments", 1), "a model without its seal"),
    ("score_users", ("after seal of model churn", 1), "a model that is sealed and not yet live"),
    ("recommend_items", ("before commit of live_models", 1), "lists written, their model not yet live"),
    ("ingest --replay", ("before commit of ingested_files", 2), "rows merged by Spark, the ledger not written"),
    ("ingest --reload", ("after commit of events", 1), "rows of files replaced by Spark"),
    ("maintain", ("before commit of events", 1), "before a table is sorted anew"),
    ("maintain", ("after commit of events", 1), "between the compaction of two tables"),
)


@pytest.mark.parametrize(
    ("name", "point", "meaning"), [k if k == KILLS[4] else pytest.param(*k, marks=pytest.mark.faults) for k in KILLS]
)
def test_a_run_after_one_that_was_killed_ends_like_an_undisturbed_one(
    fault_shop: FaultShop,
    fault_table: FaultTable,
    tmp_path: Path,
    name: str,
    point: tuple[str, int],
    meaning: str,
) -> None:
    case = fault_shop.case(name)
    assert point in case.points
    place = fault_shop.copy(case.before, "killed")
    command = [*case.job.command, *arguments(fault_shop.folder, place / "lake", case.job.words)]
    killed = run_killed(command, point, tmp_path)
    assert killed.returncode == KILLED, killed.stderr[-2000:]
    pipeline = fault_shop.pipeline(place, case.job)
    if point not in {("after commit of ingested_files", 2)}:  # then there is nothing left to do
        assert fault_shop.differ(place, case.after) or name == "maintain"
    assert case.job.run(pipeline).exit_code == 0
    assert fault_shop.differ(place, case.after) == {}
    fault_shop.pipeline(place).check()
    assert pipeline.table("job_runs").where(f"status = '{LOST}'").count() == 1
    seen = "the next run marked it `lost` and completed; equal values, `maintain --check` clean"
    fault_table.add("kill -9", f"`{name}`, {point[0]}: {meaning}", seen)
