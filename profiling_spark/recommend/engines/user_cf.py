"""Customer neighbours: cosine between customers over the items they took (Resnick et al., CSCW 1994), for comparison.

The one engine that is as large as the customers and not as the catalogue: their rows come to the driver and travel to
every task. So it takes few customers, and the nightly job does not have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pyspark.sql import DataFrame
from scipy import sparse

from profiling_spark.errors import InputError
from profiling_spark.recommend.engines.graph_fit import sampled_rows
from profiling_spark.recommend.matrix.item_graph import strongest
from profiling_spark.recommend.matrix.item_side import Floats, Histories, Ints, Scores
from profiling_spark.recommend.matrix.sparse_rows import values_at

MOST_CUSTOMERS = 50_000
_SAME = 1 - 1e-9  # of a cosine


@dataclass(frozen=True)
class _Near:
    side: UserSide
    histories: Histories
    lengths: Floats  # (customers,): Euclidean lengths of the histories
    near: sparse.csr_array  # (customers, neighbours): cosines
    scores: sparse.csr_array  # (customers, items)

    def block(self) -> Scores:
        scores: Scores = self.scores.toarray().astype(np.float32)
        scores[scores <= 0] = -np.inf
        return scores

    def exact(self, chosen: Ints) -> Floats:
        rows = np.broadcast_to(np.arange(len(chosen))[:, None], chosen.shape)
        return values_at(self.scores, rows.ravel(), chosen.ravel()).reshape(chosen.shape)

    def contributions(self, chosen: Ints) -> Floats:
        # score_j = sum_v cosine_v r_vj and cosine_v = sum_i strength_i r_vi / length, r_v of length 1
        h = self.histories
        values: Floats = np.zeros((*chosen.shape, h.items.shape[1]))
        strengths = np.log1p(np.maximum(h.weights, 0.0))
        for row in range(len(h)):
            theirs = self.side.taken[self.near.indices[self.near.indptr[row] : self.near.indptr[row + 1]]]
            shared = theirs[:, chosen[row]].T @ theirs[:, h.items[row]]
            values[row] = shared.toarray() * strengths[row] / max(self.lengths[row], 1e-300)
        return values


@dataclass(frozen=True)
class UserSide:
    """`taken` (customers, items), float64: strengths log(1 + weight) of each training customer, scaled to length 1.

    A customer is offered what the `neighbours` most similar ones took, each weighted by its cosine. Customers with the
    very same history count as oneself and are left out: they know nothing new.
    """

    taken: sparse.csr_array
    neighbours: int
    engine: str = "user_cf"

    @property
    def items(self) -> int:
        return int(self.taken.shape[1])

    def score(self, histories: Histories) -> _Near:
        """Find each customer's neighbours."""
        strengths = np.log1p(np.maximum(histories.weights, 0.0))
        lengths: Floats = np.sqrt((strengths**2).sum(axis=1))
        row, place = np.nonzero(strengths > 0)
        unit = strengths[row, place] / lengths[row]
        past = sparse.csr_array((unit, (row, histories.items[row, place])), shape=(len(histories), self.items))
        cosines = sparse.csr_array(past @ self.taken.T)
        cosines.data[cosines.data >= _SAME] = 0.0
        cosines.eliminate_zeros()
        cosines.sort_indices()
        near = strongest(cosines, self.neighbours)
        scores = sparse.csr_array(near @ self.taken)
        scores.sort_indices()
        return _Near(self, histories, lengths, near, scores)


def fit_user_cf(
    pairs: DataFrame, items: Sequence[str], *, units: str, is_used: str, neighbours: int, salt: int
) -> UserSide:
    """The engine of the rows of `pairs` where `is_used`. Raises InputError above MOST_CUSTOMERS."""
    customers = pairs.where(is_used).select("user_id").distinct().count()
    if customers > MOST_CUSTOMERS:
        raise InputError(f"user_cf: expected at most {MOST_CUSTOMERS:,} customers, found {customers:,}; take item_cf")
    strengths = sampled_rows(pairs, items, units=units, is_used=is_used, most=MOST_CUSTOMERS, salt=salt)
    return user_side(strengths, neighbours=neighbours)


def user_side(strengths: sparse.csr_array, *, neighbours: int) -> UserSide:
    """The engine of the strengths (customers, items)."""
    lengths = np.sqrt(np.asarray(strengths.multiply(strengths).sum(axis=1)).ravel())
    row = np.repeat(np.arange(len(lengths)), np.diff(strengths.indptr))
    unit = strengths.data / np.where(lengths > 0, lengths, 1.0)[row]
    taken = sparse.csr_array((unit, strengths.indices, strengths.indptr), shape=strengths.shape)
    return UserSide(taken, neighbours)
