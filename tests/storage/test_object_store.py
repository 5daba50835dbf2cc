"""What an object store does that a disk does not: faults, credentials, lost answers, markers of folders."""

from __future__ import annotations

import pytest
from servers import BUCKET, S3Server

from profiling_spark.errors import StorageError
from profiling_spark.storage.stores import StoreError, objects, store_for

FAULTS = [
    ("403 Forbidden", "AccessDenied", "no permission to do this"),
    ("403 Forbidden", "InvalidAccessKeyId", "the credential was refused or has expired; renew it and run again"),
    ("400 Bad Request", "ExpiredToken", "the credential was refused or has expired; renew it and run again"),
    ("503 Slow Down", "SlowDown", "the storage could not be reached, also not by trying again"),
    ("404 Not Found", "NoSuchBucket", "not found"),
]


@pytest.mark.parametrize(("status", "code", "message"), FAULTS)
def test_a_fault_has_one_form_and_shows_no_credential(s3: S3Server, status: str, code: str, message: str) -> None:
    store = store_for(f"s3a://{BUCKET}/faults", None)
    s3.fail(status, code)
    for act in (
        lambda: store.put("a", b""),
        lambda: store.put_new("a", b""),
        lambda: store.get("a"),
        lambda: store.list(),
        lambda: store.find(f"{store.root}/*"),
    ):
        with pytest.raises(StoreError) as caught:
            act()
        where, _, what = str(caught.value).partition(": ")
        assert what in (message, f"{message} ({code})")
        assert where.startswith("s3a://bucket/faults")
        assert caught.value.exit_code == StorageError.exit_code
    with pytest.raises(StoreError) as caught:  # of a HEAD only the status is known
        store.exists("a")
    assert "\n" not in str(caught.value)


def test_an_expired_credential_is_known_from_a_head_too(s3: S3Server) -> None:
    s3.expire()
    with pytest.raises(StoreError, match=r"credential was refused or has expired.*\(status 400\)"):
        store_for(f"s3a://{BUCKET}/faults", None).open(f"s3a://{BUCKET}/faults/a")


def test_a_storage_that_is_away_for_a_moment_is_waited_for(s3: S3Server) -> None:
    store = store_for(f"s3a://{BUCKET}/away", None)
    s3.fail(requests=3)
    store.put("a", b"1")
    s3.fail(requests=3)
    assert store.get("a") == b"1"


def test_an_answer_that_is_lost_is_looked_up(s3: S3Server) -> None:
    store = store_for(f"s3a://{BUCKET}/lost", None)
    s3.lose_answer(path="/lost/a")
    assert store.put_new("a", b"own 1")
    s3.lose_answer(path="/lost/a")
    assert not store.put_new("a", b"own 2")
    assert store.get("a") == b"own 1"


def test_nobody_there(monkeypatch: pytest.MonkeyPatch, s3: S3Server) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match="bucket/x/a: the storage could not be reached"):
        store_for(f"s3a://{BUCKET}/x", None).get("a")


def test_an_object_that_is_replaced_while_it_is_read_is_noticed(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_BLOCK", 1000)
    store = store_for(f"s3a://{BUCKET}/replaced", None)
    store.put("a", b"1" * 5000)
    with store.open(f"{store.root}/a") as file:
        assert file.read(10) == b"1" * 10
        store.put("a", b"2" * 5000)
        with pytest.raises(StoreError, match="was changed while it was read"):
            file.read()


def test_a_reader_of_an_object_has_a_block_in_memory(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_BLOCK", 1 << 16)
    store = store_for(f"s3a://{BUCKET}/blocks", None)
    store.put("a", b"1" * (1 << 20))
    s3.reset_counts()
    with store.open(f"{store.root}/a") as file:
        file.read(1)
    assert s3.counts()["GET"].bytes_out == 1 << 16


def test_markers_of_folders_are_no_files(s3: S3Server) -> None:
    store = store_for(f"s3a://{BUCKET}/marked", None)
    store.put("d/a", b"")
    # as s3a makes them: a name with a slash at its end, which obstore cannot write
    from urllib.request import Request, urlopen

    urlopen(Request(f"{s3.endpoint}/{BUCKET}/marked/folder/", data=b"", method="PUT"), timeout=30).close()
    assert store.list() == ["d/a"]
    assert not store.exists("folder")
