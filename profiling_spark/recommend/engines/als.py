"""MLlib's implicit ALS for the items; customers are folded in from their own histories.

Hu, Koren, Volinsky (ICDM 2008): confidence 1 + alpha * weight on a preference of 1. MLlib scales lambda by the number
of a customer's items (ALS-WR, Zhou et al. 2008), and so does the fold-in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from profiling_spark.config.settings import Recommend
from profiling_spark.recommend.history.interactions import UNITS
from profiling_spark.recommend.matrix.blocks import item_index
from profiling_spark.recommend.matrix.item_side import Bools, Floats, Histories, Ints, Scores

_PARTS = 64
_RIGHT_ANGLE = 1e-5  # cosine below which two axes stand at a right angle; float32 leaves about 1e-7


class _Equation(Protocol):
    """Customers' normal equations."""

    def solve(self, right: Floats) -> Floats:
        """A^-1 right, both (customers, rank, any)."""


@dataclass(frozen=True)
class _Full:
    normal: Floats  # (customers, rank, rank): A

    def solve(self, right: Floats) -> Floats:
        return np.asarray(np.linalg.solve(self.normal, right), dtype=np.float64)


class _Short:
    """A = D + Y'CY of D diagonal and few past items Y, by Woodbury's identity: A^-1 = D^-1 - D^-1 Y' S M^-1 S Y D^-1
    with S the roots of C and M = I + S Y D^-1 Y' S, which is only as wide as the history.
    """

    def __init__(self, diagonal: Floats, past: Floats, extra: Floats) -> None:
        self.diagonal = diagonal[:, :, None]  # (customers, rank, 1): D
        self.reach = past * np.sqrt(extra)[:, :, None]  # (customers, history, rank): S Y
        self.inner = (self.reach / diagonal[:, None, :]) @ self.reach.transpose(0, 2, 1)  # M
        place = np.arange(past.shape[1])
        self.inner[:, place, place] += 1

    def solve(self, right: Floats) -> Floats:
        plain = right / self.diagonal
        inner = np.linalg.solve(self.inner, self.reach @ plain)
        found: Floats = plain - self.reach.transpose(0, 2, 1) @ inner / self.diagonal
        return found


@dataclass(frozen=True)
class _Folded:
    side: FactorSide
    past: Floats  # (customers, history, rank)
    confidence: Floats  # 1 + alpha * weight, 0 where padded
    equation: _Equation
    user: Floats  # (customers, rank): A^-1 sum_i (1 + alpha w_i) y_i

    def block(self) -> Scores:
        scores: Scores = self.user.astype(np.float32) @ self.side.factors.T
        scores[:, ~self.side.known] = -np.inf
        # without a past item that the fit has seen there is no taste: all scores would be 0, and the first items "best"
        scores[~(self.confidence > 0).any(axis=1)] = -np.inf
        return scores

    def exact(self, chosen: Ints) -> Floats:
        values: Floats = self.side.factors[chosen].astype(np.float64) @ self.user[:, :, None]
        return values[:, :, 0]

    def contributions(self, chosen: Ints) -> Floats:
        # score_j = y_j' A^-1 sum_i (1 + alpha w_i) y_i, so item i adds (1 + alpha w_i) y_j' A^-1 y_i
        wanted, past = self.side.factors[chosen].astype(np.float64), self.past
        if wanted.shape[1] < past.shape[1]:  # A is symmetric, so whichever side is shorter is solved for
            solved = self.equation.solve(wanted.transpose(0, 2, 1)).transpose(0, 2, 1)
            parts: Floats = solved @ past.transpose(0, 2, 1)
        else:
            parts = wanted @ self.equation.solve(past.transpose(0, 2, 1))
        return parts * self.confidence[:, None, :]


