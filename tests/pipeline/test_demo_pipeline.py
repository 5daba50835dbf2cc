"""The whole pipeline on a small demo shop: planted dirt and structure found, repeatable, readable by others."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest
from checksums import checksums
from compare_features import assert_features_equal_the_reference
from deltalake import DeltaTable
from duckdb_raw import load_demo
from pyspark.sql import functions as F
from sklearn.metrics import adjusted_rand_score

from profiling_spark.config import load_settings
from profiling_spark.context import Context
from profiling_spark.contracts.all_tables import all_tables
from profiling_spark.contracts.features import user_features_table
from profiling_spark.contracts.gold import USER_PROFILE, USER_RECOMMENDATIONS, USER_SEGMENTS, USER_TAGS
from profiling_spark.contracts.operations import MODEL_RUNS
from profiling_spark.contracts.silver import EVENTS
from profiling_spark.demo.generate import generate
from profiling_spark.pipeline import STAGES
from profiling_spark.storage import Tables

pytestmark = pytest.mark.slow
PROJECT = Path(__file__).resolve().parents[2]
CONF = PROJECT / "conf" / "demo.yaml"


@pytest.fixture(scope="module")
def shop(spark, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo_shop")
    truth = generate(folder / "data", customers=1200)
    root = str(folder / "lake")
    # the features of one's own are those that the page shows
    page = (PROJECT / "docs" / "features.md").read_text(encoding="utf-8")
    own = folder / "own.yaml"
    own.write_text(page.split("```yaml")[1].split("```")[0], encoding="utf-8")
    settings = load_settings([CONF, own], [f"data_root={folder / 'data'}", f"storage.root={root}"])
    return truth, settings, folder, run_all(spark, settings, "first")


def run_all(spark, settings, run_id):
    tables = Tables(spark, settings.storage.root, run_id=run_id)
    context = Context(settings, spark, tables, datetime(2026, 7, 1, tzinfo=UTC))
    context.outcomes = {}
    for stage in STAGES:
        context.outcomes[stage.__name__] = stage(context)
    return context


def test_planted_dirt_is_found_exactly(shop):
    truth, _, _, context = shop
    facts = context.outcomes["ingest"].facts
    for name, planted in truth.sources.items():
        counts = facts["sources"][name]
        assert counts["accepted"] == planted.accepted, name
        assert facts["rejected"].get(name, {}) == dict(planted.rejected), name
        assert counts["duplicate"] == planted.duplicates, name
        assert counts["ignored"] == planted.ignored, name


def test_planted_structure_is_found(shop):
    _, _, folder, context = shop
    kinds = pl.read_parquet(folder / "data" / "truth" / "customers.parquet").select("uid", "kind")
    rows = context.tables.read(USER_SEGMENTS).select(F.col("user_id").alias("uid"), "segment_id").toArrow()
    both = kinds.join(pl.from_arrow(rows), on="uid")
    assert adjusted_rand_score(both["kind"].to_list(), both["segment_id"].to_list()) > 0.5
    split = "customers = 'all' AND split NOT LIKE 'validation%' AND split NOT LIKE '%all_items'"
    figures = {
        (r["task"], r["model"], r["metric"]): r["value"] for r in context.tables.read(MODEL_RUNS).where(split).collect()
    }
    assert figures["churn", "random_forest", "auc"] >= figures["churn", "recency", "auc"] + 0.02
    als = figures["recommendations", "als", "recall_at_20"]
    assert als >= 1.5 * figures["recommendations", "popular", "recall_at_20"]


def test_every_customer_has_a_profile_and_reasons(shop):
    _, settings, _, context = shop
    features = context.tables.read(user_features_table(settings.windows_days), as_of=context.as_of)
    profile = context.tables.read(USER_PROFILE)
    assert profile.count() == features.count() == profile.select("user_id").distinct().count()
    listed = context.tables.read(USER_RECOMMENDATIONS)
    assert listed.where("reason is null or engine is null").isEmpty()
    assert listed.groupBy("user_id").count().where("count < 20").isEmpty()
    assert listed.groupBy("user_id", "item_id").count().where("count > 1").isEmpty()
    tags = {r["tag"] for r in context.tables.read(USER_TAGS).select("tag").distinct().collect()}
    assert {"vip", "low_price", "quality_first", "churn_prone", "new", "lapsed"} <= tags


def test_outliers_are_flagged_and_genders_normalised(shop):
    truth, _, _, context = shop
    flagged = context.tables.read(EVENTS).where("flags is not null")
    assert flagged.where("flags <> 'many_pieces'").isEmpty()
    assert flagged.count() == truth.orders.outliers
    assert flagged.where("quantity <= 500").isEmpty()


def test_every_feature_equals_an_independent_reference(shop):
    _, _, folder, context = shop
    for as_of in (context.as_of, context.as_of - timedelta(days=30)):
        assert_features_equal_the_reference(context, load_demo, folder / "data", as_of)


def test_features_from_the_settings_reach_the_profile(shop):
    _, settings, _, context = shop
    files = DeltaTable(f"{settings.storage.root}/events").file_uris()
    night = "channel = 'app' AND (local_hour >= 22 OR local_hour <= 5)"
    con = duckdb.connect()
    con.execute("SET TimeZone = 'Asia/Shanghai'")
    wanted = con.sql(f"""
        WITH bought AS (
            SELECT *, DATE '{context.as_of}' - event_date AS age, hour(event_time) AS local_hour
            FROM read_parquet({files}) WHERE event_type = 'purchase' AND event_date < DATE '{context.as_of}'
        ), latest AS (  -- an order counts where its latest line of the night lies
            SELECT user_id, coalesce(order_id, event_id) AS number, min(age) AS age
            FROM bought WHERE {night} GROUP BY ALL
        ), orders AS (
            SELECT user_id, count(*) FILTER (age <= 30) AS night_app_orders_30d FROM latest GROUP BY user_id
        )
        SELECT user_id, any_value(night_app_orders_30d) AS night_app_orders_30d,
            min(age) FILTER (amount >= 500) AS days_since_big_order,
            sum(amount) FILTER (channel IN ('app', 'mini_program') AND age <= 90)::DOUBLE
                / nullif(sum(amount) FILTER (age <= 90), 0)::DOUBLE AS share
        FROM bought LEFT JOIN orders USING (user_id) GROUP BY user_id ORDER BY user_id
    """).pl()
    profile = pl.read_delta(f"{settings.storage.root}/user_profile")
    both = wanted.join(profile, on="user_id", how="left", suffix="_found", maintain_order="left")
    assert both.height > 500
    assert both["night_app_orders_30d"].fill_null(0).equals(both["night_app_orders_30d_found"])
    assert both["days_since_big_order"].cast(pl.Int32).equals(both["days_since_big_order_found"].cast(pl.Int32))
    spent = both.filter(pl.col("share").is_not_null())
    assert ((spent["share"] - spent["app_spend_share_90d"]).abs() < 1e-9).all()
    assert both["night_app_orders_30d"].fill_null(0).sum() > 0


def test_a_second_run_changes_no_value(shop, spark):
    _, settings, _, _ = shop
    before = checksums(spark, settings.storage.root)
    assert len(before) >= 18
    again = run_all(spark, settings, "second")
    assert again.outcomes["ingest"].rows_in == 0
    assert checksums(spark, settings.storage.root) == before


def test_other_readers_see_the_same_values(shop, spark):
    _, settings, _, _ = shop
    root = settings.storage.root
    duckdb.sql("SET TimeZone = 'UTC'")
    for table in all_tables(settings.windows_days):
        path = f"{root}/{table.name}"
        if not Path(path).exists():
            continue
        protocol = DeltaTable(path).protocol()
        assert protocol.min_reader_version == 1, table.name
        assert protocol.min_writer_version in (2, 3), table.name
        key = list(table.key)
        spark_rows = pl.from_arrow(spark.read.format("delta").load(path).select(*table.names).toArrow()).sort(key)
        by_deltalake = pl.from_arrow(DeltaTable(path).to_pyarrow_table()).select(spark_rows.columns).sort(key)
        by_polars = pl.read_delta(path).select(spark_rows.columns).sort(key)
        plain = {c: spark_rows.schema[c] for c in spark_rows.columns}
        assert by_deltalake.cast(plain).equals(spark_rows), table.name
        assert by_polars.cast(plain).equals(spark_rows), table.name
        files = ", ".join(f"'{f}'" for f in DeltaTable(path).file_uris())
        if files:
            names = ", ".join(f'"{c}"' for c in table.names)
            scan = f"read_parquet([{files}], hive_partitioning=true, union_by_name=true)"
            by_duckdb = pl.DataFrame(duckdb.sql(f"select {names} from {scan}").to_arrow_table()).sort(key)
            assert by_duckdb.cast(plain).equals(spark_rows), table.name


def test_the_truth_is_readable(shop):
    truth, _, folder, _ = shop
    stated = json.loads((folder / "data" / "truth" / "truth.json").read_text(encoding="utf-8"))
    assert date.fromisoformat(stated["as_of"]) == truth.as_of
