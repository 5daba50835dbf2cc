"""The one wide row a customer, and the summary that is read from it, over tables written by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from pyspark.sql import SparkSession

from profiling_spark.config import Settings
from profiling_spark.context import Context
from profiling_spark.contracts.features import user_features_table
from profiling_spark.contracts.gold import SEGMENTS, USER_RECOMMENDATIONS, USER_SCORES, USER_SEGMENTS
from profiling_spark.contracts.operations import MODEL_RUNS
from profiling_spark.contracts.table import Table
from profiling_spark.profile.job import build_profiles
from profiling_spark.report.summary import summary
from profiling_spark.storage import Tables, as_frame

AS_OF = date(2026, 7, 1)
BEFORE = AS_OF - timedelta(days=1)
FEATURES = user_features_table((30,))
TAGS = {
    "rich": {"name_en": "Rich", "name_zh": "富", "when": "monetary >= 10", "reason": "spent {monetary}"},
    "leaver": {
        "name_en": "Leaver",
        "name_zh": "流失",
        "when": "churn_probability >= 0.5",
        "value": "churn_probability",
        "reason": "{churn_level}",
    },
}
OLD = {"segment_id": 1, "name_en": "Small", "name_zh": "小"}

Make = Callable[..., Context]


def put(tables: Tables, table: Table, *rows: dict[str, Any]) -> None:
    tables.append(table, as_frame(table, [tuple(r.get(c) for c in table.names) for r in rows]))


def customer(user: str, as_of: date = AS_OF, **features: Any) -> dict[str, Any]:
    return {"as_of": as_of, "user_id": user, "is_bot": False, **features}


@pytest.fixture(scope="module")
def make(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A new run at a date, on the tables of two days of which only the second is the run's own."""
    root = str(tmp_path_factory.mktemp("profile") / "lake")
    settings = Settings.model_validate({"storage": {"root": root}, "windows_days": [30], "profile": {"tags": TAGS}})

    def made(as_of: date = AS_OF, run_id: str = "run") -> Context:
        tables = Tables(spark, root, run_id=run_id)
        return Context(settings, spark, tables, datetime(2026, 7, 1, tzinfo=UTC), as_of)

    tables = made().tables
    put(
        tables,
        FEATURES,
        customer("ann", gender_code=1, age=30, monetary=Decimal(12), frequency=2, tenure_days=9),
        customer("bob", gender_code=0, monetary=Decimal(5), frequency=1),
        customer("cyd", monetary=Decimal(6), frequency=1),  # more than bob, but without a tag
        customer("ann", BEFORE, gender_code=1, monetary=Decimal(1), frequency=1),
        customer("dan", BEFORE, gender_code=0),
    )
    segment = {"as_of": AS_OF, "method": "kmeans", "name_en": "Big", "name_zh": "大", "segment_id": 2}
    put(tables, USER_SEGMENTS, segment | {"user_id": "ann"}, segment | {"user_id": "ann", "as_of": BEFORE} | OLD)
    score = {"as_of": AS_OF, "task": "churn", "level": "high", "raw_score": 0.9, "percentile": 0.5}
    score |= {"model_version": "m", "reason_2": "second"}
    put(
        tables,
        USER_SCORES,
        score | {"user_id": "bob", "probability": 0.7, "reason_1": "first of bob"},
        score | {"user_id": "ann", "probability": 0.2, "level": "low", "reason_1": "first of ann"},
        score | {"user_id": "cyd", "as_of": BEFORE, "probability": 0.9, "reason_1": "of the day before"},
    )
    offer = {"as_of": AS_OF, "user_id": "ann", "engine": "popular", "score": 1.0}
    put(
        tables,
        USER_RECOMMENDATIONS,
        *(offer | {"rank": rank, "item_id": f"i{rank}", "reason": f"why i{rank}"} for rank in (3, 1, 4, 2)),
        offer | {"user_id": "bob", "rank": 1, "item_id": "b1", "reason": "why b1"},
        offer | {"as_of": BEFORE, "rank": 1, "item_id": "old", "reason": "why old"},
    )
    return made


def profile(ctx: Context) -> dict[str, dict[str, Any]]:
    """What a reader finds, null columns left out."""
    rows = pl.read_delta(f"{ctx.tables.root}/user_profile").to_dicts()
    return {r["user_id"]: {k: v for k, v in r.items() if v is not None and k != "user_id"} for r in rows}


def test_a_row_has_what_the_tables_of_its_date_say(make: Make) -> None:
    ctx = make()

    outcome = build_profiles(ctx)

    assert (outcome.rows_out, outcome.facts) == (3, {"tags": 2, "published": True})
    every = {"as_of": AS_OF, "is_bot": False, "run_id": "run"}
    assert profile(ctx) == {
        "ann": every
        | {"gender": "female", "age": 30, "monetary": Decimal(12), "frequency": 2, "tenure_days": 9}
        | {"segment_id": 2, "segment_name_en": "Big", "segment_name_zh": "大"}
        | {"churn_probability": 0.2, "churn_level": "low", "churn_reason": "first of ann", "tags": "rich"}
        | {f"recommendation_{n}": f"i{n}" for n in (1, 2, 3)}
        | {f"recommendation_{n}_reason": f"why i{n}" for n in (1, 2, 3)},
        "bob": every
        | {"gender": "male", "monetary": Decimal(5), "frequency": 1}
        | {"churn_probability": 0.7, "churn_level": "high", "churn_reason": "first of bob", "tags": "leaver"}
        | {"recommendation_1": "b1", "recommendation_1_reason": "why b1"},
        "cyd": every | {"monetary": Decimal(6), "frequency": 1},
    }
    tags = pl.read_delta(f"{ctx.tables.root}/user_tags").sort("user_id").select("as_of", "user_id", "tag", "value")
    assert tags.rows() == [(AS_OF, "ann", "rich", None), (AS_OF, "bob", "leaver", 0.7)]


