"""Each fault of a machine is found, named, and answered with what to type."""

from __future__ import annotations

import os
import tomllib
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from profiling_spark import doctor
from profiling_spark.doctor import Check
from profiling_spark.errors import EnvironmentProblem

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
    def test_wrong_version_of_a_script_that_answers(self, tmp_path: Path) -> None:
        fake_java(tmp_path, 'openjdk version "11.0.2" 2019-01-15')
        found = doctor.check_java(environ={"JAVA_HOME": str(tmp_path)}, run=doctor._output)
        assert_fails(found, "11.0.2", str(tmp_path), "17 or 21")
        assert found.fatal

    @pytest.mark.parametrize("version", ["17", "17.0.15", "21.0.3"])
    def test_right_version(self, tmp_path: Path, version: str) -> None:
        java = fake_java(tmp_path, "")
        found = doctor.check_java(
            environ={"JAVA_HOME": str(tmp_path)}, run=lambda c: f'version "{version}"' if c[0] == str(java) else ""
        )
        assert found == Check("java", True, f"{version} at {java}", "", True)

    @pytest.mark.parametrize("version", ["1.8.0_392", "170.1", "2.1"])
    def test_only_the_major_version_counts(self, tmp_path: Path, version: str) -> None:
        fake_java(tmp_path, "")
        found = doctor.check_java(environ={"JAVA_HOME": str(tmp_path)}, run=lambda _: f'version "{version}"')
        assert_fails(found, version)

    def test_release_file_spares_the_start(self, tmp_path: Path) -> None:
        fake_java(tmp_path, "", release="21.0.3")
        assert doctor.check_java(environ={"JAVA_HOME": str(tmp_path)}, run=no_run).ok

    def test_java_home_goes_before_path(self, tmp_path: Path) -> None:
        fake_java(tmp_path / "a", "", release="11.0.1")
        fake_java(tmp_path / "b", "", release="17.0.1")
        path = str(tmp_path / "b" / "bin")
        assert doctor.check_java(environ={"PATH": path}, run=no_run).ok
        environ = {"JAVA_HOME": str(tmp_path / "a"), "PATH": path}
        assert_fails(doctor.check_java(environ=environ, run=no_run), "11.0.1")

    def test_none(self, tmp_path: Path) -> None:
        assert_fails(doctor.check_java(environ={"PATH": str(tmp_path)}, run=no_run), "none")
        assert_fails(doctor.check_java(environ={"JAVA_HOME": str(tmp_path)}, run=no_run), str(tmp_path))

    def test_one_that_does_not_start(self, tmp_path: Path) -> None:
        fake_java(tmp_path, "Unable to locate a Java Runtime")
        found = doctor.check_java(environ={"JAVA_HOME": str(tmp_path)}, run=doctor._output)
        assert_fails(found, "does not start")


class TestJars:
    def test_both_there(self, tmp_path: Path) -> None:
        assert doctor.check_jars(fake_jars(tmp_path), version_of=versions()).ok

    def test_addresses_as_the_session_gives_them(self, tmp_path: Path) -> None:
        folder = tmp_path / "with blank"
        folder.mkdir()
        jars = [Path(jar.as_uri()) for jar in fake_jars(folder)]
        assert doctor.check_jars(jars, version_of=versions()).ok

    def test_one_missing(self, tmp_path: Path) -> None:
        found = doctor.check_jars(fake_jars(tmp_path)[:1], version_of=versions())
        assert_fails(found, "delta-storage: absent")
        assert "delta-spark: absent" not in found.found

    def test_other_version_than_the_python_package(self, tmp_path: Path) -> None:
        found = doctor.check_jars(fake_jars(tmp_path, storage="4.4.1"), version_of=versions())
        assert_fails(found, "delta-storage-4.4.1.jar is not version 4.4.0")

    def test_other_spark(self, tmp_path: Path) -> None:
        found = doctor.check_jars(fake_jars(tmp_path, spark="4.1"), version_of=versions())
        assert_fails(found, "not built for Spark 4.2")

    def test_half_a_download(self, tmp_path: Path) -> None:
        jars = fake_jars(tmp_path)
        jars[0].write_bytes(jars[0].read_bytes()[:50])
        assert_fails(doctor.check_jars(jars, version_of=versions()), jars[0].name, "damaged")

    def test_folder_from_the_environment(self, tmp_path: Path) -> None:
        fake_jars(tmp_path)
        checks = doctor.examine(
            storage_root=str(tmp_path), environ={"PROFILING_SPARK_JARS": str(tmp_path)}, version_of=versions()
        )
        assert {c.name: c.ok for c in checks}["delta jars"]