class FactorSide:
    """Item factors (items, rank), float32; a row of zeros is an item that the fit has not seen.

    Factors along their `principal_axes` score short histories several times quicker.
    """

    engine = "als"
    kind = "factors"

    def __init__(self, factors: NDArray[np.float32], *, alpha: float, regularisation: float) -> None:
        self.factors, self.alpha, self.regularisation = factors, alpha, regularisation
        self.known: Bools = np.any(factors != 0, axis=1)
        wide = factors.astype(np.float64)
        self.gram: Floats = wide.T @ wide
        lengths = np.sqrt(np.diag(self.gram))
        cosines = self.gram / np.maximum(np.outer(lengths, lengths), np.finfo(np.float64).tiny)
        self.is_principal = bool(np.abs(cosines - np.diag(np.diag(cosines))).max(initial=0.0) < _RIGHT_ANGLE)

    @property
    def items(self) -> int:
        return len(self.factors)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"factors": self.factors}

    def numbers(self) -> dict[str, float]:
        return {"alpha": self.alpha, "regularisation": self.regularisation}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], numbers: Mapping[str, Any]) -> FactorSide:
        return cls(arrays["factors"], alpha=numbers["alpha"], regularisation=numbers["regularisation"])

    def score(self, histories: Histories) -> _Folded:
        """Solve each customer's normal equation: A = Y'Y + sum alpha w y y' + lambda n I over the history."""
        weights = np.where(self.known[histories.items], histories.weights, 0.0)
        is_past = weights > 0
        # what is padded has factors here, of item 0, and weight 0 wherever they are used
        past = self.factors[histories.items].astype(np.float64)
        # a customer without any known item would have no ridge; the factors there are all zero, so any value serves
        ridge = np.maximum(self.regularisation * is_past.sum(axis=1), 1e-12)
        equation = self._equation(past, self.alpha * weights, ridge)
        confidence = np.where(is_past, 1 + self.alpha * weights, 0.0)
        user = equation.solve(past.transpose(0, 2, 1) @ confidence[:, :, None])
        return _Folded(self, past, confidence, equation, np.asarray(user[:, :, 0], dtype=np.float64))

    def _equation(self, past: Floats, extra: Floats, ridge: Floats) -> _Equation:
        """The way depends on the width of the history alone, so a score does not depend on the rest of the block."""
        if self.is_principal and past.shape[1] < past.shape[2]:
            return _Short(np.diag(self.gram) + ridge[:, None], past, extra)
        normal = (past * extra[:, :, None]).transpose(0, 2, 1) @ past
        normal += self.gram
        diagonal = np.arange(len(self.gram))
        normal[:, diagonal, diagonal] += ridge[:, None]
        return _Full(normal)


def principal_axes(factors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Factors turned so that Y'Y is diagonal; products of factors, and so all scores, stay what they are."""
    wide = factors.astype(np.float64)
    _, rotation = np.linalg.eigh(wide.T @ wide)
    turned: NDArray[np.float32] = (wide @ rotation).astype(np.float32)
    return turned


def fit_als(
    pairs: DataFrame, items: Sequence[str], *, units: str, is_used: str, settings: Recommend, blocks: int, seed: int
) -> NDArray[np.float32]:
    """Item factors in the order of `items`, from the rows of `pairs` where `is_used`, weighted by `units`."""
    ratings = numbered(pairs.where(is_used), items).select(
        "user", "item", (F.col(units) / F.lit(UNITS)).cast("float").alias("rating")
    )
    fitted = ALS(
        userCol="user", itemCol="item", ratingCol="rating", implicitPrefs=True, nonnegative=False, seed=seed,
        rank=settings.rank, maxIter=settings.iterations, regParam=settings.regularisation, alpha=settings.alpha,
        numUserBlocks=blocks, numItemBlocks=blocks, checkpointInterval=-1,
    ).fit(ratings.repartition(blocks, "user").sortWithinPartitions("user", "item"))  # fmt: skip
    found = fitted.itemFactors.toArrow()
    factors = np.zeros((len(items), settings.rank), dtype=np.float32)
    flat = found.column("features").combine_chunks()
    factors[found.column("id").to_numpy()] = flat.flatten().to_numpy().reshape(-1, settings.rank)
    return principal_axes(factors)


def numbered(pairs: DataFrame, items: Sequence[str]) -> DataFrame:
    """`pairs` with `item`, the place in `items`, and `user`, a number that depends on the set of user ids only.

    Users are counted in id order within 64 hash parts: no part grows with the cluster, no order of arrival matters.
    """
    part = F.pmod(F.xxhash64("user_id"), F.lit(_PARTS)).cast("int")
    place = F.dense_rank().over(Window.partitionBy("_part").orderBy("user_id"))
    return (
        pairs.withColumn("_part", part)
        .withColumn("user", ((place - 1) * _PARTS + F.col("_part")).cast("int"))
        .join(F.broadcast(item_index(pairs.sparkSession, items)), on="item_id", how="inner")
    )
