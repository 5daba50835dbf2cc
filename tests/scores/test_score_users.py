"""score_users on planted customers."""

import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sklearn.metrics import roc_auc_score

from profiling_spark import models
from profiling_spark.config import Settings
from profiling_spark.context import Context, Outcome
from profiling_spark.contracts.features import user_features_table
from profiling_spark.contracts.gold import USER_SCORES
from profiling_spark.contracts.operations import LIVE_MODELS, MODEL_RUNS
from profiling_spark.contracts.silver import EVENTS
from profiling_spark.contracts.table import cast_to
from profiling_spark.errors import ModelError
from profiling_spark.prepare import Preparation
from profiling_spark.prepare.inputs import inputs_of
from profiling_spark.scores.job import score_users
from profiling_spark.scores.mllib import fit_forest
from profiling_spark.storage import Tables

AS_OF = date(2026, 7, 1)
SINCE = AS_OF - timedelta(days=30)
WINDOWS = (30, 90)
USERS = 600

Planted = tuple[Context, dict[str, int], Outcome]


def settings(**churn: Any) -> Settings:
    return Settings(windows_days=WINDOWS, buckets=1, scores={"churn": {"trees": 10, "max_depth": 5, **churn}})


def plant(tables: Tables, *, users: int = USERS) -> dict[str, int]:
    """Features at both dates, and one event in the label window of everyone who stays. Returns user to label.

    Views keep customers, refunds drive them away, silence says a little. `gone` was not active before SINCE.
    """
    rng = np.random.default_rng(11)
    quiet, views, refunds = rng.integers(1, 31, users), rng.poisson(8, users), rng.poisson(0.7, users)
    odds = 0.06 * (quiet - 15) - 0.35 * (views - 7) + 1.2 * refunds - 0.8
    left = (rng.random(users) < 1 / (1 + np.exp(-odds))).astype(int)
    names = [f"u{i:04d}" for i in range(users)]
    rows = [(n, int(q), 100, int(v), int(r)) for n, q, v, r in zip(names, quiet, views, refunds, strict=True)]
    for as_of in (SINCE, AS_OF):
        write_features(tables, [*rows, ("gone", 31, 100, 1, 0)], as_of)
    stayed = [
        (n, SINCE + timedelta(days=i % 30)) for i, (n, out) in enumerate(zip(names, left, strict=True)) if not out
    ]
    write_events(tables, [*stayed, *((n, AS_OF) for n in names)])  # everyone comes back on as_of: too late to count
    return dict(zip(names, left.tolist(), strict=True))


def write_features(tables: Tables, rows: list[Any], as_of: date) -> None:
    schema = "user_id string, days_since_last_event int, tenure_days int, views_90d int, refunds_90d int"
    frame, table = tables.spark.createDataFrame(rows, schema), user_features_table(WINDOWS)
    absent = {c.name: F.lit(None).cast(c.data_type) for c in table.columns if c.name not in frame.columns}
    whole = frame.withColumns({**absent, "as_of": F.lit(as_of)})
    tables.replace_slice(table, cast_to(table, whole), as_of=as_of)


def write_events(tables: Tables, rows: list[Any]) -> None:
    frame = tables.spark.createDataFrame(rows, "user_id string, event_date date").withColumns(
        {"event_id": F.concat_ws("-", "user_id", "event_date"), "user_bucket": F.lit(0)}
    )
    absent = {c.name: F.lit(None).cast(c.data_type) for c in EVENTS.columns if c.name not in frame.columns}
    tables.append(EVENTS, cast_to(EVENTS, frame.withColumns(absent)))


def content(tables: Tables, table: Any) -> list[Any]:
    return sorted(tables.read(table).collect(), key=str)


def figure_rows(tables: Tables) -> dict[tuple[str, str], float]:
    return {(r["model"], r["metric"]): r["value"] for r in tables.read(MODEL_RUNS, as_of=AS_OF).collect()}


@pytest.fixture(scope="module")
def fitted_lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int], Outcome]:
    """(storage root after a first run, each customer's label, the run's outcome): built once, tests work on copies."""
    root = tmp_path_factory.mktemp("scores") / "lake"
    tables = Tables(spark, str(root), run_id="first")
    labels = plant(tables)
    ctx = Context(settings(), spark, tables, datetime(2026, 7, 1, tzinfo=UTC), AS_OF)
    return root, labels, score_users(ctx)


@pytest.fixture
def planted(
    fitted_lake: tuple[Path, dict[str, int], Outcome], tables: Tables, make_context: Callable[..., Context]
) -> Planted:
    """(a new run on a copy of the lake, each customer's label, the first run's outcome)."""
    root, labels, outcome = fitted_lake
    shutil.copytree(root, tables.root)
    return make_context(settings=settings(), as_of=AS_OF), labels, outcome


