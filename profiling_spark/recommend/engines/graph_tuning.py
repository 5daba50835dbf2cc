"""graph_filter by settings that the fit finds itself, as als_tuning.py has it for ALS; all trials in this process.

The exponents of the normalisation first, then how many neighbours an item keeps, how many vectors there are, and how
much these count against the neighbours. Only where all pairs fit here: a sample of the customers would ask for fewer
neighbours and vectors than the whole shop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from profiling_spark.config import Settings
from profiling_spark.config.settings import MOST_NEIGHBOURS, GraphFilter
from profiling_spark.recommend.engines.als_here import learned
from profiling_spark.recommend.engines.als_tuning import LEAST_CUSTOMERS, Split
from profiling_spark.recommend.engines.graph_fit import bands_for, neighbours_for
from profiling_spark.recommend.engines.graph_here import GraphHere
from profiling_spark.recommend.engines.settings_search import Axis, Found, Trial, Values, search

MOST_PAIRS = 500_000
MOST_ITEMS = 10_000  # whose products, 100 million at most, are kept between trials
_LEAST_ITEMS = 8  # for each vector, as in every fit


def fits_here(split: Split) -> bool:
    """Whether trials can be fitted in this process."""
    return split.train_pairs <= MOST_PAIRS and len(split.items) <= MOST_ITEMS


def tuned_graph(
    split: Split,
    settings: Settings,
    *,
    least_customers: int = LEAST_CUSTOMERS,
    note: Callable[[Trial], object] = lambda trial: None,
) -> Found | None:
    """What `recommend.graph_filter.trials` trials from the settings find, see `tuned_als`. None: no trials are wanted,
    those who can be asked are fewer than `least_customers`, or the shop is too large.
    """
    asked = settings.recommend.graph_filter
    if asked.trials == 0 or not fits_here(split) or not split.has(least_customers):
        return None
    rows = split.pairs.where(split.is_used).select("user_id", "item_id", "train_units").toArrow()
    pairs = learned(rows, split.items, units="train_units")
    known = len(np.unique(pairs.places))
    most = max(2, known // _LEAST_ITEMS)
    here = GraphHere(pairs, asked, vectors=most, seed=settings.seed)

    def value(values: Values) -> float:
        ndcg = split.judge.ndcg(here.side(with_graph_values(asked, values)))
        note(Trial(values, ndcg))
        return ndcg

    axes = (
        Axis("item_exponent", 1.25, least=0.1, most=1.0),
        Axis("user_exponent", 1.5, least=0.05, most=1.0),
        Axis("neighbours", 2.0, least=2, most=min(known, MOST_NEIGHBOURS), is_whole=True),
        Axis("vectors", 2.0, least=2, most=most, is_whole=True),
        Axis("ratio", 2.0, least=1 / 64, most=64),
    )
    return search(graph_values(asked, known), axes, value, budget=asked.trials)


def graph_values(settings: GraphFilter, items: int) -> Values:
    """What is searched, as the settings have it in a catalogue of so many items; `ratio` times those of the bands."""
    return {
        "item_exponent": settings.item_exponent,
        "user_exponent": settings.user_exponent,
        "neighbours": neighbours_for(settings, items),
        "vectors": sum(band.count for band in bands_for(settings, items)),
        "ratio": 1.0,
    }


def with_graph_values(settings: GraphFilter, values: Values) -> GraphFilter:
    """The settings with these, in any catalogue, and nothing left to try. The bands share the vectors as they did."""
    wanted, vectors = sum(band.vectors for band in settings.bands), int(values["vectors"])
    ends = np.ceil(np.cumsum([band.vectors for band in settings.bands]) * (vectors / wanted)).astype(np.int64)
    counts = np.maximum(np.diff(np.r_[0, ends]), 1).tolist()
    bands = tuple(
        band.model_copy(update={"vectors": count, "ratio": band.ratio * values["ratio"]})
        for band, count in zip(settings.bands, counts, strict=True)
    )
    found: dict[str, Any] = {
        "item_exponent": values["item_exponent"],
        "user_exponent": values["user_exponent"],
        "neighbours": int(values["neighbours"]),
        "neighbours_share": 1.0,
        "bands": bands,
        "vectors_share": 1.0,
        "least_vectors": vectors,
        "trials": 0,
    }
    return settings.model_copy(update=found)
