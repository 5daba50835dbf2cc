"""Random histories: the kernels against the plain-Python reference, and what must never change a feature."""

from dataclasses import replace
from datetime import date, timedelta

import polars as pl
import reference
from histories import (
    AS_OF,
    AUTUMN,
    BERLIN,
    BROKEN,
    EVENT_SCHEMA,
    WINDOWS,
    Row,
    event_frame,
    histories,
    params,
    review_frame,
    user_frame,
    user_versions,
    written_reviews,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from reference import assert_same_values

from profiling_spark.features import many_dates, user_features

PERCENTILES = {"i1": 0.0, "i2": 0.375, "i3": 1.0}
POPULAR = {3: ["i1"], 7: ["i2", "never seen"], 30: []}
PRICES = pl.DataFrame({"item_id": list(PERCENTILES), "price_percentile": list(PERCENTILES.values())})

few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
supplied_types = st.sets(st.sampled_from(("login", "view", "cart", "purchase", "refund", "review", "search")))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=histories(40),
    users=user_versions(),
    reviews=st.lists(written_reviews(), max_size=8),
    as_of=st.sampled_from((AS_OF, AUTUMN)),
)
def test_every_feature_equals_the_reference(rows: list[Row], users: list[Row], reviews: list[Row], as_of: date) -> None:
    found = user_features(
        event_frame(rows),
        params=params(as_of=as_of, bot_events_per_day=2, bot_days=20, left_out=(BROKEN,)),
        users=user_frame(users),
        reviews=review_frame(reviews),
        item_prices=PRICES,
        popular_items=POPULAR,
    )
    expected = reference.features(
        rows,
        as_of=as_of,
        windows=WINDOWS,
        timezone=BERLIN,
        supplied=params().supplied,
        users=users,
        reviews=reviews,
        percentiles=PERCENTILES,
        popular=POPULAR,
        bot_events_per_day=2,
        bot_days=20,
        left_out=BROKEN,
    )
    assert_same_values(found, expected)


@few
@given(rows=histories(), supplied=supplied_types)
def test_what_no_source_supplies_is_null(rows: list[Row], supplied: set[str]) -> None:
    rows = [row for row in rows if row["event_type"] in supplied]
    found = user_features(event_frame(rows), params=params(supplied=frozenset(supplied)))
    expected = reference.features(
        rows, as_of=AS_OF, windows=WINDOWS, timezone=BERLIN, supplied=frozenset(supplied), percentiles=None
    )
    assert_same_values(found, expected)


@few
@given(past=histories(), late=histories())
def test_events_on_or_after_as_of_change_nothing(past: list[Row], late: list[Row]) -> None:
    past = [row for row in past if row["event_date"] < AS_OF]
    late = [row for row in late if row["event_date"] >= AS_OF]
    with_late, without = (user_features(event_frame(rows), params=params()) for rows in ([*late, *past], past))
    assert_frame_equal(with_late, without, check_exact=True)


@few
@given(rows=histories(), shifts=st.lists(st.integers(0, 40), min_size=1, max_size=3, unique=True))
def test_many_dates_are_separate_builds(rows: list[Row], shifts: list[int]) -> None:
    dates = [replace(params(), as_of=AS_OF - timedelta(days=shift)) for shift in shifts]
    prices, popular = {p.as_of: PRICES for p in dates}, {p.as_of: POPULAR for p in dates}
    together = many_dates(event_frame(rows), dates, item_prices=prices, popular_items=popular)
    apart = [user_features(event_frame(rows), params=p, item_prices=PRICES, popular_items=POPULAR) for p in dates]
    assert_frame_equal(together, pl.concat(apart), check_exact=True)


@few
@given(rows=histories(), users=user_versions())
def test_buckets_and_order_of_rows_do_not_matter(rows: list[Row], users: list[Row]) -> None:
    def build(only: tuple[str, ...] | None, step: int) -> pl.DataFrame:
        part, versions = ([r for r in t if only is None or r["user_id"] in only][::step] for t in (rows, users))
        return user_features(event_frame(part), params=params(), users=user_frame(versions), item_prices=PRICES)

    buckets = [build(("u",), -1), build(("v", "客户", "only attributes"), -1)]
    assert_frame_equal(pl.concat(buckets).sort("user_id"), build(None, 1), check_exact=True)


@few
@given(rows=histories(40), data=st.data())
def test_late_corrected_and_erased_events_leave_no_trace(rows: list[Row], data: st.DataObject) -> None:
    frame = event_frame(rows)
    fresh = user_features(frame.sort("event_time", "event_id"), params=params(), item_prices=PRICES)

    # what came as files in any order, whatever the days of their events: one of them twice, the first time wrong,
    # with the events of someone who is erased since
    files = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)), label="file of each event")
    order = data.draw(st.permutations(range(4)), label="order of the files")
    arrived = [frame.filter(pl.Series(files, dtype=pl.Int64) == number) for number in order]
    wrong = arrived[0].with_columns(event_type=pl.lit("purchase"), amount=pl.lit(7, frame.schema["amount"]))
    erased = frame.with_columns(user_id=pl.lit("erased"))
    stored = pl.concat([erased, wrong, *arrived[1:]], rechunk=False)
    corrected = stored.filter(pl.col("user_id") != "erased").join(arrived[0], on="event_id", how="anti")
    final = pl.concat([corrected, arrived[0]], rechunk=False)
    assert_frame_equal(user_features(final, params=params(), item_prices=PRICES), fresh, check_exact=True)


@few
@given(rows=histories())
def test_lazy_frames_and_extra_columns_give_the_same(rows: list[Row]) -> None:
    frame = event_frame(rows)
    shuffled = frame.select(reversed(list(EVENT_SCHEMA))).with_columns(pl.lit(1).alias("user_bucket"))
    assert_frame_equal(user_features(shuffled.lazy(), params=params()), user_features(frame, params=params()))
