"""Refunds take back purchases, wherever in time both lie. A kernel over a bucket's events: no Spark, no I/O."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

_PAIR = ("user_id", "item_id")
_STEPS = 10_000  # quantities have four decimals: whole steps add up exactly
_MOST = 10**12  # pieces that a sum of steps can bear
PURCHASE, REFUND = "purchase", "refund"


def with_taken(events: pl.DataFrame) -> pl.DataFrame:
    """`events` with `taken`: the share of a purchase that the customer's refunds of the item took back, 0 to 1; 0 for
    every other event.

    Where a refund names an order in which the customer bought the item, it takes from that order, each of its lines
    alike; what it has beyond the order counts nothing. Any other refund takes from the latest purchases of the item up
    to its own day that are not taken back yet, those of one day alike; a refund without a purchase counts nothing.
    Quantities count where all purchases and refunds of the customer and item have one, else each event is one piece.
    """
    is_refund, has_item = pl.col("event_type") == REFUND, pl.col("item_id").is_not_null()
    returned = events.filter(is_refund & has_item).select(_PAIR).unique()
    if returned.is_empty():
        return events.with_columns(taken=pl.lit(0.0))
    numbered = events.with_row_index("_row")
    traded = numbered.filter(pl.col("event_type").is_in([PURCHASE, REFUND]) & has_item)
    rows = _of_orders(_pieces(traded.join(returned, on=_PAIR, how="semi").with_columns(_back=is_refund)))
    bought = rows.filter(~pl.col("_back")).join(_kept_by_day(rows), on=[*_PAIR, "event_date"], how="left")
    taken = bought.select("_row", taken=1 - (1 - pl.col("_of_order")) * pl.col("_kept"))
    found = numbered.join(taken, on="_row", how="left", maintain_order="left")
    return found.with_columns(pl.col("taken").fill_null(0.0)).drop("_row")


def event_weight(weights: Mapping[str, float]) -> pl.Expr:
    """What an event of a frame with `taken` weighs: a refund itself nothing, a purchase the settings' weight, and for
    the share that was taken back the refund's (negative) beside it, as of the purchase's own day.
    """
    back = min(float(weights.get(REFUND, 0.0)), 0.0)
    own = {t: float(w) for t, w in weights.items() if t != REFUND or w > 0}
    weight = pl.col("event_type").replace_strict(list(own), list(own.values()), default=0.0, return_dtype=pl.Float64)
    return weight + back * pl.col("taken")


def _pieces(rows: pl.DataFrame) -> pl.DataFrame:
    """With `_pieces`, in whole steps."""
    is_known = (pl.col("quantity") > 0).fill_null(value=False).all().over(_PAIR)
    steps = (pl.col("quantity").cast(pl.Float64).clip(0, _MOST / _STEPS) * _STEPS).round().cast(pl.Int64)
    return rows.with_columns(_pieces=pl.when(is_known).then(steps).otherwise(_STEPS))


def _of_orders(rows: pl.DataFrame) -> pl.DataFrame:
    """With `_of_order`, the share of each purchase that refunds of its own order took; `_pieces` are what is left."""
    key = [*_PAIR, "order_id"]
    sums = (
        rows.filter(pl.col("order_id").is_not_null())
        .group_by(key)
        .agg(
            _bought=pl.col("_pieces").filter(~pl.col("_back")).sum(),
            _returned=pl.col("_pieces").filter(pl.col("_back")).sum(),
        )
        .filter((pl.col("_bought") > 0) & (pl.col("_returned") > 0))
    )
    share = (pl.col("_returned") / pl.col("_bought")).clip(upper_bound=1).fill_null(0.0)
    joined = rows.join(sums, on=key, how="left").with_columns(_of_order=share)
    # a refund that found its order has no more to take
    used = pl.when(pl.col("_back")).then(pl.col("_bought").is_not_null()).otherwise(pl.col("_of_order"))
    return joined.with_columns(_pieces=(pl.col("_pieces") * (1 - used.cast(pl.Float64))).round().cast(pl.Int64))


def _kept_by_day(rows: pl.DataFrame) -> pl.DataFrame:
    """(user_id, item_id, event_date, _kept): of what was bought on each day, the share that later refunds left.

    Pieces lie on a stack, from which refunds take the uppermost: a layer keeps what the lowest later height leaves.
    """
    days = rows.group_by(*_PAIR, "event_date", "_back").agg(pl.col("_pieces").sum())
    days = days.sort(*_PAIR, "event_date", "_back")  # on one day a refund follows the purchase
    change = pl.when(pl.col("_back")).then(-pl.col("_pieces")).otherwise(pl.col("_pieces"))
    walked = days.with_columns(_sum=change.cum_sum().over(_PAIR))
    # what refunds have beyond the stack counts nothing
    floor = pl.min_horizontal(pl.col("_sum").cum_min().over(_PAIR), 0)
    high = walked.with_columns(_high=pl.col("_sum") - floor)
    stacked = high.with_columns(
        _low=pl.col("_high").shift(1).over(_PAIR).fill_null(0),
        _least=pl.col("_high").cum_min(reverse=True).over(_PAIR),
    )
    layer = stacked.filter(~pl.col("_back"))
    kept = pl.col("_least").clip(pl.col("_low"), pl.col("_high")) - pl.col("_low")
    share = pl.when(pl.col("_pieces") > 0).then(kept / pl.col("_pieces")).otherwise(0.0)
    return layer.select(*_PAIR, "event_date", _kept=share)
