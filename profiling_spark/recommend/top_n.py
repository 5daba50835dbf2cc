"""The one pass that picks each customer's best items, whatever the engine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from profiling_spark.recommend.item_side import Bools, Floats, Histories, Ints, ItemSide, Scores

NONE = -1  # no item: the list is shorter
# float32 products differ in their last bits between block sizes; so much of the row's largest score is "equal"
_TOLERANCE = 1e-5
_DECIMALS = 9


def select_top(scores: Scores, n: int, exact: Callable[[Ints], Floats]) -> tuple[Ints, Floats]:
    """The n best columns of each row and their exact scores, best first; NONE and nan where fewer are above -inf.

    `scores` choose the candidates; `exact`, given candidate columns, decides their order. Equal exact scores (to 9
    decimals) go by column, so the result does not depend on how customers were put into blocks.
    """
    rows, columns = scores.shape
    keep = min(n, columns)
    if rows == 0 or keep == 0:
        return np.full((rows, n), NONE), np.full((rows, n), np.nan)
    candidates = _candidates(scores, keep)
    is_open = np.isfinite(np.take_along_axis(scores, candidates, axis=1))
    value = np.where(is_open, np.round(exact(candidates), _DECIMALS), -np.inf)
    order = np.lexsort((candidates, -value), axis=1)[:, :keep]
    best, found = np.take_along_axis(candidates, order, axis=1), np.take_along_axis(value, order, axis=1)
    closed = ~np.isfinite(found)
    best, found = np.where(closed, NONE, best), np.where(closed, np.nan, found)
    short = ((0, 0), (0, n - keep))
    return np.pad(best, short, constant_values=NONE), np.pad(found, short, constant_values=np.nan)


def _candidates(scores: Scores, keep: int) -> Ints:
    """For each row at least the columns that can be among its `keep` best."""
    columns = scores.shape[1]
    if keep == columns:
        return np.broadcast_to(np.arange(columns), scores.shape)
    best = np.argpartition(scores, columns - keep, axis=1)[:, columns - keep :]
    least = np.take_along_axis(scores, best[:, :1], axis=1)
    largest = np.abs(np.where(np.isfinite(scores), scores, 0)).max(axis=1, keepdims=True)
    # finite at least: where fewer than `keep` are open, all open ones are among the best already
    is_close = np.isfinite(least) & (scores >= least - _TOLERANCE * largest)
    width = min(columns, int(is_close.sum(axis=1).max()))
    if width <= keep:
        return best
    return np.argpartition(scores, columns - width, axis=1)[:, columns - width :]


def top_n(side: ItemSide, histories: Histories, masked: Bools, n: int) -> tuple[Ints, Floats, Floats]:
    """A block of customers: item numbers, scores, and what each past item adds to each of them.

    `masked` (customers, side.items) marks what must not be offered. Shapes (customers, n), the same, and (customers,
    n, history); where a list is short the item is NONE, the score nan and the contributions 0.
    """
    scored = side.score(histories)
    block = scored.block()
    block[masked] = -np.inf
    items, scores = select_top(block, n, scored.exact)
    parts = scored.contributions(np.maximum(items, 0))
    parts[items == NONE] = 0.0
    return items, scores, parts
