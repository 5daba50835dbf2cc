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

from profiling_spark.command import Command, bare_parser, to_command
from profiling_spark.config import Settings, load_settings
from profiling_spark.doctor import examine, require
from profiling_spark.errors import ConfigError, InputError
from profiling_spark.recommend.blend import BLEND, blend_side
from profiling_spark.recommend.evaluate import ALL_ITEMS, NEW_ITEMS, Figures, K
from profiling_spark.recommend.evaluate_table import rating_table, table
from profiling_spark.recommend.file_engines import (
    ALONE,
    COMPANY,
    USER_CF,
    Part,
    blend_weights,
    figures_of,
    side_of,
    split_part,
)
from profiling_spark.recommend.fit import ALS, GRAPH_FILTER, ITEM_CF
from profiling_spark.recommend.given_split import held_out, read_interactions
from profiling_spark.recommend.item_side import ItemSide
from profiling_spark.recommend.ratings import EXPLICIT_MF, rating_errors
from profiling_spark.runner import failure
from profiling_spark.session import build_session, local_jars, submitted

Trials = Mapping[str, Sequence[Any]]
# what --tune without a key goes through, one setting after the other, each time keeping the best value
TRIALS: Mapping[str, Trials] = {
    ALS: {"regularisation": (0.01, 0.05, 0.2), "alpha": (1, 4, 16), "rank": (32, 64), "iterations": (3, 5)},
    GRAPH_FILTER: {"graph_filter.user_exponent": (0.1, 0.3, 0.5), "graph_filter.item_exponent": (0.3, 0.4, 0.5)},
    ITEM_CF: {"neighbours": (20, 50, 100, 200)},
    USER_CF: {"neighbours": (20, 50, 100, 200)},
}
_BLENDED = (GRAPH_FILTER, ITEM_CF)


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
            is_rated = options.engine == EXPLICIT_MF
            told = (_rated if is_rated else _evaluated)(spark, command, options, trials, clock)
        finally:
            spark.stop()
        text = json.dumps(told) if command.json else (rating_table if is_rated else table)(told)
        sys.stdout.write(text + "\n")
        return 0
    except Exception as err:
        return failure(err, command)


def _parser() -> argparse.ArgumentParser:
    made = bare_parser("evaluate_recommender", evaluate_recommender.__doc__ or "")
    engines = (*ALONE, BLEND, EXPLICIT_MF)
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
    made.add_argument(
        "--blend", type=_engines, default=_BLENDED, metavar="ENGINE,ENGINE,...",
        help=f"what --engine {BLEND} is made of (default {','.join(_BLENDED)})",
    )  # fmt: skip
    made.add_argument("--alone", action="store_true", help=f"without {', '.join(COMPANY)} beside it")
    made.add_argument("--save", type=Path, metavar="FILE", help="write the chosen settings, for --config")
    return made


def _engines(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    wrong = [name for name in names if name not in ALONE]
    if wrong or len(set(names)) != len(names) or len(names) < 2:
        raise argparse.ArgumentTypeError(f"expected at least two of {', '.join(ALONE)}, found {text}")
    return names


def _trials(options: argparse.Namespace) -> dict[str, Sequence[Any]]:
    """Settings to go through, by key under recommend:; none without --tune. Raises ConfigError."""
    if not 0 < options.validation < 1:
        raise ConfigError(f"--validation {options.validation}: expected a share between 0 and 1")
    if options.save is not None and options.tune is None:
        raise ConfigError("--save: expected --tune beside it")
    if options.tune is not None and options.engine in (BLEND, EXPLICIT_MF):
        raise ConfigError(f"--tune: expected an engine of {', '.join(ALONE)}; tune those of a blend one by one")
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
    spark: SparkSession, command: Command, options: argparse.Namespace, trials: Trials, clock: Clock
) -> dict[str, Any]:
    """Everything that is told, by name; the engine's figures for new items at the top level, the others `beside`."""
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
    weights: dict[str, float] = {}
    if options.engine == BLEND:
        with clock.step("tune"):
            weights = _weights(train, options, command, settings)
    with clock.step("fit"):
        side = _blend(weights, part, settings) if weights else side_of(options.engine, part, settings)
    with clock.step("rank"):
        told = _told({options.engine: side}, part)
    if told[options.engine]["customers"] == 0:
        raise InputError(f"{options.test}: expected new items of customers of {options.train}, found none")
    beside: dict[str, dict[str, Any]] = {}
    if not options.alone:
        with clock.step("beside"):
            names = [name for name in COMPANY if name != options.engine]
            beside = _told({name: side_of(name, part, settings) for name in names}, part)
    part.pairs.unpersist()
    more = {"beside": beside, "chosen": chosen, "seconds": clock.seconds} | ({"weights": weights} if weights else {})
    return {"engine": options.engine, **told[options.engine], **more}


def _told(sides: Mapping[str, ItemSide], part: Part) -> dict[str, dict[str, Any]]:
    """By engine: customers, the share of those with a truth who are served, and the figures; those of the protocol
    where repeat purchases count in `all_items`, if there are any.
    """
    protocols = (NEW_ITEMS, ALL_ITEMS) if part.repeats else (NEW_ITEMS,)
    found = figures_of(sides, part, dict.fromkeys(protocols))
    told: dict[str, dict[str, Any]] = {}
    for name in sides:
        f = found[NEW_ITEMS.name, name]
        told[name] = {"customers": f.users, **_rounded(f), "share_served": round(f.lists / max(part.wanting, 1), 5)}
        if part.repeats:
            f = found[ALL_ITEMS.name, name]
            told[name][ALL_ITEMS.name] = {"customers": f.users, **_rounded(f)}
    return told


def _weights(train: DataFrame, options: argparse.Namespace, command: Command, settings: Settings) -> dict[str, float]:
    """Of each engine of the blend, fitted on held-out training pairs."""
    part = split_part(*held_out(train, share=options.validation, salt=settings.seed), settings)
    found, ndcg = blend_weights(options.blend, part, settings)
    part.pairs.unpersist()
    if not command.quiet:
        sys.stderr.write(f"weights {found} of {options.blend}: NDCG@{K} {ndcg:.5f} on held-out training pairs\n")
    return dict(zip(options.blend, found, strict=True))


def _blend(weights: Mapping[str, float], part: Part, settings: Settings) -> ItemSide:
    used = {engine: weight for engine, weight in weights.items() if weight > 0}
    return blend_side([side_of(engine, part, settings) for engine in used], tuple(used.values()))


def _rated(
    spark: SparkSession, command: Command, options: argparse.Namespace, _: Trials, clock: Clock
) -> dict[str, Any]:
    """How far off the engines for ratings are."""
    with clock.step("fit and predict"):
        train, test = read_interactions(spark, options.train), read_interactions(spark, options.test)
        ratings, errors = rating_errors(train, test, command.settings())
    rounded = {name: {m: round(value, 5) for m, value in off.items()} for name, off in errors.items()}
    return {"engine": options.engine, "ratings": ratings, "errors": rounded, "seconds": clock.seconds}


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
            side = side_of(options.engine, part, settings)
            figures = figures_of({options.engine: side}, part, {NEW_ITEMS: None})[NEW_ITEMS.name, options.engine]
            if not command.quiet:
                sys.stderr.write(f"{pair}: NDCG@{K} {figures.ndcg or 0:.5f} on held-out training pairs\n")
            found.append((figures.ndcg or 0.0, pair))
        chosen.append(max(found, key=lambda one: one[0])[1])
    part.pairs.unpersist()
    return chosen


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
