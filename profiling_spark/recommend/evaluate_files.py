"""A tool: any engine on any interaction files with a given split, by the project's own fit and top-N pass."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from pyspark.sql import DataFrame, SparkSession

from profiling_spark.config import Settings, load_settings
from profiling_spark.contracts.operations import EVERYONE
from profiling_spark.errors import ConfigError, InputError
from profiling_spark.recommend.als_tuning import Split, in_words, tuned_als
from profiling_spark.recommend.blend import BLEND, blend_side
from profiling_spark.recommend.evaluate import Evaluated, Figures, K, evaluated_users
from profiling_spark.recommend.evaluate_table import rating_table, table
from profiling_spark.recommend.file_engines import (
    ALONE,
    AMONG_GIVEN,
    BOUGHT_MASKED,
    COMPANY,
    USER_CF,
    Part,
    blend_weights,
    judged,
    side_of,
    split_part,
)
from profiling_spark.recommend.fit import ALS, GRAPH_FILTER, ITEM_CF
from profiling_spark.recommend.given_split import held_out, read_interactions
from profiling_spark.recommend.intervals import interval
from profiling_spark.recommend.item_side import ItemSide
from profiling_spark.recommend.popular import POPULAR
from profiling_spark.recommend.protocols import ALL_ITEMS, NEW_ITEMS, Protocol
from profiling_spark.recommend.ratings import EXPLICIT_MF, rating_errors, tuned_factors
from profiling_spark.recommend.settings_search import Trial

Trials = Mapping[str, Sequence[Any]]
# what --tune without a key goes through, one setting after the other, each time keeping the best value; als and
# explicit_mf search in a budget of trials instead
TRIALS: Mapping[str, Trials] = {
    GRAPH_FILTER: {"graph_filter.user_exponent": (0.1, 0.3, 0.5), "graph_filter.item_exponent": (0.3, 0.4, 0.5)},
    ITEM_CF: {"item_cf.neighbours": (50, 100, 200, 400)},
    USER_CF: {"neighbours": (20, 50, 100, 200)},
}
BLENDED = (GRAPH_FILTER, ITEM_CF)
MASKS = {"seen": NEW_ITEMS, "bought": BOUGHT_MASKED, "nothing": ALL_ITEMS}


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


@dataclass(frozen=True)
class Asked:
    """What is evaluated on which files. `tune`: KEY=V1,V2,... to choose on held-out training pairs, '' for the usual
    ones; `validation`: the share of each customer's pairs that is held out for it; `blended`: engines of a blend;
    `alone`: without the simple engines beside it; `mask`: what lists leave out, of MASKS; `bootstrap`: replicates of
    the customers for intervals; `negatives`: a file of the items among which alone each customer's test items are
    ranked; `save`: where the chosen settings go.
    """

    engine: str
    train: str
    test: str
    tune: tuple[str, ...] = ()
    validation: float = 0.2
    blended: tuple[str, ...] = BLENDED
    alone: bool = False
    mask: str = "seen"
    bootstrap: int = 0
    negatives: str | None = None
    save: Path | None = None
    config: tuple[Path, ...] = ()
    overrides: tuple[str, ...] = ()
    note: Callable[[str], object] = lambda text: None

    def settings(self, *chosen: str) -> Settings:
        """Those of the files, with what was chosen since."""
        return load_settings(self.config, (*self.overrides, *chosen))

    @property
    def protocol(self) -> Protocol:
        """By which the figures at the top level are measured."""
        return MASKS[self.mask] if self.negatives is None else AMONG_GIVEN

    @property
    def searches(self) -> bool:
        """Whether als is to find its settings itself."""
        return self.engine == ALS and "" in self.tune


def evaluate(spark: SparkSession, asked: Asked, clock: Clock) -> dict[str, Any]:
    """Everything that is found, by name: the engine's figures at the top level, the others `beside`; of an engine for
    ratings how far off it is. Raises ConfigError and InputError.
    """
    return _rated(spark, asked, clock) if asked.engine == EXPLICIT_MF else _evaluated(spark, asked, clock)


def as_text(found: dict[str, Any]) -> str:
    """The table for people."""
    return rating_table(found) if found["engine"] == EXPLICIT_MF else table(found)


def trials_of(asked: Asked) -> dict[str, Sequence[Any]]:
    """Settings to go through, by key under recommend:; none without `tune`. Raises ConfigError where they contradict
    each other.
    """
    if not 0 < asked.validation < 1:
        raise ConfigError(f"--validation {asked.validation}: expected a share between 0 and 1")
    if asked.save is not None and not asked.tune:
        raise ConfigError("--save: expected --tune beside it")
    if asked.bootstrap < 0:
        raise ConfigError(f"--bootstrap {asked.bootstrap}: expected a number of replicates, such as 1000")
    if asked.negatives is not None and asked.mask != "seen":
        raise ConfigError(f"--mask {asked.mask}: expected none beside --negatives, which name what is ranked")
    if asked.engine == EXPLICIT_MF and (asked.bootstrap or asked.negatives or asked.mask != "seen"):
        raise ConfigError(f"--mask, --bootstrap, --negatives: expected none beside {EXPLICIT_MF}, which ranks nothing")
    if asked.tune and asked.engine == BLEND:
        raise ConfigError(f"--tune: expected an engine of {', '.join(ALONE)}; tune those of a blend one by one")
    if asked.engine == EXPLICIT_MF and set(asked.tune) - {""}:
        raise ConfigError(f"--tune: expected no key beside {EXPLICIT_MF}, whose settings it searches all")
    trials: dict[str, Sequence[Any]] = {}
    for text in asked.tune:
        key, sign, values = text.partition("=")
        if not text:
            trials |= TRIALS.get(asked.engine, {})
        elif not sign or not values:
            raise ConfigError(f"--tune {text}: expected KEY=V1,V2,... such as --tune alpha=1,4,16")
        else:
            trials[key] = yaml.safe_load(f"[{values}]")
    return trials


def _evaluated(spark: SparkSession, asked: Asked, clock: Clock) -> dict[str, Any]:
    trials = trials_of(asked)
    with clock.step("read"):
        train = read_interactions(spark, asked.train)
        negatives = None if asked.negatives is None else read_interactions(spark, asked.negatives)
        part = split_part(train, read_interactions(spark, asked.test), asked.settings(), negatives)
    chosen: list[str] = []
    if asked.tune:
        with clock.step("tune"):
            chosen = searched(train, asked) if asked.searches else []
            chosen += tuned(train, asked, trials, *chosen) if trials else []
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
    found, ndcg = blend_weights(asked.blended, part, settings)
    part.pairs.unpersist()
    asked.note(f"weights {found} of {asked.blended}: NDCG@{K} {ndcg:.5f} on held-out training pairs")
    return dict(zip(asked.blended, found, strict=True))


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
            chosen = _searched_factors(train, asked)
        _save(chosen, asked)
    with clock.step("fit and predict"):
        ratings, errors = rating_errors(train, test, asked.settings(*chosen))
    rounded = {name: {m: round(value, 5) for m, value in off.items()} for name, off in errors.items()}
    return {"engine": asked.engine, "ratings": ratings, "errors": rounded, "chosen": chosen, "seconds": clock.seconds}


def _searched_factors(train: DataFrame, asked: Asked) -> list[str]:
    def told(trial: Trial) -> None:
        asked.note(f"{in_words(trial.values)}: RMSE {-trial.value:.5f} on held-out training ratings")

    found = tuned_factors(train, asked.settings(), share=asked.validation, note=told)
    asked.note(f"chosen: {in_words(found.best.values)}; {found.said()}")
    return [f"recommend.{EXPLICIT_MF}.{key}={json.dumps(value)}" for key, value in found.best.values.items()]


def _save(chosen: Sequence[str], asked: Asked) -> None:
    if asked.save is not None:
        asked.save.write_text(yaml.safe_dump(_nested(chosen), sort_keys=False), encoding="utf-8")


def searched(train: DataFrame, asked: Asked) -> list[str]:
    """`recommend.KEY=VALUE` for each setting of ALS, found on held-out training pairs. Raises ConfigError where no
    trials are allowed, InputError where nothing can be held out.
    """
    base = asked.settings()
    if base.recommend.als_trials == 0:
        raise ConfigError("recommend.als_trials 0: expected some for --tune")
    part = split_part(*held_out(train, share=asked.validation, salt=base.seed), base)
    most, salt = base.recommend.evaluation_users, base.seed
    users = evaluated_users(part.pairs, truth=NEW_ITEMS.truth, most=most, salt=salt)
    people = pl.DataFrame(users.toArrow())["user_id"]
    totals = part.totals
    split = Split(part.pairs, totals.items, totals.train_weights > 0, "is_train", totals.pairs, NEW_ITEMS)

    def told(trial: Trial) -> None:
        asked.note(f"{in_words(trial.values)}: NDCG@{K} {trial.value:.5f} on held-out training pairs")

    found = tuned_als(split, people, base, least_customers=1, note=told)
    part.pairs.unpersist()
    if found is None:
        raise InputError(f"{asked.train}: expected pairs to hold out for --tune, found none")
    asked.note(f"chosen: {in_words(found.best.values)}; {found.said()}")
    return [f"recommend.{key}={json.dumps(value)}" for key, value in found.best.values.items()]


def tuned(train: DataFrame, asked: Asked, trials: Trials, *known: str) -> list[str]:
    """`recommend.KEY=VALUE` for each key: the value with the best NDCG@20 on held-out training pairs, the keys before
    it at theirs and the `known` ones as they are. The first of equal ones. It says where the best is the outermost.
    """
    base = asked.settings(*known)
    part = split_part(*held_out(train, share=asked.validation, salt=base.seed), base)
    chosen: list[str] = []
    for key, values in trials.items():
        found = []
        for value in values:
            pair = f"recommend.{key}={json.dumps(value)}"
            settings = asked.settings(*known, *chosen, pair)
            side = side_of(asked.engine, part, settings)
            figures = judged({asked.engine: side}, part, (NEW_ITEMS,)).of(NEW_ITEMS, EVERYONE)
            ndcg = figures[asked.engine].ndcg or 0.0 if figures else 0.0
            asked.note(f"{pair}: NDCG@{K} {ndcg:.5f} on held-out training pairs")
            found.append((ndcg, pair))
        best = max(found, key=lambda one: one[0])
        if len(found) > 2 and best in (found[0], found[-1]):
            asked.note(f"{best[1]}: the best is at the edge of what was tried; try values beyond it")
        chosen.append(best[1])
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
