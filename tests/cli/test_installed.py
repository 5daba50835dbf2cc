"""The package as users get it: a wheel in an environment of its own, an empty folder, a Spark from elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SPARK_PACKAGES = ("pyspark", "py4j")
SMALL = ("--customers", "60", "--days", "60")

pytestmark = pytest.mark.slow


class Installed:
    """`bin/` of an environment with the wheel, and its other packages taken from the environment of the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        # a wheel is made of the files of a clone alone, without what lies beside them
        clone = folder / "clone"
        shutil.copytree(
            PROJECT, clone, ignore=shutil.ignore_patterns(".*", "lake*", "demo_data*", "__pycache__", "build")
        )
        subprocess.run(
            [*pip, "wheel", "--no-deps", "-w", str(folder), str(clone)], check=True, timeout=300, env=environ()
        )
        self.wheel = next(folder.glob("*.whl"))
        self.clone = clone

    def environment(self, name: str, *, without: tuple[str, ...] = ()) -> Path:
        """A new environment; `without` these packages."""
        place = self.folder / name
        venv.create(place, with_pip=False, symlinks=True)
        own = next((place / "lib").glob("python3*")) / "site-packages"
        pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "--disable-pip-version-check"]
        install = [*pip, "install", "--quiet", "--no-deps", "--no-compile", str(self.wheel)]
        subprocess.run(install, check=True, timeout=300, env=environ())
        for entry in Path(pytest.__file__).parents[1].iterdir():
            hidden = (*without, "profiling_spark", "__editable__", "_editable_impl", "__pycache__")
            if not entry.name.startswith(hidden) and entry.suffix != ".pth" and not (own / entry.name).exists():
                (own / entry.name).symlink_to(entry)
        return place


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    return Installed(tmp_path_factory.mktemp("installed"))


def environ(**more: str) -> dict[str, str]:
    """Without what the tests' own session has set, and without the clone on Python's path."""
    dropped = ("PYTHONPATH", "PYSPARK_SUBMIT_ARGS", "PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON", "SPARK_HOME")
    return {
        k: v for k, v in os.environ.items() if k not in dropped and not k.startswith("PROFILING_SPARK_MASTER")
    } | more


def run(command: list[str], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=environ(**more), capture_output=True, text=True, timeout=400, check=False
    )


def test_the_demo_runs_from_a_wheel_in_an_empty_folder(installed, spark, tmp_path):
    place = installed.environment("with spark")
    command = str(place / "bin" / "profiling-spark")
    found = run([command, "doctor"], tmp_path)
    assert (found.returncode, "FAIL" in found.stdout) == (0, False), found.stdout + found.stderr
    done = run([command, "demo", *SMALL, "--log", "run.log"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Planted and found" in done.stdout
    assert done.stdout.count("found exactly as planted") == 5
    assert "WARN" not in done.stderr
    profiles = spark.read.format("delta").load(str(tmp_path / "lake_demo" / "user_profile"))
    assert profiles.count() > 30
    names = [line.split()[0] for line in done.stderr.splitlines() if line.split()[1:2] in (["done"], ["skipped"])]
    assert names == ["ingest", "build_features", "segment_users", "score_users", "recommend_items", "build_profiles"]

    lines = [json.loads(line) for line in (tmp_path / "run.log").read_text(encoding="utf-8").splitlines()]
    assert {line["run_id"] for line in lines} == {lines[0]["run_id"]}
    assert [line["stage"] for line in lines if line["event"].startswith("stage ended")] == names
    people = [row["user_id"] for row in profiles.select("user_id").collect()]
    assert not [person for person in people if any(person in str(line) for line in lines)]

    # the same command by the clone's script, on the lake that is there now
    script = [str(installed.clone / "scripts" / "submit.sh"), "build_features", "--json", "--quiet"]
    again = run(
        [*script, "--config", str(installed.clone / "conf" / "demo.yaml")], tmp_path, PROFILING_SPARK_VENV=str(place)
    )
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["stages"]["build_features"]["rows_out"] > 30


def test_a_job_runs_under_spark_submit_of_a_spark_from_elsewhere(installed, spark, tmp_path):
    place = installed.environment("without spark", without=SPARK_PACKAGES)
    python = str(place / "bin" / "python")
    absent = run([python, "-c", "import pyspark"], tmp_path)
    assert absent.returncode != 0
    import pyspark

    home = tmp_path / "another spark"
    shutil.copytree(Path(pyspark.__file__).parent, home, copy_function=os.link)
    jars = ",".join(str(p) for p in sorted(Path(os.environ["PROFILING_SPARK_JARS"]).glob("*.jar")))
    from profiling_spark.demo import generate

    generate(tmp_path / "data", customers=40, days=40)
    done = run(
        [str(home / "bin" / "spark-submit"), "--master", "local[2]", "--jars", jars,
         str(installed.clone / "jobs" / "run_pipeline.py"), "--only", "ingest", "--only", "build_features",
         "--config", str(installed.clone / "conf" / "demo.yaml"), "--set", f"data_root={tmp_path / 'data'}"],
        tmp_path, SPARK_HOME=str(home), PYSPARK_PYTHON=python, PYSPARK_DRIVER_PYTHON=python,
        PYTHONPATH=f"{home}/python",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    features = spark.read.format("delta").load(str(tmp_path / "lake_demo" / "user_features"))
    assert features.count() > 30


def test_without_spark_a_run_says_what_to_install_and_help_works(installed, tmp_path):
    place = installed.environment("bare", without=(*SPARK_PACKAGES, "delta"))
    command = str(place / "bin" / "profiling-spark")
    assert run([command, "--help"], tmp_path).returncode == 0
    shown = run([command, "config", "show", "buckets"], tmp_path)
    assert (shown.returncode, shown.stdout.split()[-2:]) == (0, ["4", "default"])
    looked = run([command, "doctor"], tmp_path)
    assert (looked.returncode, "FAIL packages" in looked.stdout) == (3, True)
    failed = run([command, "demo", *SMALL], tmp_path)
    assert failed.returncode == 3
    assert "pip install 'profiling-spark[spark]'" in failed.stderr
