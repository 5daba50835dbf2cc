"""Fit the churn model of one as_of: what was known at as_of - horizon, and who came back since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from profiling_spark import models
from profiling_spark.context import Context
from profiling_spark.contracts.features import user_features_table
from profiling_spark.contracts.silver import EVENTS
from profiling_spark.errors import ModelError
from profiling_spark.feature_catalogue.user_features import user_feature_list
from profiling_spark.features.left_out import counted_rows
from profiling_spark.models import Figure, Stored, Wanted
from profiling_spark.prepare import Preparation, Sample, collect_sample, quoted
from profiling_spark.prepare.fit import fit_preparation
from profiling_spark.prepare.inputs import Inputs, inputs_to_fit
from profiling_spark.prepare.selection import Ranking, rank_features, select
from profiling_spark.scores.calibrate import fit_calibration
from profiling_spark.scores.evaluate import Floats, best_threshold, figures
from profiling_spark.scores.forest import Forest
from profiling_spark.scores.labels import CALIBRATION, HOLDOUT, TRAIN, labelled, population, split, training_set
from profiling_spark.scores.leakage import leaking_features, require_past, youngest
from profiling_spark.scores.mllib import fit_forest, read_forest

TASK, MODEL = "churn", "random_forest"
SAMPLE_ROWS = 200_000  # medians, calibration and held-out figures: 0.003 is the error of an AUC on 40,000 held-out rows
RANKING_ROWS = 20_000  # a ranking of 90 features takes 4 s on so many
RANKING_LEAST = 10  # of each label

_SPLITS = (TRAIN, CALIBRATION, HOLDOUT)
DROPPED = "dropped"  # training rows that the settings leave out for a missing value
_NUMERIC = ("int", "bigint", "double", "decimal")
# Who someone is is no reason to be written off; RFM scores repeat their measures; an hour of the day is no size; how
# much of the amounts is in doubt is no trait of the customer.
_LEFT_OUT_FAMILIES = ("Demographics",)
_LEFT_OUT = ("r_score", "f_score", "m_score", "rfm_score", "favorite_hour", "flagged_amount")


class ThinData(Exception):
    """Too little to learn from; the message is the reason of the skip."""


def candidate_features(windows: tuple[int, ...]) -> list[str]:
    """Every number about behaviour, in all windows but the shortest (where there are three or more).

    Measured on the demo shop: the shortest window adds a third to the vector and nothing to the AUC.
    """
    short = windows[0] if len(windows) > 2 else None
    return [
        f.name
        for f in user_feature_list(windows)
        if f.type.startswith(_NUMERIC)
        and f.entry.family not in _LEFT_OUT_FAMILIES
        and f.entry.name not in _LEFT_OUT
        and (f.window is None or f.window != short)
    ]


def fit_churn(ctx: Context, names: list[str], wanted: Wanted) -> Stored:
    """Fit, calibrate, judge and store. Raises ThinData where there is too little."""
    inputs, rows = _training_rows(ctx, names)
    rows.persist()
    try:
        counted = _counted(rows, inputs)
        _require_enough(ctx, counted)
        since = ctx.as_of - timedelta(days=ctx.settings.scores.churn.horizon_days)
        require_past(counted, as_of=since.isoformat())
        ingredients = {"params": wanted.params, "rows": models.ingredient(counted)}
        version = models.version_name(TASK, ctx.as_of, ingredients)
        return _finished(ctx, version) or _fit(ctx, rows, inputs, wanted, version, counted)
    finally:
        rows.unpersist()


def _training_rows(ctx: Context, names: list[str]) -> tuple[Inputs, DataFrame]:
    """user_id, features as of t0 = as_of - horizon_days, label from [t0, as_of), split."""
    churn, prepare = ctx.settings.scores.churn, ctx.settings.prepare
    since = ctx.as_of - timedelta(days=churn.horizon_days)
    table = user_features_table(ctx.settings.windows_days)
    asked = population(ctx.tables.read(table, as_of=since), active_days=churn.active_days)
    part = split(salt=churn.holdout_salt, holdout_percent=churn.holdout_percent)
    inputs = inputs_to_fit(prepare, names, asked.where(part == TRAIN))
    raw = inputs.of(asked, ctx.tables.read(table), as_of=since, days=prepare.forward_fill_days, also=["as_of"])
    events = counted_rows(ctx.tables.read(EVENTS), ctx.settings.left_out)
    known = training_set(raw, events, [since], horizon_days=churn.horizon_days, label=labelled)
    is_dropped = (part == TRAIN) & inputs.incomplete()
    return inputs, known.withColumn("split", F.when(is_dropped, F.lit(DROPPED)).otherwise(part))


def _counted(rows: DataFrame, inputs: Inputs) -> Row:
    """Fingerprint, length of the history, rows and churned rows by split: one pass."""
    by_split = [
        aggregate
        for name in (*_SPLITS, DROPPED)
        for aggregate in (
            F.count_if(F.col("split") == name).alias(f"{name}_rows"),
            F.count_if((F.col("split") == name) & (F.col("label") == 1)).alias(f"{name}_churned"),
        )
    ]
    fingerprint = models.fingerprint(rows, ["user_id", "label", "split", *map(quoted, inputs.names)])
    row = rows.agg(*fingerprint, F.max("tenure_days").alias("history_days"), *youngest(), *by_split).first()
    assert row is not None  # for mypy: an aggregate has a row
    return row


def _require_enough(ctx: Context, counted: Row) -> None:
    churn = ctx.settings.scores.churn
    since = ctx.as_of - timedelta(days=churn.horizon_days)
    total, history = counted["_rows"], int(counted["history_days"] or 0)
    if total == 0:
        raise ThinData(
            f"no features as of {since}: the history is shorter than the horizon of {churn.horizon_days} days"
        )
    if history < churn.active_days:
        raise ThinData(f"{history} days of history before {since}, at least {churn.active_days} are needed")
    if total < churn.min_rows:
        raise ThinData(f"{total} customers were active before {since}, at least {churn.min_rows} are needed")
    used, churned = (sum(counted[f"{name}_{kind}"] for name in _SPLITS) for kind in ("rows", "churned"))
    for what, rows in (("left", churned), ("stayed", used - churned)):
        if rows < churn.min_class_rows:
            raise ThinData(f"{rows} of {used} customers {what}, at least {churn.min_class_rows} are needed")
    if not 0 < counted[f"{TRAIN}_churned"] < counted[f"{TRAIN}_rows"]:
        raise ThinData("all customers of the training share have one label")


def _finished(ctx: Context, version: str) -> Stored | None:
    """The same fit from an earlier run. A damaged one is written anew on --refit only."""
    try:
        return models.find(ctx.tables, TASK, version)
    except ModelError:
        if ctx.refit:
            return None
        raise


def _fit(ctx: Context, rows: DataFrame, inputs: Inputs, wanted: Wanted, version: str, counted: Row) -> Stored:
    churn, prepare, total = ctx.settings.scores.churn, ctx.settings.prepare, int(counted["_rows"])
    names = [*inputs.names]
    sample = collect_sample(rows, names, rows=total, limit=SAMPLE_ROWS, extra=("label", "split"))
    is_train = sample.extra["split"] == TRAIN
    label = sample.extra["label"][is_train].astype(np.float64)
    features, raw = [*inputs.features], sample.raw[is_train]
    values = raw[:, : len(features)]
    ranked = _ranked(values[:RANKING_ROWS], label[:RANKING_ROWS], features, seed=ctx.settings.seed)
    kept = inputs.having(select(ranked, keep=churn.keep_features) if churn.keep_features and ranked else features)
    preparation = fit_preparation(
        raw[:, [names.index(n) for n in kept]], kept, rules=prepare, encodings=inputs.encodings, standardise=False
    )
    if not preparation.names:
        raise ThinData("no feature differs between customers")
    model = fit_forest(
        rows.where(F.col("split") == TRAIN), preparation, trees=churn.trees, depth=churn.max_depth,
        rate=churn.subsampling_rate, seed=ctx.settings.seed, partitions=ctx.settings.spark.fit_partitions,
    )  # fmt: skip
    forest = read_forest(ctx.spark, models.save_mllib(ctx.tables, TASK, version, model))
    judged = _judged(forest, preparation, sample, names)
    leaking = leaking_features(values, label, features, suspicious_auc=churn.suspicious_auc)
    declaration = {
        "task": TASK,
        "train_as_of": (ctx.as_of - timedelta(days=churn.horizon_days)).isoformat(),
        "rows": total,
        "trained_rows": int(counted[f"{TRAIN}_rows"]),
        "dropped_rows": int(counted[f"{DROPPED}_rows"]) if inputs.required else None,
        "params": dict(wanted.params),
        "preparation": preparation.to_json(),
        "base": forest.base,
        "telling_features": leaking,
        "rankings": [asdict(r) for r in ranked],
        "ranked_rows": min(len(values), RANKING_ROWS),
        **judged,
    }
    return models.finish(ctx.tables, TASK, version, declaration)


def _ranked(raw: Floats, label: Floats, names: list[str], *, seed: int) -> list[Ranking]:
    """Features by how much they predict the label; none where one label has too few rows to rank by."""
    if min(int(label.sum()), int(len(label) - label.sum())) < RANKING_LEAST:
        return []
    return rank_features(raw, label, names, seed=seed)


def _judged(forest: Forest, preparation: Preparation, sample: Sample, names: list[str]) -> dict[str, Any]:
    """Calibration, thresholds and figures; thresholds come from rows that are not held out."""
    kept = [names.index(n) for n in preparation.inputs]
    prepared = preparation.matrix(sample.raw[:, kept])
    label, part = sample.extra["label"].astype(np.float64), sample.extra["split"]
    train, middle, held_out = (part == name for name in _SPLITS)
    score = forest.scores(prepared)
    calibration = fit_calibration(score[middle], label[middle])
    tuned = middle if 0 < label[middle].sum() < middle.sum() else train
    threshold = best_threshold(label[tuned], score[tuned])
    quiet = sample.raw[:, names.index("days_since_last_event")]
    quiet_from = best_threshold(label[train], quiet[train])
    rate = float(label[train].mean())
    constant = np.full(int(held_out.sum()), rate)
    found = [
        *figures(
            MODEL, label[held_out], score[held_out], positive=score[held_out] >= threshold,
            probability=calibration.probability(score[held_out]),
        ),
        *figures("majority", label[held_out], constant, positive=constant > 0.5, probability=constant),
        *figures("recency", label[held_out], quiet[held_out], positive=quiet[held_out] >= quiet_from, probability=None),
    ]  # fmt: skip
    return {
        "calibration": calibration.to_json(),
        "threshold": threshold,
        "recency_threshold_days": quiet_from,
        "figures": [asdict(f) for f in found],
    }


def figures_of(declaration: Mapping[str, Any]) -> list[Figure]:
    """The figures that were measured when the model was fitted, and how many training rows were left out."""
    found, dropped = [Figure(**f) for f in declaration["figures"]], declaration["dropped_rows"]
    if dropped is None:
        return found
    return [*found, Figure(MODEL, TRAIN, "dropped_rows", float(dropped), declaration["trained_rows"] + dropped)]
