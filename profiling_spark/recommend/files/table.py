"""What evaluate_recommender reports, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from profiling_spark.recommend.files.engines import AMONG_GIVEN, BOUGHT_MASKED
from profiling_spark.recommend.judge import metrics
from profiling_spark.recommend.judge.evaluate import CUTS, K
from profiling_spark.recommend.judge.protocols import ALL_ITEMS, NEW_ITEMS

_TITLES = {
    NEW_ITEMS.name: "new items: what a customer had taken is neither offered nor looked for",
    BOUGHT_MASKED.name: "bought masked: what a customer had bought is neither offered nor looked for",
    ALL_ITEMS.name: "all items: repeat purchases count",
    AMONG_GIVEN.name: "among given items: a customer's test items are ranked among the negatives alone",
}
_WITH_INTERVAL = (f"recall@{K}", f"ndcg@{K}")
_WIDTH = 14


def table(report: Mapping[str, Any]) -> str:
    """The figures: of each protocol a row a metric and length of the list, a column an engine."""
    lines = [f"{report['engine']}: {report['customers']:,} customers"]
    engines = {report["engine"]: report, **report["beside"]}
    lines += ["", _TITLES[report["protocol"]], *_rows(engines)]
    if ALL_ITEMS.name in report:
        repeats = {name: of[ALL_ITEMS.name] for name, of in engines.items()}
        judged = f"{report[ALL_ITEMS.name]['customers']:,} customers"
        lines += ["", f"{_TITLES[ALL_ITEMS.name]}: {judged}", *_rows(repeats)]
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
    if any("intervals" in values for values in found.values()):
        lines += ["", "95 % intervals by bootstrap over customers, and of the gain over popular on the same customers"]
        lines += [_interval_line(engine, name, values) for name in _WITH_INTERVAL for engine, values in found.items()]
    return lines


def _interval_line(engine: str, name: str, values: Mapping[str, Any]) -> str:
    low, high = values["intervals"][name]
    line = f"{name:<12}{engine:<14}{low:.4f} to {high:.4f}"
    if "gain_over_popular" not in values:
        return line
    mean, low, high = values["gain_over_popular"][name]
    return f"{line}, gain {mean:+.4f} ({low:+.4f} to {high:+.4f})"


def rating_table(report: Mapping[str, Any]) -> str:
    """How far off each engine is, a row an engine."""
    lines = [f"{report['ratings']:,} ratings of the test file", f"{'':<20}{'rmse':>{_WIDTH}}{'mae':>{_WIDTH}}"]
    for engine, off in report["errors"].items():
        lines.append(f"{engine:<20}" + "".join(f"{off[name]:>{_WIDTH}.4f}" for name in ("rmse", "mae")))
    lines += ["", "seconds: " + ", ".join(f"{name} {value}" for name, value in report["seconds"].items())]
    return "\n".join(lines)
