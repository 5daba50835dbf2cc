"""Find a Java that Spark can run on: JAVA_HOME, then PATH, then the usual folders.

PROFILING_SPARK_JAVA_FOLDERS names other folders to look in, separated by ':'.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from profiling_spark.errors import EnvironmentProblem

VERSIONS = ("17", "21")
# Spark's launcher asks for it; a runtime that jlink cut down may lack it
_MODULE = "jdk.incubator.vector"
_FOLDERS = (
    "/usr/lib/jvm:/usr/java:/opt/java:/opt/jdk:/Library/Java/JavaVirtualMachines:~/Library/Java/JavaVirtualMachines:"
    "/opt/homebrew/opt:/usr/local/opt:~/.sdkman/candidates/java:~/.jdks"
)
Run = Callable[[Sequence[str]], str]


@dataclass(frozen=True)
class Java:
    """A Java home and its version."""

    home: Path
    version: str


@dataclass
class Search:
    """What was found. `passed_over`: what was looked at and does not serve, each once; `in_vain`: the part of it that
    JAVA_HOME and PATH offered, which a user may have meant to be taken. `remedy` is what to type.
    """

    java: Java | None = None
    passed_over: list[str] = field(default_factory=list)
    in_vain: tuple[str, ...] = ()
    remedy: str = ""

    @property
    def note(self) -> str:
        """A line for the user whose own Java was not taken; empty otherwise."""
        if self.java is None or not self.in_vain:
            return ""
        return f"note: Spark needs Java 17 or 21; passed over: {', '.join(self.in_vain)}. Running on {self.java.home}"

    def required(self) -> Java:
        """The Java. Raises EnvironmentProblem that tells what was found instead and what to type."""
        if self.java is None:
            have = ", ".join(self.passed_over) or "none"
            raise EnvironmentProblem(f"Java 17 or 21 is needed; found: {have}. Type: {self.remedy}")
        return self.java

    def serves(self, home: Path, run: Run) -> bool:
        """Take `home` if Spark can run on it; otherwise note what it is."""
        if not os.access(home / "bin" / "java", os.X_OK):
            return False
        version, modules = _released(home) or (_asked(home / "bin" / "java", run), "")
        if version.split(".")[0] not in VERSIONS:
            self._pass_over(f"{version or 'a Java that does not start'} at {home}")
        elif modules and _MODULE not in modules.split():
            self._pass_over(f"{version} at {home} (cut down: it lacks the module {_MODULE})")
        else:
            self.java = Java(home, version)
        return self.java is not None

    def _pass_over(self, what: str) -> None:
        if what not in self.passed_over:
            self.passed_over.append(what)


def search(environ: Mapping[str, str], run: Run | None = None) -> Search:
    """Look for Java; starts a JVM only where no file `release` tells the version."""
    run = run or output
    found = Search(remedy=remedy(environ))
    asked_for = environ.get("JAVA_HOME", "")
    if asked_for and not os.access(Path(asked_for, "bin", "java"), os.X_OK):
        found.passed_over.append(f"none at {asked_for}")
    named = Path(asked_for) if asked_for else None
    if (named and found.serves(named, run)) or ((home := _on_path(environ, run)) and found.serves(home, run)):
        found.in_vain = tuple(found.passed_over)
        return found
    found.in_vain = tuple(found.passed_over)
    any(found.serves(home, run) for home in _usual_homes(environ))
    return found


def remedy(environ: Mapping[str, str], debian: Path = Path("/etc/debian_version")) -> str:
    """The command that installs a Java on this machine; where its package manager is not known, the setting that names
    one.
    """
    sudo = "" if os.geteuid() == 0 else "sudo "
    path = environ.get("PATH", "")
    if debian.exists():
        # Debian 13 has no Java 17
        java = 21 if debian.read_text(encoding="utf-8")[:2] in ("13", "14") else 17
        return f"{sudo}apt-get update && {sudo}apt-get install -y openjdk-{java}-jre-headless"
    if shutil.which("dnf", path=path):
        return f"{sudo}dnf install -y java-21-openjdk-headless"
    if shutil.which("brew", path=path):
        return "brew install openjdk@17"
    return "export JAVA_HOME=/folder/of/a/java-17-or-21"


def _released(home: Path) -> tuple[str, str] | None:
    """Version and modules from the file `release`, which spares the start of a JVM; None if there is none."""
    try:
        text = (home / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    released = dict(re.findall(r'^(JAVA_VERSION|MODULES)="?([^"\n]*)"?', text, re.MULTILINE))
    return released.get("JAVA_VERSION", ""), released.get("MODULES", "")


def _asked(java: Path, run: Run) -> str:
    match = re.search(r'version "([^"]+)"', run([str(java), "-version"]))
    return match[1] if match else ""


def _on_path(environ: Mapping[str, str], run: Run) -> Path | None:
    """The home behind `java` on PATH, through links and shims."""
    java = shutil.which("java", path=environ.get("PATH", ""))
    if java is None:
        return None
    real = Path(java).resolve()
    home = real.parent.parent if real.parts[-2:] == ("bin", "java") else None
    if home and (home / "release").exists():
        return home
    found = re.search(r"java\.home = (.+)", run([java, "-XshowSettings:properties", "-version"]))
    return Path(found[1].strip()) if found else home


def _usual_homes(environ: Mapping[str, str]) -> Iterator[Path]:
    user = environ.get("HOME", "")
    for text in environ.get("PROFILING_SPARK_JAVA_FOLDERS", _FOLDERS).split(":"):
        folder = Path(text.replace("~", user, 1) if text.startswith("~") else text)
        if not text or not folder.is_dir():
            continue
        homes = [folder]
        for pattern in ("*17*", "*21*", "*", "openjdk*/libexec/openjdk.jdk"):
            homes += sorted(folder.glob(pattern))
        for home in homes:
            yield home
            yield home / "Contents" / "Home"


def output(command: Sequence[str]) -> str:
    """stdout and stderr of a command together; empty if it cannot be run or takes over 10 seconds."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr
