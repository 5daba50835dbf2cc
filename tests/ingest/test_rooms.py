"""The rooms of ingest stand on each other in one direction, and a row's way goes through six files."""

from __future__ import annotations

import ast
from pathlib import Path

import profiling_spark.ingest as package

ROOT = Path(package.__file__).parent
ROOMS = ("files", "reading", "judging", "resolving", "batch", "findings", "new_rows", "again", "job")


def imported(path: Path) -> set[str]:
    """Rooms and modules of ingest that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
    parts = [name.split(".") for name in names if name.startswith("profiling_spark.ingest")]
    assert all(len(p) > 2 for p in parts), path  # a room's name, never the package as a whole
    return {p[2] for p in parts}


def test_each_room_imports_from_those_before_it_only() -> None:
    checked = 0
    for place, room in enumerate(ROOMS):
        paths = sorted((ROOT / room).glob("*.py")) if (ROOT / room).is_dir() else [ROOT / f"{room}.py"]
        assert paths, room
        for path in paths:
            later = imported(path) - set(ROOMS[: place + 1])
            assert not later, f"{path.relative_to(ROOT)} imports {sorted(later)}"
            checked += 1
    assert checked == len(list(ROOT.rglob("*.py"))) - 1  # all but the package itself


def modules_of(path: Path) -> set[str]:
    """Modules of ingest that a file imports, as paths from its root."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = (n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module)
    return {f"{'/'.join(name.split('.')[2:])}.py" for name in names if name.startswith("profiling_spark.ingest.")}


def test_the_way_of_a_row_goes_through_the_files_that_it_names() -> None:
    doc = ast.get_docstring(ast.parse((ROOT / "new_rows.py").read_text(encoding="utf-8"))) or ""
    direct = ["reading/readers.py", "judging/mapping.py", "judging/rules.py", "resolving/staging.py"]
    assert [name for name in direct if name in doc and name in modules_of(ROOT / "new_rows.py")] == direct
    assert "resolving/resolve.py" in doc
    assert "resolving/resolve.py" in modules_of(ROOT / "resolving/staging.py")
