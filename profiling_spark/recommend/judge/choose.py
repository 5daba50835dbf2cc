"""Compare the engines on a split by time, name the one that serves, and fit it on everything.

The customers who are judged fall into two halves by a hash of their ids. Every second one of the first half is there
for the search of settings and blends; on the others (`validation`) what serves is chosen, by the protocol that serving
uses. The second half (`test`) has taken no part in either and measures the quality, also by group of customers. Noise
chooses nothing: see `serving_engine`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from profiling_spark.config import Settings
from profiling_spark.config.settings import Recommend
from profiling_spark.recommend.engines import ALS, ENGINES, GRAPH_FILTER, ITEM_CF
from profiling_spark.recommend.engines.als_tuning import LEAST_CUSTOMERS, Split, tuned_als, values_of, with_values
from profiling_spark.recommend.engines.blend import BLEND, blend_side
from profiling_spark.recommend.engines.blend_search import customers_for, search_blend
from profiling_spark.recommend.engines.fit import engine_side
from profiling_spark.recommend.engines.graph_filter import candidates_for
from profiling_spark.recommend.engines.graph_tuning import tuned_graph, with_graph_values
from profiling_spark.recommend.engines.item_cf import COSINE_OF_ITSELF, neighbour_side
from profiling_spark.recommend.engines.own_history import OwnHistorySide
from profiling_spark.recommend.engines.popular import POPULAR, PopularSide
from profiling_spark.recommend.engines.settings_search import Found, Values
from profiling_spark.recommend.history.pairs import SplitTotals
from profiling_spark.recommend.judge.evaluate import Evaluated, Figures, evaluate, training_of
from profiling_spark.recommend.judge.in_process import judge_of
from profiling_spark.recommend.judge.intervals import Paired
from profiling_spark.recommend.judge.protocols import ALL_ITEMS, NEW_ITEMS, Protocol, as_served, with_masks
from profiling_spark.recommend.lists.repeats import repeat_categories, repeated
from profiling_spark.recommend.matrix.item_side import Ints, ItemSide

VALIDATION, TEST = "validation", "test"
SEARCHED = "searched"  # customers on whom settings and blends are searched: they judge nothing else
_IS_SEARCHED = pl.col("groups").list.contains(SEARCHED)
LIVE = "live"  # the engine of the model that serves now, with the parameters of that model
OWN_HISTORY = OwnHistorySide.engine
ALONE = (*ENGINES, OWN_HISTORY)  # may serve, alone or in a blend; of equal ones the first
# customers with at most so many items before the split are new; their median parts the others in light and heavy
NEW_PAIRS = 3


@dataclass(frozen=True)
class Live:
    """What serves now: its engine, the settings that it was fitted with, and whether these are those in force; `blend`:
    the weights of its engines, where it is one.
    """

    engine: str
    settings: Recommend
    is_same: bool = False
    blend: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Fitted:
    """The engine that serves (`side` None: popular) and the figures behind the choice; no figures: nothing to compare
    on. `engine` LIVE: the model that serves now stays. `als`, `graph_filter`: the settings of these in the side, where
    it has them; `blend`: the weights of its engines, where it is a blend; `tuned`: by engine the trials in which
    settings were found.
    """

    engine: str
    side: ItemSide | None
    figures: Evaluated = field(default_factory=Evaluated)
    als: Values | None = None
    graph_filter: Mapping[str, Any] | None = None
    tuned: Mapping[str, Found] = field(default_factory=dict)
    blend: Mapping[str, float] | None = None


def serving_engine(figures: Mapping[str, Figures], paired: Paired | None, incumbent: str | None = None) -> str:
    """The best by NDCG of the engines that are compared, the first of equal ones; and where the difference may be
    noise, the plainer or the older one: nothing serves before popular, no blend before an engine alone, and nothing
    before the `incumbent` (LIVE, or the engine of the model that serves now), of which the paired interval of the gain
    does not lie above 0.

    Without figures als serves: there are enough pairs to fit it, and nothing speaks against it.
    """
    value = {engine: f.ndcg for engine, f in figures.items() if f.ndcg is not None}
    if not value or paired is None:
        return ALS

    def beats(engine: str, other: str) -> bool:
        return engine != other and paired.gain(engine, other).low > 0

    best = max((e for e in ALONE if e in value), key=lambda engine: (value[engine], -ALONE.index(engine)))
    if BLEND in value and beats(BLEND, best):
        best = BLEND
    if incumbent in value and beats(incumbent, POPULAR) and not beats(best, incumbent):
        return incumbent
    return best if beats(best, POPULAR) else POPULAR


def fit(
    pairs: DataFrame,
    totals: SplitTotals,
    neighbours: pa.Table,
    settings: Settings,
    *,
    attributes: DataFrame,
    live: Live | None,
) -> Fitted:
    """Compare the engines, each fitted on the part before the cutoff; then fit the one that serves on everything.

    `neighbours`: item neighbours of everything, which are item_cf's item side. `attributes`: (user_id, gender_code,
    age_band) of customers. `live`: what serves now.
    """
    comparison, found = None, Evaluated()
    if (totals.train_weights > 0).sum() >= 2:
        comparison = Comparison.of(pairs, totals, settings, attributes)
        found = comparison.run(live)
        settings = comparison.settings
    is_compared = any(engine == LIVE for _, engine, _ in found.figures)
    incumbent = LIVE if is_compared else live.engine if live is not None and live.is_same else None
    served = as_served(settings.recommend.policy.most_seen_share)
    paired = found.paired.get((served.name, VALIDATION))
    engine = serving_engine(found.of(served, VALIDATION), paired, incumbent)
    tuned = comparison.tuned if comparison else {}
    if engine in (POPULAR, LIVE):
        return Fitted(engine, None, found, tuned=tuned)
    blend = comparison.blend if comparison and engine == BLEND else None
    return replace(_fitted(engine, blend, pairs, totals, settings, neighbours), figures=found, tuned=tuned)


def refitted(live: Live, pairs: DataFrame, totals: SplitTotals, settings: Settings) -> Fitted:
    """The live model's engine by its own settings, on everything; no figures."""
    theirs = settings.model_copy(update={"recommend": live.settings})
    return _fitted(live.engine, live.blend, pairs, totals, theirs)


