"""What CONTRIBUTING.md says of the rooms and files is so."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

from guide import PAGE, PROJECT, examples, levels

PACKAGE = PROJECT / "profiling_spark"
LEVELS = {room: number for number, rooms in enumerate(levels(), 1) for room in rooms}
SIDEWAYS = 5  # rooms of this level know of each other by tables only
AGAINST_THE_GRAIN = {("features", "scores"), ("maintain", "ingest")}


def imported(path: Path) -> set[str]:
    """Rooms that a file imports when it is imported itself; what only types need does not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = [n.module for n in tree.body if isinstance(n, ast.ImportFrom) and n.module]
    rooms = {module.split(".")[1] for module in modules if module.startswith("profiling_spark.")}
    of_package = [n for n in tree.body if isinstance(n, ast.ImportFrom) and n.module == "profiling_spark"]
    return rooms | {alias.name for n in of_package for alias in n.names if alias.name != "__version__"}


def test_every_room_has_a_level() -> None:
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir() and any(p.glob("*.py"))}
    assert set(LEVELS) == folders | {p.stem for p in PACKAGE.glob("*.py")} - {"__init__"}


def test_rooms_import_from_their_own_level_and_those_before_only() -> None:
    against: set[tuple[str, str]] = set()
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).with_suffix("").parts[0]
        for other in imported(path) - {room} if room != "__init__" else ():
            if LEVELS[other] > LEVELS[room] or LEVELS[other] == LEVELS[room] == SIDEWAYS:
                against.add((room, other))
    assert against == AGAINST_THE_GRAIN


def test_the_commands_make_the_generated_pages() -> None:
    commands = re.findall(r"^python -m (\S+) > (\S+)$", PAGE, flags=re.MULTILINE)
    assert [page for _, page in commands] == ["docs/tables.md", "docs/features.md"]
    for module, page in commands:
        done = subprocess.run([sys.executable, "-m", module], cwd=PROJECT, capture_output=True, check=True, timeout=300)
        assert done.stdout == (PROJECT / page).read_bytes()


def test_files_that_the_page_names_are_there() -> None:
    new = {c.path for e in examples().values() for c in e.changes if c.kind != "diff"}
    named = set(re.findall(r"`([\w/.-]+\.(?:py|md|sh|yaml|toml))`", PAGE)) - new
    bare = {"job.py", "own_history.py"}  # of the room that the sentence names
    absent = {n for n in named - bare if not (PROJECT / n).is_file() and not (PACKAGE / n).is_file()}
    # a name without its folder stands where the sentence names the room
    assert {n for n in absent if not list(PACKAGE.rglob(n))} == set()
    assert len(named) > 20
