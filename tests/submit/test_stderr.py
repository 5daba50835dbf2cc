"""A child's stderr comes through the filter whole, at once, without the JVM's noise, and never on stdout."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
NOISE = "WARNING: Using incubator modules: jdk.incubator.vector\n"
BLAS = "netlib-blas: JNI_OnLoad: dlopen of libblas.so.3 failed\nnetlib-lapack: JNI_OnLoad: dlopen of x.so failed\n"

# A driver whose child plays the JVM: the child writes what stands in its argument when told to by a line on its stdin,
# and lives until its stdin is closed, as pyspark's does
DRIVER = """
import subprocess, sys, time
from profiling_spark.launch.stderr import quiet_jvm
CHILD = '''
import sys
for line in sys.stdin:
    sys.stderr.write(eval(line)); sys.stderr.flush(); print("done", flush=True)
'''
def tell(text):
    jvm.stdin.write(repr(text) + chr(10)); jvm.stdin.flush(); jvm.stdout.readline()
with quiet_jvm():
    jvm = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    tell("in the block\\n")
"""


def drive(code: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-c", DRIVER + code],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=30,
        **{"stderr": subprocess.PIPE, **options},
    )


def test_noise_alone_is_taken() -> None:
    text = f"{NOISE}a\n{BLAS}  {NOISE}netlib-blas: else\nlast, without an end"
    done = drive(f"tell({text!r})")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"in the block\na\n  {NOISE}netlib-blas: else\nlast, without an end"


def test_noise_in_pieces() -> None:
    pieces = [NOISE[:30], NOISE[30:], "netlib-bl", BLAS[9:], "WARN", "ING: true\n", "WARNING: Using inc"]
    done = drive("".join(f"tell({p!r}); time.sleep(0.02)\n" for p in pieces))
    assert done.stderr == "in the block\nWARNING: true\nWARNING: Using inc"


def test_a_long_text_is_whole() -> None:
    done = drive("tell('x' * 99 + chr(10)); tell(('y' * 99 + chr(10)) * 50_000)")
    assert done.stderr == "in the block\n" + "x" * 99 + "\n" + ("y" * 99 + "\n") * 50_000


def test_a_copier_that_is_late_changes_no_order() -> None:
    code = """
import os, select, sys, time
from types import SimpleNamespace
from profiling_spark.launch import stderr

def late(readers, writers, others, *timeout):
    if not timeout:
        time.sleep(0.5)
    return select.select(readers, writers, others, *timeout)

stderr.select = SimpleNamespace(select=late)
with stderr.quiet_jvm():
    os.write(2, b"in the block\\n")
os.write(2, b"driver\\n")
"""
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, timeout=30, check=True)
    assert done.stderr == b"in the block\ndriver\n"


def test_what_the_driver_prints_stays_in_order() -> None:
    code = """
sys.stderr.write("driver\\n"); sys.stderr.flush()
tell("its\\n"); time.sleep(0.1)
sys.stderr.write("driver again\\n")
"""
    assert drive(code).stderr == "in the block\ndriver\nits\ndriver again\n"


def test_nothing_waits_for_the_end_of_a_line() -> None:
    code = "tell('half a line'); time.sleep(5)"
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER + code],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        wanted, read, begin = b"in the block\nhalf a line", b"", time.monotonic()
        while len(read) < len(wanted):
            read += os.read(process.stderr.fileno(), 100)
        assert (read, time.monotonic() - begin < 4) == (wanted, True)
        process.kill()


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w") as file:
        file.write("before\n")
        file.flush()
        drive(f"tell({NOISE + 'a'!r})", stderr=file)
    assert path.read_text() == "before\nin the block\na"


def test_closed() -> None:
    closed = "import os; os.close(2)\n"
    done = subprocess.run(
        [sys.executable, "-c", closed + DRIVER + "print('still alive')"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"still alive\n")


def test_reader_that_has_gone() -> None:
    out, into = os.pipe()
    os.close(out)
    done = drive("tell('a' * 200_000); print('still alive')", stderr=into)
    os.close(into)
    assert done.stdout == "still alive\n"


def test_terminal() -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    done = drive(f"tell({NOISE + 'a' + chr(10)!r}); print(sys.stderr.isatty())", stderr=theirs)
    os.close(theirs)
    assert (done.stdout, os.read(ours, 1000)) == ("True\n", b"in the block\r\na\r\n")
    os.close(ours)


def test_the_end_of_the_child_ends_the_filter() -> None:
    code = """
import threading
jvm.stdin.close(); jvm.wait(); time.sleep(0.2)
print([t.name for t in threading.enumerate()])
"""
    assert drive(code).stdout == "['MainThread']\n"
