"""What is done to the scores of a block of customers, of all items or of a few, alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from profiling_spark.recommend.matrix.item_side import Bools, Floats, Ints, ScoreBlock, Scores, SparseScores
from profiling_spark.recommend.matrix.top_n import NONE, select_top


def close_items(block: ScoreBlock, is_closed: Bools) -> None:
    """Take items (by number) out of the running for everyone."""
    if isinstance(block, SparseScores):
        block.scores[is_closed[block.columns]] = -np.inf  # NONE reads the last item: its score is -inf already
    else:
        block[:, is_closed] = -np.inf


def close_pairs(block: ScoreBlock, row: Ints, item: Ints) -> None:
    """Take each item out of the running for the customer in its row."""
    if isinstance(block, SparseScores):
        block.scores[_places(block, row, item)] = -np.inf
    else:
        block[row, item] = -np.inf


def pair_scores(block: ScoreBlock, row: Ints, item: Ints) -> Scores:
    """(pairs,): the score of each item for the customer in its row, -inf where it has none."""
    if not isinstance(block, SparseScores):
        found: Scores = block[row, item]
        return found
    at, is_listed = _search(block, row, item)
    listed: Scores = np.where(is_listed, block.scores.ravel()[at], np.float32(-np.inf)).astype(np.float32)
    return listed


def columns_of(block: ScoreBlock) -> Ints:
    """(customers or 1, width): the item of each score; any item where there is none."""
    return np.maximum(block.columns, 0) if isinstance(block, SparseScores) else np.arange(block.shape[1])[None, :]


def scores_of(block: ScoreBlock) -> Scores:
    """(customers, width): the scores themselves, to be changed."""
    return block.scores if isinstance(block, SparseScores) else block


def every(block: ScoreBlock) -> Scores:
    """The scores of all items, of a side that scores all. Raises TypeError for those of a few."""
    if isinstance(block, SparseScores):
        raise TypeError("expected the scores of all items, found those of a few: see scoring_all")
    return block


def some_rows(block: ScoreBlock, rows: Ints) -> ScoreBlock:
    """A copy of these customers' scores."""
    return SparseScores(block.columns[rows], block.scores[rows]) if isinstance(block, SparseScores) else block[rows]


def best(block: ScoreBlock, n: int, exact: Callable[[Ints], Floats]) -> tuple[Ints, Floats]:
    """`select_top` of either form: each customer's n best items and their exact scores, NONE and nan where fewer are in
    the running.
    """
    if not isinstance(block, SparseScores):
        return select_top(block, n, exact)
    place, values = select_top(block.scores, n, lambda chosen: exact(np.maximum(_items(block, chosen), 0)))
    return _items(block, place), values


def _items(block: SparseScores, place: Ints) -> Ints:
    """The items at these places (customers, any), NONE where a place is."""
    if not block.columns.shape[1]:
        return np.full(place.shape, NONE)
    found = np.take_along_axis(block.columns, np.maximum(place, 0), axis=1)
    items: Ints = np.where(place == NONE, NONE, found)
    return items


def _places(block: SparseScores, row: Ints, item: Ints) -> tuple[Ints, Ints]:
    """(row, place) of those of the pairs that are listed."""
    at, is_listed = _search(block, row, item)
    width = max(block.columns.shape[1], 1)
    return at[is_listed] // width, at[is_listed] % width


def _search(block: SparseScores, row: Ints, item: Ints) -> tuple[Ints, Bools]:
    """(pairs,) each: where in the flattened columns each pair would stand, and whether it does."""
    rows, width = block.columns.shape
    if not width or not len(row):
        return np.zeros(len(row), dtype=np.int64), np.zeros(len(row), dtype=bool)
    stride = max(int(block.columns.max()), int(item.max())) + 2
    listed = np.where(block.columns == NONE, stride - 1, block.columns) + np.arange(rows)[:, None] * stride
    wanted = row * stride + item
    place = np.minimum(np.searchsorted(listed.ravel(), wanted), listed.size - 1)
    return place, listed.ravel()[place] == wanted
