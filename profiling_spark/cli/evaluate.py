"""The command that measures an engine on files with a given split."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from profiling_spark.cli.options import Given, tool
from profiling_spark.recommend.engines import ENGINES as FITTED

# of profiling_spark.recommend, which imports too much for an option's help (a test compares)
ENGINES = (*FITTED, "user_cf", "popular", "own_history")
BLEND, EXPLICIT_MF = "blend", "explicit_mf"
BESIDE = ("popular", "item_cf", "own_history")
BLENDED = ("graph_filter", "item_cf")
MASKS = ("seen", "bought", "nothing")


class _Engines(click.ParamType[Any]):
    name = "ENGINE,ENGINE,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        names = tuple(value.split(",")) if isinstance(value, str) else tuple(value)
        if len(set(names)) != len(names) or len(names) < 2 or set(names) - set(ENGINES):
            self.fail(f"expected at least two of {', '.join(ENGINES)}, found {value}", param, ctx)
        return names


@click.command("evaluate_recommender")
@tool
@click.option("--engine", required=True, type=click.Choice([*ENGINES, BLEND, EXPLICIT_MF]), help="What is evaluated.")
@click.option("--train", required=True, metavar="FILE", help="Lines `user item item ...`, or .csv or .parquet.")
@click.option("--test", required=True, metavar="FILE", help="What is to be found; never looked at for tuning.")
@click.option(
    "--tune", multiple=True, is_flag=False, flag_value="", metavar="[KEY=V1,V2,...]",
    help="Choose settings under recommend: on held-out training pairs first; repeatable, without a key the usual.",
)  # fmt: skip
@click.option("--validation", type=float, default=0.2, show_default=True, metavar="SHARE",
              help="Held out of each customer's pairs for --tune.")  # fmt: skip
@click.option("--blend", "blended", type=_Engines(), default=",".join(BLENDED), show_default=True,
              help="What --engine blend is made of.")  # fmt: skip
@click.option("--mask", type=click.Choice(MASKS), default=MASKS[0], show_default=True,
              help="What of a customer's history is neither offered nor looked for.")  # fmt: skip
@click.option("--bootstrap", type=int, default=0, metavar="N",
              help="Intervals by N bootstrap samples of the customers, such as 1000.")  # fmt: skip
@click.option("--negatives", metavar="FILE",
              help="Lines `user item item ...`: rank each test item among these items only.")  # fmt: skip
@click.option("--alone", is_flag=True, help=f"Without {', '.join(BESIDE)} beside it.")
@click.option(
    "--save", type=click.Path(path_type=Path), metavar="FILE", help="Write the chosen settings, for --config."
)
def evaluate_recommender(given: Given, **options: Any) -> int:
    """Fit an engine on a training file, rank for the customers of a test file, print how well it does."""
    from profiling_spark.cli.execute import reported, settings_of, start, write

    with reported(given):
        settings = settings_of(given)
        start(given)
        from profiling_spark.recommend.files.asked import Asked, Clock
        from profiling_spark.recommend.files.evaluate import as_text, evaluate
        from profiling_spark.recommend.files.tuning import trials_of
        from profiling_spark.runner import session_for

        note = (lambda text: None) if given.quiet else lambda text: sys.stderr.write(text + "\n")
        asked = Asked(**options, config=given.config, overrides=given.overrides, note=note)
        trials_of(asked)
        clock = Clock()
        with ExitStack() as stack:
            with clock.step("session"):
                session = session_for(settings, name="evaluate_recommender", verbose=given.verbose, keeps=False)
                spark = stack.enter_context(session)
            found = evaluate(spark, asked, clock)
        write(json.dumps(found) if given.as_json else as_text(found))
    return 0