def forget(tables: Tables) -> None:
    """As if no model had ever been fitted."""
    tables.delete(LIVE_MODELS, "true")
    tables.delete(MODEL_RUNS, "true")
    shutil.rmtree(Path(tables.root) / "models")


def test_it_scores_the_active_with_reasons(planted: Planted) -> None:
    ctx, labels, outcome = planted

    rows = ctx.tables.read(USER_SCORES).collect()
    assert {r["user_id"] for r in rows} == set(labels)  # not `gone`, who has lapsed
    assert outcome.rows_out == USERS
    assert all(r["reason_1"] and "(typical: " in r["reason_1"] for r in rows)
    ordered = sorted(rows, key=lambda r: r["raw_score"])
    assert all(a["probability"] <= b["probability"] for a, b in pairwise(ordered))
    probabilities = np.array([r["probability"] for r in rows])
    for r in rows[:50]:
        assert r["percentile"] == pytest.approx((probabilities < r["probability"]).mean())
        level = "high" if r["probability"] >= 0.6 else "medium" if r["probability"] >= 0.3 else "low"
        assert r["level"] == level

    found = figure_rows(ctx.tables)
    assert found["random_forest", "auc"] > found["recency", "auc"] + 0.02
    assert found["majority", "auc"] == 0.5
    assert found["random_forest", "rows"] == found["recency", "rows"] > 60
    live = ctx.tables.read(LIVE_MODELS).first()
    assert live["model_version"] == outcome.facts["model_version"] == rows[0]["model_version"]
    promoted = ctx.tables.read(MODEL_RUNS).where("promoted").select("model", "model_version", "train_as_of").distinct()
    assert [tuple(r) for r in promoted.collect()] == [("random_forest", live["model_version"], SINCE)]


