"""stderr of the JVM without the lines that nothing turns off.

The JVM prints a line about the incubator module that Spark asks for, and MLlib's BLAS two where the system has no
native one (Java's is used then).
"""

from __future__ import annotations

import atexit
import os
import re
import select
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_STDOUT, _STDERR = 1, 2
_NOISE = re.compile(
    rb"WARNING: Using incubator modules: jdk\.incubator\.vector\r?\n"
    rb"|netlib-(?:blas|lapack): JNI_OnLoad: dlopen.* failed.*\n"
)
# how such lines begin: of a line that may still become one the end is awaited, all else goes on at once
_STARTS = (b"WARNING: Using incubator modules: jdk.incubator.vector", b"netlib-blas: JNI_On", b"netlib-lapack: JNI_On")
_LONGEST = 4096


@contextmanager
def quiet_jvm() -> Iterator[None]:
    """Start a child inside: what it writes to stderr, then and later, comes through a filter of this process; what it
    writes to stdout goes there too, since a job's stdout is for its result (Delta prints there what it has removed).

    Outside of the block this process's own files are those that they were. Nothing is done where one is closed.
    """
    try:
        real, result = os.dup(_STDERR), os.dup(_STDOUT)
    except OSError:
        yield
        return
    _flush()
    out, into = os.pipe()
    _enlarge(into)
    copier = _Copier(out, real)
    copier.start()
    os.dup2(into, _STDERR, inheritable=True)
    os.dup2(into, _STDOUT, inheritable=True)
    try:
        yield
    finally:
        _flush()
        copier.copy()  # what came before stands before what this process writes next
        os.dup2(real, _STDERR, inheritable=True)
        os.dup2(result, _STDOUT, inheritable=True)
        os.close(result)
        os.close(into)  # the child has its own: when it ends, so does the copier


class _Copier(threading.Thread):
    """Copies from one descriptor to another, and closes both when no one can write to the first any more."""

    def __init__(self, source: int, target: int) -> None:
        super().__init__(name="stderr-of-the-jvm", daemon=True)
        self._source, self._target = source, target
        self._pending = b""
        self._at_line_start = True
        self._lock = threading.Lock()
        atexit.register(self._finish)

    def run(self) -> None:
        while self._source >= 0:
            select.select([self._source], [], [])
            if not self.copy():
                return

    def copy(self) -> bool:
        """Copy what is in the pipe by now, without waiting for more; False at its end."""
        with self._lock:
            while self._source >= 0 and select.select([self._source], [], [], 0)[0] and self._step():
                pass
            return self._source >= 0

    def _finish(self) -> None:
        """At exit: what is in the pipe by now goes out, the start of a line too."""
        self.copy()
        with self._lock:
            self._write(self._pending)
            self._pending = b""

    def _step(self) -> bool:
        """Copy what has come; False at the end."""
        if self._source < 0:
            return False
        data = os.read(self._source, 65536)
        if data:
            self._write(self._passed(data))
            return True
        self._write(self._pending)
        os.close(self._source)
        os.close(self._target)
        self._source = -1
        atexit.unregister(self._finish)
        return False

    def _passed(self, data: bytes) -> bytes:
        """What goes on: whole lines but for the noise, and a last piece of a line that cannot become noise."""
        passed = b""
        lines = [line for line in re.split(rb"(?<=\n)", self._pending + data) if line]
        self._pending = b""
        for line in lines:
            if self._at_line_start and _NOISE.fullmatch(line):
                continue
            if self._at_line_start and not line.endswith(b"\n") and _may_become_noise(line):
                self._pending = line
                continue  # it is the last
            passed += line
            self._at_line_start = line.endswith(b"\n")
        return passed

    def _write(self, data: bytes) -> None:
        with suppress(OSError):  # the reader of stderr has gone, as it may
            while data:
                data = data[os.write(self._target, data) :]


def _may_become_noise(piece: bytes) -> bool:
    return len(piece) < _LONGEST and any(start.startswith(piece) or piece.startswith(start) for start in _STARTS)


def _enlarge(pipe: int) -> None:
    """Room for a long stack trace while this process computes without letting its threads run."""
    with suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 1 << 20)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # closed, or replaced by something that cannot
            stream.flush()
