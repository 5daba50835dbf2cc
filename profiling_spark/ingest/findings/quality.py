"""What the rules found in a run: counts for quality_metrics, and whether it is too much to publish."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from profiling_spark.config.quality import BUILT_IN, NEW_COLUMN, NO_USER, UNREADABLE, WRONG_ENCODING, Ingest, Level
from profiling_spark.config.sources import Source
from profiling_spark.config.targets import mappable
from profiling_spark.contracts.table import Table
from profiling_spark.errors import QualityError
from profiling_spark.ingest.judging.rules import REJECTED
from profiling_spark.ingest.resolving.resolve import EXAMPLES, Ends, Group

_LEVELS: tuple[Level, ...] = ("reject", "flag", "warn")


@dataclass(frozen=True)
class RuleCount:
    """How many rows of a source a rule applied to."""

    rule: str
    level: Level
    message: str
    rows: int


def rule_counts(rows: Sequence[Group], table: Table, ingest: Ingest) -> list[RuleCount]:
    """Every rule of the target, also those that applied to none, so that a trend has its zeros.

    `rows`: groups of one source. A value that does not fit its type is listed where met.
    """
    found: dict[tuple[str, Level], int] = {}
    for row in rows:
        for level in _LEVELS:
            for name in _named(row, level):
                found[name, level] = found.get((name, level), 0) + row.rows
    messages = _messages(table, ingest)
    always = [key for key in messages if not key[0].startswith("bad_") or key[0] in BUILT_IN[table.name]]  # type: ignore[index]
    return [
        RuleCount(name, level, messages.get((name, level), ""), found.get((name, level), 0))
        for name, level in dict.fromkeys([*always, *sorted(found)])
    ]


def _messages(table: Table, ingest: Ingest) -> dict[tuple[str, Level], str]:
    """Message of each rule and level that the target can have."""
    target = table.name
    messages: dict[tuple[str, Level], str] = {(UNREADABLE, "reject"): "the line cannot be parsed"}
    messages[WRONG_ENCODING, "reject"] = "bytes that do not fit the source's encoding"
    messages |= {(f"bad_{c}", "reject"): f"the value of {c} does not fit its type" for c in mappable(target)}
    messages |= {(name, "reject"): message for name, message in BUILT_IN[target].items()}  # type: ignore[index]
    if target == "events":
        messages["price_not_positive", "flag"] = "no positive price, which is left out"
    messages |= {(r.name, r.level): r.message or f"when {r.when}" for r in ingest.rules if r.target == target}
    messages[NEW_COLUMN, "warn"] = "a column that the settings do not know, kept in rescued"
    return messages


Locate = Callable[[str, str, str], str]
"""Of (source, file_id, raw text) the file and the line: messages name rows, they never show them."""


def check_limits(rows: Sequence[Group], table: Table, ingest: Ingest, locate: Locate) -> None:
    """Raises QualityError with rule, count and three examples where a source passes a limit.

    Rows whose only fault is the missing user have their own: a quarter of a shop's lines may be anonymous.
    """
    for source, of_source in by_source(rows).items():
        read = sum(r.rows for r in of_source)
        anonymous = [r for r in of_source if r.reasons == NO_USER]
        faulty = [r for r in of_source if r.status == REJECTED and r.reasons != NO_USER]
        for over, share, setting in (
            (anonymous, ingest.max_no_user_share, "max_no_user_share"),
            (faulty, ingest.max_rejected_share, "max_rejected_share"),
        ):
            rows_over = sum(r.rows for r in over)
            if rows_over > share * read:
                raise QualityError(
                    f"source {source}: {rows_over:,} of {read:,} rows refused, allowed by ingest.{setting} is a share "
                    f"of {share}; nothing was published. {_worst(of_source)} Examples:\n{_shown(over, locate)}"
                )
        for count in rule_counts(of_source, table, ingest):
            limit = ingest.limits.get(count.rule)
            if limit is not None and limit.is_passed(count.rows, read):
                examples = [r for r in of_source if count.rule in _named(r, count.level)]
                raise QualityError(
                    f"source {source}: rule {count.rule} ({count.message}) holds for {count.rows:,} of {read:,} rows, "
                    f"allowed by ingest.limits.{count.rule} is {limit}; nothing was published. Examples:\n"
                    f"{_shown(examples, locate)}"
                )


def check_ends(ends: Iterable[Ends], sources: Mapping[str, Source]) -> None:
    """Raises QualityError where a snapshot ends more of a source's keys than allowed: a cut export must not end all."""
    by_snapshot: dict[tuple[str, str], list[Ends]] = {}
    for end in ends:
        by_snapshot.setdefault((end.source, end.file_id), []).append(end)
    for (name, file_id), parts in sorted(by_snapshot.items()):
        ended, alive = sum(p.rows for p in parts), sum(p.alive for p in parts)
        share = sources[name].max_ended_share if name in sources else 1.0
        if alive and ended > share * alive:
            raise QualityError(
                f"source {name}: the snapshot whose last file is {file_id} lacks {ended:,} of the {alive:,} keys that "
                f"the source had, allowed by sources.{name}.max_ended_share is a share of {share}; nothing was "
                "published. Is the export whole?"
            )


def _named(row: Group, level: Level) -> list[str]:
    """Rules of a level that hold for the rows."""
    names = {"reject": row.reasons, "flag": row.flags, "warn": row.warned}[level]
    return names.split(",") if names else []


def by_source(rows: Sequence[Group]) -> Mapping[str, list[Group]]:
    """Counted groups by their source."""
    names = sorted({r.source for r in rows})
    return {name: [r for r in rows if r.source == name] for name in names}


def metric_rows(run_id: str, rows: Sequence[Group], table: Table, ingest: Ingest) -> list[tuple[object, ...]]:
    """Rows of quality_metrics in the order of its columns."""
    made: list[tuple[object, ...]] = []
    for source, of_source in by_source(rows).items():
        read = sum(r.rows for r in of_source)  # 0 where an emptied file moves rows of others from one count to another
        for c in rule_counts(of_source, table, ingest):
            share = c.rows / read if read else 0.0
            made.append((run_id, source, table.name, c.rule, c.level, c.message, c.rows, read, share))
    return made


def refused_reasons(rows: Sequence[Group]) -> dict[str, int]:
    """Refused rows by reason; a row with two counts in both."""
    reasons: dict[str, int] = {}
    for row in rows:
        if row.status == REJECTED:
            for reason in _named(row, "reject"):
                reasons[reason] = reasons.get(reason, 0) + row.rows
    return reasons


def _worst(rows: Sequence[Group]) -> str:
    ranked = sorted(refused_reasons(rows).items(), key=lambda pair: (-pair[1], pair[0]))
    return "Reasons: " + ", ".join(f"{name} {count:,}" for name, count in ranked) + "."


def _shown(rows: Sequence[Group], locate: Locate) -> str:
    named = (",".join(n for level in _LEVELS for n in _named(r, level)) for r in rows)
    found = sorted((why, text, r.source, r.file_id) for why, r in zip(named, rows, strict=True) for text in r.examples)
    return "\n".join(f"  [{why}] {locate(source, file, text)}" for why, text, source, file in found[:EXAMPLES])
