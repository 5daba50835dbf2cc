"""Which Java is taken, which are passed over, and what a user without one is told."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from fakes import java_home, script

from profiling_spark.errors import EnvironmentProblem
from profiling_spark.launch.java import output, remedy, search


def never(command: Sequence[str]) -> str:
    raise AssertionError(f"not to be run: {command}")


def environ(tmp_path: Path, **changed: str) -> dict[str, str]:
    return {"PATH": str(tmp_path / "bin"), "PROFILING_SPARK_JAVA_FOLDERS": str(tmp_path / "jvm"), **changed}


@pytest.mark.parametrize("version", ["17", "17.0.15", "21.0.3"])
def test_release_file_spares_the_start(tmp_path: Path, version: str) -> None:
    home = java_home(tmp_path / "jdk 17", version)
    found = search(environ(tmp_path, JAVA_HOME=str(home)), never)
    assert (found.required().home, found.required().version, found.note) == (home, version, "")


@pytest.mark.parametrize("version", ["1.8.0_392", "11.0.2", "170.1", "2.1"])
def test_only_the_major_version_counts(tmp_path: Path, version: str) -> None:
    home = java_home(tmp_path / "jdk", version, release=False)
    found = search(environ(tmp_path, JAVA_HOME=str(home)), output)
    assert (found.java, found.passed_over) == (None, [f"{version} at {home}"])


def test_one_that_does_not_start(tmp_path: Path) -> None:
    script(tmp_path / "jdk" / "bin" / "java", "#!/bin/sh\nexit 1\n")
    found = search(environ(tmp_path, JAVA_HOME=str(tmp_path / "jdk")))
    assert found.passed_over == [f"a Java that does not start at {tmp_path / 'jdk'}"]


def test_java_home_then_path_then_folders(tmp_path: Path) -> None:
    in_folder = java_home(tmp_path / "jvm" / "x", "21.0.1")
    assert search(environ(tmp_path), never).required().home == in_folder
    on_path = java_home(tmp_path / "jdk 17", "17.0.9")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(on_path / "bin" / "java")
    assert search(environ(tmp_path), never).required().home == on_path
    named = java_home(tmp_path / "named", "17.0.9")
    assert search(environ(tmp_path, JAVA_HOME=str(named)), never).required().home == named


def test_shim_on_path_is_asked_for_its_home(tmp_path: Path) -> None:
    home = java_home(tmp_path / "jdk", "21.0.2")
    script(tmp_path / "bin" / "java", f"#!/bin/sh\necho '    java.home = {home}' >&2\n")
    assert search(environ(tmp_path)).required().home == home


def test_wrong_one_is_passed_over_with_a_note(tmp_path: Path) -> None:
    wrong, right = java_home(tmp_path / "jdk 11", "11.0.2"), java_home(tmp_path / "jvm" / "x", "21.0.1")
    found = search(environ(tmp_path, JAVA_HOME=str(wrong)))
    assert found.note == f"note: Spark needs Java 17 or 21; passed over: 11.0.2 at {wrong}. Running on {right}"


def test_cut_down_one_is_passed_over(tmp_path: Path) -> None:
    java_home(tmp_path / "jvm" / "17-cut", "17.0.1", modules="java.base")
    whole = java_home(tmp_path / "jvm" / "other", "17.0.2")
    found = search(environ(tmp_path))
    assert found.required().home == whole
    assert "lacks the module jdk.incubator.vector" in found.passed_over[0]
    assert found.note == ""  # nobody asked for that one


def test_home_inside_a_bundle_of_macos(tmp_path: Path) -> None:
    home = java_home(tmp_path / "jvm" / "zulu-17.jdk" / "Contents" / "Home", "17.0.2")
    assert search(environ(tmp_path)).required().home == home


def test_none(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match=r"needed; found: none at /nowhere\. Type: "):
        search(environ(tmp_path, JAVA_HOME="/nowhere")).required()
    with pytest.raises(EnvironmentProblem, match="found: none") as error:
        search(environ(tmp_path)).required()
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("tool", "text"),
    [("dnf", "dnf install -y java-21"), ("brew", "brew install openjdk@17"), ("x", "export JAVA_HOME=")],
)
def test_remedy_is_for_this_machine(tmp_path: Path, tool: str, text: str) -> None:
    script(tmp_path / "bin" / tool, "")
    assert text in remedy(environ(tmp_path), tmp_path / "absent")


@pytest.mark.parametrize(("debian", "java"), [("12.5", 17), ("bookworm/sid", 17), ("13.1", 21)])
def test_remedy_for_debian(tmp_path: Path, debian: str, java: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "version").write_text(f"{debian}\n")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    expected = f"sudo apt-get update && sudo apt-get install -y openjdk-{java}-jre-headless"
    assert remedy({}, tmp_path / "version") == expected
