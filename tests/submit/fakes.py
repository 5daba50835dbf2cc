"""Files that stand for Java, jars and Python in tests that start neither Spark nor pip."""

from __future__ import annotations

import shutil
import stat
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
JARS = ("delta-spark_4.2_2.13-4.4.0.jar", "delta-storage-4.4.0.jar")


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def java_home(
    home: Path, version: str, modules: str = "java.base jdk.incubator.vector", *, release: bool = True
) -> Path:
    script(home / "bin" / "java", f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    if release:
        (home / "release").write_text(f'JAVA_VERSION="{version}"\nMODULES="{modules}"\n', encoding="utf-8")
    return home


def jars_in(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for jar in JARS:
        with zipfile.ZipFile(folder / jar, "w") as archive:
            archive.writestr("a", "b")
    return folder


def ivy(home: Path, source: Path) -> None:
    """Make the Java at `home` play Ivy: it copies the asked-for jar to where -retrieve says."""
    script(
        home / "bin" / "java",
        "#!/usr/bin/env bash\nwhile [[ $# -gt 0 ]]; do case $1 in -dependency) name=$3-$4.jar ;; "
        "-retrieve) to=${2%/*} ;; esac; shift; done\n"
        f'echo "$name" >>"{home}/asked"\n{shutil.which("cp")} "{source}/$name" "$to/$name"\n',
    )


def tool_folder(folder: Path) -> Path:
    """A PATH with the ordinary tools and neither Java nor apt-get nor Python."""
    folder.mkdir()
    for name in ("bash", "cat", "dirname", "env", "id", "mkdir", "rm", "sh"):
        if tool := shutil.which(name):
            (folder / name).symlink_to(tool)
    return folder
