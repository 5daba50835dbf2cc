"""scripts/submit.sh without Spark: a copied project, an environment whose spark-submit prints what it was given."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
JARS = ("delta-spark_4.2_2.13-4.4.0.jar", "delta-storage-4.4.0.jar")

# what the fake spark-submit reports: its arguments, folder and environment, as JSON on stdout
SPARK_SUBMIT = """#!/usr/bin/env bash
echo "WARNING: Using incubator modules: jdk.incubator.vector" >&2
echo "a real message" >&2
"$FAKE_PYTHON" -I -S - "$@" <<'REPORT'
import json, os, sys, zipfile
args = sys.argv[1:]
zipped = args[args.index("--py-files") + 1].split(",")[0] if "--py-files" in args else ""
print(json.dumps({
    "args": args, "cwd": os.getcwd(), "environ": dict(os.environ),
    "package": zipfile.ZipFile(zipped).namelist() if zipped else [],
}))
REPORT
exit "${FAKE_EXIT:-0}"
"""


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def java_home(home: Path, version: str, modules: str = "java.base jdk.incubator.vector") -> Path:
    script(home / "bin" / "java", f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    (home / "release").write_text(f'JAVA_VERSION="{version}"\nMODULES="{modules}"\n', encoding="utf-8")
    return home


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, object]:
        assert self.code == 0, self.err
        loaded = json.loads(self.out)
        assert isinstance(loaded, dict)
        return loaded

    @property
    def args(self) -> list[str]:
        args = self.report["args"]
        assert isinstance(args, list)
        return args

    def environ(self, name: str) -> str | None:
        environ = self.report["environ"]
        assert isinstance(environ, dict)
        value = environ.get(name)
        assert value is None or isinstance(value, str)
        return value

    def option(self, name: str) -> list[str]:
        """Values of a spark-submit option, in order."""
        head = self.args[: self.job_at()]
        return [head[i + 1] for i, a in enumerate(head) if a == name]

    def job_at(self) -> int:
        return next(i for i, a in enumerate(self.args) if a.endswith(".py") and "jobs" in a)

    def job_args(self) -> list[str]:
        return self.args[self.job_at() + 1 :]


@dataclass
class Project:
    root: Path
    elsewhere: Path
    environ: dict[str, str] = field(default_factory=dict)

    def submit(self, *args: str, name: str = "submit.sh", **environ: str) -> Done:
        done = subprocess.run(
            [str(self.root / "scripts" / name), *args],
            cwd=self.elsewhere,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "a project" / "main"
    for folder in ("scripts", "conf", "jobs", "profiling_spark"):
        (root / folder).mkdir(parents=True)
    for file in (REPOSITORY / "scripts").glob("*.sh"):
        shutil.copy(file, root / "scripts")
    for name in ("pyproject.toml", "constraints.txt", "conf/log4j2.properties"):
        shutil.copy(REPOSITORY / name, root / name)
    (root / "profiling_spark" / "__init__.py").write_text('"""Package."""\n', encoding="utf-8")
    (root / "jobs" / "hello.py").write_text('"""Say hello to a customer.\n\nMore."""\nprint()\n', encoding="utf-8")
    (root / "jobs" / "other_job.py").write_text('"""\nDo another thing."""\n', encoding="utf-8")
    (root / "jobs" / "_shared.py").write_text('"""Not a job."""\n', encoding="utf-8")
    venv = tmp_path / "an env"
    python = sys.executable
    script(venv / "bin" / "python", f'#!/bin/sh\nexec "{python}" "$@"\n')
    script(venv / "lib/python3.11/site-packages/pyspark/bin/spark-submit", SPARK_SUBMIT)
    jars = tmp_path / "the jars"
    jars.mkdir()
    for jar in JARS:
        with zipfile.ZipFile(jars / jar, "w") as archive:
            archive.writestr("a", "b")
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    (tmp_path / "tmp").mkdir()
    return Project(
        root,
        elsewhere,
        {
            "PATH": tool_folder(tmp_path / "tools"),
            "HOME": str(tmp_path),
            "TMPDIR": str(tmp_path / "tmp"),
            "JAVA_HOME": str(java_home(tmp_path / "jdk 17", "17.0.9")),
            "PROFILING_SPARK_JAVA_FOLDERS": str(tmp_path / "jvm"),
            "PROFILING_SPARK_VENV": str(venv),
            "PROFILING_SPARK_JARS": str(jars),
            "PROFILING_SPARK_NO_INSTALL": "1",
            "FAKE_PYTHON": python,
        },
    )


def tool_folder(folder: Path) -> str:
    """A PATH with the ordinary tools and neither Java nor apt-get nor Python."""
    folder.mkdir()
    names = (
        "awk basename bash cat cksum dirname env find flock grep head id ls mkdir mktemp mv readlink rm tail tty whoami"
    )
    for name in names.split():
        if tool := shutil.which(name):
            (folder / name).symlink_to(tool)
    return str(folder)


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


class TestMissing:
    def test_java(self, project: Project) -> None:
        done = project.submit("hello", JAVA_HOME="")
        assert (done.code, done.out, len(done.err.splitlines())) == (3, "", 1)
        assert done.err.startswith("error: Java 17 or 21 is needed; found: none. Debian, Ubuntu: sudo apt-get install")

    def test_java_of_other_versions(self, project: Project) -> None:
        home = Path(project.environ["HOME"])
        java_home(home / "jdk 11", "11.0.2")
        java_home(home / "jvm" / "cut", "17.0.1", modules="java.base")
        done = project.submit("hello", JAVA_HOME=str(home / "jdk 11"))
        assert (done.code, len(done.err.splitlines())) == (3, 1)
        assert f"11.0.2 at {home / 'jdk 11'}" in done.err
        assert "jdk.incubator.vector" in done.err

    def test_wrong_java_home_is_passed_over_with_a_note(self, project: Project) -> None:
        home = Path(project.environ["HOME"])
        java_home(home / "jdk 11", "11.0.2")
        right = java_home(home / "jvm" / "x", "21.0.1")
        done = project.submit("hello", JAVA_HOME=str(home / "jdk 11"))
        assert done.environ("JAVA_HOME") == str(right)
        assert f"passed over: 11.0.2 at {home / 'jdk 11'}. Running on {right}" in done.err

    def test_java_on_path_through_a_link(self, project: Project) -> None:
        tools, home = Path(project.environ["PATH"]), Path(project.environ["HOME"])
        (tools / "java").symlink_to(home / "jdk 17" / "bin" / "java")
        assert project.submit("hello", JAVA_HOME="").environ("JAVA_HOME") == str(home / "jdk 17")

    @pytest.mark.skipif(not Path("/etc/debian_version").exists(), reason="apt-get is for Debian and its children")
    def test_java_is_installed_by_root_with_apt(self, project: Project) -> None:
        tools, home = Path(project.environ["PATH"]), Path(project.environ["HOME"])
        for name, answer in (("id", "0"), ("mkdir", "")):  # the real mkdir would make a folder of the system
            (tools / name).unlink()
            script(tools / name, f"#!/bin/sh\necho {answer}\n")
        java_home(home / "stock", "21.0.5")
        # the first choice is not to be had, the second is
        script(
            tools / "apt-get",
            f'#!/usr/bin/env bash\necho "$@" >>"{home}/apt.log"\ncase "$*" in *jdk-17*) exit 100 ;;\n'
            f'*jdk-21*) "{shutil.which("mv")}" "{home}/stock" "{home}/jvm" ;; esac\n',
        )
        done = project.submit("hello", JAVA_HOME="", PROFILING_SPARK_NO_INSTALL="")
        assert done.environ("JAVA_HOME") == str(home / "jvm")
        assert [line.split()[-1] for line in (home / "apt.log").read_text().splitlines()] == [
            "-qq",
            "openjdk-17-jre-headless",
            "-qq",
            "openjdk-21-jre-headless",
        ]

    def test_jars(self, project: Project) -> None:
        Path(project.environ["PROFILING_SPARK_JARS"], JARS[1]).write_bytes(b"")
        done = project.submit("hello")
        assert (done.code, done.out, len(done.err.splitlines())) == (3, "", 1)
        assert JARS[1] in done.err
        assert project.environ["PROFILING_SPARK_JARS"] in done.err

    def test_jars_that_cannot_be_fetched(self, project: Project) -> None:
        # Java here is a script that fetches nothing, as without network
        done = project.submit("hello", PROFILING_SPARK_JARS="", PROFILING_SPARK_NO_INSTALL="")
        assert done.code == 3
        assert "io.delta:delta-spark_4.2_2.13:4.4.0 could not be fetched" in done.err
        assert f"in {project.root / '.jars'} by hand" in done.err
        assert list((project.root / ".jars").iterdir()) == []

    def test_jars_are_fetched_once_and_only_whole_ones_stay(self, project: Project) -> None:
        home = Path(project.environ["JAVA_HOME"])
        source = project.environ["PROFILING_SPARK_JARS"]
        # Java here plays Ivy: it copies the asked-for jar to where -retrieve says
        script(
            home / "bin" / "java",
            "#!/usr/bin/env bash\nwhile [[ $# -gt 0 ]]; do case $1 in -dependency) name=$3-$4.jar ;; "
            f'-retrieve) to=${{2%/*}} ;; esac; shift; done\n{shutil.which("cp")} "{source}/$name" "$to/$name"\n',
        )
        done = project.submit("hello", PROFILING_SPARK_JARS="", PROFILING_SPARK_NO_INSTALL="")
        assert done.environ("PROFILING_SPARK_JARS") == str(project.root / ".jars")
        assert sorted(p.name for p in (project.root / ".jars").iterdir()) == sorted(JARS)
        again = project.submit("hello", PROFILING_SPARK_JARS="")  # nothing may be installed any more
        assert (again.code, again.err) == (0, "a real message\n")

    def test_environment_without_pyspark(self, project: Project) -> None:
        other = project.elsewhere / "env"
        script(other / "bin" / "python", "#!/bin/sh\n")
        done = project.submit("hello", PROFILING_SPARK_VENV=str(other))
        assert (done.code, len(done.err.splitlines())) == (3, 1)
        assert "no Python environment with pyspark" in done.err

    def test_no_python(self, project: Project) -> None:
        done = project.submit(
            "hello", PROFILING_SPARK_VENV="", PATH=f"{project.environ['PATH']}", PROFILING_SPARK_NO_INSTALL="0"
        )
        # root on Debian would call apt-get, which this PATH lacks
        assert done.code == 3
        assert "Python 3.11 or later is needed; found none" in done.err


class TestEnvironment:
    """The environment is made once, again when its declaration changes, and from the start when it was cut short."""

    @pytest.fixture
    def python(self, project: Project) -> Path:
        """A python3 whose `-m venv` makes a fake environment and whose pip notes its calls."""
        tools, home = Path(project.environ["PATH"]), Path(project.environ["HOME"])
        fake = script(
            tools / "python3",
            "#!/usr/bin/env bash\n"
            f'if [[ $1 == -m ]]; then echo "$2 ${{*: -1}}" >>"{home}/log"; fi\n'
            'if [[ $1 == -m && $2 == venv ]]; then mkdir -p "$3/bin" && cat "$0" >"$3/bin/python" && '
            f'{shutil.which("chmod")} +x "$3/bin/python"; fi\n'
            "if [[ $1 == -m && $2 == pip && $3 == install ]]; then [[ -z ${FAKE_PIP_FAILS:-} ]] || exit 1\n"
            f'{shutil.which("cp")} -r "{project.environ["PROFILING_SPARK_VENV"]}/lib" "${{0%/bin/python}}"; fi\n',
        )
        project.environ.update(PROFILING_SPARK_VENV="", PROFILING_SPARK_NO_INSTALL="")
        return fake

    def calls(self, project: Project) -> list[str]:
        log = Path(project.environ["HOME"], "log")
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [line for line in lines if line != "pip --version"]

    def test_made_once(self, project: Project, python: Path) -> None:
        made = [f"venv {project.root / '.venv'}", "pip ."]
        assert project.submit("hello").code == 0
        assert self.calls(project) == made
        python.unlink()
        assert project.submit("hello", PROFILING_SPARK_NO_INSTALL="1").err == "a real message\n"
        assert self.calls(project) == []

    def test_changed_declaration_updates_it(self, project: Project, python: Path) -> None:
        project.submit("hello")
        self.calls(project)
        with (project.root / "constraints.txt").open("a") as file:
            file.write("more==1\n")
        assert project.submit("hello").code == 0
        assert self.calls(project) == ["pip ."]

    def test_cut_short_is_made_again(self, project: Project, python: Path) -> None:
        failed = project.submit("hello", FAKE_PIP_FAILS="1")
        assert (failed.code, "pip could not install" in failed.err) == (3, True)
        (project.root / ".venv" / "rest").write_text("half", encoding="utf-8")
        self.calls(project)
        assert project.submit("hello").code == 0
        assert self.calls(project) == [f"venv {project.root / '.venv'}", "pip ."]
        assert not (project.root / ".venv" / "rest").exists()

    def test_tests_add_their_packages_and_later_updates_keep_them(self, project: Project, python: Path) -> None:
        project.submit("hello")
        project.submit(name="test.sh")
        assert "pip .[dev]" in self.calls(project)
        assert project.submit("hello").code == 0
        assert self.calls(project) == []
        (project.root / "constraints.txt").write_text("", encoding="utf-8")
        project.submit("hello")
        assert self.calls(project) == ["pip .[dev]"]

    @pytest.mark.skipif(not shutil.which("flock"), reason="needs flock")
    def test_two_at_once_make_one(self, project: Project, python: Path) -> None:
        command = [str(project.root / "scripts" / "submit.sh"), "hello"]
        both = [
            subprocess.Popen(
                command, env=project.environ, cwd=project.elsewhere, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            for _ in range(2)
        ]
        assert [(p.communicate(timeout=20), p.returncode)[1] for p in both] == [0, 0]
        assert self.calls(project) == [f"venv {project.root / '.venv'}", "pip ."]


def test_constraints_pin_every_declared_package() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    pins = [line.split("==") for line in lines[1:]]
    assert all(len(pin) == 2 for pin in pins)
    assert {"pyspark", "delta_spark", "pandas", "polars", "pyarrow", "numpy"} <= {name for name, _ in pins}
    assert os.access(REPOSITORY / "scripts" / "submit.sh", os.X_OK)
