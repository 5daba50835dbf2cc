"""Recency, frequency, monetary: measured per customer, cut over all customers, scored 1 to 5, named.

Only customers with a purchase take part: the others have no recency, and their scores and group are null.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import polars as pl

from profiling_spark.features.windows import AGE, FeatureParams, age_days

MONEY = pl.Decimal(28, 4)
MEASURES: tuple[str, ...] = ("recency_days", "frequency", "monetary")
RFM_EVENT_COLUMNS: tuple[str, ...] = ("event_date", "user_id", "event_type", "order_id", "amount")
SCORES = 5


@dataclass(frozen=True)
class RfmCuts:
    """Four rising cut points a measure, from `customers` customers with a purchase; empty where there were none."""

    recency_days: tuple[int, ...]
    frequency: tuple[int, ...]
    monetary: tuple[Decimal, ...]
    customers: int

    def rows(self) -> list[dict[str, Any]]:
        """One row a measure and cut number 1-4, as the table `rfm_cuts` stores them."""
        return [
            {"measure": measure, "cut": i, "value": Decimal(value), "customers": self.customers}
            for measure in MEASURES
            for i, value in enumerate(getattr(self, measure), start=1)
        ]

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]]) -> RfmCuts:
        """The inverse of `rows`, in any order."""
        ordered = sorted(rows, key=lambda row: row["cut"])
        of = {m: [row["value"] for row in ordered if row["measure"] == m] for m in MEASURES}
        return cls(
            recency_days=tuple(int(v) for v in of["recency_days"]),
            frequency=tuple(int(v) for v in of["frequency"]),
            monetary=tuple(Decimal(v) for v in of["monetary"]),
            customers=int(ordered[0]["customers"]) if ordered else 0,
        )


@dataclass(frozen=True)
class GroupRule:
    """A box of scores, ends included, that belongs to one group."""

    group: str
    r: tuple[int, int]
    f: tuple[int, int]
    m: tuple[int, int]

    def holds(self) -> pl.Expr:
        """Whether a customer's scores lie in the box; null where there are no scores."""
        boxes = (("r_score", self.r), ("f_score", self.f), ("m_score", self.m))
        return pl.all_horizontal(pl.col(score).is_between(low, high) for score, (low, high) in boxes)


# The boxes do not overlap and leave no gap (tests run all 125 scores), so the order of the rules means nothing.
# A customer with the fewest orders is never loyal, however large the order: f decides before m.
GROUP_RULES: tuple[GroupRule, ...] = (
    GroupRule("champions", r=(4, 5), f=(4, 5), m=(4, 5)),
    GroupRule("loyal", r=(4, 5), f=(4, 5), m=(1, 3)),
    GroupRule("loyal", r=(4, 5), f=(3, 3), m=(1, 5)),
    GroupRule("loyal", r=(3, 3), f=(3, 5), m=(1, 5)),
    GroupRule("potential", r=(4, 5), f=(2, 2), m=(1, 5)),
    GroupRule("potential", r=(3, 3), f=(1, 2), m=(3, 5)),
    GroupRule("new", r=(4, 5), f=(1, 1), m=(1, 5)),
    GroupRule("cannot_lose", r=(1, 2), f=(4, 5), m=(4, 5)),
    GroupRule("at_risk", r=(1, 2), f=(4, 5), m=(1, 3)),
    GroupRule("at_risk", r=(1, 2), f=(3, 3), m=(1, 5)),
    GroupRule("at_risk", r=(1, 2), f=(1, 2), m=(3, 5)),
    GroupRule("hibernating", r=(3, 3), f=(1, 2), m=(1, 2)),
    GroupRule("hibernating", r=(2, 2), f=(1, 2), m=(1, 2)),
    GroupRule("lost", r=(1, 1), f=(1, 2), m=(1, 2)),
)
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(rule.group for rule in GROUP_RULES))


def recency_days() -> pl.Expr:
    """Days from the last purchase's date to as_of; null without a purchase."""
    return pl.when(pl.col("purchase") > 0).then(pl.col(AGE)).min().alias("recency_days")


def monetary() -> pl.Expr:
    """Purchase amounts less refunds over the whole history, reporting currency; may be negative."""
    return (pl.col("bought").sum() - pl.col("returned").sum()).alias("monetary")


