"""Storage that is no local disk, and a cluster, for tests: each is started here and stopped at the end of its block.

A `Store` is what a process needs to reach it: a root URI, Spark's conf with the jars, environment variables.
`s3_server` is also where requests fail, are slow, lose their answers and are counted.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import obstore
from jars import store_jars
from obstore.store import S3Store
from processes import running

from profiling_spark.launch.java import search
from profiling_spark.launch.packages import spark_home

BUCKET = "bucket"
_REGION = "us-east-1"
# the client library would otherwise ask an address that only machines of Amazon's cloud have
_NO_METADATA = {"AWS_EC2_METADATA_DISABLED": "true"}


@dataclass(frozen=True)
class Store:
    """A root URI without a slash at its end, and what a process with Spark needs to read and write there."""

    root: str
    conf: Mapping[str, str]
    environ: Mapping[str, str] = field(default_factory=dict)

    def below(self, name: str) -> Store:
        """A folder in it, for one test."""
        return Store(f"{self.root}/{name}", self.conf, self.environ)


@dataclass(frozen=True)
class Count:
    """Requests of one method and bytes of their bodies and of the answers'."""

    requests: int
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True)
class S3Server:
    """An S3 server with one bucket. Any key is taken; faults stay until they are used up, or `heal`."""

    endpoint: str

    def store(self, name: str = "", **conf: str) -> Store:
        """For Spark, by s3a: a folder of the bucket. `conf` of s3a by its last words, with _ for the dots."""
        s3a = {
            "endpoint": self.endpoint,
            "endpoint_region": _REGION,
            "path_style_access": "true",
            "connection_ssl_enabled": "false",
            "access_key": "test",
            "secret_key": "test",
            **conf,
        }
        jars = {"spark.jars": ",".join(map(str, store_jars("s3")))}
        keys = {f"spark.hadoop.fs.s3a.{key.replace('_', '.')}": value for key, value in s3a.items()}
        return Store(f"s3a://{BUCKET}/{name}".rstrip("/"), jars | keys, _NO_METADATA)

    @property
    def options(self) -> dict[str, str]:
        """For delta-rs and Polars: `storage_options` of s3://bucket/..."""
        return {
            "aws_endpoint_url": self.endpoint,
            "aws_allow_http": "true",
            "aws_region": _REGION,
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
            "aws_virtual_hosted_style_request": "false",
        }

    def client(self, **more: Any) -> S3Store:
        """For obstore: the bucket. `more`: of S3Store, such as `retry_config`."""
        # among the others this key makes obstore panic
        config: Any = {k: v for k, v in self.options.items() if k != "aws_allow_http"}
        return S3Store(BUCKET, config=config, client_options={"allow_http": True}, **more)

    def upload(self, folder: Path, name: str) -> None:
        """Put all files of a folder into one of the bucket."""
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            obstore.put(self.client(), f"{name}/{path.relative_to(folder).as_posix()}", path)

    def fail(
        self,
        status: str = "503 Slow Down",
        code: str = "SlowDown",
        *,
        requests: int | None = None,
        seconds: float | None = None,
        method: str = "",
        path: str = "",
    ) -> None:
        """Answer an error instead of doing what is asked: to so many requests, or for so long, else to all.

        `method`: of these only; `path`: only where this is part of /bucket/key.
        """
        self._fault(
            kind="answer", status=status, code=code, requests=requests, seconds=seconds, method=method, path=path
        )

    def expire(self, **limits: Any) -> None:
        """Answer as S3 does to a credential that was good until now."""
        self.fail("400 Bad Request", "ExpiredToken", **limits)

    def refuse(self, **limits: Any) -> None:
        """Answer as S3 does to a credential that may not do this."""
        self.fail("403 Forbidden", "AccessDenied", **limits)

    def delay(self, delay_seconds: float, *, method: str = "PUT", path: str = "/_delta_log/") -> None:
        """Do matching requests so much later: the time in which two writers meet."""
        self._fault(kind="delay", delay_seconds=delay_seconds, method=method, path=path)

    def lose_answer(self, *, requests: int = 1, method: str = "PUT", path: str = "") -> None:
        """Do what is asked, then close the connection without an answer."""
        self._fault(kind="lose", requests=requests, method=method, path=path)

    def heal(self) -> None:
        """No more faults."""
        self._control("PUT", "heal")

    def counts(self) -> dict[str, Count]:
        """By method, since the start or `reset_counts`; also of requests that failed."""
        return {method: Count(**count) for method, count in self._control("GET", "counts").items()}

    def reset_counts(self) -> None:
        """Count from 0."""
        self._control("PUT", "reset")

    def _fault(self, **fault: object) -> None:
        self._control("PUT", "faults", fault)

    def _control(self, method: str, wish: str, content: object = None) -> dict[str, dict[str, int]]:
        request = Request(f"{self.endpoint}/~control/{wish}", json.dumps(content).encode(), method=method)
        with urlopen(request, timeout=30) as answer:
            found: dict[str, dict[str, int]] = json.load(answer)
        return found


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """A server in a process of its own, so that neither takes the other's time; its log comes into the folder."""
    command = [sys.executable, str(Path(__file__).with_name("s3_process.py"))]
    with running("s3", command, folder, os.environ) as server:
        port = server.printed(r"port (\d+)")[1]
        s3 = S3Server(f"http://127.0.0.1:{port}")
        urlopen(Request(f"{s3.endpoint}/{BUCKET}", method="PUT"), timeout=30).close()
        yield s3


