"""What a customer took before, by weight ("buy again"): the baseline where repeat purchases count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from profiling_spark.recommend.matrix.item_side import Floats, Histories, Ints, Scores


@dataclass(frozen=True)
class _Own:
    side: OwnHistorySide
    histories: Histories

    def block(self) -> Scores:
        h = self.histories
        scores = np.full((len(h), self.side.items), -np.inf, dtype=np.float32)
        row, place = np.nonzero(h.weights > 0)
        scores[row, h.items[row, place]] = h.weights[row, place]
        return scores

    def exact(self, chosen: Ints) -> Floats:
        values: Floats = self.contributions(chosen).sum(axis=2)
        return values

    def contributions(self, chosen: Ints) -> Floats:
        is_same = chosen[:, :, None] == self.histories.items[:, None, :]
        values: Floats = is_same * self.histories.weights[:, None, :]
        return values


@dataclass(frozen=True)
class OwnHistorySide:
    """Each past item scores its own weight, no other item is offered."""

    items: int
    engine: str = "own_history"
    kind: ClassVar[str] = "own_history"

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {}

    def numbers(self) -> dict[str, Any]:
        return {"items": self.items}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], numbers: Mapping[str, Any]) -> OwnHistorySide:
        return cls(int(numbers["items"]))

    def score(self, histories: Histories) -> _Own:
        """Nothing to prepare."""
        return _Own(self, histories)
