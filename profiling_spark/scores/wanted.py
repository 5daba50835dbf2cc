"""Which model score_users asks for, and of which date it would learn: what build_features needs to know beforehand."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from profiling_spark import models
from profiling_spark.config import Settings
from profiling_spark.context import Context
from profiling_spark.errors import ModelError
from profiling_spark.models import Wanted
from profiling_spark.scores.fit import TASK, candidate_features

JOB = "score_users"


def wanted_model(settings: Settings) -> Wanted:
    """The model of the settings in force; its params are what the fit depends on."""
    return Wanted(JOB, TASK, _params(settings), settings.scores.churn.max_age_days)


def training_date(ctx: Context) -> date:
    """The as_of of the features that a fit learns from: what followed up to the run's as_of is known."""
    return ctx.as_of - timedelta(days=ctx.settings.scores.churn.horizon_days)


def looks_back(ctx: Context) -> bool:
    """Whether score_users will look at features of the training date: to fit, or to fill values forward from there.

    Looks at the tables and files of the stored model, and loads none into Spark.
    """
    if ctx.settings.prepare.with_strategy("forward_fill", list(ctx.settings.prepare.columns)):
        return True
    try:
        return models.serving(ctx, wanted_model(ctx.settings)) is None
    except ModelError:  # a damaged model: the stage that applies it reports it
        return False


def _params(settings: Settings) -> dict[str, Any]:
    """What the fit depends on; thresholds of levels and limits of thin data are applied, not learned."""
    applied = {"high_from", "medium_from", "min_rows", "min_class_rows", "max_age_days", "suspicious_auc"}
    chosen = settings.scores.churn.model_dump(mode="json", exclude=applied)
    # components serve segments alone: a forest's reasons name features
    prepare = settings.prepare.model_dump(mode="json", exclude={"components"})
    fixed = {"seed": settings.seed, "partitions": settings.spark.fit_partitions}
    return {**chosen, **fixed, "features": candidate_features(settings.windows_days), "prepare": prepare}
