"""The one pass that picks each customer's best items, whatever the engine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from profiling_spark.recommend.matrix.item_side import Floats, Ints, Scored, Scores

NONE = -1  # no item: the list is shorter
# float32 products differ in their last bits between block sizes; so much of the row's largest score is "equal"
_TOLERANCE = 1e-5
_DECIMALS = 9
_DEPTH = 64  # columns of a group
_CACHE_BYTES = 2**20
_ROUND = np.uint32(1 << 24)
_LARGEST = np.float32(np.finfo(np.float32).max)


def select_top(scores: Scores, n: int, exact: Callable[[Ints], Floats]) -> tuple[Ints, Floats]:
    """The n best columns of each row and their exact scores, best first; NONE and nan where fewer are above -inf.

    `scores` choose the candidates; `exact`, given candidate columns, decides their order. Equal exact scores (to 9
    decimals) go by column, so the result does not depend on how customers were put into blocks.
    """
    rows, columns = scores.shape
    keep = min(n, columns)
    if rows == 0 or keep == 0:
        return np.full((rows, n), NONE), np.full((rows, n), np.nan)
    candidates = contenders(scores, keep)
    value = np.where(candidates != NONE, np.round(exact(np.maximum(candidates, 0)), _DECIMALS), -np.inf)
    order = np.lexsort((candidates, -value), axis=1)[:, :keep]
    best, found = np.take_along_axis(candidates, order, axis=1), np.take_along_axis(value, order, axis=1)
    closed = ~np.isfinite(found)
    best, found = np.where(closed, NONE, best), np.where(closed, np.nan, found)
    short = ((0, 0), (0, n - best.shape[1]))
    return np.pad(best, short, constant_values=NONE), np.pad(found, short, constant_values=np.nan)


def contenders(scores: Scores, keep: int) -> Ints:
    """For each row the columns that can be among its `keep` best, in any order, filled up with NONE.

    The columns fall into groups. A row's `keep` best groups by their largest score hold `keep` scores at or above the
    least of these maxima, so a group whose maximum lies below it holds none of the best: of many columns, few are
    looked at twice.
    """
    rows, columns = scores.shape
    depth = _DEPTH if columns >= 4 * _DEPTH * keep else 1
    groups = columns // depth
    highest, largest = _maxima(scores, depth)
    count = highest.shape[1]
    least = np.partition(highest, count - keep, axis=1)[:, count - keep, None]
    # finite: where fewer than `keep` groups are open, every open column is a candidate
    bound = np.where(np.isfinite(least), least - _TOLERANCE * largest, -_LARGEST)
    row, group = np.nonzero(highest >= bound)
    column = group[:, None] + np.arange(depth) * groups
    # the last columns, too few for the groups, are groups of one
    is_alone = group >= groups
    column[is_alone] += (depth - 1) * groups
    value = scores[row[:, None], np.minimum(column, columns - 1)]
    is_close = (value >= bound[row]) & ~(is_alone[:, None] & (np.arange(depth) > 0))
    row, column, value = np.broadcast_to(row[:, None], column.shape)[is_close], column[is_close], value[is_close]
    filled, values = _by_row(row, column, value, rows)
    if filled.shape[1] <= keep:
        return filled
    least = -np.partition(-values, keep - 1, axis=1)[:, keep - 1, None]
    is_close = (filled != NONE) & (values >= np.where(np.isfinite(least), least - _TOLERANCE * largest, -_LARGEST))
    row, place = np.nonzero(is_close)
    return _by_row(row, filled[row, place], values[row, place], rows)[0]


def _maxima(scores: Scores, depth: int) -> tuple[Scores, Scores]:
    """(rows, groups): the largest score of each group, those of the columns left over after them; (rows, 1): the
    largest finite size of a score. Group g holds the columns g, g + groups, g + 2 * groups, ...
    """
    rows, columns = scores.shape
    groups = columns // depth
    highest = np.empty((rows, groups + columns - depth * groups), dtype=scores.dtype)
    largest = np.empty((rows, 1), dtype=scores.dtype)
    step = max(1, _CACHE_BYTES // (4 * columns))
    for at in range(0, rows, step):
        part = scores[at : at + step]
        whole = part[:, : depth * groups].reshape(len(part), depth, groups)
        highest[at : at + step, :groups] = whole.max(axis=1)
        highest[at : at + step, groups:] = part[:, depth * groups :]
        largest[at : at + step, 0] = _largest(part)
    return highest, largest


def _largest(scores: Scores) -> Scores:
    """(rows,): the largest finite size of a score."""
    # without its sign a float32 orders as its bits do; the sum sends infinities round to 0, and nothing else
    bits = scores.view(np.uint32) << np.uint32(1)
    bits += _ROUND
    top = bits.max(axis=1)
    found: Scores = (np.where(top < _ROUND, np.uint32(0), top - _ROUND) >> np.uint32(1)).view(np.float32)
    return found


def _by_row(row: Ints, column: Ints, value: Scores, rows: int) -> tuple[Ints, Scores]:
    """Entries, sorted by row, as (rows, width) of columns and values, filled up with NONE and -inf."""
    lengths = np.bincount(row, minlength=rows)
    width = int(lengths.max(initial=0))
    place = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    columns, values = np.full((rows, width), NONE), np.full((rows, width), -np.inf, dtype=value.dtype)
    columns[row, place], values[row, place] = column, value
    return columns, values


def parts_of(scored: Scored, items: Ints) -> Floats:
    """(customers, n, history): what each past item adds to the items of the lists; 0 where a list is short."""
    parts = scored.contributions(np.maximum(items, 0))
    parts[items == NONE] = 0.0
    return parts
