"""Processes that tests start, which end with the test process however that ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")
# ends its child when standard input ends, as it does once the test process is gone, also after kill -9. A child
# that has ended by itself is not sought again: its number may be another's by then
_UNTIL_EOF = """
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
(read -r _ <&3; kill "$child") &
reader=$!
wait "$child"
code=$?
kill "$reader" 2>/dev/null
exit $code
"""


@dataclass(frozen=True)
class Server:
    """A running process and the file with what it writes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def printed(self, pattern: str, *, times: int = 1, within_seconds: float = 60) -> re.Match[str]:
        """The last match of a pattern in the log, once it was there so often."""

        def found() -> re.Match[str] | None:
            matches = list(re.finditer(pattern, self.log.read_text(encoding="utf-8", errors="replace")))
            return matches[-1] if len(matches) >= times else None

        return self.ready(found, within_seconds=within_seconds)

    def ready(self, look: Callable[[], _T | None], *, within_seconds: float = 60) -> _T:
        """What `look` finds at last. Raises RuntimeError with the log's end where the server ends or takes too long."""
        deadline = time.monotonic() + within_seconds
        while (found := look()) is None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                end = self.log.read_text(encoding="utf-8", errors="replace")[-2000:]
                raise RuntimeError(f"{self.name} did not start (exit code {self.process.poll()}): {end}")
            time.sleep(0.05)
        return found


@contextmanager
def running(
    name: str, command: Sequence[str], folder: Path, environ: Mapping[str, str], *, stdout: Path | None = None
) -> Iterator[Server]:
    """A process with this folder as working directory; at the end of the block it and its children are stopped.

    `stdout`: a file of its own instead of the log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    log.unlink(missing_ok=True)
    with log.open("ab") as errors, (stdout or log).open("ab") as out:
        process = subprocess.Popen(
            ["/bin/sh", "-c", _UNTIL_EOF, name, *command],
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=errors,
            start_new_session=True,
        )
    try:
        yield Server(name, process, log)
    finally:
        assert process.stdin is not None  # for type checkers
        process.stdin.close()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # a session of its own: no other process is in this group
            process.wait()
