"""Commands that look: at the machine, at sources, at a storage. None writes, but for `models --rollback`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from profiling_spark.cli.options import Day, Given, looking
from profiling_spark.errors import ConfigError, InputError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from profiling_spark.config import Settings
    from profiling_spark.storage import Tables


@click.command()
@looking
def doctor(given: Given) -> int:
    """Is this machine ready for a run with these settings? Needs neither Spark nor Java; changes nothing.

    With --config the storage of those settings is examined too.
    """
    from profiling_spark.cli.execute import reported, settings_of, write
    from profiling_spark.doctor import examine
    from profiling_spark.errors import EnvironmentProblem

    with reported(given):
        root = None
        if given.config or given.overrides:
            root = settings_of(given).storage.root
        checks = examine(storage_root=root, environ=os.environ)
        if given.as_json:
            write(json.dumps([asdict(c) for c in checks]))
        elif not given.quiet:
            from profiling_spark.cli.show import console
            from profiling_spark.cli.views import doctor_lines

            doctor_lines(console(), checks)
    return EnvironmentProblem.exit_code if any(c.fatal and not c.ok for c in checks) else 0


@click.command()
@looking
@click.option("--as-of", type=Day(), help="Date of the run, exclusive (default: the day after the latest event).")
@click.option("--refit", is_flag=True, help="As if models were to be fitted anew.")
def plan(given: Given) -> int:
    """Say what a run would do: new files, dates, models to fit, and how long each stage took last. Writes nothing."""
    from profiling_spark.cli.execute import reported, settings_of, write

    with reported(given):
        settings = settings_of(given)
        from profiling_spark.ingest.files.source_files import pattern_of
        from profiling_spark.storage.stores import needs_session

        places = [pattern_of(s, settings.data_root) for s in settings.sources.values()]
        spark = any(s.format == "delta" for s in settings.sources.values()) or any(map(needs_session, places))
        with _tables(given, settings, spark=spark, is_new=True) as tables:
            from profiling_spark.overview.plan import plan as planned

            found = planned(tables, settings, as_of=given.as_of, refit=given.refit)
        if given.as_json:
            write(json.dumps(asdict(found), default=str, ensure_ascii=False))
        else:
            from profiling_spark.cli.show import console
            from profiling_spark.cli.views import plan_lines

            plan_lines(console(), found)
    return 0


@click.command("try-mapping")
@looking
@click.option("--rows", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="Rows of each source.")
@click.option("--source", "names", multiple=True, metavar="NAME", help="This source and no others; repeatable.")
def try_mapping(given: Given, rows: int, names: tuple[str, ...]) -> int:
    """Show what the first rows of each source become: every column with what it is made of, and which rows would be
    refused by which rule. Stores nothing. Of ids and texts only the shape is shown (A9999 for U0017).
    """
    from profiling_spark.cli.execute import reported, settings_of, start, write

    with reported(given):
        settings = settings_of(given)
        if unknown := sorted(set(names) - set(settings.sources)):
            raise ConfigError(f"--source {unknown[0]}: expected one of {', '.join(settings.sources) or '(no sources)'}")
        if not settings.sources:
            raise ConfigError("sources: expected at least one source in the settings, found none (see --config)")
        start(given)
        from profiling_spark.session import begin_session

        started = begin_session(settings, name="try-mapping", verbose=given.verbose, keeps=False)
        from profiling_spark.cli.show import console
        from profiling_spark.cli.views import sample_lines
        from profiling_spark.overview.sample import samples
        from profiling_spark.runner import session_for

        out, found = console(), []
        with session_for(settings, name="try-mapping", started=started) as spark:
            for sample in samples(spark, settings, rows=rows, only=names):
                found.append(asdict(sample))
                if not given.as_json:
                    sample_lines(out, sample)
        if given.as_json:
            write(json.dumps(found, default=str, ensure_ascii=False))
    return InputError.exit_code if any(sample["problem"] for sample in found) else 0


@click.command()
@looking
@click.argument("run_id", required=False)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="So many runs, the newest first.")
def runs(given: Given, run_id: str | None, limit: int) -> int:
    """List past runs, or the stages of RUN_ID (last: the newest)."""
    from profiling_spark.cli.execute import reported, settings_of, write

    with reported(given):
        settings = settings_of(given)
        with _tables(given, settings) as tables:
            from profiling_spark.overview.runs import past_runs, stages_of

            found = past_runs(tables, limit=limit) if run_id is None else stages_of(tables, run_id)
        if given.as_json:
            write(json.dumps(found.to_dicts(), default=str, ensure_ascii=False))
        else:
            from profiling_spark.cli.show import console
            from profiling_spark.cli.views import run_lines

            run_lines(console(), found, root=settings.storage.root)
    return 0


@click.command()
@looking
def tables(given: Given) -> int:
    """List the Delta tables of the storage: rows, files, size, version, last change."""
    from profiling_spark.cli.execute import reported, settings_of, write

    with reported(given):
        settings = settings_of(given)
        with _tables(given, settings) as opened:
            from profiling_spark.overview.tables import table_lines

            found = table_lines(opened, settings)
        if given.as_json:
            write(json.dumps([asdict(line) for line in found], default=str))
        else:
            from profiling_spark.cli.show import console
            from profiling_spark.cli.views import table_table

            table_table(console(), found, root=settings.storage.root)
    return 0


@click.command()
@looking
@click.option("--task", metavar="TASK", help="Of this task alone: churn, segments, recommendations.")
@click.option("--rollback", "back", metavar="TASK", help="Let the model serve that served before the live one.")
@click.option("--to", metavar="VERSION", help="With --rollback: this version instead.")
def models(given: Given, task: str | None, back: str | None, to: str | None) -> int:
    """List the stored models with their figures on what they did not see; `*` serves. --rollback takes the live model
    of a task out of use; run its stage again for new scores.
    """
    from profiling_spark.cli.execute import reported, settings_of, write

    with reported(given):
        settings = settings_of(given)
        if to is not None and back is None:
            raise ConfigError("--to: expected --rollback TASK beside it")
        with _tables(given, settings) as opened:
            from profiling_spark.models import rollback
            from profiling_spark.overview.models import model_lines
            from profiling_spark.storage import locked

            changed = None
            if back is not None:
                with locked(settings.storage.root, opened.session, job="rollback"):
                    changed = rollback(opened, back, to)
                    opened.read_versions.clear()
            found = [m for m in model_lines(opened) if task is None or m.task == task]
        if given.as_json:
            write(json.dumps([asdict(m) for m in found], default=str))
        else:
            from profiling_spark.cli.show import console
            from profiling_spark.cli.views import model_table

            model_table(console(), found, changed=changed)
    return 0


@contextmanager
def _tables(given: Given, settings: Settings, *, spark: bool = False, is_new: bool = False) -> Iterator[Tables]:
    """The storage, without Spark where nothing needs it; `is_new`: it may be absent."""
    from profiling_spark.storage import Tables
    from profiling_spark.storage.stores import needs_session

    root = settings.storage.root
    if not needs_session(root):
        _check_storage(root, None, is_new=is_new)
        if not spark:
            yield Tables(None, root, run_id="")
            return
    from profiling_spark.cli.execute import start

    start(given)
    from profiling_spark.runner import session_for

    with session_for(settings, name="look", verbose=given.verbose, keeps=False) as session:
        if needs_session(root):
            _check_storage(root, session, is_new=is_new)
        yield Tables(session, root, run_id="")


def _check_storage(root: str, session: SparkSession | None, *, is_new: bool) -> None:
    from profiling_spark.storage.stores import store_for

    if not is_new and not store_for(root, session).exists(""):
        raise InputError(f"storage {root}: expected tables, found nothing there")