def day_metrics() -> list[pl.Expr]:
    """The measures that are aggregates of customer-day rows; frequency counts orders, see the kernel."""
    return [recency_days(), monetary()]


def rfm_measures(events: pl.DataFrame | pl.LazyFrame, *, params: FeatureParams) -> pl.DataFrame:
    """user_id and the three measures of everyone with a purchase before as_of: the sample for `fit_cuts`.

    A kernel of its own because cuts need all customers before the first can be scored; it reads RFM_EVENT_COLUMNS only.
    """
    bought, returned = pl.col("event_type") == "purchase", pl.col("event_type") == "refund"
    order = pl.col("order_id").filter(bought)
    return (
        events.lazy()
        .filter((pl.col("event_date") < params.as_of) & (bought | returned))
        .group_by("user_id")
        .agg(
            age_days(params.as_of).filter(bought).min().alias("recency_days"),
            (order.drop_nulls().n_unique() + order.null_count()).cast(pl.Int64).alias("frequency"),
            monetary=(pl.col("amount").filter(bought).sum() - pl.col("amount").filter(returned).sum()).cast(MONEY),
        )
        .filter(pl.col("frequency") > 0)
        .sort("user_id")
        .collect()
    )


def fit_cuts(sample: pl.DataFrame) -> RfmCuts:
    """Cut points at 20, 40, 60 and 80 % of the customers of `sample` with a purchase (columns: MEASURES).

    A cut point is a value that occurs (nearest rank: the smallest with at least that share of customers at or below
    it), so money stays exact. Tied values can make cut points equal; then fewer than five scores occur.
    """
    buyers = sample.filter(pl.col("frequency") > 0)
    return RfmCuts(
        recency_days=tuple(int(v) for v in _cuts(buyers["recency_days"])),
        frequency=tuple(int(v) for v in _cuts(buyers["frequency"])),
        monetary=tuple(_cuts(buyers["monetary"].cast(MONEY))),
        customers=buyers.height,
    )


def rfm_scores(cuts: RfmCuts) -> list[pl.Expr]:
    """r_score, f_score and m_score of a frame with the three measures; null without a purchase or without cuts.

    A score moves by one for each cut point strictly below the value, so equal values get equal scores. A tie that
    spans cut points falls to its small end: where everyone bought once, f = 1; where everyone bought today, r = 5.
    """
    return [
        (SCORES - _passed("recency_days", cuts.recency_days)).alias("r_score"),
        (1 + _passed("frequency", cuts.frequency)).alias("f_score"),
        (1 + _passed("monetary", cuts.monetary)).alias("m_score"),
    ]


def rfm_score() -> pl.Expr:
    """r + f + m, 3 to 15."""
    return (pl.col("r_score") + pl.col("f_score") + pl.col("m_score")).alias("rfm_score")


def rfm_group() -> pl.Expr:
    """Name of the group by GROUP_RULES; null without scores."""
    return pl.coalesce(pl.when(rule.holds()).then(pl.lit(rule.group)) for rule in GROUP_RULES).alias("rfm_group")


def with_rfm(features: pl.DataFrame, cuts: RfmCuts) -> pl.DataFrame:
    """`features` with r_score, f_score, m_score, rfm_score and rfm_group, added or replaced."""
    return features.with_columns(rfm_scores(cuts)).with_columns(rfm_score(), rfm_group())


def _cuts(values: pl.Series) -> list[Any]:
    ranked, n = values.sort(), len(values)
    return [ranked[(k * n + SCORES - 1) // SCORES - 1] for k in range(1, SCORES)] if n else []


def _passed(measure: str, cuts: tuple[int, ...] | tuple[Decimal, ...]) -> pl.Expr:
    """Cut points strictly below the measure; null where the customer takes no part."""
    if not cuts:
        return pl.lit(None, pl.Int32)
    # a Decimal travels as text: inside Spark's workers Polars takes no Decimal as a literal
    points = (pl.lit(str(c)).cast(MONEY) if isinstance(c, Decimal) else pl.lit(c) for c in cuts)
    below = pl.sum_horizontal((pl.col(measure) > point).cast(pl.Int32) for point in points)
    return pl.when((pl.col("frequency") > 0) & pl.col(measure).is_not_null()).then(below)
