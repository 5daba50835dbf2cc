"""Scores with their reasons, in Arrow batches. Workers load this module, so it imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame

from profiling_spark.prepare import Preparation, as_doubles, matrix_of
from profiling_spark.prepare.wording import Language, chosen_sentences, stem_of
from profiling_spark.scores.calibration import STEPS, Calibration
from profiling_spark.scores.forest import Forest

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

REASONS = 3


def strongest_reasons(names: tuple[str, ...], raw: Floats, typical: Floats, added: Floats, above: Any) -> Ints:
    """Numbers of the features that explain the score, the strongest first: rows by REASONS, -1 where there is none.

    They explain which side of the average the customer is on: where the score is `above` the base, what raised it, else
    what lowered it. The windows of one feature count together and speak through the strongest of them. A value that is
    the typical one explains nothing by itself and speaks only where nothing else does.
    """
    push = np.where(above[:, None], added, -added)
    stems = [stem_of(n) for n in names]
    families = list(dict.fromkeys(stems))
    strength, speaker = np.zeros((len(raw), len(families))), np.zeros((len(raw), len(families)), dtype=np.int64)
    for f, stem in enumerate(families):
        columns = np.flatnonzero([s == stem for s in stems])
        strength[:, f] = push[:, columns].sum(axis=1)
        speaker[:, f] = columns[push[:, columns].argmax(axis=1)]
    usual = np.take_along_axis(raw, speaker, axis=1) == typical[speaker]
    strength = np.where(usual & (strength > 0), strength * 1e-6, strength)
    order = np.argsort(-strength, axis=1, kind="stable")[:, :REASONS]
    chosen = np.where(np.take_along_axis(strength, order, axis=1) > 0, np.take_along_axis(speaker, order, axis=1), -1)
    # nothing moved this customer's score: the strongest still shows what was looked at
    chosen[:, 0] = np.where(chosen[:, 0] < 0, np.take_along_axis(speaker, order[:, :1], axis=1)[:, 0], chosen[:, 0])
    if chosen.shape[1] < REASONS:
        chosen = np.pad(chosen, ((0, 0), (0, REASONS - chosen.shape[1])), constant_values=-1)
    return chosen


@dataclass(frozen=True)
class Scorer:
    """Arrow batches of (user_id, features) in; user_id, step (see Calibration), raw_score, level and reasons out."""

    forest: Forest
    preparation: Preparation
    calibration: Calibration
    language: Language
    medium_from: float
    high_from: float

    schema = (
        "user_id string, step int, raw_score double, level string, reason_1 string, reason_2 string, reason_3 string"
    )

    def __call__(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            if batch.num_rows:
                yield self._one(batch)

    def _one(self, batch: Any) -> Any:
        names, typical = self.preparation.names, self.preparation.typical
        raw = matrix_of(batch, self.preparation.inputs)
        shown = self.preparation.shown(raw)
        score, added = self.forest.contributions(self.preparation.matrix(raw))
        step = self.calibration.steps(score)
        probability = step / STEPS
        level = np.select([probability >= self.high_from, probability >= self.medium_from], ["high", "medium"], "low")
        chosen = strongest_reasons(names, shown, typical, added, score >= self.forest.base)
        reasons = [chosen_sentences(names, chosen[:, n], shown, typical, self.language) for n in range(REASONS)]
        columns = [
            batch.column("user_id").cast(pa.string()),
            pa.array(step),
            pa.array(score),
            pa.array(level.tolist(), pa.string()),
            *(pa.array(texts, pa.string()) for texts in reasons),
        ]
        titles = ["user_id", "step", "raw_score", "level", *(f"reason_{n + 1}" for n in range(REASONS))]
        return pa.RecordBatch.from_arrays(columns, names=titles)


def scored(features: DataFrame, scorer: Scorer) -> DataFrame:
    """One row a customer, in one pass over the features, which are the preparation's inputs."""
    columns = features.select("user_id", *as_doubles(scorer.preparation.inputs))
    return columns.mapInArrow(scorer, Scorer.schema)
