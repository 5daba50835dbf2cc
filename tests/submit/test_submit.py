"""scripts/submit.sh: which jobs there are, and what spark-submit is given."""

from __future__ import annotations

from pathlib import Path

import pytest
from submit_project import JARS, Project, make_project, script


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


class TestList:
    @pytest.mark.parametrize("args", [(), ("--help",), ("-h",)])
    def test_jobs_with_the_first_line_of_their_docstring(self, project: Project, args: tuple[str, ...]) -> None:
        done = project.submit(*args)
        assert done.code == 0
        lines = [line.split(maxsplit=1) for line in done.out.splitlines() if line.startswith("  ")]
        assert lines == [["hello", "Say hello to a customer."], ["other_job", "Do another thing."]]
        assert "usage:" in done.out

    def test_needs_no_environment(self, project: Project) -> None:
        assert project.submit(JAVA_HOME="", PROFILING_SPARK_VENV="/nowhere", PROFILING_SPARK_JARS="/nowhere").code == 0

    @pytest.mark.parametrize("name", ["hallo", "_shared", "../jobs/hello", "."])
    def test_unknown_job(self, project: Project, name: str) -> None:
        done = project.submit(name)
        assert (done.code, done.out) == (2, "")
        assert f"there is no job '{name}'" in done.err
        assert "other_job" in done.err

    @pytest.mark.parametrize("args", [("hello", "--conf"), ("hello", "--conf", "x"), ("--as-of", "hello")])
    def test_wrong_options(self, project: Project, args: tuple[str, ...]) -> None:
        assert project.submit(*args).code == 2