def viewfs_conf(folder: Path) -> Store:
    """No server: a path that nothing but Hadoop's file system opens. What lies there is in the folder."""
    return Store("viewfs://cl/data", {"spark.hadoop.fs.viewfs.mounttable.cl.link./data": folder.absolute().as_uri()})


@contextmanager
def hdfs_cluster(folder: Path) -> Iterator[Store]:
    """A name node and a data node in one JVM of .3 GB, with their files in the folder."""
    java = str(search(os.environ).required().home / "bin" / "java")
    details = folder / "details.json"
    settings = ("dfs.replication=1", "dfs.namenode.fs-limits.min-block-size=0", "dfs.permissions.enabled=false")
    class_path = os.pathsep.join([*map(str, store_jars("hdfs")), f"{spark_home(os.environ) / 'jars'}/*"])
    command = [java, "-Xmx512m", "-cp", class_path, "org.apache.hadoop.test.MiniDFSClusterManager", "-format"]
    command += ["-datanodes", "1", "-nnport", "0", "-httpport", "0", "-writeDetails", str(details)]
    command += [word for setting in settings for word in ("-D", setting)]

    def port() -> int | None:
        try:
            return int(json.loads(details.read_text(encoding="utf-8"))["namenode_port"])
        except (OSError, ValueError):  # not yet, or half of it
            return None

    with running("hdfs", command, folder, os.environ) as server:
        yield Store(f"hdfs://127.0.0.1:{server.ready(port)}", {"spark.hadoop.dfs.replication": "1"})


@contextmanager
def standalone_cluster(folder: Path, *, workers: int = 2, cores: int = 1) -> Iterator[Store]:
    """A Spark master and workers, each a process, that know nothing of this project but its environment's Python.

    `root` is the master's URL, for --master.
    """
    dropped = ("PYTHONPATH", "PYSPARK_SUBMIT_ARGS", "PYSPARK_GATEWAY_PORT", "SPARK_CONF_DIR")
    environ = {k: v for k, v in os.environ.items() if k not in dropped and not k.startswith("PROFILING_SPARK_")}
    home = spark_home(os.environ)
    environ |= {
        "SPARK_HOME": str(home),
        "JAVA_HOME": str(search(os.environ).required().home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_MASTER_OPTS": "-Dspark.master.rest.enabled=false",
        # Spark would start its services on the first free port of a few, which another test's cluster also looks at
        "SPARK_DAEMON_JAVA_OPTS": "-Dspark.ui.port=0",
    }
    spark_class, deploy = str(home / "bin" / "spark-class"), "org.apache.spark.deploy"
    ports = ("--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
    with running("master", [spark_class, f"{deploy}.master.Master", *ports], folder, environ) as master:
        url = master.printed(r"Starting Spark master at (spark://\S+)")[1]
        more = ("--cores", str(cores), "--memory", "2g", "--work-dir", str(folder / "work"), url)
        command = [spark_class, f"{deploy}.worker.Worker", *ports, *more]
        with _all_running(command, folder, environ, workers):
            master.printed("Registering worker", times=workers)
            conf = {
                "spark.executor.memory": "1g",
                "spark.executor.cores": str(cores),
                "spark.driver.host": "127.0.0.1",
                "spark.driver.bindAddress": "127.0.0.1",
            }
            yield Store(url, conf, {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable})


@contextmanager
def _all_running(command: list[str], folder: Path, environ: Mapping[str, str], workers: int) -> Iterator[None]:
    if workers == 0:
        yield
        return
    with running(f"worker{workers}", command, folder, environ), _all_running(command, folder, environ, workers - 1):
        yield
