"""The linear low-pass filter of GF-CF (Shen et al., CIKM 2021), as an item side: no training loop.

A customer's scores are r S + sum over bands of w_b (r Di^-p_b V_b) V_b' Di^p_b. r has the strengths of the history,
log(1 + weight); S is the item-item product R~'R~ cut to the strongest neighbours; V_b a range of the top right singular
vectors of R~. GF-CF has one band with p = 1/2. Two bands rank better: p = 1/2 favours popular items, which suits the
broad tastes of the first vectors, while the many finer ones rank better with less of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from profiling_spark.recommend.matrix.item_graph import power
from profiling_spark.recommend.matrix.item_side import (
    Bools,
    Floats,
    Histories,
    Ints,
    ItemSide,
    ScoreBlock,
    Scores,
    SparseScores,
    block_rows,
)
from profiling_spark.recommend.matrix.sparse_rows import square_arrays, square_of, values_at
from profiling_spark.recommend.matrix.top_n import NONE, contenders

_PART_BYTES = 2**24  # of a temporary; small enough for the cache
_PRODUCTS_A_ITEM = 500  # of the item-item part, about
# a candidate takes as long as 64 items when all are scored: four times that, so that what is lost buys something
_WORTH = 256
_ROOM = 32
_TOP = 20
_ARRAYS = ("vectors", "degree", "ends", "exponents", "weights")


@dataclass(frozen=True)
class Band:
    """`count` singular vectors, those after the band before it, used with item degrees to the power `exponent`.

    `ratio`: how large the band's scores are made, as a share of the item-item part's (mean over the 20 best).
    """

    count: int
    exponent: float
    ratio: float


@dataclass(frozen=True)
class GraphFilterSide:
    """`neighbours[i, j]`: how strongly past item i speaks for j; each row sorted by column. `degree` (items,): 0 is an
    item that the fit has not seen. `vectors` (items, rank): Di^p_b V_b, so that one product serves all bands.
    `ends`, `exponents`, `weights` (bands,): one past the band's last vector, p_b and w_b.

    `candidates`: above 0, only the past items and so many others are scored for a customer, those with the largest
    item-item part; their scores are the same.
    """

    neighbours: sparse.csr_array
    vectors: Scores
    degree: Floats
    ends: Ints
    exponents: Floats
    weights: Floats
    candidates: int = 0
    engine: str = "graph_filter"
    kind: ClassVar[str] = "graph_filter"

    @property
    def items(self) -> int:
        return len(self.degree)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return square_arrays(self.neighbours) | {name: getattr(self, name) for name in _ARRAYS}

    def numbers(self) -> dict[str, Any]:
        return {"candidates": self.candidates}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], numbers: Mapping[str, Any]) -> GraphFilterSide:
        vectors, degree, ends, exponents, weights = (arrays[name] for name in _ARRAYS)
        return cls(square_of(arrays), vectors, degree, ends, exponents, weights, int(numbers["candidates"]))

    def score(self, histories: Histories) -> Filtered:
        """Add up each customer's past items in the space of the vectors, each as strong as log(1 + weight)."""
        histories = replace(histories, weights=np.log1p(np.maximum(histories.weights, 0.0)))
        is_past = (histories.weights > 0) & (self.degree[histories.items] > 0)
        row, place = np.nonzero(is_past)
        kind = self.neighbours.indices.dtype  # of another, a product would copy all neighbours each time
        entry = histories.weights[row, place], (row.astype(kind), histories.items[row, place].astype(kind))
        past = sparse.csr_array(entry, shape=(len(histories), self.items))
        return Filtered(self, histories, is_past, past, self.users(past))

    def users(self, past: sparse.csr_array) -> Floats:
        """(customers, rank): w_b r Di^-p_b V_b, in double precision: parts of a score can be far larger than their sum.

        A customer's sums do not depend on who else is in the block.
        """
        customers, rank = past.shape[0], self.vectors.shape[1]
        found = np.empty((customers, rank))
        for part in _parts(customers, (past.nnz // max(customers, 1) + 1) * rank * 8):
            rows = past[part]
            used, place = np.unique(rows.indices, return_inverse=True)
            shape = (rows.shape[0], len(used))
            for number, band in enumerate(self.bands()):
                own = sparse.csr_array((rows.data * self.back(number, rows.indices), place, rows.indptr), shape=shape)
                found[part, band] = np.asarray(own @ self.vectors[used, band].astype(np.float64))
        return found

    def bands(self) -> list[slice]:
        """The vectors of each band."""
        return [slice(a, b) for a, b in zip(np.r_[0, self.ends[:-1]].tolist(), self.ends.tolist(), strict=True)]

    def back(self, band: int, items: NDArray[np.integer]) -> Floats:
        """w_b Di^-2p_b of these items, which turns a row of `vectors` into what a past item adds to a customer."""
        scale: Floats = self.weights[band] * power(self.degree[items], -2 * self.exponents[band])
        return scale


@dataclass(frozen=True)
class Filtered:
    """A block of customers: `past` (customers, items) without padding and unseen items, `user` (customers, rank)."""

    side: GraphFilterSide
    histories: Histories
    is_past: Bools
    past: sparse.csr_array
    user: Floats

    def block(self) -> ScoreBlock:
        if self.side.candidates:
            return self._of_candidates()
        scores: Scores = self.user.astype(np.float32) @ self.side.vectors.T
        add_neighbours(scores, self.past, self.side.neighbours)
        scores[:, self.side.degree <= 0] = -np.inf
        scores[np.diff(self.past.indptr) == 0] = -np.inf
        return scores

    def _of_candidates(self) -> SparseScores:
        """Scores of each customer's past items and of the nearest others."""
        side, user, single = self.side, self.user.astype(np.float32), self.past.astype(np.float32)
        lengths = np.diff(single.indptr)
        items = np.full((len(user), side.candidates + int(lengths.max(initial=0))), NONE)
        scores, is_own = np.full(items.shape, -np.inf, dtype=np.float32), np.zeros(side.items, dtype=bool)
        for part in _parts(len(user), (_PRODUCTS_A_ITEM * single.nnz // max(len(user), 1) + 1) * 8):
            near = single[part] @ side.neighbours
            for row, (begin, end) in enumerate(pairwise(near.indptr.tolist()), start=part.start):
                item, value = near.indices[begin:end], near.data[begin:end]
                own = single.indices[single.indptr[row] : single.indptr[row + 1]]
                is_own[own] = True
                # all of the customer's own: where repeats count they are what is looked for
                kept = _candidates(value, is_own[item], side.candidates)
                is_own[own] = False
                kept = kept[np.argsort(item[kept])]
                items[row, : len(kept)] = item[kept]
                scores[row, : len(kept)] = value[kept] + side.vectors[item[kept]] @ user[row]
        return SparseScores(items, scores)

    def exact(self, chosen: Ints) -> Floats:
        values: Floats = self._near(chosen).sum(axis=2)
        rank = self.side.vectors.shape[1]
        for part in _parts(len(chosen), chosen.shape[1] * rank * 8):
            wanted = self.side.vectors[chosen[part]].astype(np.float64)
            values[part] += (wanted @ self.user[part][:, :, None])[:, :, 0]
        return values

    def contributions(self, chosen: Ints) -> Floats:
        values = self._near(chosen)
        h, rank = self.histories, self.side.vectors.shape[1]
        weights = np.where(self.is_past, h.weights, 0.0)
        for part in _parts(len(chosen), (h.items.shape[1] + chosen.shape[1]) * rank * 8):
            past = self.side.vectors[h.items[part]].astype(np.float64).transpose(0, 2, 1)
            wanted = self.side.vectors[chosen[part]].astype(np.float64)
            for number, band in enumerate(self.side.bands()):
                added = wanted[:, :, band] @ past[:, band]
                values[part] += added * (weights[part] * self.side.back(number, h.items[part]))[:, None, :]
        return values

    def _near(self, chosen: Ints) -> Floats:
        """(customers, chosen, history): the item-item part of the contributions."""
        h = self.histories
        values: Floats = np.zeros((*chosen.shape, h.items.shape[1]))
        row, place = np.nonzero(self.is_past)
        past, wanted = np.broadcast_arrays(h.items[row, place][:, None], chosen[row])
        found = values_at(self.side.neighbours, past.ravel(), wanted.ravel()).reshape(wanted.shape)
        values[row, :, place] = found * h.weights[row, place][:, None]
        return values


def scoring_all(side: ItemSide) -> ItemSide:
    """The side without candidates: for whoever asks for items that need not be among a customer's nearest."""
    return scoring_candidates(side, 0)


def scoring_candidates(side: ItemSide, candidates: int) -> ItemSide:
    """The side with so many candidates where its catalogue is large enough for them; other engines as they are."""
    if not isinstance(side, GraphFilterSide):
        return side
    return replace(side, candidates=candidates_for(candidates, side.items))


def rows_at_a_time(side: ItemSide) -> int:
    """Customers of a block: as many as the scores of their items leave in the cache."""
    few = side.candidates if isinstance(side, GraphFilterSide) else 0
    # beside the candidates, each customer has rows of `neighbours` and of the vectors on hand
    return block_rows(_ROOM * few or side.items)


def candidates_for(candidates: int, items: int) -> int:
    """How many to score for a customer: 0, which is all, unless the catalogue has 256 times as many."""
    return candidates if candidates * _WORTH <= items else 0


def graph_filter_side(
    neighbours: sparse.csr_array,
    vectors: Scores,
    degree: Floats,
    *,
    bands: Sequence[Band],
    sample: sparse.csr_array,
    candidates: int = 0,
) -> GraphFilterSide:
    """The engine of the parts that item_graph.py prepares; the bands' weights are set on `sample` (customers, items).

    `neighbours` (items, items) may be cut by row or by column; `vectors` (items, rank) orthonormal, the strongest
    first. Where there are fewer of them than the bands ask for, the last bands are shorter.
    """
    ends = np.minimum(np.cumsum([band.count for band in bands]), vectors.shape[1])
    exponents = np.array([band.exponent for band in bands])
    near = neighbours.astype(np.float32)
    near.sort_indices()
    plain = GraphFilterSide(
        near, np.empty((len(degree), int(ends[-1])), dtype=np.float32), degree, ends, exponents, np.ones(len(bands))
    )
    for band, exponent in zip(plain.bands(), exponents, strict=True):
        scale = np.where(degree > 0, power(degree, float(exponent)), 0.0).astype(np.float32)
        np.multiply(vectors[:, band], scale[:, None], out=plain.vectors[:, band])
    ratios = np.array([band.ratio for band in bands])
    return replace(plain, weights=_band_weights(plain, ratios, sample), candidates=candidates)


def _band_weights(plain: GraphFilterSide, ratios: Floats, sample: sparse.csr_array) -> Floats:
    """(bands,): w_b such that the mean score of the 20 best unseen items, in band b, is `ratios` times the item-item
    part's. `plain`: the side with all weights 1. A band without information about the sample has weight 0.
    """
    near, sums = 0.0, np.zeros(len(ratios))
    for part in _parts(sample.shape[0], plain.items * 4):
        past = sparse.csr_array(sample[part])
        taken = past.tocoo()
        seen = taken.row[taken.data > 0], taken.col[taken.data > 0]
        scores = np.zeros(past.shape, dtype=np.float32)
        add_neighbours(scores, past, plain.neighbours)
        near += _top_sum(scores, seen)
        user = plain.users(past).astype(np.float32)
        for number, band in enumerate(plain.bands()):
            sums[number] += _top_sum(user[:, band] @ plain.vectors[:, band].T, seen)
    weights: Floats = np.where(sums > 0, ratios * near / np.where(sums > 0, sums, 1.0), 0.0)
    return weights


def add_neighbours(scores: Scores, past: sparse.csr_array, neighbours: sparse.csr_array) -> None:
    """Add past @ neighbours to `scores` (customers, items), a few customers at a time."""
    single = past.astype(np.float32)
    for part in _parts(len(scores), scores.shape[1] * 4):
        scores[part] += (single[part] @ neighbours).toarray()


def _candidates(value: Scores, is_own: Bools, most: int) -> Ints:
    """Places of the own ones and of the `most` largest others."""
    first = len(value) - int(np.count_nonzero(is_own)) - most
    if first <= 0:
        return np.arange(len(value))
    kept: Ints = np.argpartition(np.where(is_own, np.inf, value), first)[first:]
    return kept


def _top_sum(scores: Scores, seen: tuple[NDArray[np.integer], NDArray[np.integer]]) -> float:
    """Sum over rows of the mean of the best scores but those at `seen`, (rows, columns)."""
    scores[seen] = -np.inf
    keep = min(_TOP, scores.shape[1])
    place = contenders(scores, keep)
    near = np.where(place == NONE, -np.inf, np.take_along_axis(scores, np.maximum(place, 0), axis=1))
    keep = min(keep, near.shape[1])
    top = np.partition(near, near.shape[1] - keep, axis=1)[:, near.shape[1] - keep :] if keep else near
    is_open = np.isfinite(top)
    sums = np.where(is_open, top, 0.0).sum(axis=1, dtype=np.float64)
    return float((sums / np.maximum(is_open.sum(axis=1), 1)).sum())


def _parts(count: int, row_bytes: int) -> Iterator[slice]:
    """Ranges of rows whose temporary stays small."""
    step = max(1, _PART_BYTES // max(row_bytes, 1))
    for at in range(0, count, step):
        yield slice(at, min(at + step, count))
