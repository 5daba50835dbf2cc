"""Every engine on the pairs of a given split: what evaluate_recommender fits and judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from profiling_spark.config import Settings
from profiling_spark.contracts.operations import EVERYONE
from profiling_spark.recommend.blend import BLEND, blend_side, weight_grid
from profiling_spark.recommend.evaluate import NEW_ITEMS, Figures, Protocol, evaluate, evaluated_users
from profiling_spark.recommend.fit import ENGINES, ITEM_CF, Totals, engine_side, item_totals, training_of
from profiling_spark.recommend.given_split import split_pairs
from profiling_spark.recommend.item_side import ItemSide
from profiling_spark.recommend.own_history import OwnHistorySide
from profiling_spark.recommend.popular import POPULAR, PopularSide
from profiling_spark.recommend.user_cf import UserSide, fit_user_cf

OWN_HISTORY, USER_CF = OwnHistorySide.engine, UserSide.engine
ALONE = (*ENGINES, USER_CF, POPULAR, OWN_HISTORY)  # all but the blend of some
COMPANY = (POPULAR, ITEM_CF, OWN_HISTORY)
_BLEND_STEPS = 4


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


def side_of(engine: str, part: Part, settings: Settings) -> ItemSide:
    """One of ALONE, fitted on the training pairs."""
    items = part.totals.items
    if engine == POPULAR:
        return PopularSide(part.totals.train_weights)
    if engine == OWN_HISTORY:
        return OwnHistorySide(len(items))
    if engine == USER_CF:
        return fit_user_cf(
            part.pairs, items, units="train_units", is_used="is_train", neighbours=settings.recommend.neighbours,
            salt=settings.seed,
        )  # fmt: skip
    return engine_side(engine, part.pairs, items, settings, units="train_units", is_used="is_train")


def figures_of(
    sides: Mapping[str, ItemSide], part: Part, judged: Mapping[Protocol, DataFrame | None]
) -> dict[tuple[str, str], Figures]:
    """Figures by (protocol, name) of `judged` as in `evaluate`; over 0 users where nobody could be judged."""
    found = evaluate(part.pairs, sides, training_of(part.totals, part.customers), judged)
    return {
        (protocol.name, name): found.get((protocol.name, name, EVERYONE), Figures(0))
        for protocol in judged
        for name in sides
    }


def blend_weights(engines: Sequence[str], part: Part, settings: Settings) -> tuple[tuple[float, ...], float]:
    """The weights in quarters with the best NDCG@20 on the pairs held out in `part`, and that figure; the first of
    equal ones. Judged on at most `evaluation_users` customers.
    """
    sides = [side_of(engine, part, settings) for engine in engines]
    tried = {f"{BLEND} {n}": weights for n, weights in enumerate(weight_grid(len(sides), _BLEND_STEPS))}
    blends = {name: blend_side(sides, weights) for name, weights in tried.items()}
    most, salt = settings.recommend.evaluation_users, settings.seed
    judged = evaluated_users(part.pairs, truth=NEW_ITEMS.truth, most=most, salt=salt)
    customers = judged.withColumn("groups", F.array(F.lit(EVERYONE)))
    found = figures_of(blends, part, {NEW_ITEMS: customers})
    ndcg = {name: found[NEW_ITEMS.name, name].ndcg or 0.0 for name in tried}
    best = max(tried, key=lambda name: ndcg[name])
    return tried[best], ndcg[best]
