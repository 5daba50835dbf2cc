"""The job build_features on random histories: what must never change a stored feature. AS_OF and the nine dates before.

Berlin's clocks change among the dates. The histories reach past AS_OF, so every date has a future that it must not see.
"""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import polars as pl
import pytest
import reference
from feature_lakes import (
    BOT_DAYS,
    BOT_EVENTS_PER_DAY,
    OWN_FEATURE,
    ZONE,
    Built,
    Shop,
    append,
    build,
    random_shop,
    remove,
    settings_of,
    stored,
)
from histories import ALL_TYPES, AS_OF, BERLIN, BROKEN, WINDOWS, event_frame, params
from item_reference import item_features, popular_items
from polars.testing import assert_frame_equal
from pyspark.sql import SparkSession
from recording_progress import RecordingProgress
from reference import assert_same_values
from spark_only import by_spark_only

from profiling_spark.config import Settings
from profiling_spark.context import Context
from profiling_spark.features import RfmCuts, fit_cuts, rfm_measures
from profiling_spark.features.job import build_features
from profiling_spark.storage import Tables

pytestmark = pytest.mark.slow
DATES = [AS_OF - timedelta(days=n) for n in range(3, -1, -1)]
EXAMPLES = 100


@pytest.fixture(scope="module")
def shop() -> Shop:
    """About 300 customers with 2,000 events."""
    return random_shop(EXAMPLES)


@pytest.fixture(scope="module")
def fresh(spark: SparkSession, shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Built]:
    """The shop in 8 buckets, written and built at once."""
    settings = settings_of(str(tmp_path_factory.mktemp("fresh")), buckets=8)
    append(spark, settings, shop)
    return settings, build(spark, settings, DATES[0], DATES[-1])


def assert_same(found: Built, expected: Built) -> None:
    assert expected["user_features"].height > 100
    for name, table in expected.items():
        assert_frame_equal(found[name], table, check_exact=True)


def test_it_tells_how_many_of_the_stored_events_are_behind(
    spark: SparkSession, shop: Shop, fresh: tuple[Settings, Built]
) -> None:
    settings, day = fresh[0], DATES[0]
    tables, recorded = Tables(spark, settings.storage.root, run_id="test"), RecordingProgress()
    build_features(Context(settings, spark, tables, datetime.now(UTC), day, progress=recorded), since=day)
    past = sum(row["event_date"] < day for row in shop.events)
    assert (recorded.done_before, recorded.done(), recorded.total, recorded.unit) == (0, past, len(shop.events), "rows")


def test_dates_built_at_once_are_builds_of_their_own(spark: SparkSession, fresh: tuple[Settings, Built]) -> None:
    settings, at_once = fresh
    apart = [build(spark, settings, day, day) for day in DATES]
    for name, table in at_once.items():
        assert_frame_equal(pl.concat([built[name] for built in apart]), table, check_exact=True)


