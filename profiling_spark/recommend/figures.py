"""The figures of the engines as rows of model_runs, and in words."""

from __future__ import annotations

from collections.abc import Mapping

from profiling_spark.models import Figure
from profiling_spark.recommend.evaluate import Figures, K
from profiling_spark.recommend.fit import ENGINES
from profiling_spark.recommend.popular import POPULAR

SPLIT = "test"
_METRICS = {f"{name}_at_{K}": f"{name}@{K}" for name in ("recall", "ndcg", "coverage")}


def figure_rows(figures: Mapping[str, Figures]) -> list[Figure]:
    """Every engine and metric; an engine that could not be evaluated has null values over 0 customers."""
    found = {engine: figures.get(engine, Figures(0)) for engine in (*ENGINES, POPULAR)}
    return [
        Figure(engine, SPLIT, metric, f.values.get(name), f.users)
        for engine, f in found.items()
        for metric, name in _METRICS.items()
    ]


def figure_facts(figures: Mapping[str, Figures]) -> dict[str, float | None]:
    """The same as facts of the job."""
    return {f"{r.metric}_{r.model}": r.value for r in figure_rows(figures) if r.model in figures}


def figure_line(figures: Mapping[str, Figures], serving: str) -> str:
    """One line for the terminal."""
    told = [f"{engine} {f.recall:.3f} / {f.ndcg:.3f}" for engine, f in figures.items() if f.recall is not None]
    if not told:
        return f"{serving} serves; too little history to compare engines on a split by time"
    return f"Recall@{K} / NDCG@{K} for new items: {', '.join(told)}; {serving} serves"
