"""A run's rows in job_runs: appended at the start in one commit, completed in one at the end, also on failure."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from profiling_spark import __version__
from profiling_spark.config.load import config_hash
from profiling_spark.context import Context, Outcome, Step
from profiling_spark.contracts.operations import JOB_RUNS
from profiling_spark.errors import ConfigError, InputError
from profiling_spark.messages import describe
from profiling_spark.storage import as_frame, literal

RUNNING, DONE, SKIPPED, FAILED, LOST = "running", "done", "skipped", "failed", "lost"


@dataclass(frozen=True)
class StageResult:
    """How a stage of a run ended. `error`: of a failed one what went wrong, of a skipped one why."""

    name: str
    status: str = RUNNING
    error: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    seconds: float | None = None
    outcome: Outcome = field(default_factory=Outcome)

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        return {
            "status": self.status,
            "skipped": self.outcome.skipped or None,
            "rows_in": self.outcome.rows_in,
            "rows_out": self.outcome.rows_out,
            "rows_rejected": self.outcome.rows_rejected,
            "seconds": round(self.seconds or 0, 3),
            **self.outcome.facts,
        }


@dataclass(frozen=True)
class RunResult:
    """How a run ended: `stages` by name in their order, after the job's own row where it has several stages.

    `as_of`: None where no stage needed a date.
    """

    run_id: str
    job: str
    as_of: date | None
    storage_root: str
    stages: dict[str, StageResult]

    @property
    def status(self) -> str:
        """done or skipped; a run that fails raises its error instead."""
        return self.stages[self.job].status

    @property
    def problems(self) -> tuple[str, ...]:
        """What a person must look at although all tables were published, such as files that could not be read."""
        return tuple(s.outcome.problem for s in self.stages.values() if s.outcome.problem)

    @property
    def exit_code(self) -> int:
        """Of the process that ran it."""
        return InputError.exit_code if self.problems else 0

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        return {
            "run_id": self.run_id,
            "job": self.job,
            "status": self.status,
            "as_of": self.as_of,
            "storage_root": self.storage_root,
            "stages": {name: stage.as_json() for name, stage in self.stages.items()},
        }


class Book:
    """Opens, fills and closes the rows of one run."""

    def __init__(self, ctx: Context, job: str, steps: Sequence[Step]) -> None:
        self.ctx, self.job = ctx, job
        names = [s.name for s in steps]
        self.stages = {n: StageResult(n) for n in ([job, *names] if names != [job] else names)}
        self.clock = time.monotonic()
        self.usual_seconds: dict[str, float] = {}

    def open(self) -> None:
        """Mark the rows of runs that died, then append this run's. Also learns how long the last run took."""
        tables = self.ctx.tables
        if tables.exists(JOB_RUNS):
            rows = tables.rows(JOB_RUNS)
            ended = rows.filter(pl.col("status") == DONE).sort("started_at")
            self.usual_seconds = {job: s for job, s in ended.select("job", "seconds").rows() if s is not None}
            self._mark_lost(rows)
        begun = {n: replace(e, started_at=self.ctx.started) for n, e in self.stages.items()}
        tables.append_rows(JOB_RUNS, self._rows(begun))

    def _mark_lost(self, rows: pl.DataFrame) -> None:
        """A run that still says `running` while this one has the storage's lock has died."""
        orphans = rows.filter(pl.col("status") == RUNNING)["run_id"].unique().sort().to_list()
        if orphans:
            status = pl.when(pl.col("status") == RUNNING).then(pl.lit(LOST)).otherwise("status").alias("status")
            marked = rows.filter(pl.col("run_id").is_in(orphans)).with_columns(status)
            predicate = f"run_id IN ({', '.join(literal(o) for o in orphans)})"
            self.ctx.tables.replace_rows(JOB_RUNS, marked.rows(), predicate)
            self.ctx.note(f"runs that died before their end, now marked lost: {', '.join(orphans)}")

    def stage(self, step: Step) -> StageResult:
        """Run a stage. Its error is noted and raised."""
        name, begin, started = step.name, time.monotonic(), datetime.now(UTC)
        try:
            self.ctx.plan_for()
            outcome = _done(step, self.ctx)
        except BaseException as err:
            seconds = time.monotonic() - begin
            self.stages[name] = StageResult(name, FAILED, first_line(err), started, datetime.now(UTC), seconds)
            raise
        status, finished = SKIPPED if outcome.skipped else DONE, datetime.now(UTC)
        seconds = time.monotonic() - begin
        self.stages[name] = StageResult(name, status, outcome.skipped or None, started, finished, seconds, outcome)
        self.ctx.outcomes[name] = outcome
        return self.stages[name]

    def close(self, error: BaseException | None) -> None:
        """Complete the rows; `error`: what ended the run."""
        for name, stage in self.stages.items():
            if stage.status == RUNNING:
                own = name == self.job
                status = (FAILED if error else DONE) if own else SKIPPED
                reason = first_line(error) if error and own else None if own else "an earlier stage failed"
                begun = stage.started_at or self.ctx.started
                seconds = time.monotonic() - self.clock if own else 0.0
                self.stages[name] = StageResult(name, status, reason, begun, datetime.now(UTC), seconds)
        if error is not None and not isinstance(error, Exception):
            return  # the process is being killed: the next run marks the rows lost
        rows = as_frame(JOB_RUNS, self._rows(self.stages))
        self.ctx.tables.replace_slice(JOB_RUNS, rows, run_id=self.ctx.run_id)

    def result(self) -> RunResult:
        """Of a run that is closed."""
        return RunResult(self.ctx.run_id, self.job, self.ctx.known_as_of, self.ctx.tables.root, dict(self.stages))

    def _rows(self, stages: dict[str, StageResult]) -> list[tuple[object, ...]]:
        ctx = self.ctx
        versions = [json.dumps(v, sort_keys=True) for v in (ctx.tables.read_versions, ctx.tables.written_versions)]
        return [
            (
                ctx.run_id,
                s.name,
                s.started_at,
                s.finished_at,
                s.status,
                s.error,
                ctx.known_as_of,
                config_hash(ctx.settings),
                __version__,
                ctx.settings.seed,
                s.outcome.rows_in,
                s.outcome.rows_out,
                s.outcome.rows_rejected,
                s.seconds,
                s.outcome.features_stale_from,
                *(versions if s.status != RUNNING else (None, None)),
                ",".join(str(d) for d in sorted(s.outcome.features_built)) or None,
            )
            for s in stages.values()
        ]


def _done(step: Step, ctx: Context) -> Outcome:
    """What the stage gives; its complaints about SQL of the settings show no value of the environment."""
    try:
        return step.do(ctx)
    except ConfigError as err:
        concealed = ctx.settings.concealed(str(err))
        if concealed == str(err):
            raise
        raise ConfigError(concealed) from None  # what led to it has the value in its text


def first_line(err: BaseException) -> str:
    """What went wrong, for a table's cell."""
    return describe(err).splitlines()[0]
