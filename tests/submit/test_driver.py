"""What Spark is given: master, memory, jars, the package, and the user's own settings."""

from __future__ import annotations

import atexit
import os
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import JARS, REPOSITORY, jars_in, java_home

from profiling_spark.conf_files import conf_file
from profiling_spark.errors import ConfigError
from profiling_spark.launch.driver import SparkOptions, cluster_command, is_given, prepare

JAVA = ["-XX:+UseParallelGC", "-XX:-DontCompileHugeMethods"]


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment with Java and jars in folders with blanks, restored afterwards; returns the folder of the jars."""
    folder = jars_in(tmp_path / "the jars")
    for name in list(os.environ):
        if name.startswith(("PYSPARK_", "PROFILING_SPARK_", "POLARS_", "SPARK_")):
            monkeypatch.delenv(name)
    for name, value in {
        "JAVA_HOME": java_home(tmp_path / "jdk 17", "17.0.9"),
        "PROFILING_SPARK_JARS": folder,
        "PYTHONPATH": "/more",
        **{
            name: ""
            for name in (
                "PYSPARK_SUBMIT_ARGS",
                "PROFILING_SPARK_SUBMIT_ARGS",
                "PYSPARK_PYTHON",
                "POLARS_MAX_THREADS",
                "SPARK_HOME",
            )
        },
    }.items():
        monkeypatch.setenv(name, str(value))
        if not value:
            monkeypatch.delenv(name)
    return folder


class Given:
    """Options of spark-submit as it reads them."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def option(self, name: str) -> list[str]:
        return [self.tokens[i + 1] for i, token in enumerate(self.tokens) if token == name]


def prepared(*conf: str, master: str | None = None, verbose: bool = False) -> Given:
    prepare(SparkOptions.parse(master, None, conf), verbose=verbose)
    tokens = shlex.split(os.environ["PYSPARK_SUBMIT_ARGS"])
    assert tokens[-1] == "pyspark-shell"
    return Given(tokens)


def test_defaults(machine: Path) -> None:
    given = prepared()
    assert given.option("--master") == ["local[*]"]
    assert given.option("--driver-memory") == ["2g"]
    assert given.option("--jars") == [",".join(str(machine / jar) for jar in JARS)]
    assert given.option("--conf") == ["spark.executor.extraJavaOptions=-XX:-DontCompileHugeMethods"]
    assert given.option("--py-files") == []
    (java,) = given.option("--driver-java-options")
    log = (REPOSITORY / "conf" / "log4j2.properties").as_uri()
    assert java.split() == [*JAVA, f"-Dlog4j2.configurationFile={log}", "-Dprofiling_spark.log.level=error"]


def test_environment(tmp_path: Path, machine: Path) -> None:
    prepared()
    names = ("JAVA_HOME", "PROFILING_SPARK_JARS", "PYSPARK_PYTHON", "POLARS_MAX_THREADS", "PYTHONPATH")
    assert [os.environ[name] for name in names] == [
        str(tmp_path / "jdk 17"),
        str(machine),
        sys.executable,
        "1",
        f"{REPOSITORY}:/more",
    ]
    assert (Path(os.environ["SPARK_HOME"]) / "bin" / "spark-submit").is_file()


def test_another_spark_in_the_environment_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_HOME", "/opt/spark-3")
    prepared()
    assert os.environ["SPARK_HOME"] != "/opt/spark-3"


def test_users_environment_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLARS_MAX_THREADS", "4")
    monkeypatch.setenv("PROFILING_SPARK_DRIVER_MEMORY", "3g")
    assert prepared().option("--driver-memory") == ["3g"]
    assert os.environ["POLARS_MAX_THREADS"] == "4"


def test_verbose_raises_sparks_log() -> None:
    assert "-Dprofiling_spark.log.level=warn" in prepared(verbose=True).option("--driver-java-options")[0]


def test_users_settings_are_joined_or_win() -> None:
    given = prepared(
        *("spark.driver.memory=5g", "spark.jars=/x.jar", "spark.master=local[7]", "spark.a=b 'c\" d=e"),
        *("spark.driver.extraJavaOptions=-Da=1", "spark.submit.pyFiles=/x.py", "spark.executor.extraJavaOptions=-Db"),
    )
    assert given.option("--driver-memory") == ["5g"]
    assert given.option("--jars")[0].endswith(f"{JARS[1]},/x.jar")
    assert given.option("--master") == ["local[7]"]
    assert given.option("--driver-java-options")[0].split()[:3] == [*JAVA, "-Da=1"]
    assert given.option("--py-files") == ["/x.py"]
    assert given.option("--conf") == ["spark.executor.extraJavaOptions=-Db", "spark.a=b 'c\" d=e"]


