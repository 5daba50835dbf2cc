"""Settings of an engine, chosen on pairs (or ratings) of a training file that are held out for it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import yaml
from pyspark.sql import DataFrame

from profiling_spark.contracts.operations import EVERYONE
from profiling_spark.errors import ConfigError, InputError
from profiling_spark.recommend.engines import ALS, GRAPH_FILTER, ITEM_CF
from profiling_spark.recommend.engines.als_tuning import Split, in_words, tuned_als
from profiling_spark.recommend.engines.blend import BLEND
from profiling_spark.recommend.engines.explicit_mf import EXPLICIT_MF, tuned_factors
from profiling_spark.recommend.engines.graph_tuning import fits_here, tuned_graph, with_graph_values
from profiling_spark.recommend.engines.settings_search import Trial
from profiling_spark.recommend.files.asked import Asked
from profiling_spark.recommend.files.engines import ALONE, USER_CF, judged, side_of, split_part
from profiling_spark.recommend.files.split import held_out
from profiling_spark.recommend.judge.evaluate import K, evaluated_users
from profiling_spark.recommend.judge.protocols import NEW_ITEMS

Trials = Mapping[str, Sequence[Any]]
# what --tune without a key goes through, one setting after the other, each time keeping the best value; als and
# explicit_mf search in a budget of trials instead
TRIALS: Mapping[str, Trials] = {
    GRAPH_FILTER: {"graph_filter.user_exponent": (0.1, 0.3, 0.5), "graph_filter.item_exponent": (0.3, 0.4, 0.5)},
    ITEM_CF: {"item_cf.neighbours": (50, 100, 200, 400)},
    USER_CF: {"neighbours": (20, 50, 100, 200)},
}


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


def chosen_for(train: DataFrame, asked: Asked) -> list[str]:
    """`recommend.KEY=VALUE` for each setting that `--tune` chooses, in the order of the choice."""
    trials = trials_of(asked)
    chosen = searched(train, asked) if asked.searches else []
    if chosen:  # the usual values are for an engine or a file that nothing was searched for
        trials = {key: values for key, values in trials.items() if key not in TRIALS.get(asked.engine, {})}
    return chosen + (tuned(train, asked, trials, *chosen) if trials else [])


def searched(train: DataFrame, asked: Asked) -> list[str]:
    """`recommend.KEY=VALUE` for each setting of ALS or graph_filter, found on held-out training pairs; none for
    graph_filter on files that are too large for its search. Raises ConfigError where no trials are allowed, InputError
    where nothing can be held out.
    """
    base = asked.settings()
    allowed = base.recommend.als_trials if asked.engine == ALS else base.recommend.graph_filter.trials
    if allowed == 0:
        key = "als_trials" if asked.engine == ALS else "graph_filter.trials"
        raise ConfigError(f"recommend.{key} 0: expected some for --tune")
    part = split_part(*held_out(train, share=asked.validation, salt=base.seed), base)
    most, salt = base.recommend.evaluation_users, base.seed
    users = evaluated_users(part.pairs, truth=NEW_ITEMS.truth, most=most, salt=salt)
    people = pl.DataFrame(users.toArrow())["user_id"]
    totals = part.totals
    split = Split(part.pairs, totals.items, totals.train_weights > 0, "is_train", totals.pairs, NEW_ITEMS, people)

    def note_trial(trial: Trial) -> None:
        asked.note(f"{in_words(trial.values)}: NDCG@{K} {trial.value:.5f} on held-out training pairs")

    if asked.engine == GRAPH_FILTER and not fits_here(split):
        part.pairs.unpersist()
        return []
    search = tuned_als if asked.engine == ALS else tuned_graph
    found = search(split, base, least_customers=1, note=note_trial)
    part.pairs.unpersist()
    if found is None:
        raise InputError(f"{asked.train}: expected pairs to hold out for --tune, found none")
    asked.note(f"chosen: {in_words(found.best.values)}; {found.in_words()}")
    if asked.engine == ALS:
        return [f"recommend.{key}={json.dumps(value)}" for key, value in found.best.values.items()]
    graph = with_graph_values(base.recommend.graph_filter, found.best.values).model_dump(mode="json")
    before = base.recommend.graph_filter.model_dump(mode="json")
    changed = {key: value for key, value in graph.items() if value != before[key] and key != "trials"}
    return [f"recommend.graph_filter.{key}={json.dumps(value)}" for key, value in changed.items()]


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


def searched_factors(train: DataFrame, asked: Asked) -> list[str]:
    """`recommend.KEY=VALUE` for each setting of explicit_mf, found on held-out training ratings."""

    def note_trial(trial: Trial) -> None:
        asked.note(f"{in_words(trial.values)}: RMSE {-trial.value:.5f} on held-out training ratings")

    found = tuned_factors(train, asked.settings(), share=asked.validation, note=note_trial)
    asked.note(f"chosen: {in_words(found.best.values)}; {found.in_words()}")
    return [f"recommend.{EXPLICIT_MF}.{key}={json.dumps(value)}" for key, value in found.best.values.items()]
