"""The environment of a clone: made once, told before, begun anew when it was cut short; what scripts/ do around it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fakes import REPOSITORY, jars_in, java_home, script, tool_folder

from profiling_spark.launch import jars, setup

# Plays the machine's Python 3: `-m venv` makes an environment whose python is this file, its pip notes what it is
# asked for; the modules of launch/ run in the real Python, which takes this file for its own
PYTHON = """#!/usr/bin/env bash
if [[ $1 == -c ]]; then exit 0; fi
case "$1 $2" in
    "-m venv") echo "venv $3" >>"$LOG"; mkdir -p "$3/bin" && cat "$0" >"$3/bin/python" && {chmod} +x "$3/bin/python" ;;
    "-m pip")
        [[ $3 == install && $4 != --no-deps ]] || exit 0  # which is pyspark, beside the others
        what="$*"; what="${{what#*--no-compile }}"
        echo "pip ${{what%% -c *}}" >>"$LOG"; {sleep} 0.2; exit "${{PIP_EXIT:-0}}" ;;
    "-m profiling_spark.launch.environment")
        exec "{python}" -c "import sys; sys.executable = '$0'; sys.argv[1:] = '${{*:3}}'.split()
from profiling_spark.launch.environment import main; sys.exit(main())" ;;
    "-m profiling_spark.launch.setup") shift 2; echo jars >>"$LOG.jars"; echo "seen to Java and jars $*" ;;
    *) echo "run $*"; echo "PYTHONPATH=$PYTHONPATH" ;;
