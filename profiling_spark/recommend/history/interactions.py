"""What a customer did with each item, as one weight. Kernels over a bucket's events: no Spark, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from profiling_spark.config import Settings
from profiling_spark.config.policy import Seen
from profiling_spark.features.windows import NOT_ACTS, age_days
from profiling_spark.recommend.history.refunds import event_weight, with_taken
from profiling_spark.recommend.history.seen import BOUGHT, binding, buys, last_states, masked_states

# Weights are whole numbers of 2^-20: their sums are exact, so no total depends on the order or layout of the rows.
UNITS = 2**20

HISTORY_COLUMNS = ("user_id", "item_id", "category", "event_type", "event_date", "order_id", "quantity")
SPLIT_COLUMNS = (*HISTORY_COLUMNS, "event_time")
VISIT_COLUMNS = (*SPLIT_COLUMNS, "search_text")


@dataclass(frozen=True)
class HistoryParams:
    """What a history depends on besides the events.

    `as_of` is exclusive; `since` is the first day that counts. `weights` by event type, a refund's negative. Engines
    learn from customers with at least `min_items` items. Events that one of the rules `left_out` flagged do not count.
    `masked`: places in STATES of what the policy never offers again; nothing is before `cool_down_days` since the
    customer last dealt with it.
    """

    as_of: date
    since: date
    weights: Mapping[str, float]
    half_life_days: float
    items: int
    min_items: int = 1
    left_out: tuple[str, ...] = ()
    masked: tuple[int, ...] = masked_states(Seen())
    cool_down_days: int = 0

    @classmethod
    def of(cls, settings: Settings, as_of: date) -> HistoryParams:
        """As the settings say."""
        recommend = settings.recommend
        since = as_of - timedelta(days=recommend.history_days)
        return cls(
            as_of, since, recommend.weights, recommend.half_life_days, recommend.history_items, recommend.min_items,
            settings.left_out, masked_states(recommend.policy.seen),
            recommend.policy.cool_down_days,
        )  # fmt: skip

    @property
    def kinds(self) -> tuple[str, ...]:
        """Event types that speak for an item, the strongest last: a history names its kind by position."""
        positive = [(w, t) for t, w in self.weights.items() if w > 0]
        return tuple(t for _, t in sorted(positive))

    def kind_of(self, event_type: str) -> int:
        """Its place in `kinds`; one past the end where it does not speak for an item."""
        return self.kinds.index(event_type) if event_type in self.kinds else len(self.kinds)


def weighted_acts(events: pl.DataFrame, params: HistoryParams) -> pl.DataFrame:
    """What customers did themselves in [since, as_of), a row an event with `taken`, `weight` and `units`: what it says
    of its item today. History and last visit both rest on it: an item whose units add up to nothing was given back.

    `weight`: weight[event_type] of the settings, less what refunds took back (see `refunds`). `units`: weight * 0.5 **
    (age_days / half_life_days), in whole 1/UNITS. Refunds find purchases among the given events of the window only.
    """
    in_window = (pl.col("event_date") >= params.since) & (pl.col("event_date") < params.as_of)
    acts = with_taken(events.filter(in_window & ~pl.col("event_type").is_in(NOT_ACTS)))
    decay = pl.lit(0.5).pow(age_days(params.as_of) / params.half_life_days)
    weighted = acts.with_columns(weight=event_weight(params.weights))
    return weighted.with_columns(units=(pl.col("weight") * decay * UNITS).round().cast(pl.Int64))


@dataclass(frozen=True)
class _Pairs:
    """Customers and items by number, in the order of their ids: `pair` is the customer's times the number of items,
    plus the item's. Sums and sorts of whole numbers take less time than those of texts.
    """

    users: pl.Series
    items: pl.Series

    @classmethod
    def of(cls, events: pl.DataFrame) -> _Pairs:
        """Those of events with an item."""
        return cls(*(events[name].unique().drop_nulls().sort() for name in ("user_id", "item_id")))

    def numbered(self, events: pl.DataFrame) -> pl.DataFrame:
        """`events` with `pair`."""
        user, item = (
            pl.col(name).cast(pl.Enum(ids)).to_physical().cast(pl.Int64)
            for name, ids in (("user_id", self.users), ("item_id", self.items))
        )
        return events.with_columns(pair=user * len(self.items) + item)

    @property
    def user(self) -> pl.Expr:
        """The customer of `pair`."""
        return pl.col("pair") // max(len(self.items), 1)

    def named(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """`pairs` with ids in place of `pair`."""
        user, item = pairs.select(user=self.user, item=pl.col("pair") % max(len(self.items), 1)).get_columns()
        return pairs.select(
            self.users.gather(user).alias("user_id"), self.items.gather(item).alias("item_id"), pl.exclude("pair")
        )


def interactions(events: pl.DataFrame, params: HistoryParams) -> pl.DataFrame:
    """One row per customer and item touched in [since, as_of), sorted by both.

    `units`: sum over events of weight[event_type] * 0.5 ** (age_days / half_life_days), in 1/UNITS; a refund takes back
    its purchase as of the purchase's own day, and one without a purchase in the window counts nothing (see `refunds`).
    `kind`: position in `params.kinds` of the strongest event that was not taken back, -1 without one. `buys`, `state`,
    `state_date`, `last_date`: as of `buys` and `last_states`. `is_history`: units above 0 and among the customer's
    `params.items` strongest. A row that is no history (refunded, or cut) still means "has seen it".
    """
    with_item = events.filter(pl.col("item_id").is_not_null())
    every = _Pairs.of(with_item)
    return every.named(_interactions(every.numbered(with_item), params, every))


def _interactions(events: pl.DataFrame, params: HistoryParams, every: _Pairs) -> pl.DataFrame:
    """`interactions` of events with `pair`, in place of ids."""
    acts = weighted_acts(events, params)
    kind = _lookup({t: n for n, t in enumerate(params.kinds)}, -1, pl.Int32)
    spoken = acts.with_columns(kind=pl.when(pl.col("weight") > 0).then(kind).otherwise(-1), binding=binding())
    sums = spoken.group_by("pair").agg(
        pl.col("units").sum(), pl.col("kind").max(), pl.col("category").min(), **last_states()
    )
    pairs = sums.join(buys(acts), on="pair", how="left").with_columns(pl.col("buys").fill_null(0)).sort("pair")
    return pairs.with_columns(is_history=(pl.col("units") > 0) & _among_strongest(pairs, params.items, every.user))


def _among_strongest(pairs: pl.DataFrame, most: int, user: pl.Expr) -> pl.Series:
    """Which of the rows are among the `most` of their customer by units, ties by item."""
    numbers = pairs.select("pair", "units", user=user).with_row_index("row")
    many = numbers.filter(pl.len().over("user") > most)  # few customers have so many that anything is cut off
    place = pl.int_range(pl.len()).over("user")
    cut = many.sort("user", pl.col("units").neg(), "pair").filter(place >= most)["row"]
    kept = np.ones(len(pairs), dtype=bool)
    kept[cut.to_numpy()] = False
    return pl.Series(kept)


def split_interactions(
    events: pl.DataFrame, params: HistoryParams, *, cutoff: datetime | None, timezone: str
) -> pl.DataFrame:
    """`interactions`, with what was known at `cutoff` (UTC) and what came from then on.

    `train_units`, `is_train`, `train_buys`: units, is_history and buys of the events before the cutoff, aged from the
    cutoff's day; null, false and 0 for an item that was not seen by then. `is_masked`: the policy does not offer it
    again after what was done with it by then, at most unless such items are bought again and again; `is_bought`:
    because it was bought. `is_test`: with an event at or after the cutoff that speaks for the item; `is_truth`: the
    same, and first seen then. Without a cutoff nothing is split. `is_learned`, `is_train_learned`: is_history and
    is_train of customers with `min_items` such items; fewer do not show what goes together.
    """
    with_item = events.filter(pl.col("item_id").is_not_null())
    every = _Pairs.of(with_item)
    numbered = every.numbered(with_item)

    def learned(used: str) -> pl.Expr:
        return pl.col(used) & (pl.col(used).sum().over(every.user) >= params.min_items)

    pairs = _interactions(numbered, params, every).with_columns(is_learned=learned("is_history"))
    pairs = pairs.drop("state", "state_date", "last_date").cast({"buys": pl.Int64})
    if cutoff is None:
        flags = ("is_train", "is_train_learned", "is_masked", "is_bought", "is_truth", "is_test")
        nothing = dict.fromkeys(flags, pl.lit(value=False))
        found = pairs.with_columns(train_units=pl.lit(None, pl.Int64), train_buys=pl.lit(0, pl.Int64), **nothing)
        return every.named(found)
    test = _interactions(numbered.filter(pl.col("event_time") >= cutoff), params, every).select(
        "pair", (pl.col("kind") >= 0).alias("is_test")
    )
    then = replace(params, as_of=train_as_of(cutoff, timezone))
    is_cooling = (pl.lit(then.as_of) - pl.col("last_date")).dt.total_days() < params.cool_down_days
    train = _interactions(numbered.filter(pl.col("event_time") < cutoff), then, every).select(
        "pair", pl.col("units").alias("train_units"), pl.col("is_history").alias("is_train"),
        pl.col("buys").cast(pl.Int64).alias("train_buys"),
        (pl.col("state").is_in(params.masked) | is_cooling).alias("is_masked"),
        (pl.col("state").is_in(BOUGHT) & ~is_cooling).alias("is_bought"),
    )  # fmt: skip
    found = (
        pairs.join(train, on="pair", how="left", maintain_order="left")
        .join(test, on="pair", how="left", maintain_order="left")
        .with_columns(pl.col("is_train", "is_test", "is_masked", "is_bought").fill_null(False))
        .with_columns(pl.col("train_buys").fill_null(0))
        .with_columns(
            is_truth=pl.col("is_test") & pl.col("train_units").is_null(), is_train_learned=learned("is_train")
        )
    )
    return every.named(found)


def train_as_of(cutoff: datetime, timezone: str) -> date:
    """The day after the last moment before `cutoff`, business timezone."""
    last = (cutoff - timedelta(microseconds=1)).astimezone(ZoneInfo(timezone))
    return last.date() + timedelta(days=1)


def favourite_category(events: pl.DataFrame, params: HistoryParams) -> pl.DataFrame:
    """(user_id, category): the category of a customer's most events in the window, ties by the smaller name."""
    in_window = (pl.col("event_date") >= params.since) & (pl.col("event_date") < params.as_of)
    counted = (
        events.filter(in_window & pl.col("category").is_not_null() & ~pl.col("event_type").is_in(NOT_ACTS))
        .group_by("user_id", "category")
        .len()
    )
    best = counted.sort("user_id", pl.col("len").cast(pl.Int64).neg(), "category")
    return best.unique("user_id", keep="first", maintain_order=True).select("user_id", "category")


def _lookup(values: Mapping[str, float], default: float, dtype: type[pl.DataType]) -> pl.Expr:
    return pl.col("event_type").replace_strict(list(values), list(values.values()), default=default, return_dtype=dtype)
