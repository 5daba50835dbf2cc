"""What every command that starts Spark has in common: settings, machine, session, the run, its output, its errors.

Imported when such a command runs, never for help. Settings are checked before Spark is imported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from profiling_spark import log
from profiling_spark.cli.main import program
from profiling_spark.cli.options import Given
from profiling_spark.config import Settings, load_settings
from profiling_spark.errors import ConfigError, ProfilingError
from profiling_spark.launch.driver import SparkOptions, cluster_command, prepare

if TYPE_CHECKING:
    from profiling_spark.context import Context
    from profiling_spark.job_runs import RunResult
    from profiling_spark.pipeline import Pipeline
    from profiling_spark.progress import Progress


def execute(given: Given, act: Callable[[Pipeline], RunResult], *, before: Callable[[], None] = lambda: None) -> int:
    """Run a command that writes; returns the exit code of the process. `before`: done once the machine is ready."""
    with log.written_to(given.log), reported(given):  # so that the log hears why it failed
        settings = settings_of(given)
        start(given)
        from profiling_spark.session import begin_session

        with shown(given) as progress:
            name = click.get_current_context().info_name or "run"
            started = begin_session(settings, name=name, verbose=given.verbose)
            before()
            from profiling_spark.pipeline import Pipeline

            with Pipeline(settings, progress=progress, started=started) as pipeline:
                result = act(pipeline)
        _hints(given, result)
        if given.as_json:
            write(json.dumps(result.as_json(), default=str, ensure_ascii=False))
        if result.problems:
            sys.stderr.write(f"error: {'; '.join(result.problems)}\n")
        return result.exit_code
    return 1  # not reached: `reported` raises or exits


def settings_of(given: Given) -> Settings:
    """The settings of the command line. Raises ConfigError with every fault."""
    return load_settings(given.config, given.overrides)


def start(given: Given) -> None:
    """Make this process ready to be a Spark driver; in cluster mode hand over to spark-submit instead.

    Under spark-submit all that has been done.
    """
    options = SparkOptions.parse(given.master, given.deploy_mode, given.conf)
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        if given.master or given.deploy_mode or given.conf:
            raise ConfigError("--master, --deploy-mode, --conf: give them to spark-submit, which started this job")
        return
    if options.deploy_mode == "cluster":
        line, environ = cluster_command(options, _without_spark(sys.argv[1:]))
        raise SystemExit(subprocess.run(line, env=environ, check=False).returncode)
    prepare(options, verbose=given.verbose)


def _without_spark(arguments: list[str]) -> list[str]:
    """The command line without what spark-submit gets itself."""
    kept, skip = [], False
    for argument in arguments:
        if skip or argument in ("--master", "--deploy-mode", "--conf"):
            skip = not skip
        elif not argument.startswith(("--master=", "--deploy-mode=", "--conf=")):
            kept.append(argument)
    return kept


@contextmanager
def shown(given: Given) -> Iterator[Progress]:
    """How the run shows itself: nothing with --quiet, a moving line on a terminal, plain lines elsewhere."""
    from profiling_spark.progress import Lines, Progress

    if given.quiet:
        yield Progress()
    elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from rich.console import Console

        from profiling_spark.progress.live import Live

        live = Live(Console(stderr=True, highlight=False))
        try:
            yield live
        finally:
            live.close()
    else:
        yield Lines(sys.stderr)


@contextmanager
def reported(given: Given) -> Iterator[None]:
    """Errors as one message without values of rows; with --verbose the stack, as JSON where asked for."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except Exception as err:
        raise SystemExit(failure(err, given)) from err


def failure(err: Exception, given: Given) -> int:
    """Tell what went wrong, on the terminal and as JSON where asked; returns the exit code."""
    code = err.exit_code if isinstance(err, ProfilingError) else 1
    if isinstance(err, ProfilingError):
        message = str(err)
    else:
        from profiling_spark.messages import describe

        message = describe(err)
    if given.verbose:
        from profiling_spark.messages import trace

        sys.stderr.write(f"{trace(err)}\n")
    elif code == 1:
        message += "\n(run again with --verbose for the stack trace)"
    log.event(f"failed: {message}", level=log.ERROR, exit_code=code)
    if given.as_json:
        write(json.dumps({"status": "failed", "exit_code": code, "error": message}))
    sys.stderr.write(f"error: {message}\n")
    return code


def write(text: str) -> None:
    """A result, on stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_summary(ctx: Context) -> None:
    """The readable end of a pipeline."""
    from profiling_spark.report.summary import summary

    ctx.progress.close()
    write(summary(ctx))


def _hints(given: Given, result: RunResult) -> None:
    """What to type next, where a run leaves something to do."""
    if given.quiet or "ingest" not in result.stages:
        return
    outcome = result.stages["ingest"].outcome
    if outcome.rows_rejected:
        line = given.line(program(), "ingest", "--replay", result.run_id)
        sys.stderr.write(f"After mending rules or mappings, judge the refused rows again: {line}\n")
    if outcome.features_stale_from is not None:
        line = given.line(program(), "build_features", "--stale")
        sys.stderr.write(f"Features of {outcome.features_stale_from} and later lack the new rows: {line}\n")
