"""graph_filter in this process, for as many pairs as need no cluster: what trials of its settings are fitted with.

The same formulas as graph_fit.py, whose fit serves; the parts that settings share are made once: the item-item products
and the vectors rest on the exponents alone.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from profiling_spark.config.settings import GraphFilter
from profiling_spark.recommend.engines.als_here import Learned
from profiling_spark.recommend.engines.graph_filter import GraphFilterSide, graph_filter_side
from profiling_spark.recommend.engines.graph_fit import bands_for, neighbours_for
from profiling_spark.recommend.matrix.item_graph import (
    gram_rows,
    image_by,
    image_factors,
    item_degrees,
    normalise,
    singular_vectors,
    strongest,
)
from profiling_spark.recommend.matrix.item_side import Scores

_Parts = tuple[sparse.csr_array, Scores]


class GraphHere:
    """Fits of one set of pairs by several settings. `vectors`: the most that any of them asks for."""

    def __init__(self, pairs: Learned, settings: GraphFilter, *, vectors: int, seed: int) -> None:
        self.seed, self.vectors, self.passes = seed, vectors, settings.passes
        count = int(pairs.users.max(initial=-1)) + 1
        entries = np.log1p(pairs.weights), (pairs.users, pairs.places)
        self.taken = sparse.csr_array(entries, shape=(count, pairs.items))
        self.degree = item_degrees(self.taken)
        self.known = int((self.degree > 0).sum())
        chosen = np.random.default_rng(seed).permutation(count)[: settings.weight_users]
        self.sample = self.taken[np.sort(chosen)]
        self._parts: tuple[tuple[float, float], _Parts] | None = None

    def side(self, asked: GraphFilter) -> GraphFilterSide:
        """The engine by these settings."""
        products, vectors = self._of_exponents(asked.user_exponent, asked.item_exponent)
        near = sparse.csr_array(strongest(products, neighbours_for(asked, self.known)).T)
        bands = bands_for(asked, self.known)
        rank = sum(band.count for band in bands)
        return graph_filter_side(near, vectors[:, :rank], self.degree, bands=bands, sample=self.sample)

    def _of_exponents(self, user_exponent: float, item_exponent: float) -> _Parts:
        """(item-item products, vectors), of the last exponents kept: trials change the others while these stay."""
        key = (user_exponent, item_exponent)
        if self._parts is None or self._parts[0] != key:
            rows = normalise(self.taken, self.degree, user_exponent=user_exponent, item_exponent=item_exponent)
            factors, items = image_factors(rows), rows.shape[1]
            vectors, _ = singular_vectors(
                lambda basis: image_by(factors, basis), items, rank=min(self.vectors, items), passes=self.passes,
                seed=self.seed,
            )  # fmt: skip
            self._parts = key, (gram_rows([rows], slice(0, items)), vectors)
        return self._parts[1]
