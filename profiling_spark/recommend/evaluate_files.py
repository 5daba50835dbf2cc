"""A tool: any engine on any interaction files with a given split, by the project's own fit and top-N pass."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from profiling_spark.command import Command, bare_parser, to_command
from profiling_spark.config import Settings, load_settings
from profiling_spark.doctor import examine, require
from profiling_spark.errors import ConfigError, InputError
from profiling_spark.recommend import metrics
from profiling_spark.recommend.evaluate import CUTS, NEW_ITEMS, Figures, K, Protocol, evaluate
from profiling_spark.recommend.fit import (
    ALS,
    ENGINES,
    GRAPH_FILTER,
    ITEM_CF,
    Totals,
    engine_side,
    item_totals,
    training_of,
)
from profiling_spark.recommend.given_split import held_out, read_interactions, split_pairs
from profiling_spark.recommend.item_side import ItemSide
from profiling_spark.recommend.own_history import OwnHistorySide
from profiling_spark.recommend.popular import POPULAR, PopularSide
from profiling_spark.runner import failure
from profiling_spark.session import build_session, local_jars, submitted

OWN_HISTORY = OwnHistorySide.engine
ALL_ITEMS = Protocol("all_items", "is_test", masks_seen=False)
_SHAPES = ("coverage", "diversity", "novelty", "popularity_bias")
Trials = Mapping[str, Sequence[Any]]
# what --tune without a key goes through, one setting after the other, each time keeping the best value
TRIALS: Mapping[str, Trials] = {
    ALS: {"regularisation": (0.01, 0.05, 0.2), "alpha": (1, 4, 16), "rank": (32, 64), "iterations": (3, 5)},
    GRAPH_FILTER: {"graph_filter.user_exponent": (0.1, 0.3, 0.5), "graph_filter.item_exponent": (0.3, 0.4, 0.5)},
    ITEM_CF: {"neighbours": (20, 50, 100, 200)},
}


@dataclass(frozen=True)
class Part:
    """One split: its pairs (kept in memory), their totals, how many customers it trains on and how many have something
    to be found, and how many test pairs are repeats.
    """

    pairs: DataFrame
    totals: Totals
    customers: int
    wanting: int
    repeats: int


@dataclass
class Clock:
    """Wall seconds by step."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add what the body takes."""
        begin = time.monotonic()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - begin, 1)


def evaluate_recommender(arguments: Sequence[str]) -> int:
    """Fit an engine on a training file, rank for the customers of a test file, print the table."""
    command, clock = None, Clock()
    try:
        options = _parser().parse_args(list(arguments))
        command = to_command(options)
        settings, trials = command.settings(), _trials(options)
        jars = None if submitted() else local_jars()
        require(examine(storage_root=None, jars=jars, environ=os.environ))
        with clock.step("session"):
            spark = build_session(settings, name="evaluate_recommender", verbose=command.verbose)
        try:
            told = _evaluated(spark, command, options, trials, clock)
        finally:
            spark.stop()
        sys.stdout.write((json.dumps(told) if command.json else table(told)) + "\n")
        return 0
    except Exception as err:
        return failure(err, command)


def _parser() -> argparse.ArgumentParser:
    made = bare_parser("evaluate_recommender", evaluate_recommender.__doc__ or "")
    engines = (*ENGINES, POPULAR, OWN_HISTORY)
    made.add_argument("--engine", required=True, choices=engines, help="what is evaluated")
    made.add_argument("--train", required=True, metavar="FILE", help="lines `user item item ...`, or .csv or .parquet")
    made.add_argument("--test", required=True, metavar="FILE", help="what is to be found; never looked at for tuning")
    made.add_argument(
        "--tune", nargs="?", const="", action="append", metavar="KEY=V1,V2,...",
        help="choose settings under recommend: on held-out training pairs first; repeatable, without a key the usual",
    )  # fmt: skip
    made.add_argument(
        "--validation", type=float, default=0.2, metavar="SHARE", help="held out of each customer's pairs"
    )
    made.add_argument("--save", type=Path, metavar="FILE", help="write the chosen settings, for --config")
    return made


def _trials(options: argparse.Namespace) -> dict[str, Sequence[Any]]:
    """Settings to go through, by key under recommend:; none without --tune. Raises ConfigError."""
    if not 0 < options.validation < 1:
        raise ConfigError(f"--validation {options.validation}: expected a share between 0 and 1")
    if options.save is not None and options.tune is None:
        raise ConfigError("--save: expected --tune beside it")
    trials: dict[str, Sequence[Any]] = {}
    for text in options.tune or ():
        key, sign, values = text.partition("=")
        if not text:
            trials |= TRIALS.get(options.engine, {})
        elif not sign or not values:
            raise ConfigError(f"--tune {text}: expected KEY=V1,V2,... such as --tune alpha=1,4,16")
        else:
            trials[key] = yaml.safe_load(f"[{values}]")
    return trials


