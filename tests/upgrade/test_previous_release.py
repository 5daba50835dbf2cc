"""Lakes that earlier releases wrote (README.md here says how): today's code reads, continues and upgrades them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pyspark.sql import SparkSession

from profiling_spark.attributes import versions
from profiling_spark.config import Settings, load_settings
from profiling_spark.context import Context
from profiling_spark.contracts.all_tables import all_tables
from profiling_spark.contracts.silver import ATTRIBUTES
from profiling_spark.features.job import build_features
from profiling_spark.ingest.job import ingest, replay
from profiling_spark.maintain.job import check
from profiling_spark.pipeline import STAGES
from profiling_spark.storage import Tables

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
RELEASES = sorted(p.name for p in HERE.iterdir() if (p / "demo").is_dir())
COUNTS = ("read", "accepted", "rejected", "duplicate", "ignored", "superseded")
BEFORE = ("events", "user_features", "item_features", "live_models")
DELIVERED = datetime(2026, 12, 1, tzinfo=UTC)


class Shop:
    """A copy of a shop's lake and raw files, and what the release had stored there."""

    def __init__(self, spark: SparkSession, kept: Path, folder: Path) -> None:
        self.spark, self.folder, self.kept = spark, folder, kept
        for name in ("lake", "data"):
            shutil.copytree(kept / name, folder / name)
        self.before = {t: self.stored(t) for t in BEFORE if (folder / "lake" / t).exists()}
        self.ledger = self.stored("ingested_files")
        self.as_of: date = self.before["user_features"]["as_of"].max()
        self.runs = 0

    def stored(self, table: str) -> pl.DataFrame:
        return pl.read_delta(str(self.folder / "lake" / table))

    def settings(self, *changes: str) -> Settings:
        """The release's own settings file."""
        places = [f"data_root={self.folder / 'data'}", f"storage.root={self.folder / 'lake'}"]
        return load_settings([self.kept / "settings.yaml"], [*places, *changes])

    def run(self, *stages: Callable, as_of: date | None = None, changes=()) -> Context:
        """A run of today's code, later than the release's."""
        self.runs += 1
        started = DELIVERED + timedelta(days=self.runs)
        settings = self.settings(*changes)
        tables = Tables(self.spark, settings.storage.root, run_id=f"{started:%Y%m%dT%H%M%S}-{self.runs:06x}")
        context = Context(settings, self.spark, tables, started, as_of)
        for stage in stages:
            context.outcomes[getattr(stage, "__name__", "replay")] = stage(context)
        return context

    def redeliver(self, source: str, file: str, one_more: str) -> dict[str, int]:
        """A stored file of a source again under a new name, with one more line; returns what the ledger must say."""
        place = self.folder / "data" / file
        again = place.with_name(f"{place.stem}-again{place.suffix}")
        again.write_text(place.read_text(encoding="utf-8") + one_more + "\n", encoding="utf-8")
        entry = (pl.col("source") == source) & (pl.col("target_table") == "events") & pl.col("path").str.ends_with(file)
        old = self.ledger.filter(entry).row(0, named=True)
        counts = {c: old[f"rows_{c}"] for c in COUNTS}
        known = counts["accepted"] + counts["duplicate"]
        return counts | {"read": counts["read"] + 1, "accepted": 1, "duplicate": known}

    def counted(self, name: str) -> dict[str, int]:
        """What the ledger says of the files whose path ends so, for events."""
        of_file = pl.col("path").str.ends_with(name) & (pl.col("target_table") == "events")
        sums = self.stored("ingested_files").filter(of_file).select(pl.col(f"rows_{c}").sum().alias(c) for c in COUNTS)
        return sums.row(0, named=True)

    def deliver(self) -> None:
        shutil.copytree(self.kept / "next", self.folder / "data", dirs_exist_ok=True)

    def assert_as_before(self, table: str, *keys: str) -> None:
        """The release's rows are there with the values of every column that it had."""
        old = self.before[table]
        now = self.stored(table).select(old.columns).join(old.select(keys).unique(), on=keys, how="semi")
        assert_frame_equal(now.sort(keys), old.sort(keys), check_exact=False, rel_tol=1e-9, abs_tol=0.0)


@pytest.fixture(params=RELEASES)
def kept(request: pytest.FixtureRequest) -> Path:
    return HERE / request.param


def assert_readable(shop: Shop) -> None:
    """Every stored table reads as its contract says, and the promises between tables hold."""
    context = shop.run(check)
    there = [t for t in all_tables(context.settings.windows_days) if context.tables.exists(t)]
    assert {"events", "items", "rejected_rows", "user_features", "job_runs"} <= {t.name for t in there}
    for table in there:
        frame = versions(context.tables, table) if table in ATTRIBUTES else context.tables.read(table)
        rows = pl.from_arrow(table.conform(frame).toArrow())
        assert len(rows) == len(shop.stored(table.name)), table.name


def assert_old_files_are_known(shop: Shop) -> None:
    """In another folder the files of users and items are deliveries again, which say what is known."""
    outcome = shop.run(ingest).outcomes["ingest"]
    assert (outcome.rows_out, outcome.facts["files_taken_again"]) == (0, 0)
    settings = shop.settings()
    assert all(settings.sources[name].has_versions for name in outcome.facts["sources"])


