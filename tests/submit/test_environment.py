"""scripts/submit.sh where something is missing, and the environment that it makes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from submit_project import JARS, REPOSITORY, Project, java_home, make_project, script


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


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
        made = [f"venv {project.root / '.venv'}", "pip .[spark]"]
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
        assert self.calls(project) == ["pip .[spark]"]

    def test_cut_short_is_made_again(self, project: Project, python: Path) -> None:
        failed = project.submit("hello", FAKE_PIP_FAILS="1")
        assert (failed.code, "pip could not install" in failed.err) == (3, True)
        (project.root / ".venv" / "rest").write_text("half", encoding="utf-8")
        self.calls(project)
        assert project.submit("hello").code == 0
        assert self.calls(project) == [f"venv {project.root / '.venv'}", "pip .[spark]"]
        assert not (project.root / ".venv" / "rest").exists()

    def test_tests_add_their_packages_and_later_updates_keep_them(self, project: Project, python: Path) -> None:
        project.submit("hello")
        project.submit(name="test.sh")
        assert "pip .[spark,dev]" in self.calls(project)
        assert project.submit("hello").code == 0
        assert self.calls(project) == []
        (project.root / "constraints.txt").write_text("", encoding="utf-8")
        project.submit("hello")
        assert self.calls(project) == ["pip .[spark,dev]"]

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
        assert self.calls(project) == [f"venv {project.root / '.venv'}", "pip .[spark]"]


def test_constraints_pin_every_declared_package() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    pins = [line.split("==") for line in lines[1:]]
    assert all(len(pin) == 2 for pin in pins)
    assert {"pyspark", "delta_spark", "pandas", "polars", "pyarrow", "numpy"} <= {name for name, _ in pins}
    assert os.access(REPOSITORY / "scripts" / "submit.sh", os.X_OK)
