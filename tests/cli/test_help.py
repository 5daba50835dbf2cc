"""Help and the commands that need no Spark are quick: nothing heavy is imported for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from profiling_spark.cli.evaluate import BESIDE, ENGINES, MASKS
from profiling_spark.cli.jobs import STAGES
from profiling_spark.cli.main import COMMANDS, commands, main
from profiling_spark.errors import EXIT_CODES

PROJECT = Path(__file__).parents[2]
HEAVY = {"pyspark", "polars", "pandas", "pydantic", "pyarrow", "numpy", "rich", "sklearn", "scipy", "deltalake", "yaml"}
NAMES = [name for section in COMMANDS.values() for name in section]


def imported(*arguments: str) -> tuple[set[str], str]:
    """(top packages that a command imports, what it prints)."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "profiling_spark", *arguments],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = [line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {name.split(".")[0] for name in lines}, done.stdout


@pytest.mark.parametrize("command", [None, *NAMES])
def test_help_imports_nothing_heavy_and_fits_the_screen(command: str | None) -> None:
    found, text = imported(*([command] if command else []), "--help")
    assert not found & HEAVY
    lines = text.splitlines()
    assert lines[0].startswith("Usage: profiling-spark")
    assert max(map(len, lines)) <= 85
    assert len(lines) <= 50


def test_every_command_is_listed_with_a_line_that_fits() -> None:
    for section in COMMANDS.values():
        for name, (_, line) in section.items():
            assert len(line) <= 56, name
            assert commands.get_command(commands.make_context("x", ["doctor"]), name) is not None


def test_names_are_found_with_either_line_and_by_their_former_name(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("build-features", "build_features", "run_pipeline", "run-pipeline", "try_mapping"):
        assert main([name, "--help"]) == 0
        assert "Usage:" in capsys.readouterr().out


def test_options_name_what_the_package_has() -> None:
    from profiling_spark.pipeline import NAMES as STAGES_OF_PIPELINE
    from profiling_spark.recommend.files.asked import MASKS as OF_MASKS
    from profiling_spark.recommend.files.engines import ALONE, COMPANY

    assert (STAGES, set(ENGINES), BESIDE) == (STAGES_OF_PIPELINE, set(ALONE), COMPANY)
    assert tuple(OF_MASKS) == MASKS


def test_exit_codes_are_explained_to_users(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert sorted(EXIT_CODES) == list(range(9))
    for code, text in EXIT_CODES.items():
        assert f"{code}  {text}" in shown


def test_jobs_are_the_commands() -> None:
    for job in (PROJECT / "jobs").glob("*.py"):
        assert f'main(["{job.stem}", *sys.argv[1:]])' in job.read_text(encoding="utf-8")
        assert commands.get_command(commands.make_context("x", ["doctor"]), job.stem) is not None
