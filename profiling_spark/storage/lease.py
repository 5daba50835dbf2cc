"""One writing process per storage root where no lock of a file system can say so: numbered leases.

Under `_lease/` each object is one lease or one renewal, named by a number of 20 digits. They are only ever created
(`Store.put_new`), the next number by whoever may: the holder of the newest, or anybody once that is released or has not
been renewed for VALID_SECONDS. So whoever created the newest one has the lease, which is known without a lock. Old
numbers are deleted: who has slept and creates one of those again sees by a listing that it is not the newest.

Time: an age is the difference of two times of the storage's own clock (when the newest lease and when a probe were
written), so machines need not agree on the time. A holder counts on its own clock, from before each renewal was asked
for, and stops committing COMMIT_SECONDS before anybody may take over: clocks must run equally fast, and a commit that
was checked must be done within COMMIT_SECONDS.
"""

from __future__ import annotations

import contextvars
import json
import os
import platform
import threading
import time
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from profiling_spark import log
from profiling_spark.errors import StorageError
from profiling_spark.storage.stores import Store

FOLDER = "_lease"
VALID_SECONDS = 120.0
"""So long after its last renewal a lease is taken over."""
RENEW_SECONDS = 20.0
COMMIT_SECONDS = 60.0
_RETRY_SECONDS = 5.0
_CLOCK = f"{FOLDER}/clock"
_CLOCK_STEP_SECONDS = 2.0  # of an object store's times
_KEPT = 5
_ATTEMPTS = 5


@dataclass(frozen=True)
class Holder:
    """Who has a lease. `since`: ISO time (UTC) of when it was acquired; `lease_id` is random, one per acquisition."""

    host: str
    pid: int
    job: str
    run_id: str
    since: str
    lease_id: str

    @classmethod
    def of_this_process(cls, job: str, run_id: str) -> Holder:
        """A run that begins now."""
        since = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(platform.node(), os.getpid(), job, run_id, since, uuid.uuid4().hex)

    def __str__(self) -> str:
        """For the message of a run that must wait."""
        at = f"on host {self.host} (process {self.pid}), which has been writing here since {self.since}"
        return f"run {self.run_id} of {self.job} {at}"


@dataclass(frozen=True)
class _Newest:
    """The newest lease. `holder` is None where its content cannot be read, as that of one that is being written."""

    number: int
    holder: Holder | None
    is_released: bool
    modified_at: datetime