def _evaluated(
    spark: SparkSession,
    command: Command,
    options: argparse.Namespace,
    trials: Mapping[str, Sequence[Any]],
    clock: Clock,
) -> dict[str, Any]:
    """Everything that is told, by name; the figures of new items at the top level."""
    with clock.step("read"):
        train = read_interactions(spark, options.train)
        part = split_part(train, read_interactions(spark, options.test), command.settings())
    chosen: list[str] = []
    if trials:
        with clock.step("tune"):
            chosen = tuned(train, options, command, trials)
        if options.save is not None:
            options.save.write_text(yaml.safe_dump(_nested(chosen), sort_keys=False), encoding="utf-8")
    settings = load_settings(command.config, (*command.overrides, *chosen))
    with clock.step("fit"):
        side = _side(options.engine, part, settings)
    with clock.step("rank"):
        found = {NEW_ITEMS.name: _figures(side, part, settings, NEW_ITEMS)}
        if part.repeats:
            found[ALL_ITEMS.name] = _figures(side, part, settings, ALL_ITEMS)
    part.pairs.unpersist()
    new = found.pop(NEW_ITEMS.name)
    if not new.users:
        raise InputError(f"{options.test}: expected new items of customers of {options.train}, found none")
    rest = {name: {"customers": f.users, **_rounded(f)} for name, f in found.items()}
    told = {"engine": options.engine, "customers": new.users, "share_served": round(new.lists / part.wanting, 5)}
    return {**told, **_rounded(new), **rest, "chosen": chosen, "seconds": clock.seconds}


def split_part(train: DataFrame, test: DataFrame, settings: Settings) -> Part:
    """The pairs of one split, computed and kept."""
    pairs = split_pairs(train, test, partitions=settings.spark.shuffle_partitions).persist()
    totals = item_totals(pairs)
    of_each = pairs.groupBy("user_id").agg(
        F.max("is_train").alias("trains"),
        F.max("is_truth").alias("wants"),
        F.count_if(F.col("is_test") & ~F.col("is_truth")).alias("repeats"),
    )
    counts = of_each.agg(F.count_if("trains"), F.count_if("wants"), F.coalesce(F.sum("repeats"), F.lit(0))).first()
    assert counts is not None  # for mypy: an aggregate without groups has one row
    return Part(pairs, totals, *counts)


def tuned(train: DataFrame, options: argparse.Namespace, command: Command, trials: Trials) -> list[str]:
    """`recommend.KEY=VALUE` for each key: the value with the best NDCG@20 on held-out training pairs, the keys before
    it at theirs. The first of equal ones.
    """
    base = command.settings()
    part = split_part(*held_out(train, share=options.validation, salt=base.seed), base)
    chosen: list[str] = []
    for key, values in trials.items():
        found = []
        for value in values:
            pair = f"recommend.{key}={json.dumps(value)}"
            settings = load_settings(command.config, (*command.overrides, *chosen, pair))
            figures = _figures(_side(options.engine, part, settings), part, settings, NEW_ITEMS)
            if not command.quiet:
                sys.stderr.write(f"{pair}: NDCG@{K} {figures.ndcg or 0:.5f} on held-out training pairs\n")
            found.append((figures.ndcg or 0.0, pair))
        chosen.append(max(found, key=lambda one: one[0])[1])
    part.pairs.unpersist()
    return chosen


def _side(engine: str, part: Part, settings: Settings) -> ItemSide:
    if engine == POPULAR:
        return PopularSide(part.totals.train_weights)
    if engine == OWN_HISTORY:
        return OwnHistorySide(len(part.totals.items))
    return engine_side(engine, part.pairs, part.totals.items, settings, units="train_units", is_used="is_train")


def _figures(side: ItemSide, part: Part, settings: Settings, protocol: Protocol) -> Figures:
    training = training_of(part.totals, part.customers)
    return evaluate(part.pairs, [side], training, protocol=protocol, most=None, salt=settings.seed)[side.engine]


def _rounded(figures: Figures) -> dict[str, float]:
    return {name: round(value, 5) for name, value in figures.values.items()}


def _nested(pairs: Sequence[str]) -> dict[str, Any]:
    """`recommend.KEY=VALUE` pairs as a settings file."""
    tree: dict[str, Any] = {}
    for pair in pairs:
        path, _, text = pair.partition("=")
        *above, last = path.split(".")
        here = tree
        for key in above:
            here = here.setdefault(key, {})
        here[last] = json.loads(text)
    return tree


def table(told: Mapping[str, Any]) -> str:
    """The figures for the terminal: a row a metric, a column a length of the list."""
    lines = [
        f"{told['engine']}: {told['customers']:,} customers, {told['share_served']:.1%} of those with a truth served"
    ]
    titles = {"": "new items: what a customer had taken is neither offered nor looked for", "all_items": "all items"}
    for key, title in titles.items():
        values = told.get(key) if key else told
        if values is None:
            continue
        lines += ["", title, " " * 16 + "".join(f"{f'@{k}':>9}" for k in CUTS)]
        for name in (*metrics.RANKING, *_SHAPES):
            cells = [values.get(f"{name}@{k}") for k in CUTS]
            lines.append(f"{name:<16}" + "".join(f"{'-' if c is None else format(c, '.4f'):>9}" for c in cells))
    if told["chosen"]:
        lines += ["", "chosen on held-out training pairs: " + ", ".join(told["chosen"])]
    lines += ["", "seconds: " + ", ".join(f"{name} {value}" for name, value in told["seconds"].items())]
    return "\n".join(lines)
