"""Planted dirt: copies of good rows with one fault each, repeats, and the counting of both.

Dirty rows are added; no good row is lost. A fault is a function from a frame of rows (all columns text) to the same
rows with the fault in them.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from profiling_spark.demo.rolls import Ints
from profiling_spark.demo.truth import SourceTruth

Change = Callable[[pl.DataFrame], pl.DataFrame]
Spoil = Callable[[pl.Series], pl.Series]
Render = Callable[[pl.DataFrame], pl.Series]


@dataclass(frozen=True)
class Fault:
    """One reason to refuse a row, with its share of the good rows and one or more forms it takes."""

    reason: str
    share: float
    forms: tuple[Change, ...]


def put(**values: str | None) -> Change:
    """A form that sets columns to fixed texts (None: null, the field is left out)."""
    return lambda rows: rows.with_columns(**{name: pl.lit(v, dtype=pl.String) for name, v in values.items()})


@dataclass
class Tally:
    """Counts of one source while its files are written."""

    files: int = 0
    rows: int = 0
    accepted: int = 0
    duplicates: int = 0
    ignored: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    repeated_files: dict[str, str] = field(default_factory=dict)
    repeated_rows: int = 0

    def write(self, path: Path, lines: list[pl.Series], *, header: str | None = None) -> int:
        """Write one file of the lines; its data rows. A file without rows is not written."""
        text = pl.concat(lines)
        if len(text) == 0:
            return 0
        path.parent.mkdir(parents=True, exist_ok=True)
        body = text.str.join("\n").item()
        path.write_bytes(((header + "\n" if header else "") + body + "\n").encode())
        self.files += 1
        self.rows += len(text)
        return len(text)

    def resend(self, path: Path, rows: int) -> None:
        """Deliver a written file again under another name."""
        copy = path.with_name(f"{path.stem}_resend{path.suffix}")
        copy.write_bytes(path.read_bytes())
        self.repeated_files[copy.name] = path.name
        self.repeated_rows += rows

    def truth(self) -> SourceTruth:
        return SourceTruth(
            files=self.files, rows=self.rows, accepted=self.accepted, rejected=dict(sorted(self.rejected.items())),
            duplicates=self.duplicates, ignored=self.ignored, repeated_files=dict(sorted(self.repeated_files.items())),
            repeated_rows=self.repeated_rows,
        )  # fmt: skip


def plant(good: pl.DataFrame, faults: tuple[Fault, ...], rng: np.random.Generator) -> pl.DataFrame:
    """Faulty copies of random rows of `good`, with `_reason` and `_place` (the number of the row copied)."""
    parts = [good.clear().with_columns(_reason=pl.lit("", dtype=pl.String), _place=pl.lit(0, dtype=pl.Int64))]
    for fault in faults:
        for form in fault.forms:
            count = rng.binomial(len(good), fault.share / len(fault.forms))
            if count:
                picks = rng.integers(0, len(good), count)
                rows = form(good[picks]).with_columns(_reason=pl.lit(fault.reason), _place=pl.Series(picks))
                parts.append(rows)
    return pl.concat(parts)


def repeats(count: int, share: float, elsewhere: float, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Row numbers to repeat once each: in the same file, and (a share `elsewhere` of them) in the next day's."""
    chosen = rng.permutation(count)[: rng.binomial(count, share)]
    moved = rng.random(len(chosen)) < elsewhere
    return chosen[~moved], chosen[moved]


def mixed(lines: list[pl.Series], places: list[Ints]) -> pl.Series:
    """The lines in the order of their places; at equal places the earlier series first."""
    order = np.argsort(np.concatenate(places), kind="stable")
    return pl.concat(lines)[order]
