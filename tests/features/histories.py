"""Small histories for the feature tests: rows as dicts, frames with the contract's types, hypothesis strategies."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import polars as pl
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from profiling_spark.features import FeatureParams

Row = dict[str, Any]
Drawn = TypeVar("Drawn")

AS_OF = date(2024, 4, 5)  # Berlin's clocks went forward five days earlier, in the night to Sunday, 31 March
AUTUMN = date(2023, 11, 1)  # and back three days before this one, in the night to Sunday, 29 October: WINDOWS[0] starts
SPRING_SWITCH = datetime(2024, 3, 31, 1, tzinfo=UTC)  # 01:59:59 is followed by 03:00:00
AUTUMN_SWITCH = datetime(2023, 10, 29, 1, tzinfo=UTC)  # 02:59:59 is followed by 02:00:00
BERLIN = "Europe/Berlin"
WINDOWS = (3, 7, 30)
ALL_TYPES = frozenset(
    ("login", "search", "view", "favorite", "cart", "purchase", "refund", "review", "ad_view", "ad_click", "service")
)
BROKEN = "broken"  # the rule of level flag whose events the settings may leave out
UTC_MICROSECONDS = pl.Datetime("us", "UTC")
MONEY = pl.Decimal(18, 4)

EVENT_SCHEMA: dict[str, Any] = {
    "event_id": pl.String,
    "event_time": UTC_MICROSECONDS,
    "event_date": pl.Date,
    "user_id": pl.String,
    "event_type": pl.String,
    "item_id": pl.String,
    "category": pl.String,
    "brand": pl.String,
    "session_id": pl.String,
    "order_id": pl.String,
    "discount": MONEY,
    "amount": MONEY,
    "duration_seconds": pl.Float64,
    "channel": pl.String,
    "flags": pl.String,
    # columns that configured features may read
    "device": pl.String,
    "province": pl.String,
    "city": pl.String,
    "payment_method": pl.String,
    "third_party_payment": pl.Boolean,
    "quantity": MONEY,
    "unit_price": pl.Decimal(18, 6),
    "search_text": pl.String,  # a column that no kernel names
}
USER_SCHEMA: dict[str, Any] = {
    "user_id": pl.String,
    "valid_from": UTC_MICROSECONDS,
    "version_time": UTC_MICROSECONDS,
    "delivered_at": UTC_MICROSECONDS,
    "ended": pl.Boolean,
    "gender": pl.String,
    "age": pl.Int32,
    "age_band": pl.String,
    "birth_date": pl.Date,
    "occupation": pl.String,
    "income": MONEY,
    "province": pl.String,
    "city": pl.String,
    "registered_at": UTC_MICROSECONDS,
    "source": pl.String,
}
REVIEW_SCHEMA: dict[str, Any] = {"user_id": pl.String, "rating": pl.Float64, "review_time": UTC_MICROSECONDS}


def params(**changes: Any) -> FeatureParams:
    """Parameters of a test: everything supplied unless said otherwise."""
    given = {"as_of": AS_OF, "windows": WINDOWS, "timezone": BERLIN, "supplied": ALL_TYPES}
    return FeatureParams(**{**given, **changes})


def local(day: date, clock: str = "12:00:00", timezone: str = BERLIN) -> datetime:
    """The UTC time of a wall clock in `timezone`."""
    hour, minute, second = (int(part) for part in clock.split(":"))
    return datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=ZoneInfo(timezone)).astimezone(UTC)


def event(event_type: str, days_ago: int = 1, *, at: datetime | None = None, **fields: Any) -> Row:
    """One event of customer `u`, at noon `days_ago` days before AS_OF unless `at` (UTC) says when."""
    time = at or local(AS_OF - timedelta(days=days_ago))
    row: Row = dict.fromkeys(EVENT_SCHEMA)
    row |= {"user_id": "u", "event_type": event_type, "event_time": time}
    row["event_date"] = time.astimezone(ZoneInfo(BERLIN)).date()
    for name in ("amount", "discount", "quantity", "unit_price"):
        if fields.get(name) is not None:
            fields[name] = Decimal(fields[name])
    return row | fields


def event_frame(rows: list[Row]) -> pl.DataFrame:
    """Events with the contract's types and an event_id each."""
    numbered = [{**row, "event_id": f"e{i}"} for i, row in enumerate(rows)]
    return pl.DataFrame(numbered, schema=EVENT_SCHEMA, orient="row")


