"""The lake of the faults, and the table of what was seen."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_shop import IN_CI, JOBS, FaultShop
from fault_table import PAGE, FaultTable
from pyspark.sql import SparkSession

from profiling_spark.config import Settings
from profiling_spark.session import plan_for

EVERY_IN_CI = 20
"""In a run without --faults each job fails at one of so many points; each job begins with another."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before fixtures, which take minutes."""
    if item.get_closest_marker("faults") and not item.config.getoption("--faults"):
        pytest.skip("with --faults")


@pytest.fixture(scope="session")
def fault_table(has_all_faults: bool) -> FaultTable:
    """Rows of the table; a test adds one when everything that it asserts was so."""
    return FaultTable(PAGE if has_all_faults else None)


@pytest.fixture(scope="session")
def has_all_faults(pytestconfig: pytest.Config) -> bool:
    """Whether the run takes its time."""
    return bool(pytestconfig.getoption("--faults"))


@pytest.fixture(scope="session")
def every(pytestconfig: pytest.Config, has_all_faults: bool) -> int:
    """At every which point a job fails: with --faults at each."""
    return int(pytestconfig.getoption("--faults-every")) if has_all_faults else EVERY_IN_CI


@pytest.fixture(scope="session")
def fault_shop(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, has_all_faults: bool) -> FaultShop:
    """A lake with history."""
    return FaultShop(spark, tmp_path_factory.mktemp("faults"), tuple(JOBS) if has_all_faults else IN_CI)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(autouse=True)
def _plans_as_before(request: pytest.FixtureRequest) -> object:
    """What the shared session plans with stays as other tests know it."""
    yield
    if "spark" in request.fixturenames:
        session = request.getfixturevalue("spark")
        plan_for(session, Settings.model_validate({"spark": {"shuffle_partitions": 2}}), is_small=False)
