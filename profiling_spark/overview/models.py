"""Stored models: which serve, which did before, how good each was."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl

from profiling_spark.contracts.operations import EVERYONE, LIVE_MODELS, MODEL_RUNS
from profiling_spark.storage import Tables

# of each task the figures by which its models are compared, on customers and events that they did not see
FIGURES = {
    "churn": ("auc", "f1"),
    "recommendations": ("recall_at_20", "ndcg_at_20"),
    "segments": ("silhouette", "stability", "k"),
}
_UNSEEN = ("holdout", "test", "sample")


@dataclass(frozen=True)
class ModelLine:
    """A stored model. `first`, `last`: the dates of the runs that served it; `figures`: on what it did not see."""

    task: str
    version: str
    model: str
    is_live: bool
    learned: date
    first: date
    last: date
    figures: dict[str, float]


def model_lines(tables: Tables) -> list[ModelLine]:
    """Every model that ever served, by task, the newest first."""
    live = set(tables.rows(LIVE_MODELS)["model_version"].to_list())
    runs = tables.rows(MODEL_RUNS).filter(
        "promoted", pl.col("model_version").is_not_null(), pl.col("customers") == EVERYONE
    )
    lines = []
    for (task, version), rows in runs.group_by("task", "model_version", maintain_order=True):
        last = rows.filter(pl.col("as_of") == rows["as_of"].max(), pl.col("split").is_in(_UNSEEN))
        found = dict(last.select("metric", "value").rows())
        lines.append(
            ModelLine(
                str(task),
                str(version),
                str(rows["model"][0]),
                version in live,
                rows["train_as_of"][0],
                rows["as_of"].min(),  # type: ignore[arg-type]
                rows["as_of"].max(),  # type: ignore[arg-type]
                {name: found[name] for name in FIGURES.get(str(task), ()) if found.get(name) is not None},
            )
        )
    return sorted(lines, key=lambda m: (m.task, m.last, m.version), reverse=True)
