"""A shop's silver tables for the features benchmark: the same for the same arguments, customers with a long tail.

`generate` writes plain Parquet (a folder a table), `store` lays it out as the project's Delta tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

TIMEZONE = "Asia/Shanghai"
AHEAD_SECONDS = 8 * 3600  # of UTC, the whole year
WINDOWS = (7, 30, 90)  # days
START, DAYS = date(2025, 1, 1), 400
AS_OF = START + timedelta(days=DAYS - 4)  # the last four days' events are of the future: no feature may see them
EVENTS_PER_CUSTOMER = 18
KINDS = {
    **{"view": 0.46, "search": 0.12, "cart": 0.09, "login": 0.08, "purchase": 0.08, "ad_view": 0.06},
    **{"favorite": 0.05, "ad_click": 0.02, "review": 0.02, "refund": 0.01, "service": 0.01},
}
BOT_EVENTS = 1000  # on a day, as is the default of the settings
SUPPLIED_COLUMNS = ("session_id", "duration_seconds", "discount")
_NAMES = tuple(KINDS)
_WITHOUT_ITEM = ("search", "login", "service")
_CHANNELS, _DEVICES = ["app", "web", "mini_program", "shop"], ["ios", "android", "desktop"]
_PROVINCES = ["Guangdong", "Zhejiang", "Sichuan", "Hubei", "Yunnan", "Hainan"]
_SHARES_OF_HOURS = np.array([2, 1, 1, 1, 1, 1, 2, 3, 4, 5, 6, 6, 7, 6, 5, 5, 5, 5, 6, 8, 9, 9, 6, 4], dtype=np.float64)
_CHUNK = 1_000_000  # events made at once
_OF_TASTE = 0.8  # of events, where there are tastes
Numbers = NDArray[Any]


@dataclass(frozen=True)
class Shop:
    """Tables `events`, `users`, `items` and `reviews`, each a folder with Parquet files, Delta's log beside or not.

    `dates`: for so many dates, AS_OF the last, the project builds features.
    """

    folder: Path
    events: int
    buckets: int = 1
    dates: int = 1

    def files(self, table: str) -> list[str]:
        """The table's Parquet files; each table was written in one commit, so all of them are in force."""
        found = (self.folder / table).rglob("*.parquet")
        return sorted(str(f) for f in found if "_delta_log" not in f.parts)


@dataclass(frozen=True)
class _Catalogue:
    """Items by number: prices in cents; a negative brand is unknown; one item in twenty is not listed."""

    price: Numbers
    category: Numbers
    brand: Numbers
    listed: Numbers


