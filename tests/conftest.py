"""One small Spark session for the whole run; every test gets its own storage root."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from servers import BUCKET, S3Server, s3_server
from spark_only import MOUNT, by_spark_only

from profiling_spark.config import Settings
from profiling_spark.context import Context
from profiling_spark.session import build_session, local_jars
from profiling_spark.storage import Tables
from profiling_spark.storage.stores import objects, options

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


_WORKER_BYTES = 7 * 2**30  # a Java heap of 4 GB, Spark's Python workers and the test process
_MOST_WORKERS = 4


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--real`: the real data sets as they are, where a piece of one serves in other runs. `--faults`: every fault at
    every point, and the table of them in docs/reliability.md; some of them in other runs.
    """
    parser.addoption("--real", action="store_true", help="real data sets whole instead of in pieces")
    parser.addoption("--faults", action="store_true", help="every fault at every point, and the table of them")
    parser.addoption("--faults-every", type=int, default=1, metavar="N", help="with --faults: every N-th point only")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Workers for `-n auto`, each with a Spark session of its own: what cores and memory give, 0 for one process."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")  # of a container
    if limit.is_file() and (text := limit.read_text().strip()).isdigit():
        memory = min(memory, int(text))
    workers = min(os.cpu_count() or 1, memory // _WORKER_BYTES, _MOST_WORKERS)
    return workers if workers > 1 else 0


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that at the end of a run no worker waits for another's."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)  # a stable sort: what stands in one file stays together


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """The session of the test run: two cores, two shuffle partitions, no UI."""
    if not local_jars():
        pytest.fail("PROFILING_SPARK_JARS names no folder with the Delta jars: run scripts/test.sh")
    os.environ.setdefault("PROFILING_SPARK_MASTER", "local[2]")
    java = "'-XX:+UseParallelGC -XX:-DontCompileHugeMethods'"  # as scripts/submit.sh gives them
    # one session for all tests: each table that Spark broadcasts keeps a page, of 32 MB and more by default, until
    # garbage is collected, and a full run has used up 2 GB
    options = f"--driver-memory 4g --conf spark.buffer.pageSize=4m {MOUNT} --driver-java-options {java} pyspark-shell"
    os.environ.setdefault("PYSPARK_SUBMIT_ARGS", options)
    settings = Settings.model_validate({"spark": {"shuffle_partitions": 2}})
    session = build_session(settings, name="tests")
    yield session
    session.stop()


@pytest.fixture
def tables(spark: SparkSession, tmp_path: Path) -> Tables:
    """Tables at a root of this test's own."""
    return Tables(spark, str(tmp_path / "lake"), run_id="test-run")


MakeContext = Callable[..., Context]


@pytest.fixture
def make_context(spark: SparkSession, tables: Tables) -> MakeContext:
    """A stage's context on this test's tables; each call is a run of its own, with fresh pins."""

    def make(
        settings: Settings | None = None,
        as_of: date | None = None,
        run_id: str = "test-run",
        refit: bool = False,
        tables: Tables = tables,
        **changes: Any,
    ) -> Context:
        base = settings or Settings.model_validate({"storage": {"root": tables.root}, **changes})
        own = Tables(spark, tables.root, run_id=run_id)
        return Context(base, spark, own, datetime(2026, 7, 1, tzinfo=UTC), as_of, refit)

    return make


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real data sets are not here: tests on them need the folder shared/data beside the project")
    return SHARED_DATA


@pytest.fixture(scope="session")
def s3_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The server of the run; `s3` is it without a fault."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3(s3_process: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """The S3 server as this process's environment names it, with quick retries; a test's faults end with it."""
    environ = {
        "AWS_ENDPOINT_URL": s3_process.endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test-secret",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    for name, few in (("MAX_RETRIES", 5), ("RETRY_SECONDS", 5), ("FIRST_BACKOFF_MS", 10), ("LONGEST_BACKOFF_MS", 20)):
        monkeypatch.setattr(options, name, few)
    objects._client.cache_clear()
    s3_process.reset_counts()
    yield s3_process
    s3_process.heal()
    objects._client.cache_clear()


@pytest.fixture(params=["disk", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A root of this test's own, with characters in its name that mean something elsewhere."""
    if request.param == "disk":
        return str(tmp_path / "my lake %41 é")
    request.getfixturevalue("s3")
    return f"s3a://{BUCKET}/{uuid.uuid4().hex}/my lake %41 é"


@pytest.fixture
def viewfs(spark: SparkSession, tmp_path: Path) -> str:
    """A root that only Spark opens; what lies there is on the disk below `tmp_path`."""
    (tmp_path / "mounted").mkdir()
    return by_spark_only(tmp_path / "mounted")