def assert_features_rebuild_the_same(shop: Shop) -> None:
    shop.run(build_features, as_of=shop.as_of)
    shop.assert_as_before("user_features", "as_of", "user_id")
    shop.assert_as_before("item_features", "as_of", "item_id")


def test_a_shop_with_models_goes_on(spark, kept, tmp_path):
    shop = Shop(spark, kept / "demo", tmp_path)
    refused = shop.stored("rejected_rows")
    assert_readable(shop)
    assert_old_files_are_known(shop)
    assert_features_rebuild_the_same(shop)

    words = {"clickk", "???", "浏览商品"}
    mended = refused.filter(pl.col("raw").str.json_path_match("$.action").is_in(words))["occurrences"].sum()
    assert mended > 0
    changes = [f"sources.behaviour.event_types={{{', '.join(f'{w!r}: view' for w in sorted(words))}}}"]
    replayed = shop.run(partial(replay, run_id=refused["run_id"][0]), changes=changes).outcomes["replay"]
    assert replayed.facts["accepted"] + replayed.facts["duplicate"] == mended
    assert replayed.rows_in == refused["occurrences"].sum()

    day = shop.as_of - timedelta(days=1)
    login = f'{{"log_id":"more","ts":"{day}T12:00:00+08:00","uid":"U0000001","action":"login"}}'
    order = f'"more","1","{day} 12:00:00","U0000001","K00010","数码","","1","20.00","0.00","order","","app",""'
    behaviour = shop.redeliver("behaviour", f"behaviour/{day}.jsonl", login)
    orders = shop.redeliver("orders", f"orders/{day}.csv", order)
    shop.deliver()
    night = shop.run(*STAGES, as_of=shop.as_of + timedelta(days=1))
    assert shop.counted("-again.jsonl") == behaviour
    assert shop.counted("-again.csv") == orders
    new = shop.counted(f"/{shop.as_of}.jsonl")
    assert new["read"] == sum(new[c] for c in COUNTS[1:]) >= new["accepted"] > 0
    shop.assert_as_before("events", "event_id")
    assert_models_go_on(shop, night)
    assert_neighbours_have_titles_from_now_on(shop, night)
    profile = shop.stored("user_profile")
    assert profile["as_of"].unique().to_list() == [night.as_of]
    assert set(shop.before["user_features"]["user_id"]) <= set(profile["user_id"])
    assert profile["recommendation_1"].null_count() == 0
    assert profile["segment_id"].is_null().equals(profile["days_since_last_event"].is_null())
    shop.run(check)


def assert_models_go_on(shop: Shop, night: Context) -> None:
    """All are fitted once more. Segments: outliers are clipped now. Churn: neither bots nor ad impressions count as
    signs of life. Recommendations: a neighbour speaks from the candidate's side, and als finds its own settings.
    """
    before = dict(shop.before["live_models"].select("task", "model_version").rows())
    now = dict(shop.stored("live_models").select("task", "model_version").rows())
    assert now.keys() == before.keys() == {"churn", "segments", "recommendations"}
    assert night.outcomes["score_users"].facts["fitted"] is True
    served = shop.stored("model_runs").filter(pl.col("as_of") == night.as_of, pl.col("promoted"))
    versions_served = set(served["model_version"].drop_nulls())
    assert all(now[task] != before[task] and now[task] in versions_served for task in now)


def assert_neighbours_have_titles_from_now_on(shop: Shop, night: Context) -> None:
    """Columns that the release had not: null in its rows, filled in those of today."""
    titles = dict(shop.stored("items").sort("valid_from").select("item_id", "title").rows())
    near = shop.stored("item_neighbours")
    old, now = near.filter(pl.col("as_of") < night.as_of), near.filter(pl.col("as_of") == night.as_of)
    assert len(old) > 0
    assert now["title"].null_count() < len(now)
    assert old["title"].null_count() == old["neighbour_title"].null_count() == len(old)
    assert now["title"].to_list() == [titles.get(item) for item in now["item_id"]]
    assert now["neighbour_title"].to_list() == [titles.get(item) for item in now["neighbour_item_id"]]


def test_events_without_ids_keep_theirs(spark, kept, tmp_path):
    shop = Shop(spark, kept / "invoices", tmp_path)
    assert_readable(shop)
    assert_old_files_are_known(shop)
    assert_features_rebuild_the_same(shop)

    day = shop.as_of - timedelta(days=1)
    line = f"699999,10007,SAMPLE ARTICLE 1,2,{day} 12:00:00,3.5,501.0,Sampleland"
    again = shop.redeliver("invoices", f"online_retail/{day}.csv", line)
    shop.deliver()
    shop.run(ingest, build_features)
    assert shop.counted("-again.csv") == again
    assert shop.counted(f"/{shop.as_of}.csv")["accepted"] > 0
    shop.assert_as_before("events", "event_id")
    assert set(shop.before["events"]["event_type"]) == {"purchase", "refund"}
    shop.run(check)
