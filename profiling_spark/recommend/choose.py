"""Compare the engines on a split by time, name the one that serves, and fit it on everything.

The customers who are judged fall into two halves by a hash of their ids. What serves is chosen on the one
(`validation`); the other (`test`) has taken no part in the choice and measures its quality, also by group of customers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from profiling_spark.config import Settings
from profiling_spark.config.settings import Recommend
from profiling_spark.recommend.als_tuning import Split, tuned_als, values_of, with_values
from profiling_spark.recommend.evaluate import ALL_ITEMS, NEW_ITEMS, Figures, Protocol, evaluate, evaluated_users
from profiling_spark.recommend.fit import ALS, ENGINES, ITEM_CF, Totals, engine_side, training_of
from profiling_spark.recommend.item_cf import neighbour_side
from profiling_spark.recommend.item_side import Ints, ItemSide
from profiling_spark.recommend.own_history import OwnHistorySide
from profiling_spark.recommend.popular import POPULAR, PopularSide
from profiling_spark.recommend.settings_search import Found, Values

VALIDATION, TEST = "validation", "test"
LIVE = "live"  # the engine of the model that serves now, with the parameters of that model
# customers with at most so many items before the split are new; their median parts the others in light and heavy
NEW_PAIRS = 3
Comparison = Mapping[tuple[str, str, str], Figures]


@dataclass(frozen=True)
class Live:
    """What serves now: its engine and the settings that it was fitted with."""

    engine: str
    settings: Recommend


@dataclass(frozen=True)
class Fitted:
    """The engine that serves (`side` None: popular) and the figures behind the choice, by protocol, engine and group of
    customers; no figures: nothing to compare on. `engine` LIVE: the model that serves now is better and stays. `als`:
    the settings of ALS of the side, where it is one; `tuned`: the trials in which those in force were found.
    """

    engine: str
    side: ItemSide | None
    figures: Comparison
    als: Values | None = None
    tuned: Found | None = None


def serving_engine(figures: Mapping[str, Figures]) -> str:
    """The best of ENGINES by NDCG, the first of equal ones; LIVE or popular where they lose to it.

    Without figures als serves: there are enough pairs to fit it, and nothing speaks against it.
    """
    value = {engine: f.ndcg for engine, f in figures.items() if f.ndcg is not None}
    if not value:
        return ALS
    best = max(ENGINES, key=lambda engine: (value[engine], -ENGINES.index(engine)))
    if value[best] <= value[POPULAR]:
        return POPULAR
    return LIVE if value.get(LIVE, 0.0) > value[best] else best


def fit(
    pairs: DataFrame,
    totals: Totals,
    neighbours: pa.Table,
    settings: Settings,
    *,
    attributes: DataFrame,
    live: Live | None,
) -> Fitted:
    """Compare the engines, each fitted on the part before the cutoff; then fit the one that serves on everything.

    `neighbours`: item neighbours of everything, which are item_cf's item side. `attributes`: (user_id, gender_code,
    age_band) of customers. `live`: what serves now, where its settings are not those in force.
    """
    found: Comparison = {}
    tuned: Found | None = None
    if (totals.train_weights > 0).sum() >= 2:
        judged = _judged(pairs, settings, attributes)
        tuned = _tuned(pairs, totals, settings, judged)
        if tuned is not None:
            recommend = with_values(settings.recommend, tuned.best.values)
            settings = settings.model_copy(update={"recommend": recommend})
        found = _compare(pairs, totals, settings, judged, live)
    figures = {e: f for (protocol, e, group), f in found.items() if (protocol, group) == (NEW_ITEMS.name, VALIDATION)}
    engine = serving_engine(figures)
    if engine in (POPULAR, LIVE):
        return Fitted(engine, None, found, tuned=tuned)
    if engine == ITEM_CF:
        return Fitted(engine, neighbour_side(neighbours, len(totals.items)), found, tuned=tuned)
    side = engine_side(engine, pairs, totals.items, settings, units="units", is_used="is_learned")
    return Fitted(engine, side, found, values_of(settings.recommend) if engine == ALS else None, tuned)


def refitted(live: Live, pairs: DataFrame, totals: Totals, settings: Settings) -> Fitted:
    """The live model's engine by its own settings, on everything; no figures."""
    theirs = settings.model_copy(update={"recommend": live.settings})
    side = engine_side(live.engine, pairs, totals.items, theirs, units="units", is_used="is_learned")
    return Fitted(live.engine, side, {}, values_of(live.settings) if live.engine == ALS else None)