def _fitted(
    engine: str, blend: Mapping[str, float] | None, pairs: DataFrame, totals: SplitTotals, settings: Settings,
    neighbours: pa.Table | None = None,
) -> Fitted:  # fmt: skip
    """One of ALONE or a blend, on everything."""

    def side_of(name: str) -> ItemSide:
        if name == ITEM_CF and neighbours is not None:
            nearest = neighbours.filter(pc.field("rank") <= settings.recommend.item_cf.neighbours)
            return neighbour_side(nearest, len(totals.items), itself=COSINE_OF_ITSELF)
        return _side(name, pairs, totals, settings, units="units", is_used="is_learned")

    weights = blend or {engine: 1.0}
    sides = [side_of(name) for name in weights]
    side = blend_side(sides, tuple(weights.values())) if blend else sides[0]
    als = values_of(settings.recommend) if ALS in weights else None
    graph = settings.recommend.graph_filter.model_dump(mode="json") if GRAPH_FILTER in weights else None
    return Fitted(engine, side, als=als, graph_filter=graph, blend=blend)


def _side(
    name: str, pairs: DataFrame, totals: SplitTotals, settings: Settings, *, units: str, is_used: str
) -> ItemSide:
    if name == OWN_HISTORY:
        return OwnHistorySide(len(totals.items))
    return engine_side(name, pairs, totals.items, settings, units=units, is_used=is_used)


class Comparison:
    """One split, its customers, and what was chosen on them so far: `settings` with those that the trials found
    (`tuned`), and `blend`, the weights of the engines of the blend that takes part.
    """

    def __init__(
        self, pairs: DataFrame, totals: SplitTotals, settings: Settings, judged: pl.DataFrame, customers: int
    ) -> None:
        self.pairs, self.totals, self.settings = pairs, totals, settings
        self.judged, self.customers = judged, customers
        self.tuned: dict[str, Found] = {}
        self.blend: Mapping[str, float] | None = None

    @classmethod
    def of(cls, pairs: DataFrame, totals: SplitTotals, settings: Settings, attributes: DataFrame) -> Comparison:
        """The customers are few, and found once."""
        found = repeat_categories(totals.categories, totals.train_bought, settings.recommend.policy)
        again = set(repeated(found))
        repeats = [item for item, category in zip(totals.items, totals.categories, strict=True) if category in again]
        masked = with_masks(pairs, repeats)
        counts = history_counts(pairs)
        judged = judged_customers(masked, settings, attributes, counts=counts)
        people = with_searched(pl.DataFrame(judged.toArrow()))
        return cls(masked, totals, settings, people, int(counts.sum()))

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        return NEW_ITEMS, as_served(self.settings.recommend.policy.most_seen_share), ALL_ITEMS

    def run(self, live: Live | None, *, replicates: int = 0) -> Evaluated:
        """All engines, popular, a blend where one is better, and what serves now where it is none of these.
        `replicates`: of the bootstrap over customers.
        """
        self._tune()
        sides = {name: self._trained(name, self.settings) for name in ALONE}
        self._blend({name: sides[name] for name in ALONE})
        if live is not None and self._is_another(live):
            sides[LIVE] = self._trained_live(live)
        if self.blend:
            sides[BLEND] = blend_side([sides[name] for name in self.blend], tuple(self.blend.values()))
        sides[POPULAR] = PopularSide(self.totals.train_weights)
        people = self.pairs.sparkSession.createDataFrame(self.judged.filter(~_IS_SEARCHED).to_arrow())
        return evaluate(
            self.pairs, sides, training_of(self.totals, self.customers), self.protocols, people,
            replicates=replicates,
        )  # fmt: skip

    def _trained(self, name: str, settings: Settings) -> ItemSide:
        return _side(name, self.pairs, self.totals, settings, units="train_units", is_used="is_train_learned")

    def _trained_live(self, live: Live) -> ItemSide:
        theirs = self.settings.model_copy(update={"recommend": live.settings})
        if not live.blend:
            return self._trained(live.engine, theirs)
        return blend_side([self._trained(name, theirs) for name in live.blend], tuple(live.blend.values()))

    def _is_another(self, live: Live) -> bool:
        """Whether what serves now is none of tonight's engines, and may serve."""
        if live.engine == BLEND and not self._may_blend:
            return False
        used = live.blend or {live.engine: 1.0}
        ours, theirs = self.settings.recommend, live.settings
        is_same = live.is_same and (live.engine != BLEND or live.blend == self.blend)
        is_same &= ALS not in used or values_of(ours) == values_of(theirs)
        is_same &= GRAPH_FILTER not in used or _fit_of(ours) == _fit_of(theirs)
        return live.engine in (*ALONE, BLEND) and not is_same

    @property
    def _may_blend(self) -> bool:
        """Not where an engine scores candidates only: a blend would have to score all items every night."""
        asked = self.settings.recommend
        return asked.blend_users > 0 and not candidates_for(asked.graph_filter.candidates, len(self.totals.items))

    def _searched(self) -> pl.Series:
        return self.judged.filter(_IS_SEARCHED)["user_id"]

    def _tune(self) -> None:
        """The settings that are best for new items, which every list has, on the customers who are searched on."""
        totals = self.totals
        split = Split(
            self.pairs, totals.items, totals.train_weights > 0, "is_train_learned", totals.pairs, NEW_ITEMS,
            self._searched(), is_sampled=True,
        )  # fmt: skip
        recommend = self.settings.recommend
        als, graph = tuned_als(split, self.settings), tuned_graph(split, self.settings)
        if als is not None:
            self.tuned[ALS], recommend = als, with_values(recommend, als.best.values)
        if graph is not None:
            found = with_graph_values(recommend.graph_filter, graph.best.values)
            self.tuned[GRAPH_FILTER], recommend = graph, recommend.model_copy(update={"graph_filter": found})
        self.settings = self.settings.model_copy(update={"recommend": recommend})

    def _blend(self, sides: Mapping[str, ItemSide]) -> None:
        """The weights that are best as lists are served, on the customers who are searched on."""
        totals = self.totals
        if not self._may_blend:
            return
        asked = self._searched().head(customers_for(len(totals.items), self.settings.recommend.blend_users))
        _, served, _ = self.protocols
        if not len(asked):
            return
        judge = judge_of(self.pairs, asked, totals.items, totals.train_weights > 0, served)
        if judge.customers < LEAST_CUSTOMERS:
            return
        found = search_blend(sides, judge)
        self.blend = found.weights if found.is_blend else None