class Lease:
    """The right to write to a storage root. `check` before each commit; `release` at the end."""

    def __init__(self, store: Store, *, job: str, run_id: str) -> None:
        self._store = store
        self.holder = Holder.of_this_process(job, run_id)
        self._number = 0
        self._renewed = 0.0  # time.monotonic() before the last renewal that came through was asked for
        self._lost = ""
        self._writing = threading.Lock()
        self._ended = threading.Event()
        # in the log its records are the run's
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._keep,), name="lease", daemon=True)

    def acquire(self) -> Lease:
        """Take the lease and renew it from now on. Raises StorageError where another run has it."""
        for _ in range(_ATTEMPTS):
            newest = _newest(self._store)
            if newest is not None:
                self._refuse_unless_free(newest)
            begun = time.monotonic()
            number = newest.number + 1 if newest else 1
            if self._store.put_new(_name(number), self._content()) and number == max(_numbers(self._store)):
                self._number, self._renewed = number, begun
                self._thread.start()
                return self
        raise StorageError(f"storage {self._store.root}: several runs begin here at once; try again")

    def check(self) -> None:
        """Raises StorageError where another run may have the lease by now. Costs nothing while renewals come through;
        after a pause (a machine that slept) it renews first.
        """
        if not self._lost and time.monotonic() - self._renewed > VALID_SECONDS - COMMIT_SECONDS:
            try:
                self._renew()
            except StorageError as err:
                raise StorageError(f"{self._where()}: this run's lease could not be renewed in time: {err}") from err
        if self._lost:
            raise StorageError(f"{self._where()}: {self._lost}")

    def release(self) -> None:
        """Let the next run begin at once. Where that fails it begins VALID_SECONDS after the last renewal."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._lost:
            return
        try:
            self._renew(is_released=True)
        except StorageError as err:
            log.event(f"lease could not be released, it ends by itself: {err}", level=log.WARNING)

    def _keep(self) -> None:
        wait = RENEW_SECONDS
        while not self._ended.wait(wait) and not self._lost:
            try:
                self._renew()
                wait = RENEW_SECONDS
            except StorageError as err:
                wait = min(_RETRY_SECONDS, RENEW_SECONDS)
                log.event(f"lease could not be renewed, trying again: {err}", level=log.WARNING)

    def _renew(self, *, is_released: bool = False) -> None:
        """Create the next number. Sets `_lost` where another holder has."""
        with self._writing:
            while not self._lost:
                begun, number = time.monotonic(), self._number + 1
                is_new = self._store.put_new(_name(number), self._content(is_released=is_released))
                numbers = sorted(_numbers(self._store))
                if is_new and numbers[-1] == number:
                    self._number, self._renewed = number, begun
                    self._clear(numbers[:-_KEPT])
                    return
                newest = _read(self._store, numbers[-1])
                if newest is None or newest.holder != self.holder:
                    self._lost = f"this run's lease was taken over by {_described(newest)}; nothing more is written"
                    log.event(self._lost, level=log.ERROR)
                    return
                # an earlier renewal of ours whose answer was lost; when it came through is not known
                self._number = newest.number

    def _clear(self, numbers: list[int]) -> None:
        try:
            self._store.delete([_name(n) for n in numbers])
        except StorageError as err:
            log.event(f"old leases could not be deleted: {err}", level=log.WARNING)

    def _refuse_unless_free(self, newest: _Newest) -> None:
        if newest.is_released:
            return
        age = (_now(self._store) - newest.modified_at).total_seconds()
        if age <= VALID_SECONDS + _CLOCK_STEP_SECONDS:
            ends = newest.modified_at + timedelta(seconds=VALID_SECONDS + _CLOCK_STEP_SECONDS)
            raise StorageError(
                f"{self._where()}: {_described(newest)}; another run is writing here: wait for it to end. If it has "
                f"died, its lease ends by itself at {ends:%Y-%m-%d %H:%M:%S} UTC (by the storage's clock)"
            )
        log.event(f"lease taken over from {_described(newest)}", level=log.WARNING)

    def _content(self, *, is_released: bool = False) -> bytes:
        now = datetime.now(UTC)
        expires = now + timedelta(seconds=VALID_SECONDS)
        times = {"renewed": now.isoformat(), "expires": expires.isoformat()}
        # the token makes each renewal's bytes its own: after a lost answer they tell who wrote
        token = {"token": uuid.uuid4().hex, "released": is_released}
        return json.dumps({**asdict(self.holder), **times, **token}).encode()

    def _where(self) -> str:
        return f"storage {self._store.root}"


def _name(number: int) -> str:
    return f"{FOLDER}/{number:020d}"


def _numbers(store: Store) -> list[int]:
    names = (name.rpartition("/")[2] for name in store.list(FOLDER))
    return [int(name) for name in names if name.isdecimal()]


def _newest(store: Store) -> _Newest | None:
    for _ in range(_ATTEMPTS):
        numbers = _numbers(store)
        if not numbers:
            return None
        # gone only where newer ones have come meanwhile
        found = _read(store, max(numbers))
        if found is not None:
            return found
    raise StorageError(f"storage {store.root}: its leases change faster than they can be read; try again")


def _read(store: Store, number: int) -> _Newest | None:
    content, modified = store.get(_name(number)), store.modified_at(_name(number))
    if content is None or modified is None:
        return None
    try:
        found = json.loads(content)
        holder = Holder(**{name: found[name] for name in Holder.__dataclass_fields__})
        return _Newest(number, holder, bool(found["released"]), modified)
    except (ValueError, KeyError, TypeError):
        return _Newest(number, None, False, modified)


def _now(store: Store) -> datetime:
    """The storage's time."""
    store.put(_CLOCK, uuid.uuid4().hex.encode())
    now = store.modified_at(_CLOCK)
    if now is None:
        raise StorageError(f"storage {store.root}: {_CLOCK} vanished after it was written; try again")
    return now


def _described(lease: _Newest | None) -> str:
    if lease is None or lease.holder is None:
        return "a run that is not known"
    return str(lease.holder)
