"""Item graph of the customers' histories, as sums over blocks of customers: item-item products, singular vectors.

R is customers x items with the weights of the histories; R~ = Du^-b R Di^-a, with Du and Di its row and column sums, is
the normalisation of GF-CF (Shen et al., CIKM 2021; there a = b = 1/2). Everything here is NumPy over a block of whole
customer rows; what blocks give is added up, so nothing is as long as the number of customers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from profiling_spark.recommend.matrix.item_side import Floats, Scores

_OVERSAMPLE = 32  # directions beyond the wanted ones: those at the edge settle last
_NOISE = 1e-6  # squared length, of the longest, below which a direction may be float32 rounding
_ROWS = 2048  # items whose float32 products are summed before they are added up in float64


def item_degrees(block: sparse.csr_array) -> Floats:
    """(items,): a block's share of Di, the column sums."""
    return _sums(block.indices, block.data, block.shape[1])


def power(degrees: Floats, exponent: float) -> Floats:
    """degrees ** exponent; 0 where the degree is not above 0, so that an unseen item takes no part."""
    raised: Floats = np.where(degrees > 0, np.where(degrees > 0, degrees, 1.0) ** exponent, 0.0)
    return raised


def normalise(
    block: sparse.csr_array, item_degree: Floats, *, user_exponent: float, item_exponent: float
) -> sparse.csr_array:
    """R~ of a block, float64 (customers, items). Du comes from the block itself: its rows must be whole.

    `item_degree`: Di over all blocks; `user_exponent`, `item_exponent`: b and a of Du^-b R Di^-a.
    """
    lengths = np.diff(block.indptr)
    row = np.repeat(np.arange(len(lengths)), lengths)
    user_degree = _sums(row, block.data, len(lengths))
    scale = power(user_degree, -user_exponent)[row] * power(item_degree, -item_exponent)[block.indices]
    return sparse.csr_array((block.data * scale, block.indices, block.indptr), shape=block.shape)


def by_item(block: sparse.csr_array, columns: slice) -> sparse.csr_array:
    """(range, customers): the items `columns` of R~, a row each."""
    return sparse.csr_array(block[:, columns].T)


def gram_block(block: sparse.csr_array, columns: slice) -> sparse.csr_array:
    """(range, items): a block's share of the rows `columns` of R~'R~, each row sorted by column.

    A row is summed in the order of the block's customers, so the range does not change a bit of it.
    """
    products = sparse.csr_array(by_item(block, columns) @ block)
    products.sort_indices()
    return products


def gram_rows(blocks: Iterable[sparse.csr_array], columns: slice) -> sparse.csr_array:
    """`gram_block` over all blocks."""
    shares = (gram_block(block, columns) for block in blocks)
    total = next(shares)
    for share in shares:
        total = total + share
    total.sort_indices()
    return total


def strongest(rows: sparse.csr_array, most: int) -> sparse.csr_array:
    """The `most` largest entries of each row, in any order; of equal ones those of the smaller columns."""
    kept = np.ones(rows.nnz, dtype=bool)
    for row in np.flatnonzero(np.diff(rows.indptr) > most):
        here = slice(rows.indptr[row], rows.indptr[row + 1])
        values = rows.data[here]
        least = np.partition(values, len(values) - most)[len(values) - most]
        kept[here] = values > least
        tied = np.flatnonzero(values == least)
        room = most - np.count_nonzero(values > least)
        if len(tied) > room:
            tied = tied[np.argsort(rows.indices[here][tied])]
        kept[here.start + tied[:room]] = True
    ends = np.r_[0, np.cumsum(kept)][rows.indptr]
    return sparse.csr_array((rows.data[kept], rows.indices[kept], ends), shape=rows.shape)


Factors = tuple[sparse.csr_array, sparse.csr_array]
"""A block of R~ and its transpose, float32 and by rows: what an image is made with."""


