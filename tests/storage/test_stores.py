"""Bytes by name: the same on a disk, on S3 and where only Spark reaches."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from profiling_spark.errors import InputError, StorageError
from profiling_spark.storage.paths import as_written
from profiling_spark.storage.stores import Fault, Store, StoreError, input_errors, objects, store_for
from profiling_spark.storage.stores.options import Options, s3_options
from profiling_spark.storage.stores.patterns import matcher


def check_bytes_by_name(store: Store) -> None:
    """Names and contents, with characters that mean something to globs, URIs and shells."""
    odd = "a b/100%41 [x]*?é~#.csv" if store.kind != "spark" else "a b/100%41 [x]é~#.csv"
    assert store.list() == []
    assert (store.get(odd), store.exists("a b"), store.modified_at(odd)) == (None, False, None)
    assert store.put_new(odd, b"one")
    assert not store.put_new(odd, b"two")
    assert store.get(odd) == b"one"
    store.put(odd, b"three")
    store.put("empty", b"")
    assert (store.get(odd), store.get("empty")) == (b"three", b"")
    assert [store.exists(n) for n in (odd, "a b", "a", "empty", "none")] == [True, True, False, True, False]
    assert store.list() == sorted([odd, "empty"])
    assert store.list("a b") == [odd]
    assert store.list("none") == []
    written = store.modified_at(odd)
    assert written is not None
    assert abs(datetime.now(UTC) - written) < timedelta(minutes=1)
    store.delete(["empty", "none"])
    assert store.list() == [odd]


def check_reads(store: Store) -> None:
    """A file in pieces, from its end, line by line and as gzip."""
    data = b"".join(b"line %07d\n" % n for n in range(400_000))  # 4.8 MB
    store.put("big.csv", data)
    store.put("big.csv.gz", gzip.compress(data, 1))
    found = {f.path.rpartition("/")[2]: f for f in store.find(f"{store.root}/big*")}
    assert found["big.csv"].bytes == len(data)
    with store.open(found["big.csv"].uri) as file:
        assert file.read(12) == b"line 0000000"
        assert file.seek(-13, io.SEEK_END) == len(data) - 13
        assert file.read() == b"line 0399999\n"
        assert file.read() == b""
        assert (file.seek(0), file.read()) == (0, data)
    with store.open(found["big.csv"].uri) as file, io.TextIOWrapper(file) as text:
        assert (text.readline(), sum(1 for _ in text)) == ("line 0000000\n", 399_999)
    with store.open(found["big.csv.gz"].uri) as file, gzip.open(file) as unpacked:
        assert unpacked.read() == data


def check_patterns(store: Store) -> None:
    """What patterns find; of the last two a disk knows nothing."""
    for name in ("d/a.csv", "d/b.csv", "d/.c.csv", "d/e/f/g.csv", "d/x[1].csv", "x/a.csv", "p/day=1/z.csv"):
        store.put(name, name.encode())

    def names(pattern: str) -> list[str]:
        return [f.path.removeprefix(f"{store.root}/") for f in store.find(f"{store.root}/{pattern}")]

    assert names("d/*.csv") == ["d/a.csv", "d/b.csv", "d/x[1].csv"]
    assert names("d/[ab].csv") == ["d/a.csv", "d/b.csv"]
    assert names("d/?.csv") == ["d/a.csv", "d/b.csv"]
    assert names("d/[!a].csv") == ["d/b.csv"]
    assert names("*/a.csv") == ["d/a.csv", "x/a.csv"]
    assert names("d/**/*.csv") == ["d/a.csv", "d/b.csv", "d/e/f/g.csv", "d/x[1].csv"]
    assert names("d/a.csv") == ["d/a.csv"]
    assert names("d/none.csv") == []
    assert names("none/**") == []
    if store.kind != "disk":
        assert names("{d,x}/a.csv") == ["d/a.csv", "x/a.csv"]
        assert names("d") == ["d/a.csv", "d/b.csv", "d/x[1].csv"]
        assert names("p") == ["p/day=1/z.csv"]


def check_absent_file(store: Store) -> None:
    """The one form of an error."""
    with (
        pytest.raises(StoreError, match=r"none\.csv: not found") as caught,
        store.open(f"{store.root}/none.csv") as file,
    ):
        file.read()
    assert caught.value.fault is Fault.ABSENT
    with pytest.raises(InputError, match=r"none\.csv: not found"), input_errors():
        store.open(f"{store.root}/none.csv").read()


CHECKS = (check_bytes_by_name, check_reads, check_patterns, check_absent_file)


@pytest.mark.parametrize("check", CHECKS)
def test_a_store(root: str, check: Callable[[Store], None]) -> None:
    check(store_for(root, None))


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
def test_a_store_of_spark(spark: SparkSession, viewfs: str, check: Callable[[Store], None]) -> None:
    check(store_for(viewfs, spark))


def test_of_eight_writers_of_a_new_name_one_wins_and_readers_see_it_whole(root: str) -> None:
    store, start = store_for(root, None), threading.Barrier(9)

    def write(number: int) -> bool:
        start.wait(10)
        return store.put_new("new", bytes([number]) * 100_000)

    def read() -> bytes:
        start.wait(10)
        while (found := store.get("new")) is None:
            pass
        return found

    with ThreadPoolExecutor(9) as pool:
        seen = pool.submit(read)
        won = list(pool.map(write, range(8)))
    assert sum(won) == 1
    assert seen.result() == store.get("new") == bytes([won.index(True)]) * 100_000
    assert store.list() == ["new"]


def test_delta_rs_and_polars_open_what_a_store_names(root: str) -> None:
    store = store_for(root.rpartition("/")[0], None)
    place = f"{store.delta_uri}/tab"
    pl.DataFrame({"a": [1, 2]}).write_delta(place, storage_options=dict(store.options))
    assert DeltaTable(place, storage_options=dict(store.options)).version() == 0
    assert pl.read_delta(place, storage_options=dict(store.polars_options))["a"].to_list() == [1, 2]
    assert [n.partition("/")[2] for n in store.list("tab/_delta_log")] == ["_delta_log/00000000000000000000.json"]


def test_kinds_and_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = [store_for(uri, None) for uri in ("lake/", f"file://{tmp_path}/lake", "s3a://bkt/a/b/", "s3://bkt")]
    assert [(s.kind, s.root, s.delta_uri) for s in found] == [
        ("disk", "lake", f"{tmp_path}/lake"),
        ("disk", f"file://{tmp_path}/lake", f"{tmp_path}/lake"),
        ("object", "s3a://bkt/a/b", "s3://bkt/a/b"),
        ("object", "s3://bkt", "s3://bkt"),
    ]
    with pytest.raises(StorageError, match="hdfs://h/x: cannot be looked at without Spark"):
        store_for("hdfs://h/x", None)

    class Connect:
        @property
        def _jvm(self) -> None:
            raise AttributeError

    with pytest.raises(StorageError, match="found Spark Connect; start the job with spark-submit"):
        store_for("viewfs://cl/x", Connect())  # type: ignore[arg-type]


class _Session:
    """As much of a session as names the conf of s3a."""

    def __init__(self, **conf: str) -> None:
        self.pairs = [(f"spark.hadoop.fs.s3a.{k.replace('_', '.')}", v) for k, v in conf.items()]
        self.sparkContext = self

    def getConf(self) -> _Session:
        return self

    def getAll(self) -> list[tuple[str, str]]:
        return self.pairs


HTTPS, HTTP = {"aws_virtual_hosted_style_request": "true"}, {"aws_allow_http": "true"}
PATH = {"aws_virtual_hosted_style_request": "false"}


@pytest.mark.parametrize(
    ("conf", "found"),
    [
        ({}, {}),
        ({"endpoint": "s3.amazonaws.com", "endpoint_region": "eu-west-1"}, {"aws_region": "eu-west-1"}),
        ({"endpoint": "https://e:9000/"}, {"aws_endpoint_url": "https://bkt.e:9000", **HTTPS}),
        ({"endpoint": "https://10.0.0.1:9000"}, {"aws_endpoint_url": "https://10.0.0.1:9000", **PATH}),
        (
            {"endpoint": "e", "connection_ssl_enabled": "false", "path_style_access": "true"},
            {"aws_endpoint_url": "http://e", **PATH, **HTTP},
        ),
        (
            {"access_key": "A", "secret_key": "B", "bucket_bkt_access_key": "C", "bucket_other_access_key": "D"},
            {"aws_access_key_id": "C", "aws_secret_access_key": "B"},
        ),
        (
            {"aws_credentials_provider": "org.apache.hadoop.fs.s3a.AnonymousAWSCredentialsProvider"},
            {"aws_skip_signature": "true"},
        ),
    ],
)
def test_options_from_the_conf_of_spark(
    conf: dict[str, str], found: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)
    assert dict(s3_options("bkt", _Session(**conf))) == found  # type: ignore[arg-type]


def test_a_key_of_the_conf_is_not_mixed_with_a_token_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "E")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "F")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    session = _Session(access_key="A", secret_key="B")
    wanted = {"aws_access_key_id": "A", "aws_secret_access_key": "B", "aws_region": "eu-west-1"}
    assert dict(s3_options("bkt", session)) == wanted  # type: ignore[arg-type]
    assert s3_options("bkt", None)["aws_session_token"] == "F"


def test_options_are_pickled_but_never_shown() -> None:
    options = Options({"aws_secret_access_key": "SECRET", "aws_region": "r"})
    assert pickle.loads(pickle.dumps(options)) == options
    assert hash(options) == hash(Options(dict(options)))
    store = objects.ObjectStore("s3a://bkt/a", "bkt", "a", options)
    shown = f"{options} {options!r} {store} {store!r} {store.options} {store.polars_options} {[options]}"
    assert "SECRET" not in shown
    assert "aws_region=***" in shown
    assert pickle.loads(pickle.dumps(store)) == store


@pytest.mark.parametrize(
    ("pattern", "found", "others"),
    [
        ("a/*/c.csv", ["a/b/c.csv"], ["a/c.csv", "a/b/b/c.csv", "a/_b/c.csv"]),
        ("a/**", ["a/b", "a/b/c/d"], ["a/.b", "a/_SUCCESS", "a/_x/b"]),
        ("**/x", ["x", "a/x", "a/b/x"], ["a/_b/x", "ax"]),
        ("a{b,c*}d", ["abd", "acd", "accd"], ["ad", "abcd"]),
        ("a[0-9].csv", ["a1.csv"], ["ax.csv", "a/.csv"]),
        ("a[^0-9].csv", ["ax.csv"], ["a1.csv", "a/.csv"]),
        (r"a\*b", ["a*b"], ["axb"]),
        ("a[b", ["a[b"], ["ab"]),
        ("_a*", ["_ab"], ["ab"]),
        ("d", ["d", "d/a", "d/day=1/b"], ["d/_SUCCESS", "d/e/f", "d/day=1/.b"]),
    ],
)
def test_patterns(pattern: str, found: list[str], others: list[str]) -> None:
    is_meant = matcher(pattern).fullmatch
    assert [n for n in (*found, *others) if is_meant(n)] == found


@pytest.mark.slow
def test_spark_reads_what_a_store_of_spark_finds(spark: SparkSession, viewfs: str) -> None:
    store = store_for(viewfs, spark)
    store.put("in {a} [b] é 100%41.csv", b"id\n1\n")
    (found,) = store.find(f"{viewfs}/*.csv")
    assert [r["id"] for r in spark.read.option("header", "true").csv(as_written(found.uri)).collect()] == ["1"]
