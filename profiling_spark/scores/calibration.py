"""From the model's score to a probability. Workers load this module, so the fit stands apart, in calibrate.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STEPS = 10_000  # probabilities are whole ten-thousandths: finer ones would pretend
_SURE = 1 / STEPS  # nobody is certain to leave or to stay
_EDGE = 1e-6


@dataclass(frozen=True)
class Calibration:
    """Never falls as the score rises. `platt`: sigmoid(x[0] * logit(score) + y[0]). `isotonic`: knots x, heights y."""

    kind: Literal["platt", "isotonic", "none"]
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()

    def steps(self, score: Floats) -> NDArray[np.int32]:
        """Probability in ten-thousandths, 1 to 9,999."""
        probability = np.clip(self._probability(score), _SURE, 1 - _SURE)
        return np.round(probability * STEPS).astype(np.int32)

    def probability(self, score: Floats) -> Floats:
        """Calibrated probability, to four places."""
        return np.asarray(self.steps(score) / STEPS, dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """As stored with the model."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Calibration:
        """The inverse of `to_json`."""
        return cls(stored["kind"], tuple(stored["x"]), tuple(stored["y"]))

    def _probability(self, score: Floats) -> Floats:
        if self.kind == "isotonic":
            return np.interp(score, self.x, self.y)
        if self.kind == "platt":
            return np.asarray(1 / (1 + np.exp(-(self.x[0] * logit(score) + self.y[0]))), dtype=np.float64)
        return score


def logit(score: Floats) -> Floats:
    """log(p / (1 - p)), away from 0 and 1."""
    inside = np.clip(score, _EDGE, 1 - _EDGE)
    return np.asarray(np.log(inside / (1 - inside)), dtype=np.float64)