def image_factors(block: sparse.csr_array) -> Factors:
    """Of a block of R~."""
    single = block.astype(np.float32)
    # by rows of the transpose, so that the long result is written in order, once: three times quicker than by columns
    return single, sparse.csr_array(single.T)


def image_by(factors: Factors, basis: Scores) -> Scores:
    """(items, width) float32: a block's share of R~'R~ basis, the only thing that a pass over the customers gives."""
    single, turned = factors
    share: Scores = turned @ (single @ basis)
    return share


def image(block: sparse.csr_array, basis: Scores) -> Scores:
    """`image_by` of a block whose factors are used once."""
    return image_by(image_factors(block), basis)


def singular_vectors(
    image_of: Callable[[Scores], Scores], items: int, *, rank: int, passes: int, seed: int
) -> tuple[Scores, Floats]:
    """The top right singular vectors of R~ (items, rank), orthonormal, and its squared singular values, both
    decreasing; fewer where R~ has a lower rank.

    Randomised subspace iteration (Halko, Martinsson, Tropp, SIAM Review 2011) with the shifts of dashSVD (Feng, Yu,
    Xie, ACM TOMS 2024): five shifted passes came as close as eight plain ones. `image_of(basis)` adds up `image` over
    all blocks and is called `passes` (at least 2) times. A vector's sign is that of its largest entry, made positive.
    """
    width = min(rank + _OVERSAMPLE, items)
    basis, _ = _orthonormal(np.random.default_rng(seed).standard_normal((items, width), dtype=np.float32))
    shift = 0.0
    for _ in range(passes - 1):
        found = image_of(basis)
        # subtracting a shift of at most half the least wanted value widens the gaps and keeps the order
        for at in range(0, items, _ROWS):  # a few rows at a time stay in the cache
            found[at : at + _ROWS] -= np.float32(shift) * basis[at : at + _ROWS]
        basis, least = _orthonormal(found)
        shift = max(shift, (shift + least) / 2)
    return _ritz(basis, image_of(basis), rank)


def _orthonormal(vectors: Scores) -> tuple[Scores, float]:
    """An orthonormal basis of the columns' span, and the least of their singular values that is above rounding.

    By the eigenvectors of vectors' vectors, five times quicker than Householder's QR for tall matrices.
    """
    if not vectors.shape[1]:
        return vectors, 0.0
    squares, rotation = np.linalg.eigh(_inner(vectors, vectors))
    real = squares > _NOISE * max(squares[-1], 0.0)
    if not real.any():
        return vectors[:, :0], 0.0
    lengths = np.sqrt(squares[real])
    basis: Scores = vectors @ (rotation[:, real] / lengths).astype(np.float32)
    return basis, float(lengths[0]) if real.all() else 0.0


def _ritz(basis: Scores, found: Scores, rank: int) -> tuple[Scores, Floats]:
    """Rayleigh-Ritz: the best vectors within the span of `basis`, whose image is `found`."""
    projected = _inner(basis, found)
    values, rotation = np.linalg.eigh((projected + projected.T) / 2)
    best = np.arange(len(values))[::-1][:rank]
    best = best[values[best] > _NOISE * max(values.max(initial=0.0), 0.0)]
    vectors: Scores = basis @ rotation[:, best].astype(np.float32)
    # along the rows; to look for the largest size itself takes five times as long
    is_negative = -vectors.min(axis=0, initial=0) > vectors.max(axis=0, initial=0)
    vectors *= np.where(is_negative, np.float32(-1), np.float32(1))
    return vectors, values[best]


def _inner(left: Scores, right: Scores) -> Floats:
    """left' right: float32 products of a few rows at a time, added up in float64."""
    total = np.zeros((left.shape[1], right.shape[1]))
    for at in range(0, len(left), _ROWS):
        part = slice(at, at + _ROWS)
        total += left[part].T @ right[part]
    return total


def _sums(groups: NDArray[np.integer], values: Floats, count: int) -> Floats:
    """(count,): the sum of the values of each group."""
    sums: Floats = np.bincount(groups, weights=values, minlength=count).astype(np.float64)
    return sums
