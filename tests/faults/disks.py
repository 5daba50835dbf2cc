"""A small file system that is filled, or may not be written."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def fill(folder: Path, left_bytes: int) -> Path:
    """A file that takes all but so much of its file system."""
    filler = folder / "filler"
    found = os.statvfs(folder)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - left_bytes)
    return filler


def remount(folder: Path, how: str) -> None:
    """`ro` or `rw`."""
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)
