"""How sure figures are: paired intervals of the gain of one engine over another, and the bootstrap over customers.

All from sums over customers in whole numbers, so that no figure depends on the layout of the rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from profiling_spark.recommend.matrix.item_side import Floats, Ints

LEVEL = 0.95
STEPS = 2**20  # a customer's figure in whole numbers of 1/STEPS: sums of products of some millions fit into 64 bits


@dataclass(frozen=True)
class Gain:
    """By how much the mean of one engine's figure is above another's over the same customers, and the interval (LEVEL)
    around it; of fewer than two customers it has no bounds.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Paired:
    """One figure of several engines on the same `users`: its sums (engines,) in 1/STEPS, and the sums of the products
    of any two (engines, engines), in 1/STEPS^2.
    """

    engines: tuple[str, ...]
    users: int
    sums: Ints
    products: Ints

    def gain(self, engine: str, other: str) -> Gain:
        """Student's paired interval: mean difference d -+ t(n - 1) * s / sqrt(n), s the standard deviation of d."""
        a, b = self.engines.index(engine), self.engines.index(other)
        n = self.users
        mean = (int(self.sums[a]) - int(self.sums[b])) / STEPS / max(n, 1)
        if n < 2:
            return Gain(mean, -np.inf, np.inf)
        squares = int(self.products[a, a]) + int(self.products[b, b]) - 2 * int(self.products[a, b])
        variance = max(squares / STEPS**2 - n * mean**2, 0.0) / (n - 1)
        half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * float(np.sqrt(variance / n))
        return Gain(mean, mean - half, mean + half)


def paired_sums(values: Ints) -> tuple[Ints, Ints]:
    """The sums and products of `Paired`; `values` (engines, customers) in 1/STEPS, each at most 1."""
    return values.sum(axis=1), values @ values.T


def poisson_weights(user_ids: Sequence[str], replicates: int) -> NDArray[np.uint8]:
    """(customers, replicates): how often each customer is drawn in each replicate of a Poisson bootstrap (Chamandy et
    al., 2012): Poisson of mean 1, from a hash of the id alone, so that tasks draw alike without knowing of each other.
    """
    found = np.empty((len(user_ids), replicates), dtype=np.uint8)
    for row, user in enumerate(user_ids):
        seed = int.from_bytes(hashlib.blake2b(user.encode(), digest_size=8).digest())
        found[row] = np.random.default_rng(seed).poisson(1.0, replicates)
    return found


def interval(replicates: Floats) -> tuple[float, float]:
    """The percentile interval (LEVEL) of the figures of the replicates; one that drew no customer has nan and does not
    count.
    """
    low, high = np.nanquantile(replicates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
