"""Arguments, settings, doctor, lock, session, job_runs and exit code: once for all jobs."""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from profiling_spark import __version__
from profiling_spark.command import Command, parse
from profiling_spark.config import Settings
from profiling_spark.config.load import config_hash
from profiling_spark.contracts.operations import JOB_RUNS
from profiling_spark.contracts.silver import EVENTS
from profiling_spark.doctor import examine, require
from profiling_spark.errors import InputError, ProfilingError
from profiling_spark.messages import describe, trace
from profiling_spark.session import build_session, local_jars, plan_for, submitted
from profiling_spark.storage import Tables, as_frame, literal, locked

if TYPE_CHECKING:
    from profiling_spark.ingest.files.identity import Identity


@dataclass(frozen=True)
class Outcome:
    """What a stage did. `facts` go to --json; `lines` are shown under the stage on the terminal.

    `features_stale_from`: the first date already built whose features the new rows change; `features_built`: dates
    whose features were built. `skipped`: why there was
    nothing to do, exit code 0. `problem`: what a person must look at although all tables were published; the process
    ends with the exit code of InputError.
    """

    rows_in: int | None = None
    rows_out: int | None = None
    rows_rejected: int | None = None
    features_stale_from: date | None = None
    features_built: tuple[date, ...] = ()
    skipped: str = ""
    problem: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    lines: tuple[str, ...] = ()


@dataclass
class Context:
    """What a stage gets: settings, session, tables, and the date it looks from.

    `identities`: by source, what the ids of its rows are made of; `ingest` sets them before it reads.
    """

    settings: Settings
    spark: SparkSession
    tables: Tables
    command: Command
    started: datetime
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    identities: dict[str, Identity] = field(default_factory=dict)
    _as_of: date | None = None

    @property
    def run_id(self) -> str:
        """Identifies the run in every table it writes."""
        return self.tables.run_id

    @property
    def as_of(self) -> date:
        """The run's date, exclusive: given by --as-of, else the day after the latest event."""
        if self._as_of is None:
            self._as_of = self.command.as_of or self._day_after_latest_event()
        return self._as_of

    def _day_after_latest_event(self) -> date:
        row = self.tables.read(EVENTS).agg(F.max("event_date").alias("latest")).first()
        if row is None or row["latest"] is None:
            raise InputError(f"{self.tables.path(EVENTS)}: expected events, found none; run ingest first")
        latest: date = row["latest"]
        return latest + timedelta(days=1)

    def plan_for(self, incoming_bytes: int = 0) -> None:
        """Let Spark plan for what is stored, and for so many bytes of new files."""
        self.tables.incoming_bytes = incoming_bytes
        plan_for(self.spark, self.settings, is_small=self.tables.is_small)

    def say(self, text: str) -> None:
        """A line of progress on the terminal (stderr); silent with --quiet."""
        if not self.command.quiet:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()


Stage = Callable[[Context], Outcome]


def run(
    *stages: Stage,
    job: str = "",
    summary: Callable[[Context], str] | None = None,
    arguments: Sequence[str] | None = None,
) -> int:
    """Run stages in one session under one run_id; returns the exit code of the process.

    `arguments` stand for the process's own where given.
    """
    name = job or stages[0].__name__
    command = None
    try:
        command = parse(name, stages[0].__doc__ or "", None if arguments is None else list(arguments))
        settings = command.settings()
        jars = None if submitted() else local_jars()
        require(examine(storage_root=settings.storage.root, jars=jars, environ=os.environ))
        with locked(settings.storage.root):
            return _in_session(name, stages, command, settings, summary)
    except Exception as err:
        return failure(err, command)


def failure(err: Exception, command: Command | None) -> int:
    """Tell what went wrong, on the terminal and as JSON where asked; returns the exit code. For an except block."""
    if isinstance(err, ProfilingError):
        return _fail(describe(err), err.exit_code, command, err)
    return _fail(describe(err), 1, command, err)


def _first_line(err: BaseException) -> str:
    return describe(err).splitlines()[0]


def _fail(message: str, code: int, command: Command | None, err: Exception) -> int:
    if command is not None and command.verbose:
        sys.stderr.write(f"{trace(err)}\n")
    elif code == 1:
        message += "\n(run again with --verbose for the stack trace)"
    if command is not None and command.json:
        sys.stdout.write(json.dumps({"status": "failed", "exit_code": code, "error": message}) + "\n")
    sys.stderr.write(f"error: {message}\n")
    return code


def _in_session(
    name: str,
    stages: Sequence[Stage],
    command: Command,
    settings: Settings,
    summary: Callable[[Context], str] | None,
) -> int:
    started = datetime.now(UTC)
    run_id = f"{started:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    spark = build_session(settings, name=name, verbose=command.verbose)
    try:
        ctx = Context(settings, spark, Tables(spark, settings.storage.root, run_id=run_id), command, started)
        book = _Book(ctx, name, stages)
        book.open()
        try:
            for stage in stages:
                book.stage(stage)
        finally:
            book.close(sys.exception())
        if summary is not None and not command.quiet and not command.json:
            sys.stdout.write(summary(ctx) + "\n")
        if command.json:
            sys.stdout.write(json.dumps(book.as_json(), default=str, ensure_ascii=False) + "\n")
        problems = [o.problem for o in ctx.outcomes.values() if o.problem]
        if problems:
            sys.stderr.write(f"error: {'; '.join(problems)}\n")
        return InputError.exit_code if problems else 0
    finally:
        spark.stop()