def test_a_second_run_applies_the_stored_model_without_a_fit(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx, _, _ = planted
    before = {t.name: content(ctx.tables, t) for t in (USER_SCORES, MODEL_RUNS, LIVE_MODELS)}
    monkeypatch.setattr("profiling_spark.scores.fit.fit_forest", lambda *a, **k: pytest.fail("it fitted again"))
    assert score_users(ctx).facts["fitted"] is False
    assert before == {t.name: content(ctx.tables, t) for t in (USER_SCORES, MODEL_RUNS, LIVE_MODELS)}


def test_the_auc_is_that_of_the_held_out_customers(planted: Planted) -> None:
    ctx, labels, _ = planted

    # features are planted alike at both dates, so scores as of AS_OF are those that were judged
    held_out = F.pmod(F.xxhash64(F.lit(42), F.col("user_id")), F.lit(100)) < 20
    rows = ctx.tables.read(USER_SCORES).where(held_out).collect()
    label, score = [labels[r["user_id"]] for r in rows], [r["raw_score"] for r in rows]

    found = figure_rows(ctx.tables)
    assert found["random_forest", "auc"] == pytest.approx(roc_auc_score(label, score))
    assert found["random_forest", "rate"] == pytest.approx(np.mean(label))


def test_events_from_as_of_on_change_nothing(planted: Planted) -> None:
    ctx, labels, outcome = planted
    before = content(ctx.tables, USER_SCORES)
    write_events(ctx.tables, [(u, AS_OF + timedelta(days=3)) for u in labels])
    forget(ctx.tables)

    again = score_users(ctx).facts

    assert again["fitted"] is True
    assert again["model_version"] == outcome.facts["model_version"]  # same ingredients, same name
    assert content(ctx.tables, USER_SCORES) == before


def test_features_of_the_label_window_are_not_looked_at(planted: Planted) -> None:
    """Features as of as_of that give the answer away leave the fit as it is."""
    ctx, labels, outcome = planted
    forget(ctx.tables)
    write_features(ctx.tables, [(u, 30 if left else 1, 130, 0, 9 * left) for u, left in labels.items()], AS_OF)

    assert score_users(ctx).facts["model_version"] == outcome.facts["model_version"]


def test_chinese_reasons(planted: Planted, make_context: Callable[..., Context]) -> None:
    chinese = make_context(settings=Settings(language="zh", **settings().model_dump(exclude={"language"})), as_of=AS_OF)

    score_users(chinese)

    assert all("（一般 " in r["reason_1"] for r in chinese.tables.read(USER_SCORES).collect())


@pytest.mark.parametrize(
    ("churn", "reason"),
    [
        ({"min_rows": 5000}, "600 customers were active before 2026-06-01, at least 5000 are needed"),
        ({"min_class_rows": 550}, "at least 550 are needed"),
        ({"horizon_days": 60}, "no features as of 2026-05-02"),
        ({"active_days": 101}, "100 days of history before 2026-06-01, at least 101 are needed"),
    ],
)
def test_thin_data_is_a_skip_that_empties_the_slice(
    planted: Planted, make_context: Callable[..., Context], churn: dict[str, Any], reason: str
) -> None:
    forget(planted[0].tables)
    run = make_context(settings=settings(**churn), as_of=AS_OF)

    outcome = score_users(run)

    assert reason in outcome.skipped
    assert run.tables.read(USER_SCORES).isEmpty()


def test_the_preparation_of_the_settings_reaches_the_model(
    planted: Planted, make_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refunds unknown of every third customer, and for some of them known a month before."""
    learned: set[str] = set()

    def fit_and_record(labelled: DataFrame, *args: Any, **how: Any) -> Any:
        learned.update(r["user_id"] for r in labelled.select("user_id").collect())
        return fit_forest(labelled, *args, **how)

    monkeypatch.setattr("profiling_spark.scores.fit.fit_forest", fit_and_record)
    ctx, labels, outcome = planted
    rng = np.random.default_rng(2)
    users = [(u, 5 + i % 20, 100, None if i % 4 == 0 else int(rng.integers(9))) for i, u in enumerate(labels)]
    for as_of in (SINCE, AS_OF):
        rows = [(*u, None if i % 3 == 0 else labels[u[0]] + i % 2) for i, u in enumerate(users)]
        write_features(ctx.tables, rows, as_of)
    write_features(ctx.tables, [(u[0], 5, 70, 1, 3) for u in users[:30]], SINCE - timedelta(days=30))
    earlier_else_none = {"strategy": "forward_fill", "otherwise": "constant", "value": -1, "flag": True}
    rules = {
        "columns": {
            "refunds_90d": {"missing": earlier_else_none},
            "views_90d": {"missing": {"strategy": "drop_row", "otherwise": "mean"}, "scaling": "min_max"},
        },
    }

    run = make_context(settings=Settings(prepare=rules, **settings().model_dump(exclude={"prepare"})), as_of=AS_OF)
    fresh = score_users(run)

    assert fresh.facts["fitted"] is True  # the stored model was fitted with other settings
    assert fresh.rows_out == USERS
    stored = models.find(run.tables, "churn", fresh.facts["model_version"])
    preparation = Preparation.from_json(stored.declaration["preparation"])
    assert set(preparation.names) == {"days_since_last_event", "views_90d", "refunds_90d", "refunds_90d missing"}
    features = {f.name: f for f in preparation.features}
    assert [name for name, f in features.items() if f.carried] == ["refunds_90d"]
    assert features["refunds_90d"].fill.constant == -1
    assert features["views_90d"].scale.width == 8  # 0 to 8 views
    hashed = run.tables.read(USER_SCORES).select("user_id", F.pmod(F.xxhash64(F.lit(42), "user_id"), F.lit(100)))
    trained = {u for u, place in hashed.collect() if place >= 40}
    assert figure_rows(run.tables)["random_forest", "dropped_rows"] == len(trained & {u[0] for u in users[::4]})
    # neither the held-out customers nor those of the calibration have a part in the forest or in what fills
    assert learned == trained - {u[0] for u in users[::4]}
    assert features["views_90d"].fill.constant == pytest.approx(np.mean([u[3] for u in users if u[0] in learned]))
    assert outcome.facts["model_version"] != fresh.facts["model_version"]
    # applied to customers of whom nothing but the earlier date knows the refunds
    read = inputs_of(preparation).of(
        run.tables.read(user_features_table(WINDOWS), as_of=AS_OF),
        run.tables.read(user_features_table(WINDOWS)),
        as_of=AS_OF,
        days=365,
    )
    assert {r["refunds_90d before"] for r in read.where("user_id IN ('u0000', 'u0003')").collect()} == {3.0}


@pytest.mark.slow
def test_a_damaged_model_is_a_model_error_and_refit_mends_it(
    planted: Planted, make_context: Callable[..., Context]
) -> None:
    ctx, _, _ = planted
    before = content(ctx.tables, USER_SCORES)
    nodes = next((Path(ctx.tables.root) / ctx.tables.read(LIVE_MODELS).first()["path"]).glob("mllib/data/*.parquet"))
    nodes.write_bytes(nodes.read_bytes()[:-100])

    with pytest.raises(ModelError):
        score_users(ctx)

    again = make_context(settings=settings(), as_of=AS_OF, refit=True)
    assert score_users(again).facts["fitted"] is True
    assert content(again.tables, USER_SCORES) == before
    assert models.find(again.tables, "churn", before[0]["model_version"]) is not None