class TestRouting:
    def test_master_and_conf_go_to_spark_the_rest_to_the_job(self, project: Project) -> None:
        done = project.submit(
            *("hello", "--config", "my conf.yaml", "--conf", "spark.a=b c", "--master", "local[1]", "--as-of"),
            *("2020-01-02", "--conf=spark.d=e=f", "--set", "a.b=*", ""),
        )
        assert done.option("--conf")[1:] == ["spark.a=b c", "spark.d=e=f"]
        assert done.option("--master") == ["local[1]"]
        assert done.job_args() == ["--config", "my conf.yaml", "--as-of", "2020-01-02", "--set", "a.b=*", ""]
        assert done.args[done.job_at()] == str(project.root / "jobs" / "hello.py")

    def test_defaults(self, project: Project) -> None:
        done = project.submit("hello")
        assert done.option("--master") == ["local[*]"]
        assert done.option("--driver-memory") == ["2g"]
        assert done.option("--jars") == [",".join(f"{project.environ['PROFILING_SPARK_JARS']}/{j}" for j in JARS)]
        (java,) = done.option("--driver-java-options")
        log = (project.root / "conf" / "log4j2.properties").as_uri().replace("file://", "file:")
        assert java.split() == [
            "-XX:+UseParallelGC",
            "-XX:-DontCompileHugeMethods",
            f"-Dlog4j2.configurationFile={log}",
            "-Dprofiling_spark.log.level=error",
        ]
        assert done.job_args() == []

    def test_options_of_spark_before_the_job(self, project: Project) -> None:
        done = project.submit("--master=local[3]", "hello", "x")
        assert (done.option("--master"), done.job_args()) == (["local[3]"], ["x"])

    def test_help_after_the_job_is_the_jobs(self, project: Project) -> None:
        assert project.submit("hello", "--help").job_args() == ["--help"]

    def test_verbose_is_the_jobs_and_raises_sparks_log(self, project: Project) -> None:
        done = project.submit("hello", "--verbose")
        assert done.job_args() == ["--verbose"]
        assert "-Dprofiling_spark.log.level=warn" in done.option("--driver-java-options")[0]

    def test_callers_settings_are_joined_or_win(self, project: Project) -> None:
        done = project.submit(
            *("hello", "--conf", "spark.driver.memory=5g", "--conf", "spark.jars=/x.jar", "--conf"),
            *("spark.master=local[7]", "--conf", "spark.driver.extraJavaOptions=-Da=1"),
        )
        assert done.option("--driver-memory") == ["5g"]
        assert done.option("--jars")[0].endswith(",/x.jar")
        assert done.option("--master") == ["local[7]"]
        assert "-Da=1" in done.option("--driver-java-options")[0].split()
        assert done.option("--conf") == ["spark.executor.extraJavaOptions=-XX:-DontCompileHugeMethods"]

    def test_environment_of_the_job(self, project: Project) -> None:
        done = project.submit("hello", PYTHONPATH="/more")
        python = project.environ["PROFILING_SPARK_VENV"] + "/bin/python"
        assert done.report["cwd"] == str(project.elsewhere)
        assert done.environ("PYSPARK_PYTHON") == python
        assert done.environ("PROFILING_SPARK_DRIVER_PYTHON") == python
        assert done.environ("PYSPARK_DRIVER_PYTHON") == str(project.root / "scripts" / "driver.sh")
        assert done.environ("PYTHONPATH") == f"{project.root}:/more"
        assert done.environ("POLARS_MAX_THREADS") == "1"
        assert done.environ("PROFILING_SPARK_JARS") == project.environ["PROFILING_SPARK_JARS"]
        assert project.submit("hello", POLARS_MAX_THREADS="4").environ("POLARS_MAX_THREADS") == "4"

    def test_another_spark_in_the_environment_is_not_taken(self, project: Project) -> None:
        done = project.submit("hello", SPARK_HOME="/opt/spark-3")
        assert (
            done.environ("SPARK_HOME")
            == f"{project.environ['PROFILING_SPARK_VENV']}/lib/python3.11/site-packages/pyspark"
        )

    def test_a_cluster_gets_the_package(self, project: Project) -> None:
        done = project.submit("hello", "--master", "yarn", "--conf", "spark.submit.pyFiles=/x.py", PYSPARK_PYTHON="py")
        assert done.report["package"] == ["profiling_spark/__init__.py"]
        assert done.option("--py-files")[0].endswith(",/x.py")
        assert done.option("--conf")[-1] == "spark.executorEnv.POLARS_MAX_THREADS=1"
        assert done.environ("PYSPARK_PYTHON") == "py"
        assert list(Path(project.environ["TMPDIR"]).iterdir()) == []

    def test_a_driver_on_the_cluster_gets_no_path_of_this_machine(self, project: Project) -> None:
        done = project.submit("hello", "--master", "yarn", "--deploy-mode", "cluster")
        assert done.option("--deploy-mode") == ["cluster"]
        assert done.option("--driver-java-options") == ["-XX:+UseParallelGC -XX:-DontCompileHugeMethods"]
        assert done.environ("PYSPARK_DRIVER_PYTHON") is None


class TestRun:
    def test_exit_code_passes_through(self, project: Project) -> None:
        assert project.submit("hello", FAKE_EXIT="7").code == 7

    def test_only_the_launchers_noise_is_taken_from_stderr(self, project: Project) -> None:
        assert project.submit("hello").err == "a real message\n"

    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
    def test_the_drivers_stderr_is_kept_apart_from_its_stdout(self, project: Project) -> None:
        spark_submit = Path(
            project.environ["PROFILING_SPARK_VENV"], "lib/python3.11/site-packages/pyspark/bin/spark-submit"
        )
        # as Spark does: one pipe for both of the driver's streams, copied to stdout
        script(spark_submit, '#!/usr/bin/env bash\n"$PYSPARK_DRIVER_PYTHON" "${@: -1}" 2>&1 | cat\n')
        job = project.root / "jobs" / "hello.py"
        job.write_text('import sys\nprint("out", flush=True)\nprint("err", file=sys.stderr)\n', encoding="utf-8")
        done = project.submit("hello")
        assert (done.code, done.out, done.err) == (0, "out\n", "err\n")
