"""The seam between engines and the top-N pass: an item side scores customers from their own weighted histories.

So a customer with a changed or a new history is served without fitting anything again, and one pass serves every
engine. An engine is what prepares its item side; the pass knows only the two protocols below.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Scores = NDArray[np.float32]
Bools = NDArray[np.bool_]

BLOCK_BYTES = 2**24  # of the scores of a block: larger ones leave the cache, which two tasks then wait for
_LEAST_WIDTH = 8
# customers and history entries of a block: bounds the engines' own arrays (rank 64: 130 MB, 70 MB)
_MOST_ROWS, _MOST_ENTRIES = 4096, 2**17


@dataclass(frozen=True)
class Histories:
    """Histories of a block of customers, one row each: item numbers and weights, padded with weight 0 and item 0."""

    items: Ints
    weights: Floats

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True)
class SparseScores:
    """Scores of a few items a customer, (customers, width) each: `columns` are items by number, in rising order, -1 at
    the end where a customer has fewer; `scores` are theirs, -inf where there is none. What is not listed has -inf."""

    columns: Ints
    scores: Scores


ScoreBlock = Scores | SparseScores
"""Scores of a block: (customers, items), or of a large catalogue, where nearly all would be -inf, of a few items."""


class Scored(Protocol):
    """A block of customers as an engine sees them."""

    def block(self) -> ScoreBlock:
        """Scores of the items, a row per customer; -inf where the engine has no score."""

    def exact(self, chosen: Ints) -> Floats:
        """Scores of chosen items in double precision: (customers, chosen)."""

    def contributions(self, chosen: Ints) -> Floats:
        """What each past item adds to the exact score: (customers, chosen, history); 0 where an engine uses none."""


class ItemSide(Protocol):
    """What an engine has prepared: as large as the catalogue, never as the number of customers."""

    @property
    def engine(self) -> str:
        """Name that is written beside each recommendation."""

    @property
    def items(self) -> int:
        """Items it knows: numbers 0 to items - 1. A history must not hold others."""

    def score(self, histories: Histories) -> Scored:
        """Take in a block of customers."""


def block_rows(items: int) -> int:
    """Customers whose float32 scores of all items fit in BLOCK_BYTES."""
    return max(1, BLOCK_BYTES // (4 * max(items, 1)))


def rows_of(users: Ints, wanted: Ints) -> tuple[Ints, Ints]:
    """Where in `users` (sorted) each of `wanted` stands: (its place in `wanted`, the row), for every row it has.

    By search, so that a block of customers does not cost a pass over everyone's rows.
    """
    begins = np.searchsorted(users, wanted, side="left")
    lengths = np.searchsorted(users, wanted, side="right") - begins
    place = np.repeat(np.arange(len(wanted)), lengths)
    first = np.cumsum(lengths) - lengths
    row: Ints = np.arange(len(place)) + np.repeat(begins - first, lengths)
    return place, row


def padded_blocks(users: Ints, items: Ints, weights: Floats, *, rows: int) -> Iterator[tuple[Ints, Histories]]:
    """Cut long rows (user number, item number, weight; sorted by user) into (user numbers, histories of them).

    A block has at most `rows` customers. A customer's padded width is the next power of two of its own length, so that
    its sums, bit by bit, do not depend on who else is in the block.
    """
    if len(users) == 0:
        return
    begins = np.flatnonzero(np.r_[True, users[1:] != users[:-1]])
    lengths = np.diff(np.r_[begins, len(users)])
    widths = np.maximum(_LEAST_WIDTH, 2 ** np.ceil(np.log2(lengths)).astype(np.int64))
    for width in np.unique(widths):
        group = np.flatnonzero(widths == width)
        step = max(1, min(rows, _MOST_ROWS, _MOST_ENTRIES // int(width)))
        for at in range(0, len(group), step):
            part = group[at : at + step]
            place = begins[part][:, None] + np.arange(width)
            is_real = np.arange(width) < lengths[part][:, None]
            source = np.where(is_real, place, 0)
            yield (
                users[begins[part]],
                Histories(np.where(is_real, items[source], 0), np.where(is_real, weights[source], 0.0)),
            )