def _fit_of(settings: Recommend) -> dict[str, Any]:
    """The settings of graph_filter that its fit depends on."""
    return settings.graph_filter.model_dump(exclude={"candidates", "trials"})


def with_searched(judged: pl.DataFrame) -> pl.DataFrame:
    """Every second one of those who choose is SEARCHED instead, where enough are left of both: what was found on a
    customer seems better there than it is. `judged` in an order that rests on the ids alone.
    """
    chooses = pl.col("groups").list.contains(VALIDATION)
    if judged.filter(chooses).height < 2 * LEAST_CUSTOMERS:
        return judged
    is_second = chooses & (chooses.cast(pl.Int64).cum_sum() % 2 == 0)
    return judged.with_columns(groups=pl.when(is_second).then(pl.lit([SEARCHED])).otherwise("groups"))


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


def judged_customers(pairs: DataFrame, settings: Settings, attributes: DataFrame, *, counts: Ints) -> DataFrame:
    """(user_id, groups) of at most `evaluation_users` customers, chosen by hash, with a usable history before the split
    and something to be found after it by one of the protocols; `groups`: the half and, in the test half, the groups
    that each belongs to. `pairs` as of `with_masks`.
    """
    truths = [F.max(protocol.truth) for protocol in (NEW_ITEMS, as_served(1.0), ALL_ITEMS)]
    found = pairs.groupBy("user_id").agg(F.count_if("is_train").alias("items"), F.greatest(*truths).alias("is_found"))
    order = F.xxhash64(F.lit(settings.seed), "user_id"), "user_id"
    able = found.where("items > 0 AND is_found").orderBy(*order).limit(settings.recommend.evaluation_users)
    described = able.join(attributes, on="user_id", how="left")
    activity = (
        F.when(F.col("items") <= NEW_PAIRS, "new").when(F.col("items") <= light_to(counts), "light").otherwise("heavy")
    )
    gender = F.when(F.col("gender_code") == 0, "male").when(F.col("gender_code") == 1, "female")
    names = (activity, gender, F.concat(F.lit("age "), F.col("age_band")))
    groups = F.array_compact(F.array(F.lit(TEST), *names))
    halves = F.when(_chooses(settings.seed), F.array(F.lit(VALIDATION))).otherwise(groups)
    return described.orderBy(*order).select("user_id", halves.alias("groups"))


def _chooses(salt: int) -> Column:
    """Whether a customer is of the half on which the choice is made; another hash than that which picks the judged."""
    return F.pmod(F.xxhash64(F.lit(salt), F.lit(VALIDATION), "user_id"), F.lit(2)) == 0
