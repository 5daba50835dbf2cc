"""segment_users on planted customers."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from sklearn.metrics import adjusted_rand_score

from profiling_spark import models
from profiling_spark.config import Settings
from profiling_spark.context import Context, Outcome
from profiling_spark.contracts.features import user_features_table
from profiling_spark.contracts.gold import SEGMENT_FEATURES, SEGMENTS, USER_SEGMENTS
from profiling_spark.contracts.operations import LIVE_MODELS, MODEL_RUNS
from profiling_spark.contracts.table import cast_to
from profiling_spark.errors import ModelError
from profiling_spark.prepare import Preparation, Reduction
from profiling_spark.segments.assign import strongest_features
from profiling_spark.segments.fit import _previous
from profiling_spark.segments.job import segment_users
from profiling_spark.storage import Tables

AS_OF = date(2026, 7, 1)
WINDOWS = (30, 90)

Planted = tuple[Context, list[int], Outcome]
USED = ("days_since_last_event", "tenure_days", "views_90d", "frequency", "monetary")
# (days_since_last_event, tenure_days, views_90d, frequency, monetary): kinds that nobody could confuse
KINDS = ((30, 3000, 400, 200, 40000), (600, 2800, 300, 50, 3000), (40, 200, 600, 20, 1000), (80, 2500, 2000, 0, 0))


def settings(**segments: Any) -> Settings:
    return Settings(windows_days=WINDOWS, segments={"sample_rows": 1000, **segments})


def plant(tables: Tables, as_of: date = AS_OF, *, each: int = 40, shift: float = 1.0) -> list[int]:
    """Customers u0000.. of the kinds in turn; returns each one's kind."""
    rng = np.random.default_rng(5)
    kinds = [i % len(KINDS) for i in range(each * len(KINDS))]
    rows = [
        (f"u{i:04d}", *(int(v * shift * f) for v, f in zip(KINDS[k], rng.uniform(0.9, 1.1, len(USED)), strict=True)))
        for i, k in enumerate(kinds)
    ]
    schema = "user_id string, " + ", ".join(f"{n} int" for n in USED)
    write_features(tables, tables.spark.createDataFrame(rows, schema), as_of)
    return kinds


def write_features(tables: Tables, frame: Any, as_of: date) -> None:
    table = user_features_table(WINDOWS)
    absent = {c.name: F.lit(None).cast(c.data_type) for c in table.columns if c.name not in frame.columns}
    whole = frame.withColumns({**absent, "as_of": F.lit(as_of)})
    tables.replace_slice(table, cast_to(table, whole), as_of=as_of)


def content(tables: Tables, table: Any) -> list[Any]:
    return sorted(tables.read(table).collect(), key=str)


@pytest.fixture(scope="module")
def fitted_lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int], Outcome]:
    """(storage root after a first run, each customer's kind, the run's outcome): built once, tests work on copies."""
    root = tmp_path_factory.mktemp("segments") / "lake"
    tables = Tables(spark, str(root), run_id="first")
    kinds = plant(tables)
    ctx = Context(settings(), spark, tables, datetime(2026, 7, 1, tzinfo=UTC), AS_OF)
    return root, kinds, segment_users(ctx)


@pytest.fixture
def planted(
    fitted_lake: tuple[Path, list[int], Outcome], tables: Tables, make_context: Callable[..., Context]
) -> Planted:
    """(a new run on a copy of the lake, each customer's kind, the first run's outcome)."""
    root, kinds, outcome = fitted_lake
    shutil.copytree(root, tables.root)
    return make_context(settings=settings(), as_of=AS_OF), kinds, outcome


def test_planted_kinds_are_recovered(planted: Planted) -> None:
    ctx, kinds, outcome = planted

    rows = ctx.tables.read(USER_SEGMENTS).orderBy("user_id").collect()

    assert len(rows) == outcome.rows_out == len(kinds)
    assert adjusted_rand_score(kinds, [r["segment_id"] for r in rows]) == pytest.approx(1.0)
    assert outcome.facts["k"] == 4
    assert outcome.facts["fitted"] is True
    assert all("(typical: " in r["reason"] and "; " in r["reason"] for r in rows)
    segments = ctx.tables.read(SEGMENTS).collect()
    assert len({s["name_en"] for s in segments}) == len({s["name_zh"] for s in segments}) == 4
    assert sum(s["users"] for s in segments) == len(kinds)
    assert "price_preference" in outcome.facts["dropped_features"]


