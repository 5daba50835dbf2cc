"""A copied project for tests without Spark: an environment whose spark-submit prints what it was given."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
JARS = ("delta-spark_4.2_2.13-4.4.0.jar", "delta-storage-4.4.0.jar")

# what the fake spark-submit reports: its arguments, folder and environment, as JSON on stdout
SPARK_SUBMIT = """#!/usr/bin/env bash
echo "WARNING: Using incubator modules: jdk.incubator.vector" >&2
echo "a real message" >&2
"$FAKE_PYTHON" -I -S - "$@" <<'REPORT'
import json, os, sys, zipfile
args = sys.argv[1:]
zipped = args[args.index("--py-files") + 1].split(",")[0] if "--py-files" in args else ""
print(json.dumps({
    "args": args, "cwd": os.getcwd(), "environ": dict(os.environ),
    "package": zipfile.ZipFile(zipped).namelist() if zipped else [],
}))
REPORT
exit "${FAKE_EXIT:-0}"
"""


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def java_home(home: Path, version: str, modules: str = "java.base jdk.incubator.vector") -> Path:
    script(home / "bin" / "java", f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    (home / "release").write_text(f'JAVA_VERSION="{version}"\nMODULES="{modules}"\n', encoding="utf-8")
    return home


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, object]:
        assert self.code == 0, self.err
        loaded = json.loads(self.out)
        assert isinstance(loaded, dict)
        return loaded

    @property
    def args(self) -> list[str]:
        args = self.report["args"]
        assert isinstance(args, list)
        return args

    def environ(self, name: str) -> str | None:
        environ = self.report["environ"]
        assert isinstance(environ, dict)
        value = environ.get(name)
        assert value is None or isinstance(value, str)
        return value

    def option(self, name: str) -> list[str]:
        """Values of a spark-submit option, in order."""
        head = self.args[: self.job_at()]
        return [head[i + 1] for i, a in enumerate(head) if a == name]

    def job_at(self) -> int:
        return next(i for i, a in enumerate(self.args) if a.endswith(".py") and "jobs" in a)

    def job_args(self) -> list[str]:
        return self.args[self.job_at() + 1 :]


@dataclass
class Project:
    root: Path
    elsewhere: Path
    environ: dict[str, str] = field(default_factory=dict)

    def submit(self, *args: str, name: str = "submit.sh", **environ: str) -> Done:
        done = subprocess.run(
            [str(self.root / "scripts" / name), *args],
            cwd=self.elsewhere,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)


def make_project(tmp_path: Path) -> Project:
    """The project in folders with blanks in their names."""
    root = tmp_path / "a project" / "main"
    for folder in ("scripts", "conf", "jobs", "profiling_spark"):
        (root / folder).mkdir(parents=True)
    for file in (REPOSITORY / "scripts").glob("*.sh"):
        shutil.copy(file, root / "scripts")
    for name in ("pyproject.toml", "constraints.txt", "conf/log4j2.properties"):
        shutil.copy(REPOSITORY / name, root / name)
    (root / "profiling_spark" / "__init__.py").write_text('"""Package."""\n', encoding="utf-8")
    (root / "jobs" / "hello.py").write_text('"""Say hello to a customer.\n\nMore."""\nprint()\n', encoding="utf-8")
    (root / "jobs" / "other_job.py").write_text('"""\nDo another thing."""\n', encoding="utf-8")
    (root / "jobs" / "_shared.py").write_text('"""Not a job."""\n', encoding="utf-8")
    venv = tmp_path / "an env"
    python = sys.executable
    script(venv / "bin" / "python", f'#!/bin/sh\nexec "{python}" "$@"\n')
    script(venv / "lib/python3.11/site-packages/pyspark/bin/spark-submit", SPARK_SUBMIT)
    jars = tmp_path / "the jars"
    jars.mkdir()
    for jar in JARS:
        with zipfile.ZipFile(jars / jar, "w") as archive:
            archive.writestr("a", "b")
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    (tmp_path / "tmp").mkdir()
    return Project(
        root,
        elsewhere,
        {
            "PATH": tool_folder(tmp_path / "tools"),
            "HOME": str(tmp_path),
            "TMPDIR": str(tmp_path / "tmp"),
            "JAVA_HOME": str(java_home(tmp_path / "jdk 17", "17.0.9")),
            "PROFILING_SPARK_JAVA_FOLDERS": str(tmp_path / "jvm"),
            "PROFILING_SPARK_VENV": str(venv),
            "PROFILING_SPARK_JARS": str(jars),
            "PROFILING_SPARK_NO_INSTALL": "1",
            "FAKE_PYTHON": python,
        },
    )


def tool_folder(folder: Path) -> str:
    """A PATH with the ordinary tools and neither Java nor apt-get nor Python."""
    folder.mkdir()
    names = (
        "awk basename bash cat cksum dirname env find flock grep head id ls mkdir mktemp mv readlink rm tail tty whoami"
    )
    for name in names.split():
        if tool := shutil.which(name):
            (folder / name).symlink_to(tool)
    return str(folder)