def user_frame(rows: list[Row]) -> pl.DataFrame:
    """Versions of users with the contract's types; what does not say otherwise was delivered when it became valid."""
    filled = [dict.fromkeys(USER_SCHEMA) | {"delivered_at": row["valid_from"]} | row for row in rows]
    whole = [row | {"version_time": row["valid_from"] or row["delivered_at"]} for row in filled]
    return pl.DataFrame(whole, schema=USER_SCHEMA, orient="row")


def review_frame(rows: list[Row]) -> pl.DataFrame:
    """Reviews with the contract's types."""
    return pl.DataFrame(rows, schema=REVIEW_SCHEMA, orient="row")


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """`values`, or not known."""
    return st.none() | values


def _cents(low: int, high: int) -> st.SearchStrategy[Decimal]:
    return st.integers(low, high).map(lambda n: Decimal(n) / 4)


_EDGES = (-3, -1, 0, 1, 2, *(day for w in WINDOWS for day in (w, w + 1)))
_AGES = st.sampled_from(_EDGES) | st.integers(-3, 110)
_MIDNIGHTS = st.sampled_from([local(d - timedelta(days=w), "00:00:00") for d in (AS_OF, AUTUMN) for w in (0, *WINDOWS)])
_CLOCKS = st.sampled_from(("00:00:00", "05:59:59", "06:00:00", "21:59:59", "22:00:00", "23:59:59"))
_KIND = st.sampled_from(("day", "edge", "switch"))
_BEFORE = st.integers(0, 1)
_SWITCHES = st.sampled_from((SPRING_SWITCH, AUTUMN_SWITCH))
_AROUND = st.sampled_from((-3601, -3600, -1, 0, 3599, 3600)) | st.integers(-7200, 7199)


@st.composite
def times(draw: st.DrawFn) -> datetime:
    """A UTC time from 110 days before AS_OF or AUTUMN to 3 days after it, crowded around the windows' edges: the second
    on either side of the midnight where a window begins or ends, and the two hours around a change of the clocks.
    """
    kind = draw(_KIND)
    if kind == "switch":
        return draw(_SWITCHES) + timedelta(seconds=draw(_AROUND))
    if kind == "edge":
        return draw(_MIDNIGHTS) - timedelta(seconds=draw(_BEFORE))
    day = draw(st.sampled_from((AS_OF, AUTUMN))) - timedelta(days=draw(_AGES))
    return local(day, draw(_CLOCKS | st.times().map(lambda clock: f"{clock:%H:%M:%S}")))


# mostly none; a name that only looks like another's
_FLAGS = st.sampled_from((None, None, None, None, "doubtful", f"doubtful,{BROKEN}", f"un{BROKEN}", BROKEN))
# Few customers and few names, so that ties and repeats are common. Made once: making them is slower than drawing.
_TYPES = st.sampled_from(sorted(ALL_TYPES)) | st.sampled_from(("purchase", "view"))
_FIELDS = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from(("u", "v", "客户")),
        "item_id": maybe(st.sampled_from(("i1", "i2", "i3", "i4"))),
        "category": maybe(st.sampled_from(("b", "a", "茶", "Z"))),
        "brand": maybe(st.sampled_from(("x", "y", "X"))),
        "session_id": maybe(st.sampled_from(("s1", "s2", "s3"))),
        "order_id": maybe(st.sampled_from(("o1", "o2", "o3"))),
        "amount": maybe(_cents(0, 400)),
        "discount": maybe(_cents(0, 40)),
        "duration_seconds": maybe(st.integers(0, 8000).map(lambda n: n / 8)),
        "channel": maybe(st.sampled_from(("web", "app"))),
        "device": maybe(st.sampled_from(("手机", "pc"))),
        "third_party_payment": maybe(st.booleans()),
        "quantity": maybe(st.integers(0, 4)),
        "unit_price": maybe(_cents(0, 4)),
        "flags": _FLAGS,
    }
)


