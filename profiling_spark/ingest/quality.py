"""What the rules found in a run: counts for quality_metrics, and whether it is too much to publish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from profiling_spark.config.quality import BUILT_IN, NEW_COLUMN, NO_USER, UNREADABLE, Ingest, Level
from profiling_spark.config.sources import mappable
from profiling_spark.contracts.table import Table
from profiling_spark.errors import QualityError
from profiling_spark.ingest.rules import REJECTED

_EXAMPLES = 3
# column of the judged rows that names the rules of a level
_NAMED_IN: dict[Level, str] = {"reject": "_reasons", "flag": "flags", "warn": "_warned"}


@dataclass(frozen=True)
class RuleCount:
    """How often a rule held among the rows of a source."""

    rule: str
    level: Level
    message: str
    rows: int


def rule_counts(rows: Sequence[Row], table: Table, ingest: Ingest) -> list[RuleCount]:
    """Every rule of the target, also those that held nowhere, so that a trend has its zeros.

    `rows`: counted groups of one source (see `Batch.count`). A value that does not fit its type is listed where met.
    """
    found: dict[tuple[str, Level], int] = {}
    for row in rows:
        for level, column in _NAMED_IN.items():
            for name in str(row[column]).split(",") if row[column] else ():
                found[name, level] = found.get((name, level), 0) + row["rows"]
    messages = _messages(table, ingest)
    always = [key for key in messages if not key[0].startswith("bad_") or key[0] in BUILT_IN[table.name]]  # type: ignore[index]
    return [
        RuleCount(name, level, messages.get((name, level), ""), found.get((name, level), 0))
        for name, level in dict.fromkeys([*always, *sorted(found)])
    ]


def _messages(table: Table, ingest: Ingest) -> dict[tuple[str, Level], str]:
    """Message of each rule and level that the target can have."""
    target = table.name
    said: dict[tuple[str, Level], str] = {(UNREADABLE, "reject"): "the line cannot be parsed"}
    said |= {(f"bad_{c}", "reject"): f"the value of {c} does not fit its type" for c in mappable(target)}
    said |= {(name, "reject"): message for name, message in BUILT_IN[target].items()}  # type: ignore[index]
    if target == "events":
        said["price_not_positive", "flag"] = "no positive price, which is left out"
    said |= {(r.name, r.level): r.message or f"when {r.when}" for r in ingest.rules if r.target == target}
    said[NEW_COLUMN, "warn"] = "a column that the settings do not know, kept in rescued"
    return said


def check_limits(frame: DataFrame, rows: Sequence[Row], table: Table, ingest: Ingest) -> None:
    """Raises QualityError with rule, count and three examples where a source passes a limit.

    Rows whose only fault is the missing user have their own: a quarter of a shop's lines may be anonymous.
    """
    for source, mine in by_source(rows).items():
        read = sum(r["rows"] for r in mine)
        anonymous = sum(r["rows"] for r in mine if r["_reasons"] == NO_USER)
        faulty = sum(r["rows"] for r in mine if r["_status"] == REJECTED) - anonymous
        refused = frame.where((F.col("source") == source) & (F.col("_status") == REJECTED))
        only_user = F.col("_reasons") == NO_USER
        for rows_over, share, setting, which in (
            (anonymous, ingest.max_no_user_share, "max_no_user_share", only_user),
            (faulty, ingest.max_rejected_share, "max_rejected_share", ~only_user),
        ):
            if rows_over > share * read:
                raise QualityError(
                    f"source {source}: {rows_over:,} of {read:,} rows refused, allowed by ingest.{setting} is a share "
                    f"of {share}; nothing was published. {_worst(mine)} Examples:\n{_shown(refused.where(which))}"
                )
        for count in rule_counts(mine, table, ingest):
            limit = ingest.limits.get(count.rule)
            if limit is not None and limit.is_passed(count.rows, read):
                named = F.array_contains(F.split(_NAMED_IN[count.level], ","), count.rule)
                examples = frame.where((F.col("source") == source) & named)
                raise QualityError(
                    f"source {source}: rule {count.rule} ({count.message}) holds for {count.rows:,} of {read:,} rows, "
                    f"allowed by ingest.limits.{count.rule} is {limit}; nothing was published. Examples:\n"
                    f"{_shown(examples)}"
                )


def by_source(rows: Sequence[Row]) -> Mapping[str, list[Row]]:
    """Counted groups by their source."""
    names = sorted({r["source"] for r in rows})
    return {name: [r for r in rows if r["source"] == name] for name in names}


def metric_rows(run_id: str, rows: Sequence[Row], table: Table, ingest: Ingest) -> list[tuple[object, ...]]:
    """Rows of quality_metrics in the order of its columns."""
    made: list[tuple[object, ...]] = []
    for source, mine in by_source(rows).items():
        read = sum(r["rows"] for r in mine)
        for c in rule_counts(mine, table, ingest):
            made.append((run_id, source, table.name, c.rule, c.level, c.message, c.rows, read, c.rows / read))
    return made


def refused_reasons(rows: Sequence[Row]) -> dict[str, int]:
    """Refused rows by reason; a row with two counts in both."""
    reasons: dict[str, int] = {}
    for row in rows:
        if row["_status"] == REJECTED:
            for reason in str(row["_reasons"]).split(","):
                reasons[reason] = reasons.get(reason, 0) + row["rows"]
    return reasons


def _worst(rows: Sequence[Row]) -> str:
    ranked = sorted(refused_reasons(rows).items(), key=lambda pair: (-pair[1], pair[0]))
    return "Reasons: " + ", ".join(f"{name} {count:,}" for name, count in ranked) + "."


def _shown(frame: DataFrame) -> str:
    why = F.concat_ws(",", *(c for c in _NAMED_IN.values() if c in frame.columns)).alias("why")
    found = frame.select(why, "_raw").orderBy("why", "_raw").limit(_EXAMPLES).collect()
    return "\n".join(f"  [{r['why']}] {str(r['_raw'])[:200]}" for r in found)