esac
"""
# the clone and its packages beside pyspark, then what pyspark lacks
MADE = ("pip -e .", f"pip pyspark=={jars.SPARK_VERSION} delta-spark=={jars.DELTA_VERSION}")


@dataclass
class Clone:
    root: Path
    environ: dict[str, str] = field(default_factory=dict)

    def start(self, name: str, *args: str, **environ: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.root / "scripts" / name), *args],
            cwd=self.root.parent,
            env={**self.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, name: str, *args: str, **environ: str) -> tuple[int, str, str]:
        process = self.start(name, *args, **environ)
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err

    def calls(self) -> list[str]:
        """What Python was asked for since the last time."""
        log = Path(self.environ["LOG"])
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """The project in a folder with blanks, on a machine with Java and Python and nothing else."""
    root = tmp_path / "a clone" / "main"
    for folder in ("scripts", "conf", "profiling_spark/launch"):
        shutil.copytree(REPOSITORY / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "constraints.txt", "profiling_spark/__init__.py"):
        shutil.copy(REPOSITORY / name, root / name)
    for name in ("errors.py", "conf_files.py"):
        shutil.copy(REPOSITORY / "profiling_spark" / name, root / "profiling_spark" / name)
    tools = tool_folder(tmp_path / "tools")
    text = PYTHON.format(chmod=shutil.which("chmod"), sleep=shutil.which("sleep"), python=sys.executable)
    script(tools / "python3", text)
    return Clone(
        root,
        {
            "PATH": str(tools),
            "HOME": str(tmp_path),
            "LOG": str(tmp_path / "log"),
            "JAVA_HOME": str(java_home(tmp_path / "jdk 17", "17.0.9")),
            "PROFILING_SPARK_JAVA_FOLDERS": "",
        },
    )


class TestSetup:
    def test_made_once_and_told_before(self, clone: Clone) -> None:
        code, out, err = clone.run("setup.sh")
        venv = clone.root / ".venv"
        assert (code, out) == (0, "seen to Java and jars \n")
        assert err.startswith(f"This will make {venv} with 40 Python packages (1.2 GB) and fetch 2 Delta jars to ")
        assert clone.calls() == [f"venv {venv}", *MADE]
        (Path(clone.environ["PATH"]) / "python3").unlink()
        assert clone.run("setup.sh", PROFILING_SPARK_NO_INSTALL="1") == (0, "seen to Java and jars \n", "")
        assert clone.run("setup.sh", "--quick") == (0, "", "")
        assert clone.calls() == []

    def test_the_jars_are_fetched_beside_the_packages_and_seen_to_at_the_end(self, clone: Clone) -> None:
        log = Path(f"{clone.environ['LOG']}.jars")
        assert clone.run("setup.sh")[:2] == (0, "seen to Java and jars \n")
        deadline = time.monotonic() + 10
        while len(log.read_text().splitlines()) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert log.read_text().splitlines() == ["jars", "jars"]

    def test_changed_declaration_updates_it(self, clone: Clone) -> None:
        clone.run("setup.sh")
        clone.calls()
        with (clone.root / "constraints.txt").open("a") as file:
            file.write("more==1\n")
        assert "This will bring" in clone.run("setup.sh")[2]
        assert clone.calls() == ["pip -e .[spark]"]

    def test_cut_short_is_made_again(self, clone: Clone) -> None:
        code, _, err = clone.run("setup.sh", PIP_EXIT="1")
        assert (code, "error: pip could not install" in err) == (3, True)
        assert clone.calls() == [f"venv {clone.root / '.venv'}", "pip -e .", "pip -e .[spark]"]
        (clone.root / ".venv" / "rest").write_text("half", encoding="utf-8")
        clone.calls()
        assert clone.run("setup.sh")[0] == 0
        assert clone.calls() == [f"venv {clone.root / '.venv'}", *MADE]
        assert not (clone.root / ".venv" / "rest").exists()

    def test_tests_add_their_packages_and_later_updates_keep_them(self, clone: Clone) -> None:
        clone.run("setup.sh")
        clone.run("test.sh")
        assert "pip -e .[spark,dev]" in clone.calls()
        assert clone.run("setup.sh", "--quick") == (0, "", "")
        (clone.root / "constraints.txt").write_text("# none\n", encoding="utf-8")
        clone.run("setup.sh")
        assert clone.calls() == ["pip -e .[spark,dev]"]

    def test_environment_of_an_earlier_release_is_updated(self, clone: Clone) -> None:
        clone.run("setup.sh", "--dev")
        clone.calls()
        (clone.root / ".venv" / ".profiling_spark").write_text("4263838942 dev\n", encoding="utf-8")
        clone.run("setup.sh")
        assert clone.calls() == ["pip -e .[spark,dev]"]

    def test_two_at_once_make_one(self, clone: Clone) -> None:
        both = [clone.start("setup.sh") for _ in range(2)]
        assert [(p.communicate(timeout=30), p.returncode)[1] for p in both] == [0, 0]
        assert clone.calls() == [f"venv {clone.root / '.venv'}", *MADE]

    def test_foreign_environment_is_used_as_it_is(self, clone: Clone, tmp_path: Path) -> None:
        python = script(tmp_path / "an env" / "bin" / "python", PYTHON)
        named = {"PROFILING_SPARK_VENV": str(python.parent.parent)}
        assert clone.run("setup.sh", "--quick", **named) == (0, "", "")
        python.unlink()
        code, _, err = clone.run("setup.sh", **named)
        assert (code, "is no Python environment" in err, len(err.splitlines())) == (3, True, 1)
        assert clone.calls() == []

    def test_environment_of_another_clone_is_foreign(self, clone: Clone, tmp_path: Path) -> None:
        named = {"PROFILING_SPARK_VENV": str(tmp_path / "an env")}
        clone.run("setup.sh", **named)
        assert clone.calls() == [f"venv {tmp_path / 'an env'}", *MADE]
        clone.root.rename(tmp_path / "moved")
        moved = Clone(tmp_path / "moved", clone.environ)
        with (moved.root / "constraints.txt").open("a") as file:
            file.write("more==1\n")
        assert moved.run("setup.sh", "--dev", "--quick", **named) == (0, "", "")
        assert moved.calls() == []

    def test_forbidden(self, clone: Clone) -> None:
        code, _, err = clone.run("setup.sh", PROFILING_SPARK_NO_INSTALL="1")
        assert (code, len(err.splitlines())) == (3, 1)
        assert "PROFILING_SPARK_NO_INSTALL forbids" in err
        assert not (clone.root / ".venv").exists()

    def test_no_python(self, clone: Clone) -> None:
        python = Path(clone.environ["PATH"], "python3")
        python.unlink()  # root on Debian would call apt-get, which this PATH lacks
        code, _, err = clone.run("setup.sh")
        assert (code, len(err.splitlines())) == (3, 1)
        assert err.startswith("error: Python 3.11 or later is needed; found none. Debian, Ubuntu: sudo apt-get install")
        script(python, "#!/bin/sh\ncase $2 in *ensurepip*) exit 1 ;; esac\n")
        assert "cannot make environments (no ensurepip)" in clone.run("setup.sh")[2]

    def test_no_java_is_told_before_pip_begins(self, clone: Clone) -> None:
        code, _, err = clone.run("setup.sh", JAVA_HOME="")
        assert (code, len(err.splitlines())) == (3, 1)
        assert "Java 17 or 21 is needed; found: none" in err
        assert clone.calls() == []

    def test_wrong_option(self, clone: Clone) -> None:
        assert clone.run("setup.sh", "--devel")[0] == 2


class TestSubmit:
    def test_arguments_and_exit_code_pass_through(self, clone: Clone) -> None:
        clone.run("setup.sh")
        code, out, err = clone.run("submit.sh", "ingest", "--set", "a b=*", "", PYTHONPATH="/more")
        assert (code, err) == (0, "")
        assert out.splitlines() == [
            "run -m profiling_spark ingest --set a b=* ",
            f"PYTHONPATH={clone.root}:/more",
        ]
        script(clone.root / ".venv" / "bin" / "python", "#!/bin/sh\nexit 7\n")
        assert clone.run("submit.sh", "ingest")[0] == 7

    def test_makes_the_environment_first(self, clone: Clone) -> None:
        code, out, err = clone.run("submit.sh", "--help")
        assert (code, "run -m profiling_spark --help" in out) == (0, True)
        assert err.startswith("This will make")

    def test_adds_a_tenth_of_a_second_at_most(self, clone: Clone) -> None:
        clone.run("setup.sh")
        script(clone.root / ".venv" / "bin" / "python", "#!/bin/sh\n")

        def seconds() -> float:
            begin = time.perf_counter()
            clone.run("submit.sh")
            return time.perf_counter() - begin

        assert min(seconds() for _ in range(10)) < 0.1


class TestJava:
    @pytest.fixture
    def apt(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A Debian on which root finds Java 21, not 17; returns the log of apt-get."""
        tools = tool_folder(tmp_path / "tools")
        java_home(tmp_path / "stock", "21.0.5")
        jars = jars_in(tmp_path / "jars")
        script(
            tools / "apt-get",
            f'#!/usr/bin/env bash\necho "$@" >>"{tmp_path}/apt.log"\ncase "$*" in *jdk-17*) echo no 17; exit 100 ;;\n'
            f'*jdk-21*) "{shutil.which("mv")}" "{tmp_path}/stock" "{tmp_path}/jvm" ;; esac\n',
        )
        monkeypatch.setattr(setup, "_DEBIAN", tmp_path)
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        for name, value in {"PATH": tools, "PROFILING_SPARK_JAVA_FOLDERS": tmp_path / "jvm"}.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.setenv("PROFILING_SPARK_JARS", str(jars))
        monkeypatch.delenv("JAVA_HOME", raising=False)
        return tmp_path / "apt.log"

    def test_installed_by_root_with_apt(
        self, apt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(setup, "MANUALS", tmp_path / "man")
        assert setup.main(["--exports"]) == 0
        printed = capsys.readouterr()
        assert f"export JAVA_HOME={tmp_path / 'jvm'}\n" in printed.out
        assert printed.err.startswith(
            "This will install openjdk-17-jre-headless with apt-get (Java 17 or 21 was not found)"
        )
        assert [line.split()[-1] for line in apt.read_text().splitlines()] == [
            "-qq",
            "openjdk-17-jre-headless",
            "openjdk-21-jre-headless",
        ]

    def test_not_installed_by_others(
        self, apt: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        assert setup.main([]) == 3
        assert "install -y openjdk-" in capsys.readouterr().err
        assert not apt.exists()


def test_constraints_pin_every_declared_package() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    pins = [line.split("==") for line in lines[1:]]
    assert all(len(pin) == 2 for pin in pins)
    assert {"pyspark", "delta_spark", "pandas", "polars", "pyarrow", "numpy"} <= {name for name, _ in pins}
    assert all(os.access(path, os.X_OK) for path in (REPOSITORY / "scripts").iterdir())
