"""What evaluate_recommender reports, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from profiling_spark.recommend import metrics
from profiling_spark.recommend.evaluate import ALL_ITEMS, CUTS, NEW_ITEMS

_TITLES = {
    NEW_ITEMS.name: "new items: what a customer had taken is neither offered nor looked for",
    ALL_ITEMS.name: "all items: repeat purchases count",
}
_WIDTH = 14


def table(report: Mapping[str, Any]) -> str:
    """The figures: of each protocol a row a metric and length of the list, a column an engine."""
    lines = [f"{report['engine']}: {report['customers']:,} customers"]
    engines = {report["engine"]: report, **report["beside"]}
    lines += ["", _TITLES[NEW_ITEMS.name], *_rows(engines)]
    if ALL_ITEMS.name in report:
        lines += ["", _TITLES[ALL_ITEMS.name], *_rows({name: of[ALL_ITEMS.name] for name, of in engines.items()})]
    if "weights" in report:
        weights = ", ".join(f"{engine} {weight}" for engine, weight in report["weights"].items())
        lines += ["", f"weights fitted on held-out training pairs: {weights}"]
    if report["chosen"]:
        lines += ["", "chosen on held-out training pairs: " + ", ".join(report["chosen"])]
    lines += ["", "seconds: " + ", ".join(f"{name} {value}" for name, value in report["seconds"].items())]
    return "\n".join(lines)


def _rows(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """`found`: values by metric, by engine."""
    names = [f"{name}@{k}" for name in (*metrics.RANKING, *metrics.SHAPE) for k in CUTS]
    lines = [" " * 20 + "".join(f"{engine:>{_WIDTH}}" for engine in found)]
    for name in ("share_served", *names):
        cells = [values.get(name) for values in found.values()]
        lines.append(f"{name:<20}" + "".join(f"{'-' if c is None else format(c, '.4f'):>{_WIDTH}}" for c in cells))
    return lines


def rating_table(report: Mapping[str, Any]) -> str:
    """How far off each engine is, a row an engine."""
    lines = [f"{report['ratings']:,} ratings of the test file", f"{'':<20}{'rmse':>{_WIDTH}}{'mae':>{_WIDTH}}"]
    for engine, off in report["errors"].items():
        lines.append(f"{engine:<20}" + "".join(f"{off[name]:>{_WIDTH}.4f}" for name in ("rmse", "mae")))
    lines += ["", "seconds: " + ", ".join(f"{name} {value}" for name, value in report["seconds"].items())]
    return "\n".join(lines)
