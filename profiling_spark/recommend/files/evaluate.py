"""A tool: any engine on any interaction files with a given split, by the project's own fit and top-N pass."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from pyspark.sql import DataFrame, SparkSession

from profiling_spark.config import Settings
from profiling_spark.contracts.operations import EVERYONE
from profiling_spark.errors import InputError
from profiling_spark.recommend.engines.blend import BLEND, blend_side
from profiling_spark.recommend.engines.explicit_mf import EXPLICIT_MF, rating_errors
from profiling_spark.recommend.engines.popular import POPULAR
from profiling_spark.recommend.files.asked import Asked, Clock
from profiling_spark.recommend.files.engines import (
    AMONG_GIVEN,
    BOUGHT_MASKED,
    COMPANY,
    Part,
    blend_weights,
    judged,
    side_of,
    split_part,
)
from profiling_spark.recommend.files.split import check_event_types, held_out, read_interactions
from profiling_spark.recommend.files.table import rating_table, table
from profiling_spark.recommend.files.tuning import chosen_for, searched_factors, trials_of
from profiling_spark.recommend.judge.evaluate import Evaluated, Figures, K
from profiling_spark.recommend.judge.intervals import interval
from profiling_spark.recommend.judge.protocols import ALL_ITEMS, NEW_ITEMS, Protocol
from profiling_spark.recommend.matrix.item_side import ItemSide


def evaluate(spark: SparkSession, asked: Asked, clock: Clock) -> dict[str, Any]:
    """Everything that is found, by name: the engine's figures at the top level, the others `beside`; of an engine for
    ratings how far off it is. Raises ConfigError and InputError.
    """
    return _rated(spark, asked, clock) if asked.engine == EXPLICIT_MF else _evaluated(spark, asked, clock)


def as_text(found: dict[str, Any]) -> str:
    """The table for people."""
    return rating_table(found) if found["engine"] == EXPLICIT_MF else table(found)


def _evaluated(spark: SparkSession, asked: Asked, clock: Clock) -> dict[str, Any]:
    trials_of(asked)
    with clock.step("read"):
        train = read_interactions(spark, asked.train)
        if asked.protocol is BOUGHT_MASKED:
            check_event_types(train, asked.train)
        negatives = None if asked.negatives is None else read_interactions(spark, asked.negatives)
        part = split_part(train, read_interactions(spark, asked.test), asked.settings(), negatives)
    chosen: list[str] = []
    if asked.tune:
        with clock.step("tune"):
            chosen = chosen_for(train, asked)
        _save(chosen, asked)
    settings = asked.settings(*chosen)
    weights: dict[str, float] = {}
    if asked.engine == BLEND:
        with clock.step("tune"):
            weights = _weights(train, asked, settings)
    with clock.step("fit"):
        side = _blend(weights, part, settings) if weights else side_of(asked.engine, part, settings)
    with clock.step("fit beside"):
        names = () if asked.alone else [name for name in COMPANY if name != asked.engine]
        sides = {asked.engine: side, **{name: side_of(name, part, settings) for name in names}}
    with clock.step("rank"):
        engine, *others = _figures(sides, part, asked).items()
    if engine[1]["customers"] == 0:
        raise InputError(f"{asked.test}: expected {_WANTED[asked.protocol.name]} of {asked.train}, found none")
    part.pairs.unpersist()
    more = {"beside": dict(others), "chosen": chosen, "seconds": clock.seconds}
    more |= {"weights": weights} if weights else {}
    return {"engine": asked.engine, "protocol": asked.protocol.name, **engine[1], **more}


_WANTED = {
    NEW_ITEMS.name: "new items of customers",
    BOUGHT_MASKED.name: "items that they had not bought of customers",
    ALL_ITEMS.name: "items of customers",
    AMONG_GIVEN.name: "items of customers with negatives and with a history in",
}


def _figures(sides: Mapping[str, ItemSide], part: Part, asked: Asked) -> dict[str, dict[str, Any]]:
    """By engine: customers, the share of those with a truth who are served, and the figures, with `intervals` and
    `gain_over_popular` (mean, low, high) where there is a bootstrap. Where all that was seen is masked and some of it
    is taken again, those of the protocol where that counts are in `all_items`.
    """
    protocols = [asked.protocol]
    if asked.protocol is NEW_ITEMS and part.repeats:
        protocols.append(ALL_ITEMS)
    found = judged(sides, part, protocols, replicates=asked.bootstrap)
    by_engine: dict[str, dict[str, Any]] = {name: {} for name in sides}
    for name, of_engine in by_engine.items():
        for protocol in protocols:
            own = _of_protocol(found, protocol, name, part)
            of_engine |= own if protocol is asked.protocol else {protocol.name: own}
    return by_engine


def _of_protocol(found: Evaluated, protocol: Protocol, engine: str, part: Part) -> dict[str, Any]:
    figures = found.of(protocol, EVERYONE).get(engine, Figures(0))
    served = round(figures.lists / max(part.wanting[protocol.name], 1), 5)
    own: dict[str, Any] = {"customers": figures.users, **_rounded(figures), "share_served": served}
    if figures.replicates:
        own["intervals"] = {name: _five(*bounds) for name, bounds in figures.intervals.items()}
        popular = found.of(protocol, EVERYONE).get(POPULAR)
        if popular is not None and engine != POPULAR:
            own["gain_over_popular"] = {
                name: _five(figures.values[name] - popular.values[name], *interval(drawn - popular.replicates[name]))
                for name, drawn in figures.replicates.items()
            }
    return own


def _five(*values: float) -> list[float]:
    return [round(value, 5) for value in values]


def _weights(train: DataFrame, asked: Asked, settings: Settings) -> dict[str, float]:
    """Of each engine of the blend, fitted on held-out training pairs."""
    part = split_part(*held_out(train, share=asked.validation, salt=settings.seed), settings)
    found = blend_weights(asked.blended, part, settings)
    part.pairs.unpersist()
    words = ", ".join(f"{engine} {share:.0%}" for engine, share in found.weights.items())
    how = f"NDCG@{K} {found.ndcg:.5f} on held-out training pairs, the best engine alone {found.alone:.5f}"
    asked.note(f"blend of {words}: {how}")
    return {engine: found.weights.get(engine, 0.0) for engine in asked.blended}


def _blend(weights: Mapping[str, float], part: Part, settings: Settings) -> ItemSide:
    used = {engine: weight for engine, weight in weights.items() if weight > 0}
    return blend_side([side_of(engine, part, settings) for engine in used], tuple(used.values()))


def _rated(spark: SparkSession, asked: Asked, clock: Clock) -> dict[str, Any]:
    """How far off the engines for ratings are."""
    trials_of(asked)
    train, test = read_interactions(spark, asked.train), read_interactions(spark, asked.test)
    chosen: list[str] = []
    if asked.tune:
        with clock.step("tune"):
            chosen = searched_factors(train, asked)
        _save(chosen, asked)
    with clock.step("fit and predict"):
        ratings, errors = rating_errors(train, test, asked.settings(*chosen))
    rounded = {name: {m: round(value, 5) for m, value in off.items()} for name, off in errors.items()}
    return {"engine": asked.engine, "ratings": ratings, "errors": rounded, "chosen": chosen, "seconds": clock.seconds}


def _save(chosen: Sequence[str], asked: Asked) -> None:
    if asked.save is not None:
        asked.save.write_text(yaml.safe_dump(_nested(chosen), sort_keys=False), encoding="utf-8")


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