def _tuned(pairs: DataFrame, totals: Totals, settings: Settings, judged: _Judged) -> Found | None:
    """The settings of ALS that are best on the half of the customers on whom the engine is chosen, too."""
    split = Split(pairs, totals.items, totals.train_weights > 0, "is_train_learned", totals.pairs)
    rows = pl.DataFrame(judged.by_protocol[NEW_ITEMS])
    return tuned_als(split, rows.filter(pl.col("groups").list.contains(VALIDATION))["user_id"], settings)


@dataclass(frozen=True)
class _Judged:
    """By protocol (user_id, groups) of who is judged; how many customers have a history before the split. The judged
    are few, and found once: the trials of ALS and the comparison both ask for them.
    """

    by_protocol: Mapping[Protocol, pa.Table]
    customers: int


def _judged(pairs: DataFrame, settings: Settings, attributes: DataFrame) -> _Judged:
    counts = history_counts(pairs)
    most, salt = settings.recommend.evaluation_users, settings.seed
    found = {}
    for protocol in (NEW_ITEMS, ALL_ITEMS):
        users = evaluated_users(pairs, truth=protocol.truth, most=most, salt=salt)
        found[protocol] = grouped(users, pairs, attributes, counts=counts, salt=salt).toArrow()
    return _Judged(found, int(counts.sum()))


def _compare(pairs: DataFrame, totals: Totals, settings: Settings, judged: _Judged, live: Live | None) -> Comparison:
    contestants = [(engine, engine, settings) for engine in ENGINES]
    if live is not None and live.engine in ENGINES:
        contestants.append((LIVE, live.engine, settings.model_copy(update={"recommend": live.settings})))
    sides: dict[str, ItemSide] = {
        name: engine_side(engine, pairs, totals.items, asked, units="train_units", is_used="is_train_learned")
        for name, engine, asked in contestants
    }
    sides |= {POPULAR: PopularSide(totals.train_weights), OwnHistorySide.engine: OwnHistorySide(len(totals.items))}
    people = {p: pairs.sparkSession.createDataFrame(rows) for p, rows in judged.by_protocol.items()}
    return evaluate(pairs, sides, training_of(totals, judged.customers), people)


def history_counts(pairs: DataFrame) -> Ints:
    """Customers by the number of items in their history before the split: [n] has n items."""
    sizes = pairs.where("is_train").groupBy("user_id").agg(F.count("*").alias("items")).groupBy("items").count()
    table = sizes.toArrow()
    return np.bincount(table.column("items").to_numpy(), weights=table.column("count").to_numpy()).astype(np.int64)


def light_to(counts: Ints) -> int:
    """The median number of items of those who are not new: up to it a customer is light, above it heavy."""
    known = counts.copy()
    known[: NEW_PAIRS + 1] = 0
    total = np.cumsum(known)
    return int(np.searchsorted(total, (total[-1] + 1) // 2)) if known.any() else NEW_PAIRS


def grouped(judged: DataFrame, pairs: DataFrame, attributes: DataFrame, *, counts: Ints, salt: int) -> DataFrame:
    """(user_id, groups): of each judged customer its half and, in the test half, the groups that it belongs to."""
    sizes = pairs.where("is_train").join(F.broadcast(judged), on="user_id", how="left_semi")
    items = sizes.groupBy("user_id").agg(F.count("*").alias("items"))
    described = items.join(attributes, on="user_id", how="left")
    activity = (
        F.when(F.col("items") <= NEW_PAIRS, "new").when(F.col("items") <= light_to(counts), "light").otherwise("heavy")
    )
    gender = F.when(F.col("gender_code") == 0, "male").when(F.col("gender_code") == 1, "female")
    names = (activity, gender, F.concat(F.lit("age "), F.col("age_band")))
    groups = F.array_compact(F.array(F.lit(TEST), *names))
    return described.select(
        "user_id", F.when(_chooses(salt), F.array(F.lit(VALIDATION))).otherwise(groups).alias("groups")
    )


def _chooses(salt: int) -> Column:
    """Whether a customer is of the half on which the choice is made; another hash than that which picks the judged."""
    return F.pmod(F.xxhash64(F.lit(salt), F.lit(VALIDATION), "user_id"), F.lit(2)) == 0