@st.composite
def events(draw: st.DrawFn) -> Row:
    """Any event."""
    return event(draw(_TYPES), at=draw(times()), **draw(_FIELDS))


@st.composite
def visits(draw: st.DrawFn) -> list[Row]:
    """Events of one customer's session, half an hour apart: over midnight and changes of the clocks, too."""
    begins = draw(times() | _SWITCHES.map(lambda at: at - timedelta(minutes=30)))
    rows = draw(st.lists(st.tuples(_TYPES, _FIELDS), min_size=2, max_size=3))
    same = {"user_id": rows[0][1]["user_id"], "session_id": "visit"}
    half_hours = (begins + n * timedelta(minutes=30) for n in range(len(rows)))
    return [event(kind, at=at, **{**fields, **same}) for at, (kind, fields) in zip(half_hours, rows, strict=True)]


@st.composite
def versions(draw: st.DrawFn) -> Row:
    """Any version of a user's attributes."""
    return {
        "user_id": draw(st.sampled_from(("u", "v", "only attributes"))),
        "valid_from": draw(maybe(times())),
        "delivered_at": draw(times()),
        "ended": draw(st.sampled_from((None, None, None, True))),
        "gender": draw(maybe(st.sampled_from(("male", "female")))),
        "age": draw(maybe(st.sampled_from((0, 17, 18, 25, 26, 35, 36, 45, 46, 55, 56, 65, 66, 99)))),
        "age_band": draw(maybe(st.just("20s"))),
        "birth_date": draw(maybe(st.dates(date(1930, 1, 1), date(2024, 6, 1)) | st.just(date(2000, 4, 5)))),
        "occupation": draw(maybe(st.just("teacher"))),
        "income": draw(maybe(_cents(0, 10**6))),
        "province": draw(maybe(st.just("广东"))),
        "city": draw(maybe(st.just("深圳"))),
        "registered_at": draw(maybe(times())),
        "source": draw(st.sampled_from(("crm", "bureau", "app"))),
    }


@st.composite
def written_reviews(draw: st.DrawFn) -> Row:
    """Any review."""
    return {
        "user_id": draw(maybe(st.sampled_from(("u", "v", "stranger")))),
        "rating": draw(maybe(st.integers(2, 10).map(lambda n: n / 2))),
        "review_time": draw(maybe(times())),
    }


def histories(max_size: int = 25) -> st.SearchStrategy[list[Row]]:
    """Any events of a few customers, in any order."""
    few = st.lists(events(), max_size=max_size)
    # hypothesis alone makes lists of five events or so
    many = st.lists(events(), min_size=max_size // 2, max_size=max_size - 6)
    whole = st.tuples(many, visits(), visits()).map(lambda parts: [row for part in parts for row in part])
    return few | whole


def drawn(strategy: st.SearchStrategy[Drawn], examples: int) -> list[Drawn]:
    """That many examples, the same in every run: to count what a strategy draws, or to fill a shop with them."""
    found: list[Drawn] = []

    @settings(max_examples=examples, derandomize=True, database=None, phases=[Phase.generate], deadline=None)
    @given(strategy)
    def collect(example: Drawn) -> None:
        found.append(example)

    collect()
    return found


def user_versions() -> st.SearchStrategy[list[Row]]:
    """Versions of users, one for each user, time and source."""
    return st.lists(
        versions(),
        max_size=8,
        unique_by=lambda row: (row["user_id"], row["valid_from"] or row["delivered_at"], row["source"]),
    )
