"""What a run would do, without doing it: new files, dates of features, models to fit, how long each stage took last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import cast

import polars as pl
from pyspark.sql import SparkSession

from profiling_spark import models
from profiling_spark.config import Settings
from profiling_spark.context import Context
from profiling_spark.contracts.operations import JOB_RUNS
from profiling_spark.contracts.silver import EVENTS
from profiling_spark.errors import InputError, ModelError
from profiling_spark.features.job import feature_dates
from profiling_spark.ingest.files import ledger
from profiling_spark.ingest.files.changes import ToTake
from profiling_spark.ingest.files.identity import sort_out_renamed
from profiling_spark.ingest.files.source_files import SourceFile, find_files
from profiling_spark.job_runs import DONE
from profiling_spark.recommend.store import wanted as wanted_recommender
from profiling_spark.scores.wanted import wanted_model
from profiling_spark.segments.job import wanted_segments
from profiling_spark.storage import Tables


@dataclass(frozen=True)
class SourcePlan:
    """Files of a source. `problems`: why some would be refused; `absent`: why none can be found."""

    name: str
    target: str
    new: int = 0
    new_bytes: int = 0
    known: int = 0
    again: int = 0
    problems: tuple[str, ...] = ()
    absent: str = ""


@dataclass(frozen=True)
class StagePlan:
    """What a stage would do; `usual_seconds`: what it took when it last ended well, None where it never did."""

    name: str
    what: str
    usual_seconds: float | None


@dataclass(frozen=True)
class Plan:
    """`as_of`: None before any event is stored; `is_given`: else it moves with the events that new files bring."""

    storage_root: str
    as_of: date | None
    is_given: bool
    sources: tuple[SourcePlan, ...]
    notes: tuple[str, ...]
    stages: tuple[StagePlan, ...]


def plan(tables: Tables, settings: Settings, *, as_of: date | None, refit: bool) -> Plan:
    """Read the ledger, the files' fingerprints and the models' declarations; write nothing."""
    ctx = Context(settings, cast(SparkSession, tables.session), tables, datetime.now(UTC), as_of, refit)
    taken = ledger.taken(tables)
    found, absent = _found(ctx, taken)
    todo = sort_out_renamed(found, taken, settings, started=ctx.started, spark=tables.session)
    sources = tuple(_source(name, settings, found, todo, absent.get(name, "")) for name in settings.sources)
    date_known = as_of is not None or tables.exists(EVENTS)
    runs = tables.rows(JOB_RUNS).filter(pl.col("status") == DONE).sort("started_at")
    usual = dict(runs.select("job", "seconds").rows())
    what = {"ingest": _ingest(sources), **(_stages(ctx) if date_known else _first_run())}
    return Plan(
        tables.root,
        ctx.as_of if date_known else None,
        as_of is not None,
        sources,
        tuple(todo.notes),
        tuple(StagePlan(name, text, usual.get(name)) for name, text in what.items()),
    )


def _found(ctx: Context, taken: Sequence[ledger.Taken]) -> tuple[list[SourceFile], dict[str, str]]:
    found: list[SourceFile] = []
    absent: dict[str, str] = {}
    for name, source in ctx.settings.sources.items():
        try:
            known = ledger.known_contents(taken, name)
            files = find_files(ctx.spark, name, source, ctx.settings.data_root, known=known)
            found += files
            if not files:  # else it is an error
                absent[name] = f"no files at {source.path} (required: false)"
        except InputError as err:
            absent[name] = str(err)
    return found, absent


def _source(name: str, settings: Settings, found: list[SourceFile], todo: ToTake, absent: str) -> SourcePlan:
    made = SourcePlan(name, settings.sources[name].target, absent=absent)
    new = [f for f in todo.files if f.source == name]
    refused = [f for f in todo.refused if f.source == name]
    return replace(
        made,
        new=sum(f.key not in todo.again for f in new),
        new_bytes=sum(f.bytes for f in new),
        known=sum(f.source == name for f in found) - len(new) - len(refused),
        again=sum(f.key in todo.again for f in new),
        problems=tuple(f"{f.path}: {f.problem}" for f in refused),
    )


def _ingest(sources: tuple[SourcePlan, ...]) -> str:
    new, size = sum(s.new + s.again for s in sources), sum(s.new_bytes for s in sources)
    return f"read {new:,} files, {size / 2**20:,.1f} MB" if new else "nothing: no new files"


def _stages(ctx: Context) -> dict[str, str]:
    dates = " and ".join(str(d) for d in sorted(feature_dates(ctx)))
    return {
        "build_features": f"features as of {dates}",
        "segment_users": _model(ctx, wanted_segments(ctx.settings)),
        "score_users": _model(ctx, wanted_model(ctx.settings)),
        "recommend_items": _model(ctx, wanted_recommender(ctx.settings)),
        "build_profiles": "write tags and profiles",
    }


def _first_run() -> dict[str, str]:
    fit = dict.fromkeys(("segment_users", "score_users", "recommend_items"), "fit: no model is stored")
    return {
        "build_features": "features as of the day after the latest event",
        **fit,
        "build_profiles": "write tags and profiles",
    }


def _model(ctx: Context, wanted: models.Wanted) -> str:
    reason = why_fit(ctx, wanted)
    row = models.live(ctx.tables, wanted.task)
    return f"fit: {reason}" if reason or row is None else f"apply {row['model_version']}"


def why_fit(ctx: Context, wanted: models.Wanted) -> str:
    """Why a run would fit this model; empty where a stored one serves."""
    if ctx.refit:
        return "--refit"
    row = models.live(ctx.tables, wanted.task)
    try:
        if models.serving(ctx, wanted) is not None or models.kept(ctx, wanted) is not None:
            return ""
    except ModelError as err:
        return str(err)
    if row is None:
        return "no model is stored"
    if row["since"] > ctx.as_of:
        return f"the live model serves from {row['since']} on, later than {ctx.as_of}"
    age = (ctx.as_of - row["since"]).days
    if age >= wanted.max_age_days:
        return f"the live model serves since {age} days, at most {wanted.max_age_days} are allowed"
    return "the settings that it depends on have changed"
