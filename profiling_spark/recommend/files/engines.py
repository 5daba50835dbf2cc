"""Every engine on the pairs of a given split: what evaluate_recommender fits and judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from profiling_spark.config import Settings
from profiling_spark.contracts.operations import EVERYONE
from profiling_spark.recommend.engines import ENGINES, ITEM_CF
from profiling_spark.recommend.engines.blend import BLEND, blend_side
from profiling_spark.recommend.engines.blend_search import QUARTERS, FoundBlend, Weights, search_weights
from profiling_spark.recommend.engines.fit import engine_side
from profiling_spark.recommend.engines.own_history import OwnHistorySide
from profiling_spark.recommend.engines.popular import POPULAR, PopularSide
from profiling_spark.recommend.engines.user_cf import UserSide, fit_user_cf
from profiling_spark.recommend.files.split import split_pairs
from profiling_spark.recommend.history.pairs import SplitTotals, item_totals
from profiling_spark.recommend.judge.evaluate import Evaluated, evaluate, evaluated_users, training_of
from profiling_spark.recommend.judge.protocols import ALL_ITEMS, AS_SERVED, NEW_ITEMS, Protocol, with_masks
from profiling_spark.recommend.matrix.item_side import ItemSide

OWN_HISTORY, USER_CF = OwnHistorySide.engine, UserSide.engine
ALONE = (*ENGINES, USER_CF, POPULAR, OWN_HISTORY)  # all but the blend of some
COMPANY = (POPULAR, ITEM_CF, OWN_HISTORY)
# by what is masked: all that was dealt with, what was bought, nothing; and among given items
BOUGHT_MASKED = Protocol("bought_masked", AS_SERVED.truth, AS_SERVED.masks)
AMONG_GIVEN = Protocol("among_given", "is_wanted", None, candidates="is_candidate")
PROTOCOLS = {p.name: p for p in (NEW_ITEMS, BOUGHT_MASKED, ALL_ITEMS, AMONG_GIVEN)}


@dataclass(frozen=True)
class Part:
    """One split: its pairs (kept in memory), their totals, how many customers it trains on, how many of those of the
    test part have something to be found by each protocol, by its name, and how many test pairs are repeats.
    """

    pairs: DataFrame
    totals: SplitTotals
    customers: int
    wanting: Mapping[str, int]
    repeats: int


def split_part(train: DataFrame, test: DataFrame, settings: Settings, negatives: DataFrame | None = None) -> Part:
    """The pairs of one split, computed and kept."""
    pairs = with_masks(split_pairs(train, test, negatives, partitions=settings.spark.shuffle_partitions)).persist()
    totals = item_totals(pairs)
    of_each = pairs.groupBy("user_id").agg(
        F.max("is_train").alias("trains"),
        *(F.max(protocol.truth).alias(name) for name, protocol in PROTOCOLS.items()),
        F.count_if(F.col("is_test") & ~F.col("is_truth")).alias("repeats"),
    )
    sums = F.count_if("trains"), F.coalesce(F.sum("repeats"), F.lit(0)), *(F.count_if(name) for name in PROTOCOLS)
    counts = of_each.agg(*sums).first()
    assert counts is not None  # for mypy: an aggregate without groups has one row
    customers, repeats, *wanting = counts
    return Part(pairs, totals, customers, dict(zip(PROTOCOLS, wanting, strict=True)), repeats)


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


def judged(
    sides: Mapping[str, ItemSide], part: Part, protocols: Sequence[Protocol], *, customers: DataFrame | None = None,
    replicates: int = 0,
) -> Evaluated:  # fmt: skip
    """As of `evaluate`."""
    training = training_of(part.totals, part.customers)
    return evaluate(part.pairs, sides, training, protocols, customers, replicates=replicates)


def blend_weights(engines: Sequence[str], part: Part, settings: Settings) -> FoundBlend:
    """As of `search_weights`, by NDCG@20 on the pairs held out in `part`, of at most `evaluation_users` customers."""
    sides = [side_of(engine, part, settings) for engine in engines]
    most, salt = settings.recommend.evaluation_users, settings.seed
    asked = evaluated_users(part.pairs, truth=NEW_ITEMS.truth, most=most, salt=salt)
    customers = asked.withColumn("groups", F.array(F.lit(EVERYONE))).persist()

    def value(weights: Weights) -> float:
        used = [(side, quarters / QUARTERS) for side, quarters in zip(sides, weights, strict=True) if quarters]
        blend = blend_side([side for side, _ in used], tuple(share for _, share in used))
        found = judged({BLEND: blend}, part, (NEW_ITEMS,), customers=customers).of(NEW_ITEMS, EVERYONE)
        return found[BLEND].ndcg or 0.0 if found else 0.0

    try:
        return search_weights(engines, value)
    finally:
        customers.unpersist()
