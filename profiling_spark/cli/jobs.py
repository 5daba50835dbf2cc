"""Commands that run stages."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from profiling_spark.cli.options import Day, Given, exclusive, fitting, running
from profiling_spark.errors import ConfigError

if TYPE_CHECKING:
    from profiling_spark.job_runs import RunResult
    from profiling_spark.pipeline import Pipeline

STAGES = ("ingest", "build_features", "segment_users", "score_users", "recommend_items", "build_profiles")
"""Of profiling_spark.pipeline, which imports too much for an option's help (a test compares)."""
_Stage = click.Choice(STAGES)


@click.command()
@fitting
@click.option("--from", "first", type=_Stage, metavar="STAGE", help="Begin with this stage.")
@click.option("--only", type=_Stage, metavar="STAGE", multiple=True, help="This stage and no others; repeatable.")
@click.option("--skip", type=_Stage, metavar="STAGE", multiple=True, help="Leave a stage out; repeatable.")
def run(given: Given, first: str | None, only: tuple[str, ...], skip: tuple[str, ...]) -> int:
    """Run all stages in one session under one run_id and one date, and print a summary.

    \b
    Stages, in this order: ingest, build_features, segment_users,
    score_users, recommend_items, build_profiles.
    """
    from profiling_spark.cli.execute import execute, print_summary

    exclusive(only=only, **{"from": first})
    chosen = [s for s in STAGES if (not only or s in only) and s not in skip]
    chosen = chosen[chosen.index(first) :] if first in chosen else chosen
    if not chosen:
        raise ConfigError("--only and --skip leave no stage")
    whole = tuple(chosen) == STAGES
    ending = print_summary if whole and not given.quiet and not given.as_json else None
    return execute(given, lambda p: p.run(*chosen, **_dated(given), job="run_pipeline", ending=ending))


@click.command()
@running
@click.option("--replay", metavar="RUN_ID", help="Judge again what that run (last: the newest that has any) refused.")
@click.option("--reload", metavar="SOURCE", help="Take all files of a source again, as it is mapped now.")
def ingest(given: Given, replay: str | None, reload: str | None) -> int:
    """Read new source files into events, users, items and reviews; refused rows go to rejected_rows with reasons."""
    from profiling_spark.cli.execute import execute

    exclusive(replay=replay, reload=reload)

    def act(pipeline: Pipeline) -> RunResult:
        if replay is not None:
            return pipeline.replay(replay)
        return pipeline.reload(reload) if reload is not None else pipeline.run("ingest", as_of=given.as_of)

    return execute(given, act)


@click.command("build_features")
@fitting
@click.option("--from", "since", type=Day(), help="Every date from here ...")
@click.option("--to", "until", type=Day(), help="... to here, both included.")
@click.option("--stale", is_flag=True, help="The dates that rows which came later would change.")
def build_features(given: Given, since: date | None, until: date | None, stale: bool) -> int:
    """Compute user_features, item_features and rfm_cuts as of the run's date, and as of the training date where a fit
    is due.
    """
    from profiling_spark.cli.execute import execute

    if (since is None) != (until is None) or (since is not None and given.as_of is not None):
        raise ConfigError("--from and --to go together, and without --as-of")
    if stale and (since is not None or given.as_of is not None):
        raise ConfigError("--stale finds its dates itself: without --as-of, --from and --to")
    if given.refit and (stale or since is not None):
        raise ConfigError(
            "--refit adds the date that a fit learns from to a run's own: without --stale, --from and --to"
        )
    if since is not None and until is not None and since > until:
        raise ConfigError(f"--from {since} must not be after --to {until}")

    def act(pipeline: Pipeline) -> RunResult:
        if since is not None and until is not None:
            return pipeline.build_features(since=since, as_of=until)
        return pipeline.build_stale_features() if stale else pipeline.run("build_features", **_dated(given))

    return execute(given, act)


def _stage(name: str, text: str) -> click.Command:
    @fitting
    def stage(given: Given) -> int:
        from profiling_spark.cli.execute import execute

        return execute(given, lambda p: p.run(name, **_dated(given)))

    return click.command(name, help=text)(stage)


segment_users = _stage(
    "segment_users", "Put every customer into a named segment: segments, segment_features, user_segments."
)
score_users = _stage(
    "score_users", "Say how likely each active customer is to leave, and why: user_scores, feature_rankings."
)
recommend_items = _stage(
    "recommend_items",
    "Choose what to offer each customer, and say why: user_recommendations, item_neighbours, repeat_categories, "
    "bundles, item_audience.",
)
build_profiles = _stage(
    "build_profiles", "Tag every customer, and write one wide row for each: user_tags, user_profile."
)


@click.command()
@running
@click.option("--check", is_flag=True, help="Change nothing: verify keys and the ledger of files.")
def maintain(given: Given, check: bool) -> int:
    """Compact tables of many small files and remove files that no recent version needs."""
    from profiling_spark.cli.execute import execute

    return execute(given, lambda p: p.check() if check else p.maintain())


@click.command()
@fitting
@click.option("--customers", type=click.IntRange(1), default=2500, show_default=True, help="Customers of the shop.")
@click.option("--days", type=click.IntRange(1), default=120, show_default=True, help="Days of history.")
@click.option("--data", type=click.Path(path_type=Path), default=Path("demo_data"), show_default=True,
              metavar="FOLDER", help="Where the raw logs are made, or were.")  # fmt: skip
def demo(given: Given, customers: int, days: int, data: Path) -> int:
    """Make a shop's raw logs, or take those that are there, and run all stages on them into ./lake_demo."""
    from profiling_spark.cli.demo import run_demo

    return run_demo(given, customers=customers, days=days, data=data)


def _dated(given: Given) -> dict[str, Any]:
    return {"as_of": given.as_of, "refit": given.refit}
