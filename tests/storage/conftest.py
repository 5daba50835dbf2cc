"""Roots on each kind of storage that needs no Spark, and viewfs, which only Spark opens."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from servers import BUCKET, S3Server, s3_server

from profiling_spark.storage.stores import objects, options


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
    cluster = f"cl{uuid.uuid4().hex[:12]}"
    (tmp_path / "mounted").mkdir()
    conf = spark._jsc.hadoopConfiguration()
    conf.set(f"fs.viewfs.mounttable.{cluster}.link./data", (tmp_path / "mounted").as_uri())
    return f"viewfs://{cluster}/data"