def test_the_same_date_is_published_again_and_an_older_one_is_not(make: Make) -> None:
    build_profiles(make())
    corrected = make(run_id="again")
    rows = corrected.tables.rows(FEATURES, as_of=AS_OF).filter(pl.col("user_id") != "cyd")
    before = corrected.tables.rows(FEATURES, as_of=AS_OF)
    try:
        corrected.tables.replace_slice(FEATURES, rows.with_columns(age=pl.lit(31, pl.Int32)), as_of=AS_OF)
        assert build_profiles(corrected).facts["published"] is True
        assert {u: (r["age"], r["run_id"]) for u, r in profile(corrected).items()} == {
            "ann": (31, "again"),
            "bob": (31, "again"),
        }

        late = make(BEFORE, run_id="late")
        assert build_profiles(late).facts == {"tags": 0, "published": False}
        assert {r["as_of"] for r in profile(late).values()} == {AS_OF}
    finally:
        corrected.tables.replace_slice(FEATURES, before, as_of=AS_OF)


def test_the_summary_shows_held_out_figures_of_all_customers(make: Make) -> None:
    ctx = make()
    build_profiles(ctx)
    run = {"as_of": AS_OF, "job": "j", "customers": "all", "params": "{}", "rows": 9, "promoted": False}
    churn, lists = run | {"task": "churn", "split": "holdout"}, run | {"task": "recommendations", "split": "test"}
    ndcg = {"metric": "ndcg_at_20"}
    put(
        ctx.tables,
        MODEL_RUNS,
        churn | {"model": "majority", "metric": "auc", "value": 0.5},
        churn | {"model": "random_forest", "metric": "auc", "value": 0.75, "promoted": True},
        churn | {"model": "random_forest", "metric": "f1", "value": None, "promoted": True},
        churn | {"model": "random_forest", "metric": "f1", "value": 0.1, "as_of": BEFORE, "promoted": True},
        lists | ndcg | {"model": "als", "value": 0.25, "promoted": True},
        lists | ndcg | {"model": "als", "value": 0.9, "split": "validation", "promoted": True},
        lists | ndcg | {"model": "als", "value": 0.8, "split": "test_all_items", "promoted": True},
        lists | ndcg | {"model": "als", "value": 0.7, "customers": "male", "promoted": True},
        lists | ndcg | {"model": "popular", "value": 0.125},
    )
    group = {"as_of": AS_OF, "method": "kmeans", "description_en": "more", "description_zh": "多"}
    put(
        ctx.tables,
        SEGMENTS,
        group | {"segment_id": 1, "name_en": "Few", "name_zh": "少", "users": 1, "share": 0.25},
        group | {"segment_id": 2, "name_en": "Big", "name_zh": "大", "users": 3, "share": 0.75},
        group | {"segment_id": 3, "name_en": "Past", "name_zh": "旧", "users": 9, "share": 1.0, "as_of": BEFORE},
    )

    lines = [line.split() for line in summary(ctx).splitlines()]

    models = lines.index(["Models,", "on", "customers", "and", "events", "they", "did", "not", "see"])
    segments = lines.index(["Segments"])
    assert lines[segments + 2 : models - 1] == [["3", "75.0%", "Big:", "more"], ["1", "25.0%", "Few:", "more"]]
    assert lines[models + 2 : lines.index(["Three", "customers"]) - 1] == [
        ["churn", "random_forest", "auc", "0.750", "(serves)"],
        ["churn", "majority", "auc", "0.500"],
        ["recommendations", "als", "ndcg_at_20", "0.250", "(serves)"],
        ["recommendations", "popular", "ndcg_at_20", "0.125"],
    ]
    shown = lines[lines.index(["Three", "customers"]) + 2 :]
    # one of each segment, the one with the most tags; of those without a segment too
    assert shown[:8] == [
        ["ann", "(female)"],
        ["segment", "Big", "/", "大"],
        ["value", "2", "orders,", "12.00", "spent"],
        ["churn", "20%,", "low:", "first", "of", "ann"],
        ["tags", "rich"],
        ["offer", "1", "i1:", "why", "i1"],
        ["offer", "2", "i2:", "why", "i2"],
        ["offer", "3", "i3:", "why", "i3"],
    ]
    assert shown[8:11] == [
        ["bob", "(male)"],
        ["value", "1", "orders,", "5.00", "spent"],
        ["churn", "70%,", "high:", "first", "of", "bob"],
    ]
