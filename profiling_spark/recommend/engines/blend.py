"""Several engines as one: the weighted sum of their scores, each engine's as a share of the customer's best.

A sum of scores that are scaled within a customer is again a sum over the customer's past items, so a blend is an item
side like any other, and its reasons add up over the engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from profiling_spark.recommend.engines.graph_filter import scoring_all
from profiling_spark.recommend.matrix.item_side import Floats, Histories, Ints, ItemSide, Scored, Scores
from profiling_spark.recommend.matrix.score_block import every
from profiling_spark.recommend.matrix.top_n import select_top

BLEND = "blend"


@dataclass(frozen=True)
class _Blended:
    parts: tuple[Scored, ...]
    scales: tuple[Floats, ...]  # (customers,) of each part: its weight / its best score
    scores: Scores

    def block(self) -> Scores:
        return self.scores

    def exact(self, chosen: Ints) -> Floats:
        values: Floats = np.zeros(chosen.shape)
        for part, scale in zip(self.parts, self.scales, strict=True):
            values += part.exact(chosen) * scale[:, None]
        return values

    def contributions(self, chosen: Ints) -> Floats:
        first, *rest = (
            part.contributions(chosen) * scale[:, None, None]
            for part, scale in zip(self.parts, self.scales, strict=True)
        )
        return sum(rest, start=first)


@dataclass(frozen=True)
class BlendSide:
    """`weights` of the `sides`, above 0. Where an engine has no score for an item it adds 0; an item without any is
    not offered.
    """

    sides: tuple[ItemSide, ...]
    weights: tuple[float, ...]
    engine: str = BLEND

    @property
    def items(self) -> int:
        return self.sides[0].items

    def score(self, histories: Histories) -> _Blended:
        """Score by every engine, and scale."""
        return blended([scaled(side.score(histories)) for side in self.sides], self.weights)


@dataclass(frozen=True)
class Scaled:
    """What one engine makes of a block: `scores` (customers, items) as shares of the customer's best, -inf where it has
    none; `scale` (customers,): 1 / the best score, 0 where that is not above 0: then the engine says nothing.
    """

    part: Scored
    scores: Scores
    scale: Floats


def scaled(part: Scored) -> Scaled:
    """Of an engine that scores all items."""
    scores = every(part.block())
    # by its exact score, so that the last bits of float32 do not depend on who else is in the block
    best = select_top(scores, 1, part.exact)[1][:, 0]
    has_score = np.nan_to_num(best) > 0
    scale = np.where(has_score, 1 / np.where(has_score, best, 1.0), 0.0)
    scores[~has_score] = -np.inf
    np.multiply(scores, scale[:, None].astype(np.float32), out=scores, where=np.isfinite(scores))
    return Scaled(part, scores, scale)


def blended(parts: Sequence[Scaled], weights: Sequence[float]) -> _Blended:
    """Their weighted sum; the parts stay as they are."""
    total = np.full(parts[0].scores.shape, -np.inf, dtype=np.float32)
    for part, weight in zip(parts, weights, strict=True):
        is_open = np.isfinite(part.scores)
        np.add(np.where(np.isfinite(total), total, 0.0), part.scores * np.float32(weight), out=total, where=is_open)
    scales = tuple(part.scale * weight for part, weight in zip(parts, weights, strict=True))
    return _Blended(tuple(part.part for part in parts), scales, total)


def blend_side(sides: Sequence[ItemSide], weights: Sequence[float]) -> BlendSide:
    """The blend of the engines whose weight is above 0. All items are scored: those of one engine need not be among the
    candidates of another.
    """
    used = [(scoring_all(side), weight) for side, weight in zip(sides, weights, strict=True) if weight > 0]
    return BlendSide(tuple(side for side, _ in used), tuple(weight for _, weight in used))