def test_a_second_run_applies_the_model_and_changes_nothing(planted: Planted) -> None:
    ctx, _, _ = planted
    before = {t.name: content(ctx.tables, t) for t in (SEGMENTS, SEGMENT_FEATURES, USER_SEGMENTS, MODEL_RUNS)}

    again = segment_users(ctx)

    assert again.facts["fitted"] is False
    assert before == {t.name: content(ctx.tables, t) for t in (SEGMENTS, SEGMENT_FEATURES, USER_SEGMENTS, MODEL_RUNS)}


def test_means_are_the_segments_own(planted: Planted) -> None:
    ctx, _, _ = planted

    features = ctx.tables.read(user_features_table(WINDOWS)).select("user_id", "monetary").collect()
    by_user = {r["user_id"]: float(r["monetary"]) for r in features}
    segment_of = {r["user_id"]: r["segment_id"] for r in ctx.tables.read(USER_SEGMENTS).collect()}
    rows = ctx.tables.read(SEGMENT_FEATURES).where("feature = 'monetary'").collect()
    everyone = np.array(list(by_user.values()))
    for row in rows:
        own = np.array([v for u, v in by_user.items() if segment_of[u] == row["segment_id"]])
        assert row["mean"] == pytest.approx(own.mean())
        assert row["population_mean"] == pytest.approx(everyone.mean())
        assert row["difference_sd"] == pytest.approx((own.mean() - everyone.mean()) / everyone.std())


def test_a_reason_is_what_brings_a_customer_nearer_to_the_own_centre_than_to_the_average() -> None:
    customer, centre, average = np.array([[3.0, 1.5, -2.0]]), np.array([[1.2, 1.5, -2.0]]), np.array([1.0, 0.0, 0.0])

    # (2, 1.5, 2) from the average and (1.8, 0, 0) from the centre: squared 4 - 3.24, 2.25, 4
    assert strongest_features(customer, centre, average).tolist() == [[2, 1]]


def test_the_previous_centres_are_seen_in_the_order_of_todays_features(planted: Planted) -> None:
    ctx, _, _ = planted
    declaration = models.load_live(ctx.tables, models.live(ctx.tables, "segments")).declaration
    before = Preparation.from_json(declaration["preparation"])
    turned = replace(before, features=before.features[::-1])
    columns = [before.names.index(n) for n in turned.names]

    centres, ids = _previous(ctx, turned)

    assert columns != sorted(columns)
    np.testing.assert_allclose(centres, np.array(declaration["centres"])[:, columns], rtol=1e-9, atol=1e-9)
    assert ids == [s["segment_id"] for s in declaration["segments"]]


def test_a_refit_keeps_the_ids(planted: Planted, make_context: Callable[..., Context]) -> None:
    ctx, _, _ = planted
    first = {r["user_id"]: r["segment_id"] for r in ctx.tables.read(USER_SEGMENTS, as_of=AS_OF).collect()}
    later = AS_OF + timedelta(days=200)  # past max_age_days
    plant(ctx.tables, later, shift=1.2)

    run = make_context(settings=settings(), as_of=later)
    outcome = segment_users(run)

    assert outcome.facts["fitted"] is True
    second = {r["user_id"]: r["segment_id"] for r in run.tables.read(USER_SEGMENTS, as_of=later).collect()}
    assert first == second
    assert run.tables.read(LIVE_MODELS).first()["since"] == later


@pytest.mark.slow
def test_a_young_model_is_applied_later_and_a_backfill_fits_its_own(
    planted: Planted, make_context: Callable[..., Context]
) -> None:
    ctx, _, outcome = planted
    version = outcome.facts["model_version"]
    later, earlier = AS_OF + timedelta(days=1), AS_OF - timedelta(days=30)
    plant(ctx.tables, later)
    plant(ctx.tables, earlier)

    assert segment_users(make_context(settings=settings(), as_of=later)).facts["model_version"] == version
    run = make_context(settings=settings(), as_of=earlier)
    backfill = segment_users(run).facts

    assert backfill["fitted"] is True
    assert backfill["model_version"] != version
    assert run.tables.read(LIVE_MODELS).first()["model_version"] == version


def test_other_settings_fit_another_model(planted: Planted, make_context: Callable[..., Context]) -> None:
    outcome = segment_users(make_context(settings=settings(k=3), as_of=AS_OF))

    assert outcome.facts["fitted"] is True
    assert outcome.facts["k"] == 3


