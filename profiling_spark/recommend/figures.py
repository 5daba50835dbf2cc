"""The figures of the engines as rows of model_runs, and in words."""

from __future__ import annotations

from profiling_spark.contracts.operations import EVERYONE
from profiling_spark.models import Figure
from profiling_spark.recommend import metrics
from profiling_spark.recommend.choose import LIVE, TEST, VALIDATION, Comparison
from profiling_spark.recommend.evaluate import ALL_ITEMS, CUTS, NEW_ITEMS, Figures, K
from profiling_spark.recommend.fit import ENGINES
from profiling_spark.recommend.own_history import OwnHistorySide
from profiling_spark.recommend.popular import POPULAR

_AS_FACTS = ("recall", "ndcg", "coverage")
# where repeat purchases count the figures are of another task, so their split has another name
_SPLIT = {NEW_ITEMS.name: "{}", ALL_ITEMS.name: "{}_all_items"}


def figure_rows(found: Comparison) -> list[Figure]:
    """Every protocol, engine, group and metric; an engine that could not be evaluated has null values over 0 customers.

    The halves have all metrics, a group of the test half has those of ranking.
    """
    keys = {(protocol, group) for protocol, _, group in found} or {
        (NEW_ITEMS.name, half) for half in (VALIDATION, TEST)
    }
    engines = sorted({engine for _, engine, _ in found} or {*ENGINES, POPULAR, OwnHistorySide.engine})
    rows = []
    for protocol, group in sorted(keys):
        half, members = (group, EVERYONE) if group in (VALIDATION, TEST) else (TEST, group)
        split = _SPLIT[protocol].format(half)
        shape = metrics.SHAPE if members == EVERYONE else ()
        names = ["share_served", *(f"{name}@{k}" for name in (*metrics.RANKING, *shape) for k in CUTS)]
        for engine in engines:
            f = found.get((protocol, engine, group), Figures(0))
            rows += [Figure(engine, split, n.replace("@", "_at_"), f.values.get(n), f.users, members) for n in names]
    return rows


def figure_facts(found: Comparison) -> dict[str, float | None]:
    """A few of the test half's figures for new items as facts of the job."""
    return {
        f"{name}_at_{K}_{engine}": f.values.get(f"{name}@{K}")
        for engine, f in _tested(found).items()
        for name in _AS_FACTS
    }


def figure_line(found: Comparison, serving: str) -> str:
    """One line for the terminal. `serving` LIVE: the model that serves now stays."""
    parts = [f"{engine} {f.recall:.3f} / {f.ndcg:.3f}" for engine, f in _tested(found).items() if f.lists]
    if not parts:
        return f"{serving} serves; too little history to compare engines on a split by time"
    what = "the live model ranked better and stays" if serving == LIVE else f"{serving} serves"
    return f"Recall@{K} / NDCG@{K} for new items: {', '.join(parts)}; {what}"


def _tested(found: Comparison) -> dict[str, Figures]:
    return {engine: f for (protocol, engine, group), f in found.items() if (protocol, group) == (NEW_ITEMS.name, TEST)}
