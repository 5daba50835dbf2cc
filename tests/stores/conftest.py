"""One server of each kind for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers import S3Server, Store, hdfs_cluster, standalone_cluster


@pytest.fixture
def s3(s3_process: S3Server) -> Iterator[S3Server]:
    """The S3 server, counting from 0; a test's faults end with it."""
    s3_process.reset_counts()
    yield s3_process
    s3_process.heal()


@pytest.fixture(scope="session")
def hdfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A small HDFS."""
    with hdfs_cluster(tmp_path_factory.mktemp("hdfs")) as store:
        yield store


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A Spark cluster of two workers."""
    with standalone_cluster(tmp_path_factory.mktemp("cluster")) as store:
        yield store