def test_components_and_rules_reach_the_model(planted: Planted, make_context: Callable[..., Context]) -> None:
    _, kinds, _ = planted
    rules = {"components": 5, "outliers": {"method": "z_score"}}  # nothing lies so far out: the same clusters

    run = make_context(settings=Settings(prepare=rules, **settings().model_dump(exclude={"prepare"})), as_of=AS_OF)
    outcome = segment_users(run)

    rows = run.tables.read(USER_SEGMENTS).orderBy("user_id").collect()
    assert adjusted_rand_score(kinds, [r["segment_id"] for r in rows]) == pytest.approx(1.0)
    assert all("(typical: " in r["reason"] for r in rows)  # reasons still name features, not components
    declaration = models.find(run.tables, "segments", outcome.facts["model_version"]).declaration
    preparation = Preparation.from_json(declaration["preparation"])
    reduction = Reduction.from_json(declaration["reduction"])
    assert all(f.bounds for f in preparation.features)
    found = {r["metric"]: r["value"] for r in run.tables.read(MODEL_RUNS, as_of=AS_OF).collect()}
    assert found["components"] == len(reduction.names) == 5
    assert found["explained_variance"] == pytest.approx(sum(reduction.explained_variance_ratio))
    # distances are those among the components
    frame = run.tables.read(user_features_table(WINDOWS), as_of=AS_OF).where("user_id = 'u0000'")
    raw = np.array([[float(v) for v in frame.select(*preparation.inputs).first()]])
    apart = reduction.transform(preparation.matrix(raw)) - reduction.transform(np.array(declaration["centres"]))
    assert rows[0]["distance"] == pytest.approx(np.linalg.norm(apart, axis=1).min())


def test_too_few_customers_is_a_skip_that_empties_the_slices(
    planted: Planted, make_context: Callable[..., Context]
) -> None:
    ctx, _, _ = planted
    rows = [("a", 1, 5, 3, 1, 9), ("b", 2, 4, 2, 1, 8), ("c", 3, 6, 1, 1, 7)]
    frame = ctx.spark.createDataFrame(rows, "user_id string, " + ", ".join(f"{n} int" for n in USED))
    write_features(ctx.tables, frame, AS_OF)

    run = make_context(settings=settings(k=5), as_of=AS_OF)
    outcome = segment_users(run)

    assert outcome.skipped == "3 customers are fewer than 5 segments"
    assert run.tables.read(USER_SEGMENTS).isEmpty()
    assert run.tables.read(MODEL_RUNS).isEmpty()


def test_one_usable_feature_is_a_skip(tables: Tables, make_context: Callable[..., Context]) -> None:
    frame = tables.spark.range(50).selectExpr(
        "concat('u', id) AS user_id", "1 AS days_since_last_event", "1 AS tenure_days", "id AS views_90d"
    )
    write_features(tables, frame, AS_OF)

    assert segment_users(make_context(settings=settings(), as_of=AS_OF)).skipped.startswith("1 usable features")


def test_an_empty_table_is_a_skip(tables: Tables, make_context: Callable[..., Context]) -> None:
    assert "no customer has an event" in segment_users(make_context(settings=settings(), as_of=AS_OF)).skipped


def test_a_stored_model_without_customers_is_a_skip(planted: Planted, make_context: Callable[..., Context]) -> None:
    run = make_context(settings=settings(), as_of=AS_OF + timedelta(days=1))

    assert "no customer has an event" in segment_users(run).skipped


def test_a_damaged_model_is_a_model_error(planted: Planted) -> None:
    ctx, _, _ = planted
    path = ctx.tables.read(LIVE_MODELS).first()["path"]
    declaration = next((Path(ctx.tables.root) / path / "declaration").glob("part-*"))
    declaration.write_text(declaration.read_text().replace("segment", "Segment"))

    with pytest.raises(ModelError, match="expected sha256"):
        segment_users(ctx)


def test_an_unknown_feature_in_the_settings_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"viewz_90d: expected a numeric column.*did you mean views_90d"):
        settings(features=("views_90d", "viewz_90d"))


@pytest.mark.slow
def test_partitions_of_the_table_do_not_matter(spark: SparkSession, planted: Planted) -> None:
    ctx, _, outcome = planted
    first = outcome.facts["model_version"]
    table = user_features_table(WINDOWS)
    shuffled = spark.createDataFrame(ctx.tables.read(table).collect(), table.schema).repartition(5)
    ctx.tables.replace_slice(table, shuffled, as_of=AS_OF)
    before = content(ctx.tables, USER_SEGMENTS)
    ctx.tables.delete(LIVE_MODELS, "true")
    ctx.tables.delete(MODEL_RUNS, "true")
    shutil.rmtree(Path(ctx.tables.root) / "models")

    again = segment_users(ctx).facts

    assert again["fitted"] is True
    assert again["model_version"] == first
    assert content(ctx.tables, USER_SEGMENTS) == before
