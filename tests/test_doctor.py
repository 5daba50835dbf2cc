"""Each fault of a machine is found, named, and answered with what to type."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from profiling_spark import doctor
from profiling_spark.cli.main import main
from profiling_spark.doctor import Check
from profiling_spark.errors import EnvironmentProblem
from profiling_spark.launch import packages

PINNED = {
    "pyspark": "4.2.0",
    "delta-spark": "4.4.0",
    "pandas": "2.3.3",
    "pyarrow": "26.0.1",
    "polars": "2.1.0",
    "numpy": "2.4.6",
}


def versions(**changed: str | None) -> Callable[[str], str | None]:
    have: dict[str, str | None] = {**PINNED, **{k.replace("_", "-"): v for k, v in changed.items()}}
    return have.get


def no_run(command: Sequence[str]) -> str:
    raise AssertionError(f"not to be run: {command}")


def fake_java(home: Path, banner: str, *, release: str = "") -> Path:
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho '{banner}' >&2\n", encoding="utf-8")
    java.chmod(0o755)
    if release:
        (home / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{release}"\n', encoding="utf-8")
    return java


def fake_jars(folder: Path, delta: str = "4.4.0", storage: str = "4.4.0", spark: str = "4.2") -> list[Path]:
    jars = [folder / f"delta-spark_{spark}_2.13-{delta}.jar", folder / f"delta-storage-{storage}.jar"]
    for jar in jars:
        with zipfile.ZipFile(jar, "w") as archive:
            archive.writestr("a", "b")
    return jars


def assert_fails(check: Check, *texts: str) -> None:
    assert not check.ok
    assert check.remedy
    for text in texts:
        assert text in check.found


class TestJava:
    """Which one is taken is told by tests/submit/test_java.py."""

    def environ(self, tmp_path: Path) -> dict[str, str]:
        return {"JAVA_HOME": str(tmp_path), "PATH": "", "PROFILING_SPARK_JAVA_FOLDERS": ""}

    def test_right_version(self, tmp_path: Path) -> None:
        fake_java(tmp_path, "", release="21.0.3")
        found = doctor.check_java(environ=self.environ(tmp_path), run=no_run)
        assert found == Check("java", True, f"21.0.3 at {tmp_path}", "", True)

    def test_wrong_version(self, tmp_path: Path) -> None:
        fake_java(tmp_path, 'openjdk version "11.0.2" 2019-01-15')
        found = doctor.check_java(environ=self.environ(tmp_path))
        assert_fails(found, "no Java 17 or 21", f"11.0.2 at {tmp_path}")
        assert found.fatal

    def test_the_one_passed_over_is_reported(self, tmp_path: Path) -> None:
        fake_java(tmp_path / "a", "", release="11.0.1")
        fake_java(tmp_path / "jvm" / "b", "", release="17.0.1")
        environ = {**self.environ(tmp_path / "a"), "PROFILING_SPARK_JAVA_FOLDERS": str(tmp_path / "jvm")}
        found = doctor.check_java(environ=environ, run=no_run)
        expected = f"17.0.1 at {tmp_path / 'jvm' / 'b'}; passed over: 11.0.1 at {tmp_path / 'a'}"
        assert (found.ok, found.found) == (True, expected)

    def test_under_spark_submit_it_runs_already(self) -> None:
        checks = doctor.examine(storage_root=None, environ={"PYSPARK_GATEWAY_PORT": "1", "PATH": ""})
        assert [c.found for c in checks[:2]] == ["started by spark-submit", "given to spark-submit"]


def check_jars(jars: Sequence[Path], **changed: str | None) -> Check:
    return doctor.check_jars(jars, environ={}, version_of=versions(**changed))


class TestJars:
    def test_both_there(self, tmp_path: Path) -> None:
        assert check_jars(fake_jars(tmp_path)).ok

    def test_addresses_as_the_session_gives_them(self, tmp_path: Path) -> None:
        folder = tmp_path / "with blank"
        folder.mkdir()
        assert check_jars([Path(jar.as_uri()) for jar in fake_jars(folder)]).ok

    def test_one_missing(self, tmp_path: Path) -> None:
        found = check_jars(fake_jars(tmp_path)[:1])
        assert_fails(found, "delta-storage-4.4.0.jar is absent")
        assert "delta-spark" not in found.found

    def test_other_version_than_the_python_package(self, tmp_path: Path) -> None:
        found = check_jars(fake_jars(tmp_path, storage="4.4.1"))
        assert_fails(found, "delta-storage-4.4.0.jar is needed, found delta-storage-4.4.1.jar")

    def test_other_spark(self, tmp_path: Path) -> None:
        found = check_jars(fake_jars(tmp_path, spark="4.1"))
        assert_fails(found, "delta-spark_4.2_2.13-4.4.0.jar is needed, found delta-spark_4.1_2.13-4.4.0.jar")

    def test_two_versions(self, tmp_path: Path) -> None:
        jars = fake_jars(tmp_path) + fake_jars(tmp_path, delta="4.4.1")[:1]
        assert_fails(check_jars(jars), "4.4.0.jar, delta-spark_4.2_2.13-4.4.1.jar")

    def test_half_a_download(self, tmp_path: Path) -> None:
        jars = fake_jars(tmp_path)
        jars[0].write_bytes(jars[0].read_bytes()[:50])
        found = check_jars(jars)
        assert_fails(found, jars[0].name, "damaged")
        assert found.remedy.startswith(f"rm -f {jars[0]}; ")

    def test_folder_from_the_environment(self, tmp_path: Path) -> None:
        environ = {"PROFILING_SPARK_JARS": str(tmp_path)}
        found = doctor.check_jars(None, environ=environ, version_of=versions())
        assert_fails(found, "absent")
        assert found.remedy.startswith("unset PROFILING_SPARK_JARS; ")
        fake_jars(tmp_path)
        assert doctor.check_jars(None, environ=environ, version_of=versions()).ok

    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Where a clone has its jars; nothing is there."""
        monkeypatch.setattr(doctor.jars, "project_folder", lambda: tmp_path)
        monkeypatch.delenv("PROFILING_SPARK_JARS", raising=False)
        monkeypatch.delenv("PROFILING_SPARK_NO_INSTALL", raising=False)
        (tmp_path / ".jars").mkdir()
        return tmp_path / ".jars"

    def test_absent_ones_that_a_run_fetches_are_a_warning(self, folder: Path) -> None:
        jar = fake_jars(folder)[1]
        jar.unlink()
        found = doctor.check_jars(None, environ={}, version_of=versions())
        assert not found.fatal
        assert_fails(found, f"{jar.name} not in {folder} yet: the first run fetches", "10 MB", "by hand")
        assert "delta-spark" not in found.found
        doctor.require([found])

    def test_what_a_run_would_not_mend_stops_it(self, folder: Path) -> None:
        jars = fake_jars(folder)
        jars[0].write_bytes(b"half a jar")
        jars[1].unlink()
        assert doctor.check_jars(None, environ={}, version_of=versions()).fatal

    def test_exit_code(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["doctor"]) == 0
        assert "warn delta jars" in capsys.readouterr().out
        monkeypatch.setenv("PROFILING_SPARK_NO_INSTALL", "1")
        assert main(["doctor"]) == 3
        assert "FAIL delta jars" in capsys.readouterr().out


