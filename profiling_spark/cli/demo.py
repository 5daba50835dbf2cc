"""The demo command: a shop's raw logs, then the same pipeline as on real data."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from profiling_spark.cli.execute import execute, write
from profiling_spark.cli.options import Given
from profiling_spark.conf_files import conf_file

if TYPE_CHECKING:
    from profiling_spark.context import Context


def run_demo(given: Given, *, customers: int, days: int, data: Path) -> int:
    """Make the shop, run all stages on it, compare what they found with what was planted."""
    shop = replace(
        given,
        config=(conf_file("demo.yaml"), *given.config),
        overrides=(f"data_root={data}", *given.overrides),
    )

    def make_shop() -> None:
        from profiling_spark.demo.generate import generate

        truth = generate(data, customers=customers, days=days)
        if not given.quiet:
            sys.stderr.write(f"demo shop with {truth.customers:,} customers in {data}\n")

    def ending(ctx: Context) -> None:
        from profiling_spark.demo.compare import compared
        from profiling_spark.report.summary import summary

        ctx.progress.close()
        write(summary(ctx) + "\n\nPlanted and found\n-----------------\n" + "\n".join(compared(ctx, data)))

    shown = None if given.quiet or given.as_json else ending
    return execute(
        shop,
        lambda p: p.run(as_of=given.as_of, refit=given.refit, job="demo", ending=shown),
        before=make_shop,
    )
