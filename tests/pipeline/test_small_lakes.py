"""A shop of 100 customers: how many Spark jobs, SQL executions and commits each stage takes, and that a lake on the
other side of the limit holds the same values."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from checksums import checksums

from profiling_spark.config import load_settings
from profiling_spark.context import Context
from profiling_spark.demo.generate import generate
from profiling_spark.pipeline import STAGES
from profiling_spark.session import plan_for
from profiling_spark.storage import Tables

pytestmark = pytest.mark.slow
CONF = Path(__file__).resolve().parents[2] / "conf" / "demo.yaml"


class Taken(NamedTuple):
    """What a stage takes of Spark, and how often it commits."""

    jobs: int
    executions: int
    commits: int

    def __sub__(self, other: Taken) -> Taken:
        return Taken(*(a - b for a, b in zip(self, other, strict=True)))


# Each is what was counted when it was set. More means that the stage asks Spark anew for what it had, or writes a table
# twice: look at the stage's last change, and at the SQL page of Spark's UI. Less: lower the number.
FIRST_RUN = {
    "ingest": Taken(10, 4, 9),
    "build_features": Taken(6, 6, 3),
    "segment_users": Taken(40, 15, 5),  # KMeans asks for a job an iteration: with the guests of the shop it takes more
    "score_users": Taken(2, 1, 2),
    "recommend_items": Taken(82, 36, 5),
    "build_profiles": Taken(6, 3, 2),
}
NOTHING_NEW = {
    "ingest": Taken(0, 1, 0),
    "build_features": Taken(6, 6, 3),
    "segment_users": Taken(5, 3, 4),
    "score_users": Taken(2, 1, 0),
    "recommend_items": Taken(25, 17, 3),
    "build_profiles": Taken(6, 3, 2),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    generate(folder / "data", customers=100)
    return folder


@pytest.fixture(autouse=True)
def _plans_as_before(spark):
    yield
    plan_for(spark, load_settings([CONF], ["spark.shuffle_partitions=2"]), is_small=False)


def run(spark, data, name, run_id):
    """The whole pipeline into the lake `name`; what each stage took."""
    settings = load_settings([CONF], [f"data_root={data / 'data'}", f"storage.root={data / name}"])
    tables = Tables(spark, settings.storage.root, run_id=run_id)
    context = Context(settings, spark, tables, datetime(2026, 7, 1, tzinfo=UTC))
    taken = {}
    for stage in STAGES:
        context.plan_for()
        before = count(spark, data / name)
        context.outcomes[stage.__name__] = stage(context)
        taken[stage.__name__] = count(spark, data / name) - before
    return taken


def count(spark, lake):
    jobs = spark.sparkContext._jsc.sc().dagScheduler().numTotalJobs()
    known = spark._jsparkSession.sharedState().statusStore().executionsList()
    executions = max((known.apply(n).executionId() for n in range(known.size())), default=-1) + 1
    return Taken(jobs, executions, len(list(lake.glob("*/_delta_log/*.json"))))


def over(taken, ceilings):
    """Where a stage takes more than its ceiling."""
    found = ((name, field, getattr(taken[name], field), getattr(most, field)) for name, most in ceilings.items()
             for field in Taken._fields)  # fmt: skip
    return [f"{name} takes {n} {field}, at most {most} are allowed" for name, field, n, most in found if n > most]


def test_no_stage_asks_more_of_spark_than_it_must(spark, data):
    assert over(run(spark, data, "lake", "first"), FIRST_RUN) == []
    before = checksums(spark, str(data / "lake"))
    assert over(run(spark, data, "lake", "second"), NOTHING_NEW) == []
    assert checksums(spark, str(data / "lake")) == before


def test_tasks_give_what_this_process_gives(spark, data, monkeypatch):
    if not (data / "lake").exists():
        run(spark, data, "lake", "first")
    with monkeypatch.context() as patch:
        patch.setattr("profiling_spark.storage.tables.SMALL_BYTES", 0)
        taken = run(spark, data, "by_tasks", "first")
    assert taken["build_features"].jobs > FIRST_RUN["build_features"].jobs  # it is the other way
    assert checksums(spark, str(data / "by_tasks")) == checksums(spark, str(data / "lake"))
