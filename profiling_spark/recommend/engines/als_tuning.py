"""ALS by settings that the fit finds itself: trials on customers who are asked what they took next.

A trial is a fit on the training part and NDCG@20 for new items of the judged customers: in the nightly job of
customers who judge nothing else, in evaluate_recommender of held-out training pairs. Trials are fitted as what serves
is (als_fit.py); those of the nightly job always in this process, on fewer customers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl
from pyspark.sql import DataFrame

from profiling_spark.config import Settings
from profiling_spark.config.settings import Recommend
from profiling_spark.recommend.engines.als import FactorSide, fit_als
from profiling_spark.recommend.engines.als_fit import fits_here, most_pairs, some_customers
from profiling_spark.recommend.engines.als_here import fit_here, learned
from profiling_spark.recommend.engines.settings_search import Axis, Found, Trial, Values, search
from profiling_spark.recommend.judge.evaluate import K
from profiling_spark.recommend.judge.in_process import Judge, judge_of
from profiling_spark.recommend.judge.protocols import Protocol
from profiling_spark.recommend.matrix.item_side import Bools, Scores

SAMPLE_PAIRS = 200_000  # of a nightly search, which must not take longer than the rest of the night
LEAST_CUSTOMERS = 50  # fewer cannot tell settings apart
_MOST_ITERATIONS = 13  # each makes MLlib's plan deeper: some 30 overflow the stack of a small driver
_MOST_RANK = 128  # a fit costs the square of the rank, and more
NAMES = ("rank", "iterations", "regularisation", "alpha")


@dataclass(frozen=True)
class Split:
    """The pairs of a split (as of `with_masks`), which of them train, and by item number the ids and whether an item
    may be offered. `train_pairs`: how many train, at most; `protocol`: by which trials are judged; `asked`: ids of the
    customers on whom, a few thousand. `is_sampled`: trials learn from as many customers, picked by hash, as have about
    SAMPLE_PAIRS pairs; what serves does not.
    """

    pairs: DataFrame
    items: tuple[str, ...]
    is_offered: Bools
    is_used: str
    train_pairs: int
    protocol: Protocol
    asked: pl.Series
    is_sampled: bool = False

    @cached_property
    def judge(self) -> Judge:
        """The customers who are asked and can be: collected once for all engines."""
        return judge_of(self.pairs, self.asked, self.items, self.is_offered, self.protocol)

    def has(self, customers: int) -> bool:
        """Whether so many customers can be asked."""
        return len(self.asked) >= customers and self.judge.customers >= customers


def values_of(settings: Recommend) -> Values:
    """Those of ALS."""
    return {name: getattr(settings, name) for name in NAMES}


def with_values(settings: Recommend, values: Values) -> Recommend:
    """The settings with these of ALS, and nothing left to try."""
    return settings.model_copy(update={**values, "als_trials": 0})


def tuned_als(
    split: Split,
    settings: Settings,
    *,
    least_customers: int = LEAST_CUSTOMERS,
    note: Callable[[Trial], object] = lambda trial: None,
) -> Found | None:
    """What `recommend.als_trials` trials from the settings find; `note` gets each trial. None: no trials are wanted, or
    those who can be asked are fewer than `least_customers`.
    """
    if settings.recommend.als_trials == 0 or not split.has(least_customers):
        return None
    fit = _fit_of(split, settings)

    def value(values: Values) -> float:
        asked = with_values(settings.recommend, values)
        ndcg = split.judge.ndcg(FactorSide(fit(asked), alpha=asked.alpha, regularisation=asked.regularisation))
        note(Trial(values, ndcg))
        return ndcg

    return search(values_of(settings.recommend), _axes(len(split.items)), value, budget=settings.recommend.als_trials)


def in_words(values: Values) -> str:
    """Such as "rank 64, iterations 3, regularisation 4, alpha 40"."""
    return ", ".join(f"{name} {value:g}" for name, value in values.items())


def tuning_facts(tuned: Mapping[str, Found]) -> dict[str, Any]:
    """For the job's facts, of each engine with trials: the settings that were chosen, and each trial."""
    facts: dict[str, Any] = {}
    for engine, found in tuned.items():
        trials = [{**trial.values, f"ndcg_at_{K}": round(trial.value, 5)} for trial in found.trials]
        facts |= {engine: dict(found.best.values), f"{engine}_trials": trials}
        facts[f"{engine}_widened"] = list(found.widened)
    return facts


def tuning_lines(tuned: Mapping[str, Found]) -> list[str]:
    """For the terminal."""
    lines = []
    for engine, found in tuned.items():
        first, best = found.trials[0], found.best
        how = f"NDCG@{K} {best.value:.4f} of the customers searched on, {first.value:.4f} as set"
        lines.append(f"{engine} by {in_words(best.values)}: {how}; {found.in_words()}")
    return lines


def _axes(items: int) -> tuple[Axis, ...]:
    """Alpha first, and lambda along with it: how much a pair counts against all that was not taken, the ridge in
    proportion. Rank and passes, which cost time, when these are found.
    """
    rank = max(2, min(_MOST_RANK, items // 2))
    return (
        Axis("alpha", 4.0, least=1e-4, most=1e5, along=("regularisation",)),
        Axis("regularisation", 2.0, least=1e-6, most=1e6),
        Axis("rank", 2.0, least=2, most=rank, is_whole=True),
        Axis("iterations", 1.6, least=2, most=_MOST_ITERATIONS, is_whole=True),
    )


def _fit_of(split: Split, settings: Settings) -> Callable[[Recommend], Scores]:
    """The fit of a trial: item factors by settings."""
    units, seed, rows = "train_units", settings.seed, split.pairs.where(split.is_used)
    if not (split.is_sampled or fits_here(settings.recommend, len(split.items), split.train_pairs)):
        blocks = settings.spark.fit_partitions
        return lambda asked: fit_als(
            split.pairs, split.items, units=units, is_used=split.is_used, settings=asked, blocks=blocks, seed=seed
        )
    most = SAMPLE_PAIRS if split.is_sampled else most_pairs(settings.recommend, len(split.items))
    some = some_customers(rows.select("user_id", "item_id", units), split.train_pairs, most, seed=seed)
    pairs = learned(some.toArrow(), split.items, units=units)
    return lambda asked: fit_here(pairs, asked, seed=seed)
