"""Which files a source has, and when a file that was taken is read again: the same on every storage."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ingest_shop import GOOD, HEADER, rows, settings
from pyspark.sql import SparkSession
from servers import BUCKET, S3Server

from profiling_spark.config.sources import Source
from profiling_spark.contracts.silver import EVENTS, INGESTED_FILES
from profiling_spark.errors import InputError
from profiling_spark.ingest.files import ledger, source_files
from profiling_spark.ingest.files.contents import Hashed, begins_with, content_of
from profiling_spark.ingest.files.ledger import Counts, Taken
from profiling_spark.ingest.files.source_files import SourceFile, find_files
from profiling_spark.ingest.job import ingest, reload
from profiling_spark.storage import Tables
from profiling_spark.storage.stores import store_for


def source(path: str = "*", form: str = "csv", **more: object) -> Source:
    given = {"path": path, "format": form, "target": "users", "columns": {"user_id": "id"}, **more}
    return Source.model_validate(given)


def fingerprint(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"id": ["a"]}), out)
    return out.getvalue()


PLAIN = b"id;name\n" + b"".join(b"%d;x\n" % n for n in range(300_000))  # more than one piece
PACKED = gzip.compress(PLAIN)
CONTENTS = {
    "a b [1] é 100%41.csv": PLAIN,
    "c.csv.gz": PACKED,
    "cut.csv.gz": PACKED[: len(PACKED) // 2],
    "empty.csv": b"",
    "gbk.csv": "id;name\n1;厨具\n".encode("gbk") * 20,
    "garbage.csv.gz": b"no gzip",
}


def check_found(root: str, spark: SparkSession | None) -> None:
    store = store_for(root, spark)
    for name, data in CONTENTS.items():
        store.put(f"raw/{name}", data)
    found = {f.path.removeprefix(f"{root}/raw/"): f for f in find_files(spark, "s", source(), f"{root}/raw")}
    assert list(found) == sorted(CONTENTS)
    assert {n: (f.file_id, f.bytes) for n, f in found.items()} == {
        n: (fingerprint(data), len(data)) for n, data in CONTENTS.items()
    }
    problems = {n: f.problem for n, f in found.items() if f.problem}
    assert sorted(problems) == ["cut.csv.gz", "garbage.csv.gz", "gbk.csv"]
    assert problems["cut.csv.gz"].startswith("is not whole gzip: Compressed file ended")
    assert problems["garbage.csv.gz"].startswith("is not whole gzip: Not a gzipped file")
    assert "20 of 39 lines do not fit UTF-8" in problems["gbk.csv"]
    assert "GB18030" in problems["gbk.csv"]
    assert {n for n, f in found.items() if f.is_clean} == {"a b [1] é 100%41.csv", "c.csv.gz", "empty.csv"}
    store.put("tables/a.parquet", parquet())
    store.put("tables/b.parquet", b"PAR1 none of it")
    whole, broken = find_files(spark, "s", source("tables/*", "parquet"), root)
    assert (whole.file_id, whole.problem) == (fingerprint(parquet()), "")
    assert broken.problem.startswith("is not parquet: ")
    assert find_files(spark, "s", source("none/*", required=False), root) == []
    with pytest.raises(InputError, match=r"source s: expected files at .*, found none"):
        find_files(spark, "s", source("none/*"), root)


def check_grown(root: str, spark: SparkSession | None) -> None:
    store_for(root, spark).put("a.csv", PLAIN)
    content = content_of(spark, f"{root}/a.csv")
    half = len(PLAIN) // 2
    assert begins_with(content, half, fingerprint(PLAIN[:half]))
    assert not begins_with(content, half, fingerprint(PLAIN[1 : half + 1]))
    assert not begins_with(content, len(PLAIN) + 1, fingerprint(PLAIN))
    assert not begins_with(content_of(spark, f"{root}/gone.csv"), 1, fingerprint(b"i"))


@pytest.mark.parametrize("check", [check_found, check_grown])
def test_files(root: str, check: Callable[[str, SparkSession | None], None]) -> None:
    check(root, None)


@pytest.mark.slow
@pytest.mark.parametrize("check", [check_found, check_grown])
def test_files_where_only_spark_reaches(
    spark: SparkSession, viewfs: str, check: Callable[[str, SparkSession | None], None]
) -> None:
    check(viewfs, spark)


def test_what_nobody_may_read_is_a_problem_of_the_file_and_a_storage_that_is_away_one_of_the_run(
    s3: S3Server,
) -> None:
    root = f"s3a://{BUCKET}/access"
    store_for(root, None).put("a.csv", b"id\n1\n")
    s3.refuse(path="/access/a.csv")
    (file,) = find_files(None, "s", source("a*.csv"), root)
    assert (file.problem, file.bytes, file.file_id) == (
        "cannot be read: no permission to do this",
        0,
        fingerprint(f"{root}/a.csv".encode()),
    )
    s3.heal()
    for fault in (s3.fail, s3.expire):
        fault()
        with pytest.raises(InputError, match=r"s3a://bucket/access/a.*: .*(could not be reached|has expired)"):
            find_files(None, "s", source("a*.csv"), root)
        s3.heal()
    s3.expire(path="/access/a.csv")
    with pytest.raises(InputError, match=r"access/a.csv: the credential was refused or has expired"):
        find_files(None, "s", source("a*.csv"), root)


def taken(file: SourceFile) -> Taken:
    """What the ledger has of it."""
    return Taken(file.key, file.path, file.bytes, Counts(), "20260701T020000-a", etag=file.etag)


@pytest.fixture
def is_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each piece of a file that is read."""
    pieces: list[int] = []
    real = Hashed.read

    def read(self: Hashed, size: int = 1 << 20) -> bytes:
        pieces.append(size)
        return real(self, size)

    monkeypatch.setattr(Hashed, "read", read)
    return pieces


