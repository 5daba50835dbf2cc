"""A run: doctor, lock, session, stages under one run_id, job_runs. The command line and the library call it alike."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime

from pyspark.sql import SparkSession

from profiling_spark import log
from profiling_spark.config import Settings
from profiling_spark.context import Context, Step
from profiling_spark.expressions import check_expressions
from profiling_spark.job_runs import FAILED, Book, RunResult
from profiling_spark.messages import describe
from profiling_spark.progress import Progress
from profiling_spark.progress.base import Tasks
from profiling_spark.session import Started, adopted, begin_session
from profiling_spark.storage import Check, Tables, locked


@contextmanager
def session_for(
    settings: Settings,
    *,
    name: str,
    spark: SparkSession | None = None,
    started: Started | None = None,
    verbose: bool = False,
    keeps: bool = True,
) -> Iterator[SparkSession]:
    """A session that is ready for our tables: one beside the user's where `spark` is given, which stays as it is; else
    the one that was begun, or a new one, stopped at the end. `keeps`: something will be written to the storage. Raises
    EnvironmentProblem where the machine or the session lacks something.
    """
    if spark is not None:
        yield adopted(spark, settings)
        return
    own = (started or begin_session(settings, name=name, verbose=verbose, keeps=keeps))()
    try:
        yield own
    finally:
        own.stop()


def run_steps(
    spark: SparkSession,
    settings: Settings,
    steps: Sequence[Step],
    *,
    job: str,
    as_of: date | None = None,
    refit: bool = False,
    progress: Progress | None = None,
    ending: Callable[[Context], None] | None = None,
) -> RunResult:
    """Run stages under one run_id while nobody else writes to the storage. `ending` gets the context at the end.

    Raises what a stage raises, after the run's record says so, and StorageError where another run writes.
    """
    started, shown = datetime.now(UTC), progress or Progress()
    run_id = f"{started:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    root = settings.storage.root
    with log.bound(run_id=run_id, job=job), locked(root, spark, job=job, run_id=run_id) as check:
        tables = Tables(spark, root, run_id=run_id, check=check)
        ctx = Context(settings, spark, tables, started, as_of, refit, shown)
        book = Book(ctx, job, steps)
        log.event("run began")
        shown.run_began(run_id, [s.name for s in steps], tasks_of(spark))
        check_expressions(spark, settings)
        error: BaseException | None = None
        try:
            book.open()
            _run_each(book, steps, shown, check)
        except BaseException as err:
            error = err
            log.event(f"run failed: {describe(err)}", level=log.ERROR, memory_mb=log.memory_mb())
            raise
        finally:
            check()  # where another run writes by now, its tables are not touched
            book.close(error)
        result = book.result()
        seconds = round(result.stages[job].seconds or 0.0, 3)
        log.event("run ended", status=result.status, as_of=result.as_of, seconds=seconds, memory_mb=log.memory_mb())
        if ending is not None:
            ending(ctx)
        return result


def _run_each(book: Book, steps: Sequence[Step], shown: Progress, check: Check) -> None:
    for step in steps:
        check()
        shown.stage_began(step.name, book.usual_seconds.get(step.name))
        with log.bound(stage=step.name):
            log.event("stage began")
            try:
                book.stage(step)
            finally:
                ended = book.stages[step.name]
                outcome = ended.outcome
                log.event(
                    f"stage ended: {ended.error}" if ended.error else "stage ended",
                    level=log.ERROR if ended.status == FAILED else log.INFO,
                    status=ended.status,
                    rows_in=outcome.rows_in,
                    rows_out=outcome.rows_out,
                    rows_rejected=outcome.rows_rejected,
                    seconds=None if ended.seconds is None else round(ended.seconds, 3),
                    memory_mb=log.memory_mb(),
                )
                shown.stage_ended(ended)


def tasks_of(spark: SparkSession) -> Tasks:
    """Spark's own count of the tasks that run; of a session without that count (Spark Connect) nothing is known."""
    try:
        tracker = spark.sparkContext.statusTracker()
    except Exception:
        return lambda: (0, 0)

    def count() -> tuple[int, int]:
        stages = [tracker.getStageInfo(i) for i in tracker.getActiveStageIds()]
        found = [s for s in stages if s is not None]
        return sum(s.numCompletedTasks for s in found), sum(s.numTasks for s in found)

    return count