class TestPackages:
    def test_declared_are_the_ordinary_ones_and_spark(self, monkeypatch: pytest.MonkeyPatch) -> None:
        names = {r.name for r in doctor.requirements()}
        assert {"pyspark", "delta-spark", "polars", "pydantic", "psutil"} <= names
        assert "pytest" not in names
        monkeypatch.setattr(doctor, "project_folder", lambda: None)
        declared = ["click>=8", "pyspark==4.2.0; extra == 'spark'", "pytest; extra == 'dev'"]
        monkeypatch.setattr(doctor.metadata, "requires", lambda name: declared)
        assert [r.name for r in doctor.requirements()] == ["click", "pyspark"]

    def test_this_environment_is_right(self) -> None:
        assert doctor.check_packages().ok

    @pytest.mark.parametrize(
        ("package", "version"), [("pyspark", "4.1.1"), ("delta-spark", "4.4.1"), ("pandas", "3.0.0"), ("polars", None)]
    )
    def test_one_off(self, package: str, version: str | None) -> None:
        found = doctor.check_packages(
            version_of=lambda name: version if name == package else packages.installed_version(name)
        )
        assert_fails(found, package, version or "none")
        assert found.found.count("needed") == 1

    def test_pre_release_of_the_version_is_before_it(self) -> None:
        found = doctor.check_packages(
            version_of=lambda name: "4.2.0.dev1" if name == "pyspark" else packages.installed_version(name)
        )
        assert_fails(found, "pyspark==4.2.0 needed, found 4.2.0.dev1")

    def test_absent_package(self) -> None:
        assert packages.installed_version("no_such_package_at_all") is None

    def test_what_to_type_after_pip(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(packages, "project_folder", lambda: None)
        words = shlex.split(packages.install_command())
        assert words == [sys.executable, "-m", "pip", "install", "profiling-spark[spark]"]


def test_needs_no_other_package() -> None:
    """In an environment without any package the doctor says what to type, in place of a stack trace."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(doctor.__file__).parents[1])!r})\n"
        "from profiling_spark.doctor import examine, require\n"
        "require(examine(storage_root='lake', environ={'PATH': ''}))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert "EnvironmentProblem: this machine is not ready:" in done.stderr
    assert "FAIL  packages     packaging is absent   -> " in done.stderr


class TestStorage:
    def test_new_folder_can_be_made_and_is_not_made(self, tmp_path: Path) -> None:
        root = tmp_path / "new" / "lake"
        assert doctor.check_storage(str(root))[0].ok
        assert list(tmp_path.iterdir()) == []

    def test_file_address(self, tmp_path: Path) -> None:
        assert str(tmp_path) in doctor.check_storage(f"file://{tmp_path}")[0].found

    def test_relative_path_is_shown_whole(self) -> None:
        assert str(Path.cwd() / "lake") in doctor.check_storage("lake")[0].found

    def test_path_through_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x", encoding="utf-8")
        (found,) = doctor.check_storage(str(tmp_path / "file" / "lake"))
        assert_fails(found, str(tmp_path / "file"), "not a folder")
        assert (found.fatal, found.remedy) == (True, "--set storage.root=/var/tmp/profiling_spark_lake")

    def test_unwritable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # root may write everywhere, so the answer of the system is replaced
        monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
        lake = str(tmp_path / "a lake")
        (found,) = doctor.check_storage(lake)
        assert_fails(found, "may not be written", str(tmp_path))
        assert (found.fatal, found.remedy) == (True, f"sudo mkdir -p '{lake}' && sudo chown \"$USER\" '{lake}'")

    @pytest.mark.parametrize(
        ("root", "ok", "text"),
        [
            ("hdfs://n/lake", True, "atomic rename"),
            ("abfss://c@a/lake", True, "atomic rename"),
            ("s3a://b/lake", False, "one job at a time"),
            ("gopher://b/lake", False, "no known guarantee"),
        ],
    )
    def test_other_schemes_warn_but_do_not_stop(self, root: str, ok: bool, text: str) -> None:
        (found,) = doctor.check_storage(root)
        assert (found.ok, text in found.found) == (ok, True)
        doctor.require([Check("x", found.ok, found.found, found.remedy, found.fatal)])

    def test_innermost_and_latest_mount_decides(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        mounts = [("/", "ext4"), (str(tmp_path), "xfs"), (str(tmp_path), "nfs4"), ("/other", "xfs")]
        made = [SimpleNamespace(mountpoint=point, fstype=kind) for point, kind in mounts]
        monkeypatch.setattr(psutil, "disk_partitions", lambda all: made)
        assert doctor.file_system(tmp_path / "lake") == "nfs4"
        assert doctor.file_system(Path("/else")) == "ext4"
        monkeypatch.setattr(psutil, "disk_partitions", lambda all: [])
        assert doctor.file_system(tmp_path) == ""

    def test_network_disk_warns(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor, "file_system", lambda path: "nfs4")
        found = doctor.check_storage(str(tmp_path))[0]
        assert_fails(found, "nfs4")
        assert not found.fatal


class TestMemory:
    @pytest.mark.parametrize(("available", "ok"), [(5.0, True), (3.9, False)])
    def test_four_gib(self, available: float, ok: bool) -> None:
        found = doctor.check_memory(8 * 1024**3, int(available * 1024**3))
        assert (found.ok, found.fatal) == (ok, False)

    def test_limit_of_a_container(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        machine = SimpleNamespace(total=8_000_000, available=7_000_000)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: machine)
        assert doctor.memory(tmp_path) == (8_000_000, 7_000_000)
        (tmp_path / "memory.max").write_text("4000000\n")
        (tmp_path / "memory.current").write_text("1000000\n")
        assert doctor.memory(tmp_path) == (4_000_000, 3_000_000)
        (tmp_path / "memory.max").write_text("max\n")
        assert doctor.memory(tmp_path) == (8_000_000, 7_000_000)


def test_require_names_every_fatal_fault_in_a_line_and_no_warning() -> None:
    checks = [
        Check("java", True, "17.0.15 at /x", "", True),
        Check("storage", False, "/x is not a folder", "mend it", True),
        Check("disk", False, "1 GiB free", "free some", False),
        Check("packages", False, "pandas 3", "pip install it", True),
    ]
    with pytest.raises(EnvironmentProblem) as error:
        doctor.require(checks)
    assert str(error.value).splitlines() == [
        "this machine is not ready:",
        "  FAIL  storage      /x is not a folder   -> mend it",
        "  FAIL  packages     pandas 3   -> pip install it",
    ]
    doctor.require(checks[::2])