@dataclass(frozen=True)
class _Entry:
    job: str
    status: str = "running"
    error: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    seconds: float | None = None
    outcome: Outcome = Outcome()


class _Book:
    """The run's rows in job_runs: appended at the start in one commit, completed in one at the end, also on failure."""

    def __init__(self, ctx: Context, job: str, stages: Sequence[Stage]) -> None:
        self.ctx, self.job = ctx, job
        names = [s.__name__ for s in stages]
        self.entries = {n: _Entry(n) for n in ([job, *names] if names != [job] else names)}
        self.clock = time.monotonic()

    def open(self) -> None:
        self._mark_lost()
        started = {n: replace(e, started_at=self.ctx.started) for n, e in self.entries.items()}
        self.ctx.tables.append_rows(JOB_RUNS, self._rows(started))

    def _mark_lost(self) -> None:
        """A run that still says `running` while this one holds the storage's lock has died."""
        tables = self.ctx.tables
        if not tables.exists(JOB_RUNS):
            return
        rows = tables.rows(JOB_RUNS)
        orphans = rows.filter(pl.col("status") == "running")["run_id"].unique().sort().to_list()
        if orphans:
            lost = pl.when(pl.col("status") == "running").then(pl.lit("lost")).otherwise("status").alias("status")
            told = rows.filter(pl.col("run_id").is_in(orphans)).with_columns(lost)
            tables.replace_rows(JOB_RUNS, told.rows(), f"run_id IN ({', '.join(literal(o) for o in orphans)})")
            self.ctx.say(f"runs that died before their end, now marked lost: {', '.join(orphans)}")

    def stage(self, stage: Stage) -> None:
        name, begin = stage.__name__, time.monotonic()
        started = datetime.now(UTC)
        try:
            self.ctx.plan_for()
            outcome = stage(self.ctx)
        except BaseException as err:
            failed = _Entry(name, "failed", _first_line(err), started, datetime.now(UTC), time.monotonic() - begin)
            self.entries[name] = failed
            raise
        seconds = time.monotonic() - begin
        status = "skipped" if outcome.skipped else "done"
        finished = datetime.now(UTC)
        self.entries[name] = _Entry(name, status, outcome.skipped or None, started, finished, seconds, outcome)
        self.ctx.outcomes[name] = outcome
        rows = "" if outcome.rows_out is None else f"{outcome.rows_out:>12,} rows"
        self.ctx.say(f"{name:<18} {status:<8}{rows:<18} {seconds:6.1f} s")
        for line in outcome.lines if not outcome.skipped else (outcome.skipped, *outcome.lines):
            self.ctx.say(f"    {line}")

    def close(self, error: BaseException | None) -> None:
        for name, entry in self.entries.items():
            if entry.status == "running":
                own = name == self.job
                status = ("failed" if error else "done") if own else "skipped"
                reason = _first_line(error) if error and own else None if own else "an earlier stage failed"
                begun = entry.started_at or self.ctx.started
                seconds = time.monotonic() - self.clock
                self.entries[name] = _Entry(name, status, reason, begun, datetime.now(UTC), seconds if own else 0.0)
        if error is not None and not isinstance(error, Exception):
            return  # the process is being killed: the next run marks the rows lost
        rows = as_frame(JOB_RUNS, self._rows(self.entries))
        self.ctx.tables.replace_slice(JOB_RUNS, rows, run_id=self.ctx.run_id)

    def _rows(self, entries: dict[str, _Entry]) -> list[tuple[object, ...]]:
        ctx = self.ctx
        versions = [json.dumps(v, sort_keys=True) for v in (ctx.tables.read_versions, ctx.tables.written_versions)]
        return [
            (
                ctx.run_id,
                e.job,
                e.started_at,
                e.finished_at,
                e.status,
                e.error,
                ctx._as_of or ctx.command.as_of,
                config_hash(ctx.settings),
                __version__,
                ctx.settings.seed,
                e.outcome.rows_in,
                e.outcome.rows_out,
                e.outcome.rows_rejected,
                e.seconds,
                e.outcome.features_stale_from,
                *(versions if e.status != "running" else (None, None)),
                ",".join(str(d) for d in sorted(e.outcome.features_built)) or None,
            )
            for e in entries.values()
        ]

    def as_json(self) -> dict[str, Any]:
        """The run's result for --json."""
        return {
            "run_id": self.ctx.run_id,
            "job": self.job,
            "status": self.entries[self.job].status,
            "as_of": self.ctx._as_of,
            "storage_root": self.ctx.tables.root,
            "stages": {
                n: {
                    "status": e.status,
                    "skipped": e.outcome.skipped or None,
                    "rows_in": e.outcome.rows_in,
                    "rows_out": e.outcome.rows_out,
                    "rows_rejected": e.outcome.rows_rejected,
                    "seconds": round(e.seconds or 0, 3),
                    **e.outcome.facts,
                }
                for n, e in self.entries.items()
            },
        }