def generate(
    folder: Path, events: int, *, seed: int = 7, heavy: int = 0, each: int = EVENTS_PER_CUSTOMER, tastes: int = 0
) -> Shop:
    """Exactly `events` events, `each` a customer on average; `heavy` of them are one customer's. `tastes`: so many
    groups of items, of which each customer prefers one to three (0: items are as popular with everyone).
    """
    for table in ("events", "users", "items", "reviews"):
        (folder / table).mkdir(parents=True)
    random = np.random.default_rng([seed, 0])
    counts = _events_of_customers(random, events - heavy, each)
    if heavy:
        counts = np.append(counts, heavy)
    catalogue = _catalogue(random, min(max(events // 50, 200), 20_000))
    _write_items(random, catalogue, folder / "items")
    _write_users(random, len(counts) + len(counts) // 50, folder / "users")
    _write_reviews(random, len(counts), events // 50, len(catalogue.price), folder / "reviews")
    for part, (customers, first, rows) in enumerate(_chunks(counts)):
        frame = _events(np.random.default_rng([seed, 1, part]), customers, counts, catalogue, first, rows, tastes)
        frame.write_parquet(folder / "events" / f"{part:05}.parquet")
    return Shop(folder, events)


def _events_of_customers(random: np.random.Generator, events: int, each: int) -> Numbers:
    """Events of each customer, at least 1, long tailed: most have a few, the busiest some thousands."""
    customers = max(events // each, 1)
    weight = np.minimum(random.pareto(1.5, customers), 500.0)
    counts: Numbers = 1 + np.floor(weight / weight.sum() * (events - customers)).astype(np.int64)
    counts[: events - counts.sum()] += 1
    return counts


def _chunks(counts: Numbers) -> Iterator[tuple[slice, int, int]]:
    """Runs of customers with about _CHUNK events: the run, the number of its first event, its events."""
    ends = np.cumsum(counts)
    borders = np.unique(np.append(np.flatnonzero(np.diff(ends // _CHUNK)) + 1, len(counts)))
    begin = 0
    for border in borders:
        first = int(ends[begin - 1]) if begin else 0
        yield slice(begin, int(border)), first, int(ends[border - 1]) - first
        begin = int(border)


def _catalogue(random: np.random.Generator, items: int) -> _Catalogue:
    return _Catalogue(
        price=(random.gamma(2, 30, items) * 100).astype(np.int64) + 100,
        category=random.integers(0, 40, items),
        brand=np.where(random.random(items) < 0.08, -1, random.integers(0, 200, items)),
        listed=random.random(items) > 0.05,
    )


def _events(
    random: np.random.Generator, customers: slice, counts: Numbers, catalogue: _Catalogue, first: int, rows: int,
    tastes: int,
) -> pl.DataFrame:  # fmt: skip
    """The events of a run of customers, session after session."""
    of_run = counts[customers]
    user = np.repeat(np.arange(customers.start, customers.stop), of_run)
    begins = random.random(rows) < 0.28
    begins[np.cumsum(of_run) - of_run] = True
    session = np.cumsum(begins) - 1
    seconds = _seconds(random, user, begins, session)
    kind = np.searchsorted(np.cumsum(list(KINDS.values())), random.random(rows) * 0.999999)
    item = (random.pareto(1.1, rows) * len(catalogue.price) / 50).astype(np.int64) % len(catalogue.price)
    if tastes:
        item = _preferred(random, item, user, tastes)
    money = _money(random, catalogue.price[item], np.isin(kind, [_NAMES.index("purchase"), _NAMES.index("refund")]))
    has_item = ~np.isin(kind, [_NAMES.index(k) for k in _WITHOUT_ITEM])
    category = np.where(has_item | (random.random(rows) < 0.3), catalogue.category[item], -1)
    times = np.datetime64(START, "s") + (seconds - AHEAD_SECONDS).astype("timedelta64[s]")
    days = np.datetime64(START, "D") + (seconds // 86_400).astype("timedelta64[D]")
    ordered = np.isin(kind, [_NAMES.index("purchase"), _NAMES.index("refund")]) & (random.random(rows) > 0.05)
    visit = random.random(rows) > 0.02
    return pl.DataFrame(
        {
            "event_id": _identifiers(random, rows),
            "event_time": pl.Series(times.astype("datetime64[us]")).dt.replace_time_zone("UTC"),
            "event_date": pl.Series(days.astype("datetime64[ms]")).cast(pl.Date),
            "user_id": _numbered("u", user),
            "event_type": _named(list(_NAMES), kind),
            "item_id": _numbered("i", item, known=has_item),
            "category": _named(_categories(), np.where(random.random(rows) < 0.03, -1, category)),
            "brand": _named(_brands(), np.where(has_item, catalogue.brand[item], -1)),
            "session_id": _numbered("s", session + first, known=visit),
            "order_id": _numbered("o", session + first, known=ordered),
            **money,
            "duration_seconds": _unless(random.integers(200, 300_000, rows) / 1000, kind != _NAMES.index("view")),
            "flags": pl.Series([None], dtype=pl.String).new_from_index(0, rows),  # no rule broken
            "channel": _named(_CHANNELS, random.integers(-1, 24, rows) // 6),
            "device": _named(_DEVICES, user % 3),
            "province": _named(_PROVINCES, user % 6),
        }
    )


def _preferred(random: np.random.Generator, item: Numbers, user: Numbers, tastes: int) -> Numbers:
    """Most items become the one of about equal popularity in one of the customer's groups (item modulo `tastes`)."""
    own = (user * 7919) % tastes + np.arange(3)[:, None] * 11
    which = random.integers(0, 3, len(user)) % (1 + user % 3)
    group = own[which, np.arange(len(user))] % tastes
    found: Numbers = np.where(random.random(len(user)) < _OF_TASTE, item - item % tastes + group, item)
    return found


def _seconds(random: np.random.Generator, user: Numbers, begins: Numbers, session: Numbers) -> Numbers:
    """Local seconds since START of each event; customers begin somewhere, a third stays to the end."""
    own = user - user[0]
    customers = int(own[-1]) + 1
    joined, stays = random.random(customers) * 0.97, np.minimum(random.random(customers) * 1.5, 1.0)
    starts = np.flatnonzero(begins)
    who = own[starts]
    share = joined[who] + (1 - joined[who]) * stays[who] * random.random(len(starts))
    hours = np.cumsum(_SHARES_OF_HOURS) / _SHARES_OF_HOURS.sum()
    hour = np.searchsorted(hours, random.random(len(starts)) * 0.999999)
    at = (share * (DAYS - 1)).astype(np.int64) * 86_400 + hour * 3600 + random.integers(0, 3600, len(starts))
    place = np.arange(len(user)) - starts[session]
    seconds: Numbers = at[session] + np.minimum(place * random.integers(5, 90, len(starts))[session], 40_000)
    return seconds


def _money(random: np.random.Generator, price: Numbers, sold: Numbers) -> dict[str, pl.Series]:
    """Quantity, unit price, discount and amount of purchases and refunds; views carry the unit price at times."""
    rows = len(price)
    quantity = random.integers(1, 5, rows)
    paid = (price * random.integers(80, 111, rows)) // 100
    off = np.where(random.random(rows) < 0.4, paid * quantity * random.integers(5, 31, rows), 0)  # 1/10,000
    amount = paid * quantity * 100 - off
    unknown = random.random(rows)
    return {
        "quantity": _unless(quantity, ~sold).cast(pl.Decimal(18, 4)),
        "unit_price": _unless(paid / 100, ~sold & (unknown < 0.7)).cast(pl.Decimal(18, 6)),
        "discount": _unless(off / 10_000, ~sold | (unknown < 0.3)).cast(pl.Decimal(18, 4)),
        "amount": _unless(amount / 10_000, ~sold | (unknown > 0.995)).cast(pl.Decimal(18, 4)),
    }


def _write_items(random: np.random.Generator, catalogue: _Catalogue, folder: Path) -> None:
    """Two versions of every fifth product; no list price for one in thirty."""
    item = np.flatnonzero(catalogue.listed)
    frame = pl.DataFrame(
        {
            "item_id": _numbered("i", item),
            "valid_from": pl.Series(np.full(len(item), np.datetime64("1970-01-01", "us"))).dt.replace_time_zone("UTC"),
            "title": _numbered("item ", item),
            "category": _named(_categories(), catalogue.category[item]),
            "brand": _named(_brands(), catalogue.brand[item]),
            "list_price": _unless(catalogue.price[item] / 100, random.random(len(item)) < 0.03).cast(pl.Decimal(18, 6)),
            "source": pl.Series(["catalogue"] * len(item)),
        }
    )
    newer = frame.gather_every(5).with_columns(
        valid_from=_times(random, len(frame.gather_every(5)), 0, DAYS),
        list_price=(pl.col("list_price").cast(pl.Float64) * 1.25).round(2).cast(pl.Decimal(18, 6)),
    )
    _as_versions(pl.concat([frame, newer])).write_parquet(folder / "0.parquet")


def _write_users(random: np.random.Generator, customers: int, folder: Path) -> None:
    """Attributes of 19 in 20 customers and of some without an event; two versions of one in ten."""
    user = np.flatnonzero(random.random(customers) < 0.95)
    newer = user[random.random(len(user)) < 0.1]
    both = np.concatenate([user, newer])
    rows, unknown = len(both), random.random(len(both))
    born = np.datetime64("1945-01-01") + random.integers(0, 23_000, rows).astype("timedelta64[D]")
    versions = pl.DataFrame(
        {
            "user_id": _numbered("u", both),
            "valid_from": pl.concat(
                [_times(random, len(user), -900, 380), _times(random, len(newer), 390, DAYS)], rechunk=True
            ),
            "gender": _named(["male", "female"], random.integers(-1, 8, rows) // 4),
            "age": _unless(random.integers(14, 90, rows), unknown < 0.6).cast(pl.Int32),
            "age_band": _named(["young", "old"], random.integers(-1, 2, rows)),
            "birth_date": _unless(born.astype("datetime64[ms]"), unknown > 0.5).cast(pl.Date),
            "occupation": _named(["teacher", "nurse", "farmer", "clerk"], random.integers(-1, 4, rows)),
            "income": _unless(random.integers(10**8, 10**10, rows) / 10_000, unknown < 0.2).cast(pl.Decimal(18, 4)),
            "province": _named(_PROVINCES, both % 6),
            "city": _named(["East", "West", "North"], random.integers(-1, 3, rows)),
            "registered_at": _times(random, rows, -900, DAYS + 5),
            "source": pl.Series(["people"] * rows),
        }
    )
    _as_versions(versions).write_parquet(folder / "0.parquet")


def _as_versions(frame: pl.DataFrame) -> pl.DataFrame:
    """Each version delivered when it became valid."""
    times = {c: pl.col("valid_from") for c in ("version_time", "delivered_at", "confirmed_at")}
    return frame.with_columns(**times, ended=pl.lit(None, pl.Boolean))


def _write_reviews(random: np.random.Generator, customers: int, rows: int, items: int, folder: Path) -> None:
    rating = random.integers(2, 11, rows) / 2
    pl.DataFrame(
        {
            "review_id": _identifiers(random, rows),
            "user_id": _numbered("u", random.integers(0, customers, rows), known=random.random(rows) > 0.05),
            "item_id": _numbered("i", random.integers(0, items, rows)),
            "rating": _unless(rating, random.random(rows) < 0.1),
            "text": pl.Series(["as expected"] * rows, dtype=pl.String),
            "review_time": _times(random, rows, 0, DAYS),
            "source": pl.Series(["reviews"] * rows, dtype=pl.String),
        }
    ).write_parquet(folder / "0.parquet")


def _times(random: np.random.Generator, rows: int, since: int, before: int) -> pl.Series:
    """UTC times, in days from START."""
    seconds = random.integers(since * 86_400, before * 86_400, rows).astype("timedelta64[s]")
    return pl.Series((np.datetime64(START, "s") + seconds).astype("datetime64[us]")).dt.replace_time_zone("UTC")


def _numbered(prefix: str, numbers: Numbers, *, known: Numbers | None = None) -> pl.Series:
    text = prefix + pl.Series(numbers).cast(pl.String).str.zfill(8)
    return text if known is None else _unless(text, ~known)


def _named(names: list[str], places: Numbers) -> pl.Series:
    """Names by their places; a negative place is null."""
    return pl.Series([*names, None]).gather(np.where(places < 0, len(names), places))


def _unless(values: Numbers | pl.Series, absent: Numbers) -> pl.Series:
    frame = pl.DataFrame({"value": values, "absent": absent})
    return frame.select(pl.when(~pl.col("absent")).then("value")).to_series()


def _identifiers(random: np.random.Generator, rows: int) -> pl.Series:
    """Texts of 32 hexadecimal digits."""
    digits = pa.py_buffer(random.bytes(16 * rows).hex().encode())
    texts = pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), rows, [None, digits])
    return pl.Series(texts.cast(pa.binary()).cast(pa.string()))


def _categories() -> list[str]:
    return [f"category {n:02}" for n in range(40)]


def _brands() -> list[str]:
    return [f"brand {n:03}" for n in range(200)]


def store(spark: Any, raw: Shop, folder: Path, buckets: int) -> Shop:
    """The shop as Delta tables under `folder`: events in folders of user buckets, a file a bucket, by time."""
    from pyspark.sql import functions as F

    from profiling_spark.buckets import bucket_of
    from profiling_spark.contracts.silver import EVENTS, ITEMS, REVIEWS, USERS
    from profiling_spark.storage import Tables

    tables = Tables(spark, str(folder), run_id="benchmark")
    for table in (USERS, ITEMS, REVIEWS, EVENTS):
        frame = spark.read.parquet(str(raw.folder / table.name))
        constant = {c: F.lit("benchmark") for c in ("source", "file_id", "run_id") if c not in frame.columns}
        frame = frame.withColumns(constant)
        if table is EVENTS:
            frame = frame.withColumn("user_bucket", bucket_of("user_id", buckets))
            frame = frame.repartition(buckets, "user_bucket").sortWithinPartitions("user_bucket", "event_time")
        absent = {c.name: F.lit(None).cast(c.data_type) for c in table.columns if c.name not in frame.columns}
        tables.append(table, frame.withColumns(absent) if absent else frame)
    return Shop(folder, raw.events, buckets)
