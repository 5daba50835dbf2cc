"""Which rooms may import which: those that all others stand on import only those before them, never in a circle."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import profiling_spark as package

ROOT = Path(package.__file__).parent
# each may import those that stand before it
FOUNDATIONS = ("errors", "feature_catalogue", "contracts", "config")


def imported(path: Path) -> set[str]:
    """Rooms of the package that a file imports, for types only too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "profiling_spark":
            names |= {f"profiling_spark.{n.name}" for n in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: an import relative to the file"
            names.add(node.module or "")
        elif isinstance(node, ast.Import):
            names |= {n.name for n in node.names}
    return {n.split(".")[1] for n in names if n.startswith("profiling_spark.")}


def files_of(room: str) -> list[Path]:
    found = sorted((ROOT / room).rglob("*.py")) if (ROOT / room).is_dir() else [ROOT / f"{room}.py"]
    assert found, room
    return found


@pytest.mark.parametrize("room", FOUNDATIONS)
def test_a_foundation_stands_on_those_before_it_only(room: str) -> None:
    allowed = set(FOUNDATIONS[: FOUNDATIONS.index(room) + 1])
    for path in files_of(room):
        assert imported(path) <= allowed, path.relative_to(ROOT)


def test_the_catalogue_of_features_imports_itself_only() -> None:
    assert set().union(*(imported(path) for path in files_of("feature_catalogue"))) == {"feature_catalogue"}


def test_kernels_and_jobs_of_features_import_the_settings_and_not_the_other_way_round() -> None:
    assert "config" in set().union(*(imported(path) for path in files_of("features")))
    assert not [path for room in FOUNDATIONS for path in files_of(room) if "features" in imported(path)]


def test_sql_of_the_settings_stands_on_the_foundations() -> None:
    assert imported(ROOT / "one_row.py") == {"errors"}
    assert imported(ROOT / "expressions.py") <= {*FOUNDATIONS, "one_row"}
