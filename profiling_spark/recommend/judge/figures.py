"""The figures of the engines as rows of model_runs, and in words."""

from __future__ import annotations

from profiling_spark.contracts.operations import EVERYONE
from profiling_spark.models import Figure
from profiling_spark.recommend.engines.popular import POPULAR
from profiling_spark.recommend.judge import metrics
from profiling_spark.recommend.judge.choose import ALONE, LIVE, TEST, VALIDATION
from profiling_spark.recommend.judge.evaluate import CUTS, Evaluated, Figures, K
from profiling_spark.recommend.judge.protocols import ALL_ITEMS, AS_SERVED, NEW_ITEMS

_AS_FACTS = ("recall", "ndcg", "coverage")
# what is offered and looked for is another task by each protocol, so its split has another name
_SPLIT = {NEW_ITEMS.name: "{}", AS_SERVED.name: "{}_as_served", ALL_ITEMS.name: "{}_all_items"}
# NDCG above popular's on the same customers, and the paired interval of it
GAIN = tuple(f"ndcg_gain{bound}@{K}" for bound in ("", "_low", "_high"))


def figure_rows(found: Evaluated) -> list[Figure]:
    """Every protocol, engine, group and metric; an engine that could not be evaluated has null values over 0 customers.

    The halves have all metrics, a group of the test half has those of ranking.
    """
    keys = {(protocol, group) for protocol, _, group in found.figures} or {
        (NEW_ITEMS.name, half) for half in (VALIDATION, TEST)
    }
    engines = sorted({engine for _, engine, _ in found.figures} or {*ALONE, POPULAR})
    rows = []
    for protocol, group in sorted(keys):
        half, members = (group, EVERYONE) if group in (VALIDATION, TEST) else (TEST, group)
        split = _SPLIT[protocol].format(half)
        shape = metrics.SHAPE if members == EVERYONE else ()
        names = ["share_served", *(f"{name}@{k}" for name in (*metrics.RANKING, *shape) for k in CUTS)]
        for engine in engines:
            f = found.figures.get((protocol, engine, group), Figures(0))
            values = {name: f.values.get(name) for name in names} | _gain(found, protocol, engine, group)
            rows += [Figure(engine, split, n.replace("@", "_at_"), v, f.users, members) for n, v in values.items()]
    return rows


def _gain(found: Evaluated, protocol: str, engine: str, group: str) -> dict[str, float | None]:
    """Of a half; without bounds where fewer than two customers were judged."""
    paired = found.paired.get((protocol, group))
    if group not in (VALIDATION, TEST) or engine == POPULAR or paired is None or engine not in paired.engines:
        return {}
    gain = paired.gain(engine, POPULAR)
    bounds = (None, None) if paired.users < 2 else (gain.low, gain.high)
    return dict(zip(GAIN, (gain.mean, *bounds), strict=True))


def figure_facts(found: Evaluated) -> dict[str, float | None]:
    """A few of the test half's figures for new items as facts of the job, and NDCG as served."""
    facts = {
        f"{name}_at_{K}_{engine}": f.values.get(f"{name}@{K}")
        for engine, f in found.of(NEW_ITEMS, TEST).items()
        for name in _AS_FACTS
    }
    return facts | {f"ndcg_as_served_at_{K}_{engine}": f.ndcg for engine, f in found.of(AS_SERVED, TEST).items()}


def figure_line(found: Evaluated, serving: str) -> str:
    """One line for the terminal. `serving` LIVE: the model that serves now stays."""
    new, served = found.of(NEW_ITEMS, TEST), found.of(AS_SERVED, TEST)
    parts = [f"{engine} {f.ndcg:.3f} / {_short(new.get(engine))}" for engine, f in served.items() if f.lists]
    if not parts:
        return f"{serving} serves; too little history to compare engines on a split by time"
    users = max(f.users for f in served.values())
    what = "nothing is better than the live model beyond noise, it stays" if serving == LIVE else f"{serving} serves"
    figures = ", ".join(parts)
    return f"NDCG@{K} of lists as they are served / of new items only, {users:,} customers: {figures}; {what}"


def _short(figures: Figures | None) -> str:
    return "-" if figures is None or figures.ndcg is None else f"{figures.ndcg:.3f}"
