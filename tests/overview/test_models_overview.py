"""Which models serve, which did before, and the way back."""

from __future__ import annotations

from datetime import date

import pytest

from profiling_spark import models
from profiling_spark.contracts.operations import MODEL_RUNS
from profiling_spark.errors import InputError
from profiling_spark.models import Figure, Wanted
from profiling_spark.overview.models import model_lines
from profiling_spark.overview.plan import why_fit
from profiling_spark.storage import Tables

PARAMS = {"depth": 8}
WANTED = Wanted("score_users", "churn", PARAMS, 30)
DAYS = (date(2026, 5, 1), date(2026, 6, 1), date(2026, 7, 1))


@pytest.fixture
def lake(tables, make_context):
    """Three fits of one task, a month after the other; the last serves."""
    for n, day in enumerate(DAYS):
        ctx = make_context(as_of=day, run_id=f"run-{n}")
        made = models.finish(ctx.tables, "churn", f"churn-{day}", {"params": PARAMS, "train_as_of": str(day)})
        models.promote_unless_older(ctx, made)
        figures = [
            Figure("random_forest", "holdout", "auc", 0.7 + n / 10, 40),
            Figure("recency", "holdout", "auc", 0.6, 40),
        ]
        models.write_figures(ctx, WANTED, made, figures, serves="random_forest")
    return Tables(tables.spark, tables.root, run_id="reader")


def serves(make_context, day: date) -> str | None:
    stored = models.serving(make_context(as_of=day, run_id="night"), WANTED)
    return None if stored is None else stored.version


def test_models_are_listed_with_their_figures_the_newest_first(lake):
    found = [(m.version, m.is_live, m.first, m.model, round(m.figures["auc"], 3)) for m in model_lines(lake)]
    assert found == [
        ("churn-2026-07-01", True, DAYS[2], "random_forest", 0.9),
        ("churn-2026-06-01", False, DAYS[1], "random_forest", 0.8),
        ("churn-2026-05-01", False, DAYS[0], "random_forest", 0.7),
    ]


def test_after_a_rollback_the_model_before_serves_also_the_date_of_the_one_withdrawn(lake, make_context):
    assert serves(make_context, DAYS[2]) == "churn-2026-07-01"
    assert models.rollback(lake, "churn") == ("churn-2026-07-01", "churn-2026-06-01")
    assert serves(make_context, date(2026, 6, 20)) == "churn-2026-06-01"
    # a month old on 1 July: a run of that date fits, and does not take the model that was withdrawn
    assert serves(make_context, DAYS[2]) is None
    assert why_fit(make_context(as_of=DAYS[2]), WANTED).startswith("the live model serves since 30 days")
    assert not (lake.rows(MODEL_RUNS).is_empty())


def test_a_rollback_can_name_the_model_and_a_withdrawn_one_that_is_fitted_again_serves(lake, make_context):
    assert models.rollback(lake, "churn", "churn-2026-05-01")[1] == "churn-2026-05-01"
    assert serves(make_context, DAYS[0]) == "churn-2026-05-01"
    assert models.find(lake, "churn", "churn-2026-07-01") is None
    again = models.finish(lake, "churn", "churn-2026-07-01", {"params": PARAMS, "train_as_of": "2026-07-01"})
    assert models.find(lake, "churn", "churn-2026-07-01") == again


def test_there_must_be_a_model_to_go_back_to(lake, make_context):
    with pytest.raises(InputError, match=r"task value: expected a model that serves"):
        models.rollback(lake, "value")
    with pytest.raises(
        InputError, match=r"expected an earlier model that is stored \(churn-2026-05-01, churn-2026-06-01\)"
    ):
        models.rollback(lake, "churn", "churn-2026-07-01")
    models.rollback(lake, "churn", "churn-2026-05-01")
    fresh = Tables(lake.spark, lake.root, run_id="reader")
    models.rollback(fresh, "churn")  # the other one that is stored still
    with pytest.raises(InputError, match=r"expected an earlier model that is stored \(none\)"):
        models.rollback(Tables(lake.spark, lake.root, run_id="reader"), "churn")
