"""The readable end of a pipeline: what came in, who the customers are, how good the models are, where to look next."""

from __future__ import annotations

from typing import Any

import polars as pl
from pyspark.sql import Row
from pyspark.sql import functions as F

from profiling_spark.attributes import believed, versions
from profiling_spark.context import Context
from profiling_spark.contracts.gold import SEGMENTS, TOP_RECOMMENDATIONS, USER_PROFILE
from profiling_spark.contracts.operations import EVERYONE, MODEL_RUNS
from profiling_spark.contracts.silver import ITEMS
from profiling_spark.features.flagged import FLAGGED, NOTABLE, note

_EXAMPLES = 3
_FIGURES = (
    ("churn", ("auc", "f1", "precision", "recall", "accuracy")),
    ("recommendations", ("recall_at_20", "ndcg_at_20", "coverage_at_20")),
    ("segments", ("silhouette", "stability", "k")),
)


def summary(ctx: Context) -> str:
    """Text for the terminal, from the tables and the stages' outcomes."""
    parts = [
        _title(f"profiling_spark, as of {ctx.as_of}, run {ctx.run_id}"),
        *_input(ctx),
        *_segments(ctx),
        *_models(ctx),
        *_examples(ctx),
        *_tables(ctx),
    ]
    return "\n".join(parts)


def _title(text: str) -> str:
    return f"\n{text}\n{'-' * len(text)}"


def _input(ctx: Context) -> list[str]:
    outcome = ctx.outcomes.get("ingest")
    if outcome is None:
        return []
    lines = [_title("Rows")]
    return lines + [f"  {line}" for line in outcome.lines]


def _segments(ctx: Context) -> list[str]:
    rows = ctx.tables.rows(SEGMENTS, as_of=ctx.as_of, method="kmeans")
    rows = rows.sort("users", "segment_id", descending=[True, False])
    skipped = ctx.outcomes["segment_users"].skipped if "segment_users" in ctx.outcomes else ""
    lines = [_title("Segments")]
    if skipped:
        return [*lines, f"  skipped: {skipped}"]
    chinese = ctx.settings.language == "zh"
    for row in rows.iter_rows(named=True):
        name, text = (row["name_zh"], row["description_zh"]) if chinese else (row["name_en"], row["description_en"])
        lines.append(f"  {row['users']:>8,} {row['share']:>6.1%}  {name}: {text}")
    return lines


def _models(ctx: Context) -> list[str]:
    is_reported = (pl.col("customers") == EVERYONE) & pl.col("split").is_in(["holdout", "test", "sample"])
    rows = ctx.tables.rows(MODEL_RUNS, as_of=ctx.as_of).filter(is_reported).to_dicts()
    stages = {"churn": "score_users", "recommendations": "recommend_items", "segments": "segment_users"}
    lines = [_title("Models, on customers and events they did not see")]
    for task, metrics in _FIGURES:
        outcome = ctx.outcomes.get(stages[task])
        if outcome is not None and outcome.skipped:
            lines.append(f"  {task}: skipped: {outcome.skipped}")
            continue
        found = {(r["model"], r["metric"]): r for r in rows if r["task"] == task}
        for model in _ordered({m for m, _ in found}, found):
            values = {k: found[model, k]["value"] for k in metrics if (model, k) in found}
            shown = [f"{k} {v:.3f}" for k, v in values.items() if v is not None]
            if shown:
                serving = " (serves)" if any(r["promoted"] for (m, _), r in found.items() if m == model) else ""
                lines.append(f"  {task:<16}{model:<15}{'  '.join(shown)}{serving}")
    return lines


def _ordered(models: set[str], found: dict[tuple[str, str], Any]) -> list[str]:
    """The serving model first, then baselines by name."""
    promoted = {m for (m, _), r in found.items() if r["promoted"]}
    return sorted(models, key=lambda m: (m not in promoted, m))


def _examples(ctx: Context) -> list[str]:
    """Three customers with the most tags, one a segment where there are segments."""
    profile = ctx.tables.read(USER_PROFILE)
    tags = F.when(F.col("tags").isNotNull(), F.size(F.split("tags", ","))).otherwise(F.lit(0))
    order = F.struct(tags, F.coalesce("monetary", F.lit(0)), "user_id")
    picked = profile.groupBy("segment_id").agg(F.max_by(F.struct("*"), order).alias("row"))
    rows = picked.select("row.*").orderBy(F.col("monetary").desc_nulls_last(), "user_id").limit(_EXAMPLES).collect()
    lines = [_title("Three customers")]
    titles = _titles(ctx, rows)
    for row in rows:
        lines += _example({k: v for k, v in row.asDict().items() if v is not None}, titles)
    return lines


def _titles(ctx: Context, rows: list[Row]) -> dict[str, str]:
    """Titles of the items offered to these customers, of those that the catalogue knows."""
    offered = {row[f"recommendation_{rank}"] for row in rows for rank in range(1, TOP_RECOMMENDATIONS + 1)}
    items = versions(ctx.tables, ITEMS).where(F.col("item_id").isin(*(i for i in offered if i is not None)))
    settings = ctx.settings
    latest = believed(
        items, key=("item_id",), values=["title"], as_of=None, timezone=settings.business_timezone,
        precedence=settings.precedence,
    )  # fmt: skip
    return {row["item_id"]: row["title"] for row in latest.collect() if row["title"]}


def _example(row: dict[str, Any], titles: dict[str, str]) -> list[str]:
    who = [str(row[c]) for c in ("gender", "age_band", "city") if c in row]
    lines = [f"  {row['user_id']}" + (f" ({', '.join(who)})" if who else "")]
    if "segment_name_en" in row:
        lines.append(f"    segment  {row['segment_name_en']} / {row['segment_name_zh']}")
    if "frequency" in row:
        # without amounts nothing is known of the money, nor of the group that rests on it
        parts = [f"{row['frequency']} orders"]
        parts += [f"{row['monetary']:,.2f} spent"] if "monetary" in row else []
        parts += [row["rfm_group"]] if "rfm_group" in row else [] if row["frequency"] else ["no purchase"]
        lines.append(f"    value    {', '.join(parts)}{_doubt(row)}")
    if "churn_probability" in row:
        why = f": {row['churn_reason']}" if "churn_reason" in row else ""
        lines.append(f"    churn    {row['churn_probability']:.0%}, {row['churn_level']}{why}")
    if "tags" in row:
        lines.append(f"    tags     {row['tags']}")
    for rank in range(1, TOP_RECOMMENDATIONS + 1):
        if f"recommendation_{rank}" in row:
            reason = row.get(f"recommendation_{rank}_reason", "")
            item = row[f"recommendation_{rank}"]
            lines.append(f"    offer {rank}  {titles.get(item, item)}: {reason}")
    return lines


def _doubt(row: dict[str, Any]) -> str:
    """How much of the amount rests on flagged rows, where that is notable."""
    flagged = row.get(FLAGGED, 0)
    share = float(flagged / max(flagged, row.get("monetary", 0))) if flagged else 0.0
    return note(share, (), "en") if share >= NOTABLE else ""


def _tables(ctx: Context) -> list[str]:
    names = sorted(ctx.tables.written_versions)
    return [
        _title("Where to look"),
        f"  Delta tables in {ctx.tables.root}: {', '.join(names)}",
        "  Open them with any Delta reader, for example in DuckDB:",
        f"    INSTALL delta; LOAD delta; SELECT * FROM delta_scan('{ctx.tables.root}/user_profile') LIMIT 5;",
        "  Your own data: README.md, section 'Your own data in ten minutes'.",
    ]
