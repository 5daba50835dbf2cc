"""Three real data sets end to end by config alone: rows accounted for, features equal to an independent reference."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from compare_features import assert_features_equal_the_reference
from duckdb_raw import load_complete_journey, load_online_retail, load_rees46
from pyspark.sql import functions as F

from profiling_spark.config import load_settings
from profiling_spark.context import Context
from profiling_spark.contracts.features import user_features_table
from profiling_spark.contracts.gold import USER_PROFILE
from profiling_spark.contracts.silver import EVENTS, INGESTED_FILES, REJECTED_ROWS, USERS
from profiling_spark.ingest.job import ingest
from profiling_spark.pipeline import STAGES
from profiling_spark.storage import Tables

pytestmark = pytest.mark.slow
CONF = Path(__file__).resolve().parents[2] / "conf"
WINDOWS = (7, 30, 90)


class Run(NamedTuple):
    context: Context
    folder: Path

    def facts(self, source):
        return self.context.outcomes["ingest"].facts["sources"][source]

    def rejected(self, source):
        return self.context.outcomes["ingest"].facts["rejected"].get(source, {})


def pipeline_on(spark, name, data, folder, stages=STAGES):
    config = CONF / f"{name}.yaml"
    settings = load_settings([config], [f"data_root={data}", f"storage.root={folder / 'lake'}"])
    tables = Tables(spark, settings.storage.root, run_id=name)
    context = Context(settings, spark, tables, datetime(2026, 7, 1, tzinfo=UTC))
    for stage in stages:
        context.outcomes[stage.__name__] = stage(context)
    return Run(context, folder)


@pytest.fixture(scope="module")
def some_days(shared_data, tmp_path_factory, pytestconfig):
    """Online Retail: with --real all of it, else every fourth of its days, whole files and the last one among them."""
    if pytestconfig.getoption("--real"):
        return shared_data
    folder = tmp_path_factory.mktemp("some_days")
    (folder / "online_retail").mkdir()
    for path in sorted((shared_data / "online_retail").glob("*.csv"))[::-4]:
        (folder / "online_retail" / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def online_retail(spark, some_days, tmp_path_factory):
    return pipeline_on(spark, "online_retail", some_days, tmp_path_factory.mktemp("online_retail"))


@pytest.fixture(scope="module")
def rees46(spark, shared_data, tmp_path_factory):
    return pipeline_on(spark, "rees46", shared_data, tmp_path_factory.mktemp("rees46"))


@pytest.fixture(scope="module")
def complete_journey(spark, shared_data, tmp_path_factory):
    return pipeline_on(spark, "complete_journey", shared_data, tmp_path_factory.mktemp("complete_journey"))


def assert_files_add_up(run):
    """Rows read = accepted + rejected + duplicates + ignored + superseded, file by file and in the tables."""
    ledger = run.context.tables.read(INGESTED_FILES)
    parts = "rows_accepted + rows_rejected + rows_duplicate + rows_ignored + rows_superseded"
    assert ledger.where(f"status <> 'done' or rows_read <> {parts}").isEmpty()
    of_events = ledger.where("target_table = 'events'")
    accepted = of_events.agg(F.sum("rows_accepted")).first()[0]
    assert run.context.tables.read(EVENTS).count() == accepted
    refused = run.context.tables.read(REJECTED_ROWS).where("target_table = 'events'").agg(F.sum("occurrences"))
    assert (refused.first()[0] or 0) == of_events.agg(F.sum("rows_rejected")).first()[0]


def assert_everyone_is_profiled(run, *, more_than=2000):
    features = run.context.tables.read(user_features_table(WINDOWS), as_of=run.context.as_of)
    assert run.context.tables.read(USER_PROFILE).count() == features.count() > more_than


def test_online_retail_accounts_for_every_line(spark, shared_data, tmp_path):
    run = pipeline_on(spark, "online_retail", shared_data, tmp_path, stages=(ingest,))
    facts = run.facts("invoices")
    assert facts["read"] == 541_909
    assert (facts["accepted"], facts["duplicate"], facts["rejected"]) == (401_564, 5_225, 135_120)
    reasons = run.rejected("invoices")
    assert (reasons["no_user"], reasons["price_not_positive"]) == (135_080, 2_517)
    refused = run.context.tables.read(REJECTED_ROWS).where("target_table = 'events'")
    again = refused.agg(F.sum(F.col("occurrences") - 1)).first()[0]
    assert facts["duplicate"] + again == 5_268
    assert_files_add_up(run)


def test_online_retail_refunds_and_features(online_retail, some_days):
    events = online_retail.context.tables.read(EVENTS)
    assert events.where("event_type = 'refund' and order_id not like 'C%'").isEmpty()
    assert events.where("event_type = 'purchase' and order_id like 'C%'").isEmpty()
    folder = some_days / "online_retail"
    assert_features_equal_the_reference(online_retail.context, load_online_retail, folder, date(2011, 12, 10))
    assert_features_equal_the_reference(online_retail.context, load_online_retail, folder, date(2011, 11, 10))
    assert_files_add_up(online_retail)
    assert_everyone_is_profiled(online_retail, more_than=1000)


def test_rees46_keeps_the_half_line_and_skips_churn(rees46, shared_data):
    facts = rees46.facts("clicks")
    assert (facts["read"], facts["accepted"], facts["duplicate"], facts["rejected"]) == (17_435, 17_429, 5, 1)
    (half,) = rees46.context.tables.read(REJECTED_ROWS).collect()
    assert half["reasons"] == "unreadable"
    last = sorted((shared_data / "rees46").glob("*.csv"))[-1].read_text(encoding="utf-8").splitlines()[-1]
    assert half["raw"] == last
    assert "shorter than the horizon" in rees46.context.outcomes["score_users"].skipped
    assert [n for n, o in rees46.context.outcomes.items() if o.skipped] == ["score_users"]
    assert_files_add_up(rees46)
    assert_features_equal_the_reference(rees46.context, load_rees46, shared_data / "rees46", date(2019, 10, 2))
    assert_everyone_is_profiled(rees46)


def test_complete_journey_counts_discounts(complete_journey, shared_data):
    facts = complete_journey.facts("transactions")
    assert (facts["read"], facts["accepted"], facts["rejected"]) == (75_000, 74_575, 425)
    assert complete_journey.rejected("transactions") == {"quantity_not_positive": 416, "price_not_positive": 9}
    assert complete_journey.context.tables.read(USERS).select("user_id").distinct().count() == 801
    row = complete_journey.context.tables.read(EVENTS).agg(F.sum("discount").alias("discount")).first()
    assert row["discount"] > 40_000
    assert_files_add_up(complete_journey)
    folder = shared_data / "completejourney"
    assert_features_equal_the_reference(complete_journey.context, load_complete_journey, folder, date(2018, 1, 2))
    assert_everyone_is_profiled(complete_journey)


@pytest.mark.parametrize(
    ("name", "source", "counts"),
    [
        # fixed width; repeats are equal in every character, free CDs have a price of 0
        ("cdnow", "purchases", {"read": 69_659, "accepted": 69_324, "duplicate": 255, "rejected": 80}),
        ("cn_reviews", "reviews", {"read": 62_774, "accepted": 62_773, "duplicate": 0, "rejected": 1}),
    ],
)
def test_other_formats_load_by_settings_alone(spark, shared_data, tmp_path, name, source, counts):
    settings = load_settings([CONF / f"{name}.yaml"], [f"data_root={shared_data}", f"storage.root={tmp_path / 'lake'}"])
    tables = Tables(spark, settings.storage.root, run_id=name)
    context = Context(settings, spark, tables, datetime(2026, 7, 1, tzinfo=UTC))
    found = ingest(context).facts["sources"][source]
    assert {k: found[k] for k in counts} == counts
