"""CHANGELOG.md and the version are about the same release."""

from __future__ import annotations

import re
from datetime import date

from guide import PROJECT

from profiling_spark import __version__

LINES = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
HEADINGS = [line.removeprefix("## ") for line in LINES if line.startswith("## ")]
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
_RELEASE = re.compile(r"\[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d{2}-\d{2})")


def test_the_newest_release_is_the_version_of_the_package() -> None:
    releases = [heading for heading in HEADINGS if heading != "[Unreleased]"]
    assert releases[0].startswith(f"[{__version__}] - ")
    assert HEADINGS.index(releases[0]) <= 1
    found = [_RELEASE.fullmatch(heading) for heading in releases]
    assert None not in found
    parts = [(tuple(map(int, m.groups()[:3])), date.fromisoformat(m[4])) for m in found if m]
    assert parts == sorted(parts, reverse=True)


def test_changes_stand_under_the_kinds_of_keep_a_changelog() -> None:
    kinds = {line.removeprefix("### ") for line in LINES if line.startswith("### ")}
    assert kinds <= KINDS
    assert {"Added", "Changed", "Removed"} <= kinds


def test_the_version_stands_in_one_place() -> None:
    text = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'dynamic = ["version"]' in text
    assert not re.search(r'^version\s*=\s*"', text, flags=re.MULTILINE)