class TestPackages:
    def test_requirements_are_those_of_pyproject(self) -> None:
        text = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
        declared = set(tomllib.loads(text)["project"]["dependencies"])
        assert {package + wanted for package, wanted in doctor.REQUIREMENTS.items()} <= declared

    def test_this_environment_is_right(self) -> None:
        assert all(c.ok for c in doctor.check_packages(version_of=doctor.installed_version))

    @pytest.mark.parametrize(
        ("package", "version"), [("pyspark", "4.1.1"), ("delta_spark", "4.4.1"), ("pandas", "3.0.0"), ("polars", None)]
    )
    def test_one_off(self, package: str, version: str | None) -> None:
        (found,) = doctor.check_packages(version_of=versions(**{package: version}))
        assert_fails(found, package.replace("_", "-"), version or "none")
        assert found.found.count("needed") == 1

    @pytest.mark.parametrize(
        ("version", "wanted", "expected"),
        [
            ("2.10.0", ">=2.2,<3", True),
            ("2.1.9", ">=2.2,<3", False),
            ("3", ">=2.2,<3", False),
            ("3.0.0", ">=2.2,<3", False),
            ("4.2.0", "==4.2", True),
            ("4.2.0.dev1", "==4.2.0", True),
        ],
    )
    def test_ranges(self, version: str, wanted: str, expected: bool) -> None:
        assert doctor.satisfies(version, wanted) is expected

    def test_absent_package(self) -> None:
        assert doctor.installed_version("no_such_package_at_all") is None


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
        assert found.fatal

    def test_unwritable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # root may write everywhere, so the answer of the system is replaced
        monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
        (found,) = doctor.check_storage(str(tmp_path / "lake"))
        assert_fails(found, "may not be written", str(tmp_path))
        assert found.fatal

    @pytest.mark.parametrize(
        ("root", "ok", "text"),
        [
            ("hdfs://n/lake", True, "atomic rename"),
            ("abfss://c@a/lake", True, "atomic rename"),
            ("s3a://b/lake", False, "one Spark driver"),
            ("gopher://b/lake", False, "no known guarantee"),
        ],
    )
    def test_other_schemes_warn_but_do_not_stop(self, root: str, ok: bool, text: str) -> None:
        (found,) = doctor.check_storage(root)
        assert (found.ok, text in found.found) == (ok, True)
        doctor.require([Check("x", found.ok, found.found, found.remedy, found.fatal)])

    def test_innermost_mount_decides(self, tmp_path: Path) -> None:
        mounts = tmp_path / "mounts"
        mounts.write_text(f"a / ext4 rw 0 0\nb {tmp_path} nfs4 rw 0 0\nc /other xfs rw 0 0\n", encoding="utf-8")
        assert doctor.file_system(tmp_path / "lake", mounts) == "nfs4"
        assert doctor.file_system(Path("/else"), mounts) == "ext4"
        assert doctor.file_system(tmp_path, tmp_path / "absent") == ""

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

    def test_limit_of_a_container(self, tmp_path: Path) -> None:
        (tmp_path / "meminfo").write_text("MemTotal: 8000 kB\nMemAvailable: 7000 kB\nHugePages_Total: 0\n")
        assert doctor.memory(tmp_path, tmp_path) == (8000 * 1024, 7000 * 1024)
        (tmp_path / "memory.max").write_text("4096000\n")
        (tmp_path / "memory.current").write_text("1096000\n")
        assert doctor.memory(tmp_path, tmp_path) == (4096000, 3000000)
        (tmp_path / "memory.max").write_text("max\n")
        assert doctor.memory(tmp_path, tmp_path) == (8000 * 1024, 7000 * 1024)


def test_require_names_every_fatal_fault_and_no_warning() -> None:
    checks = [
        Check("a", True, "fine", "", True),
        Check("b", False, "broken", "mend b", True),
        Check("c", False, "so so", "mend c", False),
        Check("d", False, "gone", "mend d", True),
    ]
    with pytest.raises(EnvironmentProblem) as error:
        doctor.require(checks)
    text = str(error.value)
    assert [word for word in ("fine", "mend b", "mend c", "mend d") if word in text] == ["mend b", "mend d"]
    doctor.require(checks[::2])


def test_render_is_one_line_a_check() -> None:
    checks = [
        Check("java", True, "17.0.15 at /x", "", True),
        Check("disk", False, "1 GiB free", "free some", False),
        Check("packages", False, "pandas 3", "pip install it", True),
    ]
    assert doctor.render(checks).splitlines() == [
        "ok    java         17.0.15 at /x",
        "warn  disk         1 GiB free   -> free some",
        "FAIL  packages     pandas 3   -> pip install it",
    ]