def test_late_corrected_and_erased_events_leave_no_trace_in_any_number_of_buckets(
    spark: SparkSession,
    shop: Shop,
    fresh: tuple[Settings, Built],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = settings_of(str(tmp_path_factory.mktemp("late")), buckets=3)
    late, wrong = shop.events[::3], shop.events[1::3]
    wrong_purchases = [e | {"event_type": "purchase", "amount": Decimal(7), "item_id": "i1"} for e in wrong]
    erased = [e | {"event_id": f"{e['event_id']} erased", "user_id": "erased"} for e in shop.events]
    append(spark, settings, Shop(erased + wrong_purchases + shop.events[2::3], shop.users, shop.items, shop.reviews))
    before = build(spark, settings, DATES[0], DATES[-1])
    assert "erased" in before["user_features"]["user_id"]

    corrected = ", ".join(f"'{e['event_id']}'" for e in wrong)
    remove(spark, settings, f"user_id = 'erased' OR event_id IN ({corrected})")
    append(spark, settings, Shop(wrong + late[::-1], [], [], []))
    assert_same(build(spark, settings, DATES[0], DATES[-1]), fresh[1])

    # a large lake's buckets go to Spark's tasks
    monkeypatch.setattr("profiling_spark.storage.tables.SMALL_BYTES", 0)
    two = stored(fresh[0], *DATES[:2])
    assert_same(build(spark, settings, *DATES[:2]), two)
    # and through Spark's own reader and writer, as on storage that tasks cannot open
    root = {"root": by_spark_only(settings.storage.root)}
    elsewhere = Settings.model_validate({**settings.model_dump(), "storage": root})
    tables = Tables(spark, elsewhere.storage.root, run_id="elsewhere")
    build_features(Context(elsewhere, spark, tables, datetime.now(UTC), DATES[1]), since=DATES[0])
    assert_same(stored(settings, *DATES[:2]), two)


def test_nothing_on_or_after_as_of_moves_a_feature(
    spark: SparkSession, shop: Shop, fresh: tuple[Settings, Built], tmp_path_factory: pytest.TempPathFactory
) -> None:
    as_of = DATES[2]
    settings = settings_of(str(tmp_path_factory.mktemp("past")), buckets=1)
    append(spark, settings, shop.before(as_of))
    assert_same(build(spark, settings, as_of, as_of), stored(fresh[0], as_of, as_of))


@pytest.mark.parametrize("as_of", [DATES[0], AS_OF])
def test_features_equal_the_reference(shop: Shop, fresh: tuple[Settings, Built], as_of: date) -> None:
    robots = robots_of(shop, as_of)
    events = reference.counted(shop.events, BROKEN)
    items = item_features(events, shop.items, shop.reviews, as_of=as_of, zone=ZONE, robots=robots)
    found = {row["item_id"]: row for row in at(fresh[1]["item_features"], as_of).drop("as_of").to_dicts()}
    assert found == {item: {"item_id": item, **values} for item, values in items.items()}

    expected = reference.features(
        shop.events,
        as_of=as_of,
        windows=WINDOWS,
        timezone=BERLIN,
        supplied=ALL_TYPES,
        users=shop.users,
        reviews=shop.reviews,
        percentiles={i: v["price_percentile"] for i, v in items.items() if v["price_percentile"] is not None},
        popular={w: popular_items(events, as_of=as_of, window=w, robots=robots) for w in WINDOWS},
        bot_events_per_day=BOT_EVENTS_PER_DAY,
        bot_days=BOT_DAYS,
        left_out=BROKEN,
    )
    built_in = at(fresh[1]["user_features"], as_of).select(pl.exclude(f"^{OWN_FEATURE['name']}.*$"))
    assert built_in.height > 100
    preferences = {user: values.pop("price_preference") for user, values in expected.items()}
    assert_same_values(built_in.drop("price_preference"), expected)
    # percentiles are added up in steps of 1e-9
    assert dict(built_in.select("user_id", "price_preference").iter_rows()) == pytest.approx(preferences, abs=1e-9)


@pytest.mark.parametrize("as_of", [DATES[0], DATES[2], AS_OF])
def test_cut_points_over_all_buckets_are_those_of_one_sample(
    shop: Shop, fresh: tuple[Settings, Built], as_of: date
) -> None:
    robots = robots_of(shop, as_of)
    bought = [e for e in reference.counted(shop.events, BROKEN) if e["user_id"] not in robots]
    cuts = fit_cuts(rfm_measures(event_frame(bought), params=params(as_of=as_of)))
    assert cuts.customers > 50
    assert RfmCuts.from_rows(at(fresh[1]["rfm_cuts"], as_of).to_dicts()) == cuts


def test_some_customers_are_bots_at_some_dates_alone(shop: Shop) -> None:
    found = [robots_of(shop, day) for day in DATES]
    assert max(map(len, found)) > 20
    assert any(later - earlier for earlier, later in pairwise(found))
    assert any(earlier - later for earlier, later in pairwise(found))


def robots_of(shop: Shop, as_of: date) -> set[str]:
    events = reference.counted(shop.events, BROKEN)
    return reference.bots(events, as_of=as_of, most=BOT_EVENTS_PER_DAY, days=BOT_DAYS)


def at(table: pl.DataFrame, as_of: date) -> pl.DataFrame:
    return table.filter(pl.col("as_of") == as_of)
