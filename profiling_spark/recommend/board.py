"""What is done to the scores of a block of customers, of all items or of a few, alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from profiling_spark.recommend.item_side import Board, Bools, Few, Floats, Ints, Scores
from profiling_spark.recommend.top_n import NONE, select_top


def close_items(board: Board, is_closed: Bools) -> None:
    """Take items (by number) out of the running for everyone."""
    if isinstance(board, Few):
        board.scores[is_closed[board.columns]] = -np.inf  # NONE reads the last item: its score is -inf already
    else:
        board[:, is_closed] = -np.inf


def close_pairs(board: Board, row: Ints, item: Ints) -> None:
    """Take each item out of the running for the customer in its row."""
    if isinstance(board, Few):
        board.scores[_places(board, row, item)] = -np.inf
    else:
        board[row, item] = -np.inf


def columns_of(board: Board) -> Ints:
    """(customers or 1, width): the item of each score; any item where there is none."""
    return np.maximum(board.columns, 0) if isinstance(board, Few) else np.arange(board.shape[1])[None, :]


def scores_of(board: Board) -> Scores:
    """(customers, width): the scores themselves, to be changed."""
    return board.scores if isinstance(board, Few) else board


def every(board: Board) -> Scores:
    """The scores of all items, of a side that scores all. Raises TypeError for those of a few."""
    if isinstance(board, Few):
        raise TypeError("expected the scores of all items, found those of a few: see scoring_all")
    return board


def some_rows(board: Board, rows: Ints) -> Board:
    """A copy of these customers' scores."""
    return Few(board.columns[rows], board.scores[rows]) if isinstance(board, Few) else board[rows]


def best(board: Board, n: int, exact: Callable[[Ints], Floats]) -> tuple[Ints, Floats]:
    """`select_top` of either form: each customer's n best items and their exact scores, NONE and nan where fewer are in
    the running.
    """
    if not isinstance(board, Few):
        return select_top(board, n, exact)
    place, values = select_top(board.scores, n, lambda chosen: exact(np.maximum(_items(board, chosen), 0)))
    return _items(board, place), values


def _items(board: Few, place: Ints) -> Ints:
    """The items at these places (customers, any), NONE where a place is."""
    if not board.columns.shape[1]:
        return np.full(place.shape, NONE)
    found = np.take_along_axis(board.columns, np.maximum(place, 0), axis=1)
    items: Ints = np.where(place == NONE, NONE, found)
    return items


def _places(board: Few, row: Ints, item: Ints) -> tuple[Ints, Ints]:
    """(row, place) of those of the pairs that are listed."""
    rows, width = board.columns.shape
    if not width or not len(row):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    stride = max(int(board.columns.max()), int(item.max())) + 2
    listed = np.where(board.columns == NONE, stride - 1, board.columns) + np.arange(rows)[:, None] * stride
    wanted = row * stride + item
    place = np.minimum(np.searchsorted(listed.ravel(), wanted), listed.size - 1)
    found = place[listed.ravel()[place] == wanted]
    return found // width, found % width