def test_an_object_that_was_taken_is_read_again_only_where_its_etag_is_another(
    s3: S3Server, is_read: list[int]
) -> None:
    root = f"s3a://{BUCKET}/again"
    store = store_for(root, None)
    store.put("a.csv", b"id\n1\n")
    store.put("b.csv", b"id\n2\n")
    first = find_files(None, "s", source(), root)
    known = ledger.known_contents(map(taken, first), "s")
    is_read.clear()
    again = find_files(None, "s", source(), root, known=known)
    assert is_read == []
    assert [(f.path, f.file_id, f.bytes, f.etag, f.problem) for f in again] == [
        (f.path, f.file_id, f.bytes, f.etag, f.problem) for f in first
    ]
    store.put("a.csv", b"id\n3\n")  # as long, in the same second
    changed, same = find_files(None, "s", source(), root, known=known)
    assert (changed.file_id, same) == (fingerprint(b"id\n3\n"), again[1])
    assert ledger.known_contents(map(taken, first), "other source") == {}


def test_a_file_that_was_changed_just_before_is_read_again(tmp_path: Path, is_read: list[int]) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"id\n1\n")
    os.utime(path, (1, 1))  # whoever sets the time of writing back does not set back that of the change
    (first,) = find_files(None, "s", source(), str(tmp_path))
    assert first.etag == ""
    assert ledger.known_contents([taken(first)], "s") == {}


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute later by the clock with which changes are compared."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime.fromtimestamp(time.time() + 60, UTC)

    monkeypatch.setattr(source_files, "datetime", Clock)


@pytest.mark.usefixtures("later")
def test_a_file_that_is_at_rest_is_not_read_again_until_it_is_replaced(tmp_path: Path, is_read: list[int]) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"id\n1\n")
    (first,) = find_files(None, "s", source(), str(tmp_path))
    known = ledger.known_contents([taken(first)], "s")
    is_read.clear()
    assert find_files(None, "s", source(), str(tmp_path), known=known) == [replace(first, is_clean=False)]
    assert is_read == []
    # another content, as long, with the same time of writing: as `cp -p`, `rsync -t` and `touch -r` leave it
    times = path.stat()
    path.write_bytes(b"id\n2\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_mtime_ns == times.st_mtime_ns
    (changed,) = find_files(None, "s", source(), str(tmp_path), known=known)
    assert changed.file_id == fingerprint(b"id\n2\n")
    other = tmp_path / "other"
    other.write_bytes(b"id\n3\n")
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(path)
    (renamed,) = find_files(None, "s", source(), str(tmp_path), known=known)
    assert renamed.file_id == fingerprint(b"id\n3\n")


def test_the_ledger_learns_etags_of_files_that_were_read_again(tables: Tables) -> None:
    old = SourceFile("s", "users", "/a.csv", "file:///a.csv", "f1", 5)
    new = SourceFile("s", "users", "/b.csv", "file:///b.csv", "f2", 6, etag="2-2")
    ledger.claim(tables, [old], versions="{}")
    ledger.finish(tables, [old], [], {old.key: Counts(accepted=3)})
    (known,) = ledger.taken(tables)
    found = [replace(old, etag="1-1"), new]
    etags = ledger.seen_again([known], found)
    assert etags == {old.key: "1-1"}
    second = Tables(tables.spark, tables.root, run_id="second")
    ledger.claim(second, [new], versions="{}")
    ledger.finish(second, [new], [], {new.key: Counts(accepted=1)}, etags=etags)
    found_rows = {r["path"]: (r["etag"], r["rows_accepted"], r["run_id"]) for r in rows(tables, INGESTED_FILES)}
    assert found_rows == {"/a.csv": ("1-1", 3, tables.run_id), "/b.csv": ("2-2", 1, "second")}
    assert ledger.seen_again(ledger.taken(Tables(tables.spark, tables.root, run_id="x")), found) == {}


@pytest.mark.usefixtures("later")
def test_ingest_reads_a_file_once_and_a_replaced_one_again(tables, make_context, tmp_path, is_read) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    made = settings(tables.root, raw)
    path = raw / "a.csv"
    path.write_text(HEADER + GOOD[0] + "\n", encoding="utf-8")
    ingest(make_context(made, run_id="r1"))
    is_read.clear()
    assert "no new files" in str(ingest(make_context(made, run_id="r2")).lines)
    assert is_read == []
    reload(make_context(made, run_id="r3"), "log")
    assert is_read != []
    assert len(rows(tables, EVENTS)) == 1
    times = path.stat()
    path.write_text(HEADER + GOOD[0].replace("u1", "u9") + "\n", encoding="utf-8")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    done = ingest(make_context(made, run_id="r4"))
    assert "no new files" not in str(done.lines)
