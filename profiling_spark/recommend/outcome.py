"""What the job did, as facts and as lines for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import polars as pl

from profiling_spark.buckets import Kernel, Replaced, Report
from profiling_spark.config.settings import Recommend
from profiling_spark.context import Outcome
from profiling_spark.contracts.gold import USER_RECOMMENDATIONS
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
    `neighbours`: (item_id, rank, neighbour_item_id, similarity), as of its fit.
    """

    model: Model | None = None
    is_new: bool = False
    stays: bool = False
    figures: Evaluated = field(default_factory=Evaluated)
    tuned: Mapping[str, Found] = field(default_factory=dict)
    blend: Mapping[str, float] | None = None
    neighbours: pl.DataFrame = field(default_factory=pl.DataFrame)

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
class Counted:
    """The kernel of lists, as of the table, with a report of them: of each step of the ladder at how many `places` it
    stands, in how many customers' lists at any place (`users`) and at the first one (`first`); what each rule took out
    (`removed`); how many `lists` there are.
    """

    kernel: Kernel
    as_of: date

    def __call__(self, events: pl.DataFrame, sides: Mapping[str, pl.DataFrame]) -> tuple[pl.DataFrame, Report]:
        made = self.kernel(events, sides)
        lists = made.filter(pl.col("rank") > 0).with_columns(as_of=pl.lit(self.as_of))
        steps = lists.group_by("engine").agg(
            places=pl.len(), users=pl.col("user_id").n_unique(), first=(pl.col("rank") == 1).sum()
        )
        report: dict[str, Any] = {
            name: dict(steps.select("engine", name).sort("engine").iter_rows()) for name in ("places", "users", "first")
        }
        removed = made.filter(pl.col("rank") == 0).select("engine", pl.col("score").cast(pl.Int64))
        report |= {"removed": dict(removed.iter_rows()), "lists": sum(report["first"].values())}
        return lists.select(USER_RECOMMENDATIONS.names), report


def added_up(reports: Sequence[Report]) -> dict[str, Any]:
    """The reports of all buckets, as one of `Counted`."""
    sums: dict[str, Counter[str]] = {name: Counter() for name in ("places", "users", "first", "removed")}
    for report in reports:
        for name, counter in sums.items():
            counter.update(report[name])
    return {**sums, "lists": sum(report["lists"] for report in reports)}


def outcome(
    choice: Choice, lists: Replaced, next_uses: Mapping[str, int], left_out: LeftOut, settings: Recommend,
) -> Outcome:  # fmt: skip
    """`lists`: as of `Counted`; `next_uses`: rows of the other tables by name. The fact `steps` tells of each step in
    how many customers' lists it stands (`users`), and at how many places.
    """
    counted = added_up(lists.reports)
    users, first = counted["lists"], counted["first"]
    shares = {s: round(first[s] / users, 4) for s in _STEPS if users and first[s]}
    facts: dict[str, Any] = {"engine": choice.engine, "users_served": users, "share_by_engine": shares}
    steps = {s: {name: counted[name][s] for name in ("users", "places")} for s in _STEPS if counted["places"][s]}
    facts["steps"] = steps
    removed = {rule: counted["removed"][rule] for rule in RULES if counted["removed"][rule]}
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
    by_first = f"{users:,} customers have a list; first item by: " + ", ".join(
        f"{s} {v:.1%}" for s, v in shares.items()
    )
    served = ", ".join(f"{s} {n['users']:,} ({n['places']:,} places)" for s, n in steps.items())
    by_step = [f"customers by the steps of their lists: {served}"] if steps else []
    removed_counts = ", ".join(f"{rule} {count:,}" for rule, count in removed.items())
    taken = [f"first places changed by policy: {removed_counts}"] if removed else []
    tuned = tuning_lines(choice.tuned)
    if choice.blend:
        tuned.append("the blend is of " + ", ".join(f"{engine} {share:.0%}" for engine, share in choice.blend.items()))
    return Outcome(
        rows_out=lists.rows, facts=facts, lines=(serving, *tuned, by_first, *by_step, *taken, *left_out.lines(settings))
    )
