"""Order files: quoted CSV, one order line a row, refunds among them, one file per local day."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl

from profiling_spark.demo.assortment import Assortment, price_text, sku_names
from profiling_spark.demo.faults import Fault, Tally, mixed, plant, put, repeats
from profiling_spark.demo.people import uid_names
from profiling_spark.demo.rolls import DAY_MS, dice, lookup
from profiling_spark.demo.story import words_of
from profiling_spark.demo.truth import OrderFacts
from profiling_spark.demo.words import CATEGORIES, CHANNELS, PAYMENTS, REMARKS

COLUMNS = (
    "order_id", "line_no", "order_time", "uid", "sku", "cate", "brand",
    "qty", "price", "discount", "type", "pay", "channel", "remark",
)  # fmt: skip
HEADER = ",".join(COLUMNS)
TYPES = ("order", "refund")
# a discount above the amount would be a second fault, so rows without an amount have none
FAULTS = (
    Fault("unreadable", 0.003, (put(),)),
    Fault("no_user", 0.003, (put(uid=""),)),
    Fault("bad_event_time", 0.003, (put(order_time="2026-13-45 99:00:00"), put(order_time="tomorrow"))),
    Fault("time_out_of_range", 0.002, (put(order_time="1970-01-01 08:00:00"), put(order_time="2099-12-31 12:00:00"))),
    Fault("price_not_positive", 0.003, (put(price="0.00", discount="0.00"), put(price="-12.50", discount="0.00"))),
    Fault("bad_unit_price", 0.003, (put(price="abc", discount="0.00"), put(price="NaN", discount="0.00"))),
    Fault("quantity_not_positive", 0.003, (put(qty="0", discount="0.00"), put(qty="-1", discount="0.00"))),
)
DUPLICATES = 0.005
LATE = 0.005
OUTLIERS = 0.0006
DIRTY_LINE = 500  # line numbers from here on stand only on refused rows


def with_outliers(lines: pl.DataFrame, assortment: Assortment, *, orders: int, seed: int) -> pl.DataFrame:
    """The order lines and a few of an absurd quantity, each an order of its own at the time of a real one.

    Adds `outlier`. `orders`: order numbers already in use.
    """
    rng = dice(seed, "outliers")
    count = min(len(lines), max(2, round(len(lines) * OUTLIERS)))
    # cheap products, so that a few absurd orders do not outweigh all others together
    price = assortment.price[lines["item"].to_numpy()]
    picks = np.sort(rng.permutation(np.flatnonzero((price >= 1000) & (price < 150_000)))[:count])
    odd = lines[picks].with_columns(
        order=orders + pl.int_range(pl.len()),
        line=pl.lit(1, dtype=pl.Int64),
        quantity=pl.Series(rng.integers(2000, 10_000, len(picks))),
        discount=pl.lit(0, dtype=pl.Int64),
        outlier=pl.lit(True),
    )
    return pl.concat([lines.with_columns(outlier=pl.lit(False)), odd])


def write_orders(
    out: Path, rows: pl.DataFrame, assortment: Assortment, *, people: int, first_day: date, days: int, seed: int
) -> tuple[Tally, OrderFacts]:
    """Write orders/*.csv from order and refund lines (`type` 0 and 1) sorted by `at`."""
    tally, late_count = Tally(), 0
    texts = _texts(rows, assortment, people, first_day)
    bounds = np.searchsorted(rows["at"].to_numpy(), np.arange(days + 1) * DAY_MS)
    resend = set(dice(seed, "resend orders").permutation(days)[: max(1, days // 60)].tolist())
    carried = pl.Series([], dtype=pl.String)
    for day in range(days):
        rng, path = dice(seed, "orders dirt", day), out / "orders" / f"{first_day + timedelta(days=day)}.csv"
        good = texts[bounds[day] : bounds[day + 1]]
        dirty = plant(good, FAULTS, rng).with_columns(line_no=(DIRTY_LINE + pl.int_range(pl.len())).cast(pl.String))
        lines = _lines(good)
        here, again = repeats(len(good), DUPLICATES, 0.4 if day < days - 1 else 0.0, rng)
        is_late = (rng.random(len(good)) < LATE) & (day < days - 1)
        kept = np.flatnonzero(~is_late)
        text = mixed(
            [lines[kept], _spoiled(dirty), lines[here], carried],
            [kept, dirty["_place"].to_numpy(), here + 3, np.zeros(len(carried), dtype=np.int64)],
        )
        count = tally.write(path, [text], header=HEADER)
        if count and day in resend:
            tally.resend(path, count)
        tally.accepted += len(good)
        tally.duplicates += len(here) + len(again)
        tally.rejected.update(dirty["_reason"].to_list())
        late_count += int(is_late.sum())
        carried = pl.concat([lines[np.flatnonzero(is_late)], lines[again]])
    return tally, _facts(rows, assortment, late_count)


def _texts(rows: pl.DataFrame, assortment: Assortment, people: int, first_day: date) -> pl.DataFrame:
    """All columns of the files as text, one row per order line."""
    item = rows["item"].to_numpy()
    groups = [CATEGORIES[c] for c in assortment.category]
    brands = [g.brands[b] for g, b in zip(groups, assortment.brand.tolist(), strict=True)]
    start = pl.lit(first_day).cast(pl.Datetime("ms"))
    cents = pl.col("discount")
    return rows.select(
        order_id=pl.concat_str(pl.lit("O"), pl.col("order").cast(pl.String).str.zfill(9)),
        line_no=pl.col("line").cast(pl.String),
        order_time=(start + pl.col("at").cast(pl.Duration("ms"))).dt.to_string("%Y-%m-%d %H:%M:%S"),
        uid=lookup(uid_names(people), rows["customer"].to_numpy()),
        sku=lookup(sku_names(len(assortment)), item),
        cate=lookup([g.name for g in groups], item),
        brand=lookup(brands, item),
        qty=pl.col("quantity").cast(pl.String),
        price=lookup([price_text(int(p)) for p in assortment.price], item),
        discount=pl.concat_str((cents // 100).cast(pl.String), pl.lit("."), (cents % 100).cast(pl.String).str.zfill(2)),
        type=words_of("type", TYPES, rows),
        pay=words_of("pay", PAYMENTS, rows),
        channel=words_of("channel", CHANNELS, rows),
        remark=words_of("remark", tuple(text.replace('"', '""') for text in REMARKS), rows),
    )


def _lines(rows: pl.DataFrame) -> pl.Series:
    """One CSV line per row, every field quoted."""
    fields = pl.concat_str(*COLUMNS, separator='","')
    return rows.select(line=pl.concat_str(pl.lit('"'), fields, pl.lit('"')))["line"]


def _spoiled(dirty: pl.DataFrame) -> pl.Series:
    """The lines of faulty rows; unreadable ones end after the fifth field, as when a disk fills up."""
    short = pl.concat_str(pl.lit('"'), pl.concat_str(*COLUMNS[:5], separator='","'), pl.lit('"'))
    return pl.select(
        pl.when(dirty["_reason"] == "unreadable").then(dirty.select(line=short)["line"]).otherwise(_lines(dirty))
    ).to_series()


def _facts(rows: pl.DataFrame, assortment: Assortment, late: int) -> OrderFacts:
    """Exact sums, in mils before they become CNY."""
    mils = rows["quantity"].to_numpy() * assortment.price[rows["item"].to_numpy()] - rows["discount"].to_numpy() * 10
    bought, odd = rows["type"].to_numpy() == 0, rows["outlier"].to_numpy()

    def cny(chosen: np.ndarray) -> Decimal:
        return Decimal(int(mils[chosen].sum())) / 1000

    return OrderFacts(
        orders=rows.filter(pl.col("type") == 0)["order"].n_unique(),
        purchase_lines=int(bought.sum()), purchase_amount=cny(bought),
        refund_lines=int((~bought).sum()), refund_amount=cny(~bought),
        outliers=int(odd.sum()), outlier_amount=cny(odd), late=late,
    )  # fmt: skip
