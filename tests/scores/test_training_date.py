"""Features of the training date are built on the nights that fit, and on no other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pyspark.sql import SparkSession

from profiling_spark.config import Settings, load_settings
from profiling_spark.context import Context
from profiling_spark.contracts.features import user_features_table
from profiling_spark.features.job import build_features, feature_dates
from profiling_spark.scores.job import score_users
from profiling_spark.storage import Tables

pytestmark = pytest.mark.slow
SHOP = Path(__file__).resolve().parents[1] / "upgrade" / "fda9fe0" / "demo"
FIRST = date(2026, 6, 30)
NEXT = FIRST + timedelta(days=1)
MONTH = timedelta(days=30)

Night = Callable[..., Context]


@pytest.fixture
def night(spark: SparkSession, tmp_path: Path) -> Night:
    """Runs stages on a small shop of which no features and no models are stored yet."""
    for table in ("events", "users", "items", "reviews"):
        shutil.copytree(SHOP / "lake" / table, tmp_path / table)

    def run(as_of: date, *stages: Any, refit: bool = False, settings: Settings | None = None) -> Context:
        used = settings or settings_at(tmp_path)
        tables = Tables(spark, str(tmp_path), run_id="night")
        context = Context(used, spark, tables, datetime.now(UTC), as_of, refit)
        for stage in stages:
            context.outcomes[stage.__name__] = stage(context)
        return context

    return run


def settings_at(root: Path, *changes: str) -> Settings:
    return load_settings([SHOP / "settings.yaml"], [f"storage.root={root}", *changes])


def stored(context: Context, table: str, as_of: date) -> pl.DataFrame:
    rows = pl.read_delta(f"{context.tables.root}/{table}").filter(pl.col("as_of") == as_of)
    return rows.sort("user_id")


def dates_of(context: Context) -> list[str]:
    return context.outcomes["build_features"].facts["dates"]


def test_one_date_is_built_where_a_model_serves_and_the_training_date_where_a_fit_is_asked_for(night, tmp_path):
    fit = night(FIRST, build_features, score_users)
    assert dates_of(fit) == [str(FIRST), str(FIRST - MONTH)]
    assert fit.outcomes["score_users"].facts["fitted"] is True

    second = night(NEXT, build_features, score_users)
    assert dates_of(second) == [str(NEXT)]
    assert second.outcomes["score_users"].facts["fitted"] is False
    assert stored(second, "user_features", NEXT - MONTH).is_empty()
    features, scores = stored(second, "user_features", NEXT), stored(second, "user_scores", NEXT)
    assert features.height > scores.height > 20

    both = night(NEXT, build_features, refit=True)
    assert dates_of(both) == [str(NEXT), str(NEXT - MONTH)]
    night(NEXT, score_users)
    assert_frame_equal(stored(both, "user_features", NEXT), features)
    assert_frame_equal(stored(both, "user_scores", NEXT), scores)

    # a fit that is asked for after build_features has seen none coming
    earlier = stored(both, "user_features", NEXT - MONTH)
    both.tables.delete(user_features_table(both.settings.windows_days), f"as_of = '{NEXT - MONTH}'")
    again = night(NEXT, score_users, refit=True)
    assert again.outcomes["score_users"].facts["fitted"] is True
    assert_frame_equal(stored(again, "user_features", NEXT - MONTH), earlier)

    due = NEXT + timedelta(days=30)
    assert [len(feature_dates(night(d))) for d in (NEXT, due - timedelta(days=1), due)] == [1, 1, 2]
    for change in (
        "scores.churn.max_depth=4",
        "prepare.columns={consumption_power_90d: {missing: {strategy: forward_fill}}}",
    ):
        assert len(feature_dates(night(NEXT, settings=settings_at(tmp_path, change)))) == 2, change
