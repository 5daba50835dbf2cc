"""Where the Delta jars lie, and that they are fetched once, whole, and only where that is allowed."""

from __future__ import annotations

import sys
import threading
import tomllib
from pathlib import Path

import pytest
from fakes import JARS, REPOSITORY, ivy, jars_in, java_home

from profiling_spark.errors import EnvironmentProblem
from profiling_spark.launch import jars
from profiling_spark.launch.java import Java


@pytest.fixture
def java(tmp_path: Path) -> Java:
    """A Java that plays Ivy, of a repository with both jars."""
    home = java_home(tmp_path / "jdk 17", "17.0.9")
    ivy(home, jars_in(tmp_path / "repository"))
    return Java(home, "17.0.9")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of someone who installed the package by pip."""
    monkeypatch.setattr(jars, "project_folder", lambda: None)
    monkeypatch.setattr(sys, "platform", "linux")
    return {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "my cache"), "PATH": "/usr/bin:/bin"}


def test_names_follow_the_installed_versions() -> None:
    assert jars.jar_names() == JARS
    assert jars.jar_names("4.4.1", "4.3.2") == ("delta-spark_4.3_2.13-4.4.1.jar", "delta-storage-4.4.1.jar")


def test_versions_are_those_of_pyproject() -> None:
    declared = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(declared["optional-dependencies"]["spark"]) == {
        f"pyspark=={jars.SPARK_VERSION}",
        f"delta-spark=={jars.DELTA_VERSION}",
    }


def test_folder(tmp_path: Path, cache: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert jars.jars_folder(cache) == tmp_path / "my cache" / "profiling_spark" / "jars-4.4.0"
    assert jars.jars_folder({"HOME": "/h"}) == Path("/h/.cache/profiling_spark/jars-4.4.0")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert jars.jars_folder(cache) == tmp_path / "Library" / "Caches" / "profiling_spark" / "jars-4.4.0"
    monkeypatch.setattr(jars, "project_folder", lambda: tmp_path / "clone")
    assert jars.jars_folder(cache) == tmp_path / "clone" / ".jars"
    assert jars.jars_folder({**cache, "PROFILING_SPARK_JARS": "own"}) == Path.cwd() / "own"


def test_fetched_once_and_only_whole_ones_stay(java: Java, cache: dict[str, str]) -> None:
    messages: list[str] = []
    folder = jars.ensure_jars(cache, java=java, say=messages.append)
    assert messages == [f"Fetching the Delta 4.4.0 jars (once; 10 MB) to {folder} ..."]
    assert sorted(p.name for p in folder.iterdir()) == sorted(JARS)
    jars.ensure_jars({**cache, "PROFILING_SPARK_NO_INSTALL": "1"}, java=java, say=messages.append)
    assert len(messages) == 1


def test_two_at_once_fetch_once(java: Java, cache: dict[str, str]) -> None:
    threads = [
        threading.Thread(target=jars.ensure_jars, args=(cache,), kwargs={"java": java, "say": str}) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted((java.home / "asked").read_text().splitlines()) == sorted(JARS)  # each once


def test_half_a_download(tmp_path: Path, java: Java, cache: dict[str, str]) -> None:
    whole = tmp_path / "repository" / JARS[0]
    whole.write_bytes(whole.read_bytes()[:30])
    with pytest.raises(EnvironmentProblem) as error:
        jars.ensure_jars(cache, java=java, say=str)
    text = str(error.value)
    assert text.startswith("io.delta:delta-spark_4.2_2.13:4.4.0 could not be fetched")
    assert f"in {jars.jars_folder(cache)} by hand" in text
    assert list(jars.jars_folder(cache).iterdir()) == []


@pytest.mark.parametrize("name", ["PROFILING_SPARK_JARS", "PROFILING_SPARK_NO_INSTALL"])
def test_not_fetched_where_the_user_says_so(tmp_path: Path, java: Java, cache: dict[str, str], name: str) -> None:
    value = "1" if name.endswith("INSTALL") else str(tmp_path / "own")
    with pytest.raises(EnvironmentProblem, match="at least one is not there") as error:
        jars.ensure_jars({**cache, name: value}, java=java, say=str)
    assert JARS[1] in str(error.value)
    assert not (java.home / "asked").exists()
