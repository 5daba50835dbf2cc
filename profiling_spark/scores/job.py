"""The stage: fit or load the churn model, score everyone who is still here, with reasons."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import accumulate

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from profiling_spark import models
from profiling_spark.context import Context, Outcome
from profiling_spark.contracts.features import user_features_table
from profiling_spark.contracts.gold import USER_SCORES
from profiling_spark.contracts.operations import FEATURE_RANKINGS
from profiling_spark.errors import ModelError
from profiling_spark.features.job import build_dates
from profiling_spark.models import Stored
from profiling_spark.prepare import Preparation
from profiling_spark.prepare.inputs import inputs_of
from profiling_spark.scores.calibration import STEPS, Calibration
from profiling_spark.scores.fit import MODEL, TASK, ThinData, candidate_features, figures_of, fit_churn
from profiling_spark.scores.labels import population
from profiling_spark.scores.mllib import read_forest
from profiling_spark.scores.reasons import Scorer, scored
from profiling_spark.scores.wanted import JOB, training_date, wanted_model
from profiling_spark.storage import as_frame


def score_users(ctx: Context) -> Outcome:
    """Say of every active customer how likely no event will follow in the next horizon_days, and why.

    Scored: everyone with an event in the last active_days before as_of; others have left already and get no row. A
    stored model is applied where one serves (see models.serving); else one is fitted on the features of
    as_of - horizon_days and the events since. model_runs then holds that fit's held-out figures, also on later days
    that apply it (train_as_of is their date).
    """
    wanted = wanted_model(ctx.settings)
    stored = models.serving(ctx, wanted)
    fitted = stored is None
    if fitted:
        _require_training_date(ctx)
    try:
        stored = stored or fit_churn(ctx, candidate_features(ctx.settings.windows_days), wanted)
    except ThinData as reason:
        return _skipped(ctx, str(reason))
    if fitted:
        models.promote_unless_older(ctx, stored)
    rows, levels = _write_scores(ctx, stored)
    models.write_figures(ctx, wanted, stored, figures_of(stored.declaration), serves=MODEL)
    _write_rankings(ctx, stored)
    return _report(ctx, stored, rows, levels, fitted=fitted)


def _require_training_date(ctx: Context) -> None:
    """Build the features that the fit learns from where none are stored; those that are stored are used as they are.

    build_features leaves them out where it sees that a model will serve, and a fit may be asked for afterwards.
    """
    table = user_features_table(ctx.settings.windows_days, ctx.settings.custom_features)
    built = ctx.outcomes.get("build_features")
    day = training_date(ctx)
    if (built and str(day) in built.facts["dates"]) or not ctx.tables.read(table, as_of=day).isEmpty():
        return
    build_dates(ctx, [day])


def _skipped(ctx: Context, reason: str) -> Outcome:
    for table in (USER_SCORES, FEATURE_RANKINGS):
        ctx.tables.replace_slice(table, as_frame(table, []), as_of=ctx.as_of, task=TASK)
    models.no_figures(ctx, JOB, TASK)
    return Outcome(rows_out=0, skipped=reason)


def _write_rankings(ctx: Context, stored: Stored) -> None:
    """The rankings of the fit that serves, also on later days that apply it."""
    declaration = stored.declaration
    chosen = set(Preparation.from_json(declaration["preparation"]).names)
    learned, ranked = date.fromisoformat(declaration["train_as_of"]), declaration.get("ranked_rows", 0)
    rows = [
        (ctx.as_of, TASK, r["method"], r["feature"], r["rank"], r["score"], r["feature"] in chosen, learned, ranked)
        for r in declaration.get("rankings", [])
    ]
    ctx.tables.replace_slice(FEATURE_RANKINGS, as_frame(FEATURE_RANKINGS, rows), as_of=ctx.as_of, task=TASK)


def scorer_of(ctx: Context, stored: Stored) -> Scorer:
    """The stored model, ready to travel to the workers (a few megabytes)."""
    churn, declaration = ctx.settings.scores.churn, stored.declaration
    try:
        preparation = Preparation.from_json(declaration["preparation"])
        calibration = Calibration.from_json(declaration["calibration"])
    except KeyError as err:
        raise ModelError(f"model {stored.path}: expected {err} in its declaration, found none") from err
    forest = read_forest(ctx.spark, models.mllib_path(ctx.tables, TASK, stored.version))
    return Scorer(forest, preparation, calibration, ctx.settings.language, churn.medium_from, churn.high_from)


def _write_scores(ctx: Context, stored: Stored) -> tuple[int, dict[str, int]]:
    """Score once; count the ten thousand possible probabilities; write with the percentiles that follow from them."""
    features = ctx.tables.read(user_features_table(ctx.settings.windows_days), as_of=ctx.as_of)
    active = population(features, active_days=ctx.settings.scores.churn.active_days)
    scorer = scorer_of(ctx, stored)
    every_date = ctx.tables.read(user_features_table(ctx.settings.windows_days))
    days = ctx.settings.prepare.forward_fill_days
    raw = inputs_of(scorer.preparation).of(active, every_date, as_of=ctx.as_of, days=days)
    scores = scored(raw, scorer).persist()
    try:
        counts = scores.groupBy("step", "level").agg(F.count(F.lit(1)).alias("users")).orderBy("step").collect()
        users = [r["users"] for r in counts]
        below = dict(zip((r["step"] for r in counts), [0, *accumulate(users)], strict=False))
        levels = {name: sum(r["users"] for r in counts if r["level"] == name) for name in ("low", "medium", "high")}
        frame = _with_percentile(ctx, scores, below, sum(users)).withColumns(
            {"as_of": F.lit(ctx.as_of), "task": F.lit(TASK), "model_version": F.lit(stored.version)}
        )
        return ctx.tables.replace_slice(USER_SCORES, frame, as_of=ctx.as_of, task=TASK), levels
    finally:
        scores.unpersist()


def _with_percentile(ctx: Context, scores: DataFrame, below: dict[int, int], total: int) -> DataFrame:
    """Exact share of scored customers with a lower probability, on any volume: probabilities are whole ten-thousandths,
    so at most 10,000 counts decide it, and no window over all customers is needed.
    """
    shares = [(step, rank / total) for step, rank in below.items()]
    percentiles = ctx.spark.createDataFrame(shares, "step int, percentile double")
    joined = scores.join(F.broadcast(percentiles), on="step", how="left")
    return joined.withColumn("probability", F.col("step") / F.lit(float(STEPS)))


def _report(ctx: Context, stored: Stored, rows: int, levels: dict[str, int], *, fitted: bool) -> Outcome:
    found: dict[str, dict[str, float | None]] = {}
    for f in figures_of(stored.declaration):
        found.setdefault(f.model, {})[f.metric] = f.value
    horizon = timedelta(days=ctx.settings.scores.churn.horizon_days).days
    lines = [f"no activity in the next {horizon} days: {', '.join(f'{n} {v:,}' for n, v in levels.items())}"]
    for model, figures in found.items():
        shown = ", ".join(f"{m} {figures[m]:.3f}" for m in ("auc", "f1", "accuracy") if figures.get(m) is not None)
        lines.append(f"{model}: {shown}")
    leaking = stored.declaration.get("telling_features", {})
    lines += [
        f"check {n}: alone it has an AUC of {auc:.3f}; was it known before the label?" for n, auc in leaking.items()
    ]
    facts = {
        "levels": levels,
        "holdout": found,
        "model_version": stored.version,
        "fitted": fitted,
        "telling_features": leaking,
    }
    return Outcome(rows_in=rows, rows_out=rows, facts=facts, lines=tuple(lines))
