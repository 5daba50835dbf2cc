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
from profiling_spark.errors import ConfigError, InputError
from profiling_spark.recommend.als_tuning import Split, in_words, tuned_als
from profiling_spark.recommend.blend import BLEND, blend_side
from profiling_spark.recommend.evaluate import ALL_ITEMS, NEW_ITEMS, Figures, K, evaluated_users
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
from profiling_spark.recommend.ratings import EXPLICIT_MF, rating_errors, tuned_factors
from profiling_spark.recommend.settings_search import Trial

Trials = Mapping[str, Sequence[Any]]
# what --tune without a key goes through, one setting after the other, each time keeping the best value; als and
# explicit_mf search in a budget of trials instead
TRIALS: Mapping[str, Trials] = {
    GRAPH_FILTER: {"graph_filter.user_exponent": (0.1, 0.3, 0.5), "graph_filter.item_exponent": (0.3, 0.4, 0.5)},
    ITEM_CF: {"neighbours": (20, 50, 100, 200)},
    USER_CF: {"neighbours": (20, 50, 100, 200)},
}
BLENDED = (GRAPH_FILTER, ITEM_CF)


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
    `alone`: without the simple engines beside it; `save`: where the chosen settings go.
    """

    engine: str
    train: str
    test: str
    tune: tuple[str, ...] = ()
    validation: float = 0.2
    blended: tuple[str, ...] = BLENDED
    alone: bool = False
    save: Path | None = None
    config: tuple[Path, ...] = ()
    overrides: tuple[str, ...] = ()
    note: Callable[[str], object] = lambda text: None

    def settings(self, *chosen: str) -> Settings:
        """Those of the files, with what was chosen since."""
        return load_settings(self.config, (*self.overrides, *chosen))

    @property
    def searches(self) -> bool:
        """Whether als is to find its settings itself."""
        return self.engine == ALS and "" in self.tune


def evaluate(spark: SparkSession, asked: Asked, clock: Clock) -> dict[str, Any]:
    """Everything that is found, by name: the engine's figures for new items at the top level, the others `beside`; of
    an engine for ratings how far off it is. Raises ConfigError and InputError.
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
        part = split_part(train, read_interactions(spark, asked.test), asked.settings())
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
    with clock.step("rank"):
        found = _figures({asked.engine: side}, part)
    if found[asked.engine]["customers"] == 0:
        raise InputError(f"{asked.test}: expected new items of customers of {asked.train}, found none")
    beside: dict[str, dict[str, Any]] = {}
    if not asked.alone:
        with clock.step("beside"):
            names = [name for name in COMPANY if name != asked.engine]
            beside = _figures({name: side_of(name, part, settings) for name in names}, part)
    part.pairs.unpersist()
    more = {"beside": beside, "chosen": chosen, "seconds": clock.seconds} | ({"weights": weights} if weights else {})
    return {"engine": asked.engine, **found[asked.engine], **more}


def _figures(sides: Mapping[str, ItemSide], part: Part) -> dict[str, dict[str, Any]]:
    """By engine: customers, the share of those with a truth who are served, and the figures; those of the protocol
    where repeat purchases count in `all_items`, if there are any.
    """
    protocols = (NEW_ITEMS, ALL_ITEMS) if part.repeats else (NEW_ITEMS,)
    found = figures_of(sides, part, dict.fromkeys(protocols))
    by_engine: dict[str, dict[str, Any]] = {}
    for name in sides:
        f = found[NEW_ITEMS.name, name]
        by_engine[name] = {
            "customers": f.users,
            **_rounded(f),
            "share_served": round(f.lists / max(part.wanting, 1), 5),
        }
        if part.repeats:
            f = found[ALL_ITEMS.name, name]
            by_engine[name][ALL_ITEMS.name] = {"customers": f.users, **_rounded(f)}
    return by_engine


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
    judged = pl.DataFrame(users.toArrow())["user_id"]
    split = Split(part.pairs, part.totals.items, part.totals.train_weights > 0, "is_train", part.totals.pairs)

    def told(trial: Trial) -> None:
        asked.note(f"{in_words(trial.values)}: NDCG@{K} {trial.value:.5f} on held-out training pairs")

    found = tuned_als(split, judged, base, least_customers=1, note=told)
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
            figures = figures_of({asked.engine: side}, part, {NEW_ITEMS: None})[NEW_ITEMS.name, asked.engine]
            asked.note(f"{pair}: NDCG@{K} {figures.ndcg or 0:.5f} on held-out training pairs")
            found.append((figures.ndcg or 0.0, pair))
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
