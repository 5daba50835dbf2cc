"""What each command that looks shows to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from profiling_spark.cli.show import WIDE, cell, rows

if TYPE_CHECKING:
    from profiling_spark.doctor import Check
    from profiling_spark.overview.models import ModelLine
    from profiling_spark.overview.plan import Plan, SourcePlan
    from profiling_spark.overview.sample import SourceSample
    from profiling_spark.overview.tables import TableLine

_MEGABYTE = 2**20


def plan_lines(out: Console, plan: Plan) -> None:
    """Sources, then stages."""
    if plan.as_of is None:
        day = "the day after the latest event (none is stored yet)"
    else:
        day = f"{plan.as_of}" if plan.is_given else f"{plan.as_of}, or later if new files bring later events"
    out.print(Text(f"Storage {plan.storage_root}, as of {day}"))
    out.print()
    names = ("source", "target", "new files", "MB", "again", "known", "")
    lines = [
        (s.name, s.target, s.new, round(s.new_bytes / _MEGABYTE, 2), s.again or None, s.known, _problem(s))
        for s in plan.sources
    ]
    rows(out, names, lines, title="Sources")
    for note in plan.notes:
        out.print(Text(note, style="yellow"))
    out.print()
    stages = [
        (s.name, s.what, None if s.usual_seconds is None else f"{s.usual_seconds:,.0f} s last time")
        for s in plan.stages
    ]
    rows(out, ("stage", "would do", ""), stages, title="Stages")


def _problem(source: SourcePlan) -> str:
    return source.absent or "; ".join(f"would be refused: {p}" for p in source.problems)


def run_lines(out: Console, found: pl.DataFrame, *, root: str) -> None:
    """Runs, or the stages of one; below them why some were skipped or failed."""
    if found.is_empty():
        out.print(Text(f"{root}: no run yet"))
        return
    is_one = found["run_id"].n_unique() == 1 and "version" in found.columns
    counts = {"rows_in": "read", "rows_out": "written", "rows_rejected": "refused"}
    times = {"seconds": "seconds", "status": "status"}
    if is_one:
        day, began = found["as_of"][0], found["started_at"].min()
        out.print(Text(f"run {found['run_id'][0]}", style="bold"))
        out.print(Text(f"as of {cell(day) or 'no date'}, began {cell(began)} UTC, release {found['version'][0]}"))
        names = {"job": "job", **times, **counts}
    elif out.width >= WIDE:
        names = {"run_id": "run", "job": "job", "started_at": "started (UTC)", **times, "as_of": "as of", **counts}
    else:  # when a run began stands in its name
        names = {"run_id": "run", "job": "job", **times, "as_of": "as of", "rows_rejected": "refused"}
    rows(out, list(names.values()), found.select(*names).rows())
    for row in found.filter(pl.col("error").is_not_null()).iter_rows(named=True):
        who = row["job"] if is_one else row["run_id"]
        out.print(
            Text(f"{who}: {row['error']}", style="red" if row["status"] == "failed" else "yellow"), soft_wrap=True
        )


def model_table(out: Console, found: Sequence[ModelLine], *, changed: tuple[str, str] | None) -> None:
    """Models by task, the newest first."""
    if changed is not None:
        gone, serves = changed
        out.print(Text(f"{gone} is withdrawn, {serves} serves", style="green"))
    if not found:
        out.print(Text("no model is stored"))
        return
    if out.width < WIDE:
        short = [("*" if m.is_live else "", m.version, _figures(m.figures)) for m in found]
        rows(out, ("", "version", "figures"), short)
        return
    names = ("", "version", "model", "served from", "to", "figures")
    lines = [("*" if m.is_live else "", m.version, m.model, m.first, m.last, _figures(m.figures)) for m in found]
    rows(out, names, lines)


def table_table(out: Console, found: Sequence[TableLine], *, root: str) -> None:
    """Tables in the order in which they are filled."""
    names = ["table", "rows", "files", "MB", "version", "changed (UTC)", "one row is a"]
    lines = [(t.name, t.rows, t.files, t.megabytes, t.version, t.changed, t.row) for t in found]
    shown = len(names) if out.width >= WIDE else len(names) - 1
    rows(out, names[:shown], [line[:shown] for line in lines], title=root, last="ellipsis")


def _figures(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" if value % 1 else f"{name} {value:.0f}" for name, value in figures.items())


def sample_lines(out: Console, sample: SourceSample) -> None:
    """One source: counts, rules broken, columns."""
    out.print(Text.assemble((f"{sample.name} -> {sample.target}", "bold"), (f"  {sample.path}", "dim")))
    if sample.problem:
        out.print(Text(f"  {sample.problem}", style="bold red"))
        out.print()
        return
    refused = sample.rows - sample.accepted - sample.ignored
    counts = f"  {sample.rows:,} rows: {sample.accepted:,} accepted, {sample.ignored:,} ignored, {refused:,} refused"
    out.print(Text(counts, style="bold red" if refused > sample.rows / 2 else ""))
    for title, names in (("refused", sample.refused), ("marked", sample.flags)):
        if names:
            out.print(Text(f"  {title}: " + ", ".join(f"{rule} {n:,}" for rule, n in names.items()), style="yellow"))
    lines = [
        (f"  {c.name}", c.made_of, f"{c.filled:.0%}", " | ".join(cell(e) for e in c.examples)) for c in sample.columns
    ]
    rows(out, ("  column", "made of", "filled", "frequent values"), lines, last="ellipsis")
    if sample.unmapped:
        out.print(Text(f"  not mapped, kept in rescued: {', '.join(sample.unmapped)}", style="yellow"))
    out.print()


def doctor_lines(out: Console, checks: Sequence[Check]) -> None:
    """A line for each check; below it what to type where something is not as it should be."""
    for check in checks:
        word, style = ("ok", "green") if check.ok else ("FAIL", "bold red") if check.fatal else ("warn", "yellow")
        line = Table.grid(padding=(0, 1))
        for width in (4, 10, None):
            line.add_column(width=width)
        line.add_row(Text(word, style=style), check.name, Text(check.found))
        out.print(line)
        if check.remedy:  # in one line, so that it can be copied
            out.print(Text.assemble(" " * 16, ("type: ", "dim"), check.remedy), soft_wrap=True)
