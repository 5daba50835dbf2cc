"""What a customer knows already: which items may be offered again, and how many in a list. No Spark, no I/O.

What the customer did with an item that weighs most decides (STATES). A list has at most so many known items; the others
are as good as the ranking has them, so the list is the ranking with known items passed over once there are enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from profiling_spark.config.policy import AGAIN, MASKED, RecommendPolicy, Seen
from profiling_spark.recommend.history.refunds import PURCHASE, REFUND
from profiling_spark.recommend.matrix.item_side import Bools, Floats, Ints, ScoreBlock, SparseScores
from profiling_spark.recommend.matrix.score_block import close_pairs, pair_scores, scores_of
from profiling_spark.recommend.matrix.top_n import NONE

# what a customer did with an item, the most binding last; refund: bought, and all of it taken back; a review is of what
# was bought, here or elsewhere; other: an event of none of these types
OTHER = "other"
STATES = (OTHER, "view", "favorite", "cart", "review", REFUND, PURCHASE)
BOUGHT = (STATES.index("review"), STATES.index(PURCHASE))
_DAYS = 2**20  # days since 1970 fit


def binding() -> pl.Expr:
    """Of an event of a frame `with_taken`: place in STATES and the day, as one number, larger the more it binds."""
    places = {state: place for place, state in enumerate(STATES)}
    place = pl.col("event_type").replace_strict(places, default=0, return_dtype=pl.Int64)
    # a purchase that was taken back whole binds like its refund
    is_returned = (pl.col("event_type") == PURCHASE) & (pl.col("taken") >= 1)
    return pl.when(is_returned).then(places[REFUND]).otherwise(place) * _DAYS + pl.col("event_date").cast(pl.Int32)


def last_states() -> dict[str, pl.Expr]:
    """Aggregates over the events of a customer and item, with `binding`: `state`, place in STATES of what binds most,
    `state_date`, the last day of it, and `last_date`, the last day of any event.
    """
    both = pl.col("binding").max()
    return {
        "state": (both // _DAYS).cast(pl.Int32),
        "state_date": (both % _DAYS).cast(pl.Int32).cast(pl.Date),
        "last_date": pl.col("event_date").max(),
    }


def buys(acts: pl.DataFrame) -> pl.DataFrame:
    """(pair, buys) of events `with_taken` with `pair`: the days on which it was bought and not wholly given back, where
    there are any.
    """
    bought = acts.filter((pl.col("event_type") == PURCHASE) & (pl.col("taken") < 1)).select("pair", "event_date")
    return bought.unique().group_by("pair").agg(buys=pl.len())


def masked_states(seen: Seen) -> tuple[int, ...]:
    """Places in STATES of those whose items are never offered."""
    return tuple(place for place, state in enumerate(STATES) if getattr(seen, state) == MASKED)


def offered_again(pairs: pl.DataFrame, policy: RecommendPolicy, *, may_repeat: Bools, as_of: date) -> pl.DataFrame:
    """`pairs` (with `item` and those of `last_states` and `buys`) with `is_known`: may be offered although it was seen,
    and `is_again`: is marked then.

    `may_repeat` (items,): whether what was bought may be offered again. Nothing is offered before `cool_down_days`
    since the customer last dealt with it.
    """
    rules = [getattr(policy.seen, state) for state in STATES]
    rule = pl.col("state").replace_strict(list(range(len(STATES))), rules, return_dtype=pl.String)
    repeats = pl.col("state").is_in(BOUGHT) & (rule == MASKED) & pl.Series(may_repeat).gather(pairs["item"])
    age = (pl.lit(as_of) - pl.col("last_date")).dt.total_days()
    is_known = (repeats | (rule != MASKED)) & (age >= policy.cool_down_days)
    return pairs.with_columns(is_known=is_known, is_again=is_known & (repeats | (rule == AGAIN)))


def no_more_than_fresh(rows: pl.DataFrame, share: float) -> pl.DataFrame:
    """Rows of lists (`user`, `order`, `is_known`) without the last known ones of a list that has too few others: a list
    that is short, because the catalogue is small, has at most `share` of known items too.
    """
    if share >= 1:
        return rows
    others = (~pl.col("is_known")).sum().over("user")
    most = (others * share / (1 - share) + 1e-9).floor()
    place = pl.col("is_known").cast(pl.Int64).cum_sum().over("user", order_by="order")
    return rows.filter(~pl.col("is_known") | (place <= most))


def take_known(block: ScoreBlock, row: Ints, column: Ints) -> SparseScores:
    """Scores of these pairs (sorted by row and column, each once) as a block of their own; `block` loses them."""
    rows = len(scores_of(block))
    lengths = np.bincount(row, minlength=rows)
    place = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    columns = np.full((rows, int(lengths.max(initial=0)) + 1), NONE)
    scores = np.full(columns.shape, -np.inf, dtype=np.float32)
    columns[row, place], scores[row, place] = column, pair_scores(block, row, column)
    close_pairs(block, row, column)
    return SparseScores(columns, scores)


@dataclass(frozen=True)
class Ranking:
    """Lists while they are made, (customers, places) each, best first: columns (NONE at the end), their values (nan
    there), and to which end of the prices each was moved up."""

    columns: Ints
    values: Floats
    lifts: Ints

    def with_known(self, known: Ranking) -> Ranking:
        """Both as one ranking; equal values go by column. Of `known` all may stand in it: cut it before."""
        columns, values, lifts = (
            np.concatenate([getattr(self, name), getattr(known, name)], axis=1)
            for name in ("columns", "values", "lifts")
        )
        order = np.lexsort((columns, -np.where(np.isnan(values), -np.inf, values)), axis=1)
        return Ranking(columns, values, lifts).at(order)

    def at(self, places: Ints) -> Ranking:
        """What stands at these places (customers, any), nothing where one is NONE."""
        columns, values, lifts = (
            np.take_along_axis(a, places, axis=1) for a in (self.columns, self.values, self.lifts)
        )
        is_open = places == NONE
        return Ranking(np.where(is_open, NONE, columns), np.where(is_open, np.nan, values), np.where(is_open, 0, lifts))
