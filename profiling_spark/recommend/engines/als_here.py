"""Implicit ALS in this process: what MLlib's minimises, in its way, for as many pairs as need no cluster.

Each half of a pass is the fold-in of `FactorSide`: customers against the items' factors, then items against the
customers'. So objective, confidence and lambda (times the number of a row's pairs) are those of MLlib's fit; the first
factors are of the same distribution, but other numbers. A fit takes no Spark job.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from profiling_spark.config.settings import Recommend
from profiling_spark.recommend.engines.als import principal_axes
from profiling_spark.recommend.history.interactions import UNITS
from profiling_spark.recommend.matrix.item_side import Floats, Histories, Ints, Scores, padded_blocks

_BLOCK_NUMBERS = 2**23  # of the normal equations of a block: 32 MB
_ROWS_BLOCK = 3 * 2**17  # rows of factors that a thread holds: a block's entries (`padded_blocks`), three times
_THREADS_BYTES = 2**30  # of all threads together
_TINY = 1e-12  # the ridge of a row whose columns are all zero: any value serves


@dataclass(frozen=True)
class Learned:
    """What is learned from, one entry a pair: numbers of customer and item, and the weight, above 0; sorted by both.
    `items`: how many there are, taken or not.
    """

    users: Ints
    places: Ints
    weights: Floats
    items: int


def learned(rows: pa.Table, items: tuple[str, ...], *, units: str) -> Learned:
    """Of rows (user_id, item_id, `units`), in any order; customers are numbered by id."""
    rows = rows.sort_by([("user_id", "ascending"), ("item_id", "ascending")])
    user = pc.rank(rows.column("user_id"), tiebreaker="dense").to_numpy().astype(np.int64) - 1
    item = pc.index_in(rows.column("item_id"), pa.array(items, pa.string())).to_numpy().astype(np.int64)
    return Learned(user, item, rows.column(units).to_numpy() / UNITS, len(items))


def fit_here(pairs: Learned, settings: Recommend, *, seed: int) -> Scores:
    """Item factors (items, rank), float32, along their principal axes; zeros for an item that nobody took."""
    rng = np.random.default_rng(seed)
    count = int(pairs.users.max(initial=-1)) + 1
    by_item = np.lexsort((pairs.users, pairs.places))
    turned = pairs.places[by_item], pairs.users[by_item], pairs.weights[by_item]
    directions = rng.normal(size=(count, settings.rank))
    of_users: Scores = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
    of_items = np.zeros((pairs.items, settings.rank), dtype=np.float32)
    for done in range(settings.iterations):
        if done:  # customers are not asked for in the end: they are folded in
            of_users = _half(of_items, pairs.users, pairs.places, pairs.weights, count, settings)
        of_items = _half(of_users, *turned, pairs.items, settings)
    return principal_axes(of_items)


def _half(given: Scores, rows: Ints, columns: Ints, weights: Floats, count: int, settings: Recommend) -> Scores:
    """Factors (count, rank) of the rows against the `given` ones of the columns; zeros for a row without pairs."""
    given = principal_axes(given)
    is_known = np.any(given != 0, axis=1)
    wide = given.astype(np.float64)
    gram = (wide.T @ wide).astype(np.float32)
    found = np.zeros((count, settings.rank), dtype=np.float32)

    def solve(part: tuple[Ints, Histories]) -> None:
        block, histories = part
        past, extra = given[histories.items], np.float32(settings.alpha) * histories.weights.astype(np.float32)
        extra[~is_known[histories.items]] = 0.0
        is_past = extra > 0
        ridge = np.maximum(np.float32(settings.regularisation) * is_past.sum(axis=1), _TINY).astype(np.float32)
        right = (np.where(is_past, 1 + extra, np.float32(0.0))[:, None, :] @ past)[:, 0, :]
        found[block] = _solved(past, extra, ridge, right, gram)

    blocks = padded_blocks(rows, columns, weights, rows=max(1, _BLOCK_NUMBERS // settings.rank**2))
    _for_each(solve, blocks, settings.rank)
    return found


def _for_each(
    solve: Callable[[tuple[Ints, Histories]], None], blocks: Iterator[tuple[Ints, Histories]], rank: int
) -> None:
    """In threads, which NumPy's products and solutions run in side by side; blocks share no row, so their order changes
    nothing. No more blocks are made than threads can take.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = max(1, min(cores, _THREADS_BYTES // (4 * rank * _ROWS_BLOCK)))
    with ThreadPoolExecutor(threads) as pool:
        while some := list(islice(blocks, 2 * threads)):
            list(pool.map(solve, some))


def _solved(past: Scores, extra: Scores, ridge: Scores, right: Scores, gram: Scores) -> Scores:
    """(customers, rank): A^-1 `right` of A = Y'Y + Y' extra Y + ridge, the first Y'Y (`gram`) being diagonal; as
    `FactorSide` has it, in single precision, which is twice as quick and ranks the same.
    """
    if past.shape[1] < past.shape[2]:  # by Woodbury's identity a system as wide as the history
        diagonal = np.diag(gram) + ridge[:, None]
        reach = past * np.sqrt(extra)[:, :, None]
        scaled = reach / diagonal[:, None, :]
        inner = scaled @ reach.transpose(0, 2, 1)
        place = np.arange(inner.shape[1])
        inner[:, place, place] += 1
        plain = right / diagonal
        back = scaled.transpose(0, 2, 1) @ np.linalg.solve(inner, reach @ plain[:, :, None])
        short: Scores = plain - back[:, :, 0]
        return short
    normal = (past * extra[:, :, None]).transpose(0, 2, 1) @ past
    normal += gram
    place = np.arange(len(gram))
    normal[:, place, place] += ridge[:, None]
    full: Scores = np.linalg.solve(normal, right[:, :, None])[:, :, 0]
    return full
