"""Random draws on whole arrays, and the array types of this room."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

DAY_MS = 86_400_000


def dice(seed: int, stage: str, part: int = 0) -> np.random.Generator:
    """A generator of its own for each stage and part, so that a change in one moves no draw of another."""
    return np.random.default_rng([seed, part, *stage.encode()])


def cdf(weights: Floats) -> Floats:
    """Row-wise cumulative shares of non-negative weights; the last column is exactly 1."""
    total = np.cumsum(weights, axis=1)
    shares: Floats = total / total[:, -1:]
    shares[:, -1] = 1.0
    return shares


def pick(shares: Floats, row: Ints, rng: np.random.Generator) -> Ints:
    """One column index per entry of `row`, drawn from that row of `shares` (see `cdf`).

    All rows are laid on one axis (row r covers r to r + 1), so one binary search serves every draw.
    """
    width = shares.shape[1]
    axis = (shares + np.arange(len(shares))[:, None]).ravel()
    place = np.searchsorted(axis, row + rng.random(len(row)), side="right")
    found: Ints = np.clip(place - row * width, 0, width - 1).astype(np.int64)
    return found


def one_of(weights: tuple[float, ...], size: int, rng: np.random.Generator) -> Ints:
    """`size` draws of an index, weighted."""
    return pick(cdf(np.array([weights])), np.zeros(size, dtype=np.int64), rng)


def lookup(words: list[str] | pl.Series, index: Ints) -> pl.Series:
    """The word for each index; null for a negative index ("not applicable")."""
    table = pl.Series(words, dtype=pl.String) if isinstance(words, list) else words
    frame = pl.DataFrame({"_index": index}).select(pl.when(pl.col("_index") >= 0).then(pl.col("_index")))
    return table.gather(frame.to_series())


def running_number(group: Ints) -> Ints:
    """0, 1, 2, ... inside each run of equal values of a sorted array."""
    if len(group) == 0:
        return np.zeros(0, dtype=np.int64)
    begins = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    lengths = np.diff(np.r_[begins, len(group)])
    number: Ints = np.arange(len(group)) - np.repeat(begins, lengths)
    return number
