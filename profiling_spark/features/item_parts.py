"""What one bucket's events contribute to the items: partial sums that add up over buckets (no Spark, no I/O).

A customer's events are all in one bucket, so buyers and orders of different buckets are different ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import polars as pl
from pyspark.sql import types as T

COLUMNS = (
    "event_time", "event_date", "user_id", "event_type", "item_id", "category", "brand", "order_id", "unit_price",
)  # fmt: skip
FIRST = "_first"
ONLY = "_only"
TOTALS, PRICES, ORDERS, VIEWS = "totals", "prices", "orders", "views"
_COUNTS = ("views", "carts", "_rows", "purchases", "buyers", "_repeaters")
SCHEMA = T.StructType(
    [
        *(T.StructField(c, T.StringType()) for c in ("_part", "item_id", "category", "brand")),
        T.StructField(FIRST, T.DateType()),
        T.StructField(ONLY, T.DateType()),
        T.StructField("unit_price", T.DecimalType(18, 6)),
        T.StructField("_last", T.TimestampType()),
        *(T.StructField(c, T.LongType()) for c in _COUNTS),
    ]
)


@dataclass(frozen=True)
class ItemParts:
    """From events and the bots (user_id) of each date: rows of four kinds, by column `_part`, each with
    what of its columns it knows.

    - totals: for item, category and brand, views, carts, and the time of the last event;
    - prices: for item and unit_price, events (`_rows`), but not of the items `priced` (item_id), whose price is listed;
    - orders: for item, orders (`purchases`), customers with a first one (`buyers`) and with a second (`_repeaters`);
    - views: for item, views.

    FIRST is the first of `dates` that sees the rows; of views the first day of `dates` or begin of one of their
    `windows` after them, so that no window begins or ends among the rows.

    Views, carts, orders and their customers are people's: bots count in none. Category, brand and prices are the
    item's own, whoever's event has them. Who is a bot at some dates alone counts at each of the others by itself:
    these rows name that date in ONLY, which is null where all dates from FIRST on take the row.
    """

    dates: Sequence[date]
    windows: Sequence[int]
    priced: pl.DataFrame

    def __call__(self, events: pl.DataFrame, bots: Mapping[date, pl.DataFrame]) -> pl.DataFrame:
        past = events.filter(pl.col("event_date") < max(self.dates), pl.col("item_id").is_not_null()).with_columns(
            first_after(pl.col("event_date"), self.dates).alias(FIRST)
        )
        ever = pl.concat(bots.values())["user_id"].unique()
        past = past.with_columns(_is_bot=pl.col("user_id").is_in(ever.implode()) if len(ever) else pl.lit(value=False))
        parts = [*self._counts(past), _part(PRICES, self._prices(past))]
        if len(ever):
            theirs = past.filter("_is_bot")
            parts += [part for day, day_bots in bots.items() for part in self._at(day, theirs, day_bots)]
        out = pl.concat(parts, how="diagonal_relaxed")
        absent = [pl.lit(None, pl.Date).alias(ONLY)] if ONLY not in out.columns else []
        return out.with_columns(pl.col(*_COUNTS).cast(pl.Int64), *absent).select(SCHEMA.names)

    def _counts(self, past: pl.DataFrame) -> list[pl.DataFrame]:
        parts = {TOTALS: _totals(past), ORDERS: _orders(past), VIEWS: self._views(past)}
        return [_part(name, frame) for name, frame in parts.items()]

    def _at(self, as_of: date, theirs: pl.DataFrame, bots: pl.DataFrame) -> list[pl.DataFrame]:
        """The counts of those of one date who are no bots then."""
        then = theirs.filter(pl.col("event_date") < as_of).join(bots, on="user_id", how="anti")
        people = then.with_columns(pl.lit(as_of).alias(FIRST), _is_bot=pl.lit(value=False))
        alone = replace(self, dates=(as_of,))._counts(people)
        return [frame.with_columns(pl.lit(as_of).alias(ONLY)) for frame in alone]

    def _prices(self, past: pl.DataFrame) -> pl.DataFrame:
        unlisted = past.filter(pl.col("unit_price").is_not_null()).join(self.priced, on="item_id", how="anti")
        return unlisted.group_by("item_id", FIRST, "unit_price").agg(_rows=pl.len())

    def _views(self, past: pl.DataFrame) -> pl.DataFrame:
        begins = {d - timedelta(days=w) for d in self.dates for w in self.windows}
        recent = past.filter(pl.col("event_type") == "view", ~pl.col("_is_bot"), pl.col("event_date") >= min(begins))
        until = first_after(pl.col("event_date"), begins.union(self.dates)).alias(FIRST)
        return recent.group_by("item_id", until).agg(views=pl.len())


def first_after(day: pl.Expr, dates: Collection[date]) -> pl.Expr:
    """The first of `dates` after a day; null where none is."""
    return pl.coalesce(pl.when(day < d).then(pl.lit(d)) for d in sorted(dates))


def _part(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.lit(name).alias("_part"))


def _totals(past: pl.DataFrame) -> pl.DataFrame:
    groups = past.lazy().group_by("item_id", FIRST, "category", "brand")
    totals = groups.agg(
        views=((pl.col("event_type") == "view") & ~pl.col("_is_bot")).sum(),
        carts=((pl.col("event_type") == "cart") & ~pl.col("_is_bot")).sum(),
        _last=pl.col("event_time").max(),
    )
    return totals.collect(engine="streaming")  # it adds to running totals, and takes half the time


def _orders(past: pl.DataFrame) -> pl.DataFrame:
    bought = past.filter(pl.col("event_type") == "purchase", ~pl.col("_is_bot"))
    # a line without an order is an order of its own
    lines = bought.filter(pl.col("order_id").is_null()).select("item_id", "user_id", FIRST)
    named = bought.filter(pl.col("order_id").is_not_null()).group_by("item_id", "user_id", "order_id")
    orders = pl.concat([lines, named.agg(pl.col(FIRST).min()).select(lines.columns)]).sort(FIRST)
    # a customer is a buyer from the first order on and a repeater from the second; orders of one date are alike
    number = pl.int_range(1, pl.len() + 1).over("item_id", "user_id")
    return orders.with_columns(_number=number).group_by("item_id", FIRST).agg(
        purchases=pl.len(), buyers=(pl.col("_number") == 1).sum(), _repeaters=(pl.col("_number") == 2).sum()
    )  # fmt: skip
