"""The servers themselves: what tests on top of them may rely on."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import obstore
import pytest
from jars import HADOOP
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, PreconditionError
from product import run_python
from servers import S3Server, Store, viewfs_conf

from profiling_spark.launch.packages import spark_home

# gives up at once: what a test wants to see is the server's answer
IMPATIENT = {"max_retries": 0}
PATIENT = {
    "max_retries": 30,
    "backoff": {"init_backoff": timedelta(milliseconds=50), "max_backoff": timedelta(milliseconds=200), "base": 2},
}


def outcome(put: Callable[[], object]) -> str:
    """How a conditional put ended."""
    try:
        put()
    except (AlreadyExistsError, PreconditionError) as err:
        return type(err).__name__
    return "done"


def test_of_eight_that_create_a_key_one_wins(s3: S3Server) -> None:
    client = s3.client()
    with ThreadPoolExecutor(8) as pool:
        for n in range(20):
            key, values = f"create/{n}", [bytes([writer]) for writer in range(8)]
            ends = list(pool.map(lambda v, k=key: outcome(lambda: obstore.put(client, k, v, mode="create")), values))
            assert Counter(ends) == {"done": 1, "AlreadyExistsError": 7}
            assert bytes(client.get(key).bytes()) == values[ends.index("done")]


def test_of_eight_that_replace_what_they_read_one_wins(s3: S3Server) -> None:
    client = s3.client()
    obstore.put(client, "replace", b"first")
    with ThreadPoolExecutor(8) as pool:
        for n in range(20):
            tag = client.head("replace")["e_tag"]
            values = [f"{n} {writer}".encode() for writer in range(8)]
            ends = list(
                pool.map(lambda v, t=tag: outcome(lambda: obstore.put(client, "replace", v, mode={"e_tag": t})), values)
            )
            assert Counter(ends) == {"done": 1, "PreconditionError": 7}
            assert bytes(client.get("replace").bytes()) == values[ends.index("done")]


def test_unavailable_for_so_many_requests(s3: S3Server) -> None:
    s3.fail(requests=2)
    for _ in range(2):
        with pytest.raises(BaseError, match="503"):
            s3.client(retry_config=IMPATIENT).put("key", b"value")
    s3.client(retry_config=IMPATIENT).put("key", b"value")


def test_unavailable_for_so_long_outlasted_by_a_patient_client(s3: S3Server) -> None:
    began = time.monotonic()
    s3.fail(seconds=1)
    s3.client(retry_config=PATIENT).put("patient", b"value")
    assert time.monotonic() - began >= 1
    assert bytes(s3.client().get("patient").bytes()) == b"value"
    assert s3.counts()["PUT"].requests > 2


def test_only_the_requests_that_are_meant_fail(s3: S3Server) -> None:
    s3.fail(method="PUT", path="/_delta_log/")
    client = s3.client(retry_config=IMPATIENT)
    client.put("table/part-0.parquet", b"value")
    with pytest.raises(BaseError, match="503"):
        client.put("table/_delta_log/0.json", b"value")
    s3.heal()
    client.put("table/_delta_log/0.json", b"value")


@pytest.mark.parametrize(("fault", "error"), [("expire", BaseError), ("refuse", PermissionDeniedError)])
def test_a_credential_that_serves_no_more(s3: S3Server, fault: str, error: type[Exception]) -> None:
    client = s3.client(retry_config=IMPATIENT)
    client.put("key", b"value")
    getattr(s3, fault)()
    with pytest.raises(error, match={"expire": "ExpiredToken", "refuse": "AccessDenied"}[fault]):
        client.get("key")


def test_a_lost_answer_is_of_a_put_that_was_done(s3: S3Server) -> None:
    s3.lose_answer()
    with pytest.raises(BaseError):
        s3.client(retry_config=IMPATIENT).put("lost", b"value", mode="create")
    assert bytes(s3.client().get("lost").bytes()) == b"value"
    with pytest.raises(AlreadyExistsError):  # so it looks to a client that asks again
        s3.client().put("lost", b"value", mode="create")


def test_a_delayed_put_lets_others_pass(s3: S3Server) -> None:
    s3.delay(0.5)
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(s3.client().put, "t/_delta_log/1.json", b"slow")
        s3.client().put("t/part", b"quick")
        assert time.monotonic() - began < 0.5
        slow.result()
    assert time.monotonic() - began >= 0.5


def test_requests_and_bytes_are_counted_by_method(s3: S3Server) -> None:
    assert s3.counts() == {}
    s3.client().put("counted", b"12345")
    s3.client().get("counted").bytes()
    s3.client().head("counted")
    found = s3.counts()
    assert (found["PUT"].requests, found["PUT"].bytes_in) == (1, 5)
    assert (found["GET"].requests, found["GET"].bytes_out) == (1, 5)
    assert (found["HEAD"].requests, found["HEAD"].bytes_out) == (1, 0)


def test_the_jars_are_of_the_hadoop_that_pyspark_has() -> None:
    assert (spark_home(os.environ) / "jars" / f"hadoop-client-api-{HADOOP}.jar").is_file()


_DELTA_IN_EACH = """
import json, sys
from profiling_spark.config import Settings
from profiling_spark.launch.driver import SparkOptions, prepare
from profiling_spark.session import build_session

roots, conf = json.loads(sys.argv[1])
prepare(SparkOptions(master="local[2]", conf=tuple(f"{k}={v}" for k, v in conf.items())), verbose=False)
spark = build_session(Settings(), name="stores")
found = {}
for name, root in roots.items():
    place = f"{root}/table with space"
    for first in (0, 3):
        frame = spark.range(first, first + 3).selectExpr("id", "concat('第', id) AS text", "id % 2 AS part")
        frame.write.format("delta").mode("append").partitionBy("part").save(place)
    rows = spark.read.format("delta").load(place).orderBy("id").collect()
    found[name] = [list(row) for row in rows]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def rows(s3_process: S3Server, hdfs: Store, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[list[object]]]:
    """What one Spark reads of the tables that it has written to each store."""
    folder = tmp_path_factory.mktemp("viewfs")
    stores = {"s3a": s3_process.store("smoke"), "hdfs": hdfs.below("smoke"), "viewfs": viewfs_conf(folder)}
    conf = {key: value for store in stores.values() for key, value in store.conf.items()}
    text = json.dumps([{name: store.root for name, store in stores.items()}, conf])
    done = run_python(["-c", _DELTA_IN_EACH, text], folder)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, list[list[object]]] = json.loads(done.stdout)
    assert (folder / "table with space" / "_delta_log").is_dir()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["s3a", "hdfs", "viewfs"])
def test_spark_writes_and_reads_a_table(rows: dict[str, list[list[object]]], name: str) -> None:
    assert rows[name] == [[n, f"第{n}", n % 2] for n in range(6)]