def test_master_wins_over_its_setting() -> None:
    assert prepared("spark.master=yarn", master="local[3]").option("--master") == ["local[3]"]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: SparkOptions(conf=("x",)), "KEY=VALUE, found 'x'"),
        (lambda: SparkOptions(conf=("=x",)), "KEY=VALUE, found '=x'"),
        (lambda: SparkOptions.parse(master=""), "--master wants a value"),
        (lambda: SparkOptions(deploy_mode="elsewhere"), "client or cluster, found 'elsewhere'"),
        (lambda: SparkOptions.parse(conf=["spark.submit.deployMode=cluster"]), "needs a --master that is a cluster"),
    ],
)
def test_wrong_options(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(ConfigError, match=r".") as error:
        make()
    assert text in str(error.value)


def test_a_cluster_gets_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[Any] = []
    monkeypatch.setattr(atexit, "register", lambda *call, **named: left.append((call, named)))
    monkeypatch.setenv("PYSPARK_PYTHON", "theirs")
    given = prepared("spark.submit.pyFiles=/x.py", master="spark://h:7077")
    zipped, more = given.option("--py-files")[0].split(",")
    names = zipfile.ZipFile(zipped).namelist()
    assert more == "/x.py"
    assert {"profiling_spark/__init__.py", "profiling_spark/conf/demo.yaml"} <= set(names)
    assert not [name for name in names if "__pycache__" in name]
    assert given.option("--conf")[-1] == "spark.executorEnv.POLARS_MAX_THREADS=1"
    assert os.environ["PYSPARK_PYTHON"] == "theirs"
    ((function, *rest), named) = left[-1]
    function(*rest, **named)
    assert not Path(zipped).parent.exists()


def test_conf_file_in_the_zip_that_travels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = prepared(master="yarn")
    code = "from profiling_spark.conf_files import conf_file; print(conf_file('demo.yaml').read_text())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": given.option("--py-files")[0]},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.rstrip() == conf_file("demo.yaml").read_text(encoding="utf-8").rstrip()


def test_a_driver_on_the_cluster_gets_no_path_of_this_machine() -> None:
    options = SparkOptions.parse("yarn", "cluster", ["spark.a=b"])
    command, environ = cluster_command(options, ["ingest", "--as-of", "2020-01-02"])
    given = Given(command)
    assert command[0].endswith("/bin/spark-submit")
    assert command[-4:] == [str(REPOSITORY / "profiling_spark" / "__main__.py"), "ingest", "--as-of", "2020-01-02"]
    assert given.option("--deploy-mode") == ["cluster"]
    assert given.option("--driver-java-options") == [" ".join(JAVA)]
    assert "spark.a=b" in given.option("--conf")
    assert "PYSPARK_PYTHON" not in environ
    job = Path("jobs/ingest.py")
    assert cluster_command(options, ["--json"], job)[0][-2:] == ["jobs/ingest.py", "--json"]


def test_users_submit_args_stay_with_the_jars_before_them(monkeypatch: pytest.MonkeyPatch, machine: Path) -> None:
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", "--driver-memory 9g pyspark-shell")
    prepare(SparkOptions(), verbose=False)
    both = ",".join(str(machine / jar) for jar in JARS)
    assert shlex.split(os.environ["PYSPARK_SUBMIT_ARGS"]) == ["--jars", both, "--driver-memory", "9g", "pyspark-shell"]
    before = os.environ["PYSPARK_SUBMIT_ARGS"]
    prepare(SparkOptions(), verbose=False)
    assert os.environ["PYSPARK_SUBMIT_ARGS"] == before
    with pytest.raises(ConfigError, match="unset PYSPARK_SUBMIT_ARGS"):
        prepare(SparkOptions(conf=("spark.a=b",)), verbose=False)


def test_a_second_call_and_a_child_begin_anew() -> None:
    assert prepared("spark.a=1", master="local[3]").option("--master") == ["local[3]"]
    assert is_given("--master")
    again = prepared("spark.b=2", master="local[4]")
    assert (again.option("--master"), again.option("--conf")[-1]) == (["local[4]"], "spark.b=2")


def test_nothing_is_done_under_spark_submit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    prepare(SparkOptions(), verbose=False)
    assert "PYSPARK_SUBMIT_ARGS" not in os.environ


def test_without_pyspark_it_says_what_to_type() -> None:
    code = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
import time
begin = time.perf_counter()
from profiling_spark.launch.driver import SparkOptions, prepare
from profiling_spark.launch.stderr import quiet_jvm
took = time.perf_counter() - begin
assert not {{"pyspark", "pydantic", "polars", "numpy", "yaml"}} & set(sys.modules), sys.modules
try:
    prepare(SparkOptions(), verbose=False)
except Exception as err:
    print(type(err).__name__, err)
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("EnvironmentProblem pyspark is not installed in this environment. Type: ")
