"""What the job did, as facts and as lines for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from pyspark.sql import functions as F

from profiling_spark.buckets import Kernel
from profiling_spark.config.settings import Recommend
from profiling_spark.context import Outcome
from profiling_spark.recommend.engines.als_tuning import tuning_facts, tuning_lines
from profiling_spark.recommend.engines.blend import BLEND
from profiling_spark.recommend.engines.popular import POPULAR, POPULAR_IN_CATEGORY
from profiling_spark.recommend.engines.settings_search import Found
from profiling_spark.recommend.history.bots import Bots
from profiling_spark.recommend.history.sessions import LAST_SESSION
from profiling_spark.recommend.judge.choose import ALONE, LIVE
from profiling_spark.recommend.judge.evaluate import Evaluated
from profiling_spark.recommend.judge.figures import figure_facts, figure_line
from profiling_spark.recommend.lists.content import CONTENT
from profiling_spark.recommend.lists.groups import GROUP_STEPS
from profiling_spark.recommend.lists.policy import RULES
from profiling_spark.recommend.store import Model

_STEPS = (*ALONE, BLEND, CONTENT, LAST_SESSION, POPULAR_IN_CATEGORY, *GROUP_STEPS.values(), POPULAR)


@dataclass(frozen=True)
class Choice:
    """What serves this run. `model` None: too little data to fit one. `is_new`: fitted by this run; `stays`: this run
    compared it and keeps it. `tuned`: how this run found settings, by engine; `blend`: the weights of what serves.
    """

    model: Model | None = None
    is_new: bool = False
    stays: bool = False
    figures: Evaluated = field(default_factory=Evaluated)
    tuned: Mapping[str, Found] = field(default_factory=dict)
    blend: Mapping[str, float] | None = None

    @property
    def engine(self) -> str:
        return self.model.engine if self.model else POPULAR


@dataclass(frozen=True)
class LeftOut:
    """Customers from whom engines do not learn: bots, and those with too few items."""

    bots: Bots
    few_items: int

    def lines(self, settings: Recommend) -> list[str]:
        """For the terminal; none where there are no such customers."""
        most, parts = settings.bot_events_per_day, []
        if self.bots.count:
            parts.append(f"customers with more than {most:,} events on a day (bots) {self.bots.count:,}")
        if self.few_items:
            parts.append(f"customers with fewer than {settings.min_items} items {self.few_items:,}")
        return ["not learned from: " + ", ".join(parts)] if parts else []


@dataclass(frozen=True)
class WithSteps:
    """The kernel with a row of rank 0 for each step of the ladder: `score` counts the customers in whose lists it
    stands at any place, which no sum over rows could tell.
    """

    kernel: Kernel

    def __call__(self, events: pl.DataFrame, sides: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        lists = self.kernel(events, sides)
        steps = lists.filter(pl.col("rank") > 0).group_by("engine").agg(score=pl.col("user_id").n_unique())
        texts = [pl.lit("").alias(name) for name in ("user_id", "item_id", "reason")]
        counted = steps.select("score", "engine", *texts, rank=0).sort("engine")
        return pl.concat([lists, counted.cast({"rank": pl.Int32, "score": pl.Float64})], how="diagonal")


def counts() -> list[Any]:
    """What is observed of the lists `WithSteps`: customers by the step of their first item (`first_`) and by every step
    in their list (`users_`), places by step (`places_`), and what each rule took.
    """
    rank, engine = F.col("rank"), F.col("engine")
    first = [F.count_if((engine == s) & (rank == 1)).alias(f"first_{s}") for s in _STEPS]
    places = [F.count_if((engine == s) & (rank > 0)).alias(f"places_{s}") for s in _STEPS]
    told = {**{s: f"users_{s}" for s in _STEPS}, **{r: r for r in RULES}}
    sums = [
        F.coalesce(F.sum(F.when((rank == 0) & (engine == name), F.col("score"))), F.lit(0.0)).alias(alias)
        for name, alias in told.items()
    ]
    return [F.count_if(rank == 1).alias("users"), *first, *places, *sums]


def outcome(
    choice: Choice, written: int, counted: Mapping[str, int], next_uses: Mapping[str, int], left_out: LeftOut,
    settings: Recommend,
) -> Outcome:  # fmt: skip
    """`counted`: `counts` of the lists; `next_uses`: rows of the other tables by name. The fact `steps` tells of each
    step in how many customers' lists it stands (`users`), and at how many places.
    """
    users = counted["users"]
    shares = {s: round(counted[f"first_{s}"] / users, 4) for s in _STEPS if users and counted[f"first_{s}"]}
    facts: dict[str, Any] = {"engine": choice.engine, "users_served": users, "share_by_engine": shares}
    steps = {s: {name: int(counted[f"{name}_{s}"]) for name in ("users", "places")} for s in _STEPS}
    steps = {s: found for s, found in steps.items() if found["places"]}
    facts["steps"] = steps
    removed = {rule: int(counted[rule]) for rule in RULES if counted[rule]}
    facts |= {"removed_by_policy": removed, "bots": left_out.bots.count, "few_items": left_out.few_items, **next_uses}
    facts |= {"fitted": choice.is_new, **figure_facts(choice.figures), **tuning_facts(choice.tuned)}
    if choice.blend:
        facts["blend"] = dict(choice.blend)
    serving = f"{POPULAR} serves: too few customers took items to learn from"
    if choice.model is not None:
        stored = choice.model.stored
        facts["model_version"] = stored.version
        serving = (
            figure_line(choice.figures, LIVE if choice.stays else choice.engine)
            if choice.figures.figures or choice.is_new
            else f"{stored.version} ({choice.engine}) serves"
        )
    lists = f"{users:,} customers have a list; first item by: " + ", ".join(f"{s} {v:.1%}" for s, v in shares.items())
    served = ", ".join(f"{s} {n['users']:,} ({n['places']:,} places)" for s, n in steps.items())
    by_step = [f"customers by the steps of their lists: {served}"] if steps else []
    removed_counts = ", ".join(f"{rule} {count:,}" for rule, count in removed.items())
    taken = [f"first places changed by policy: {removed_counts}"] if removed else []
    tuned = tuning_lines(choice.tuned)
    if choice.blend:
        tuned.append("the blend is of " + ", ".join(f"{engine} {share:.0%}" for engine, share in choice.blend.items()))
    return Outcome(
        rows_out=written, facts=facts, lines=(serving, *tuned, lists, *by_step, *taken, *left_out.lines(settings))
    )
