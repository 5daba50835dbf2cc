"""Which categories' items are bought again and again, so that what was bought there is offered once more."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import polars as pl

from profiling_spark.config.policy import RecommendPolicy
from profiling_spark.recommend.history.pairs import Bought
from profiling_spark.recommend.matrix.item_side import Floats, Ints

LEAST_PAIRS = 20  # fewer are no habit of a shop's customers
_LEVEL = 0.95
NAMED = "named in the settings"


def repeat_categories(categories: Sequence[str | None], bought: Bought, policy: RecommendPolicy) -> pl.DataFrame:
    """(category, pairs, again, share, share_low, is_repeated, reason) of every category of which anything was bought,
    and of those that the settings name, sorted by category.

    `pairs`: of a customer and an item that was bought, `again`: of them those bought on two days or more. A category is
    repeated where it is named, or where of LEAST_PAIRS pairs or more the lower bound of `share` = again / pairs
    (Wilson's interval, 95 % one-sided) reaches `policy.repeat_share`. A barred category never is.
    """
    items = pl.DataFrame(
        {"category": categories, "pairs": bought.customers, "again": bought.again},
        schema={"category": pl.String, "pairs": pl.Int64, "again": pl.Int64},
    )
    named = pl.DataFrame({"category": policy.repeat_categories, "pairs": 0, "again": 0}, schema=items.schema)
    sums = pl.concat([items.drop_nulls("category"), named]).group_by("category").agg(pl.col("pairs", "again").sum())
    is_named = pl.col("category").is_in(policy.repeat_categories)
    kept = sums.filter((pl.col("pairs") > 0) | is_named).sort("category")
    low = wilson_low(kept["again"].to_numpy(), kept["pairs"].to_numpy())
    is_sure = (pl.col("pairs") >= LEAST_PAIRS) & (pl.col("share_low") >= policy.repeat_share)
    is_found = is_sure & ~pl.col("category").is_in(policy.bar_categories)
    return kept.with_columns(
        share=pl.when(pl.col("pairs") > 0).then(pl.col("again") / pl.col("pairs")), share_low=pl.Series(low)
    ).with_columns(
        is_repeated=is_named | is_found,
        reason=pl.when(is_named).then(pl.lit(NAMED)).otherwise(_reason(policy)),
    )


def _reason(policy: RecommendPolicy) -> pl.Expr:
    """What was found beside what is asked."""

    def percent(share: pl.Expr) -> pl.Expr:
        return (share * 100).round(1).cast(pl.String) + " %"

    needed = f"{policy.repeat_share * 100:g} % are asked for"
    is_barred, is_small = pl.col("category").is_in(policy.bar_categories), pl.col("pairs") < LEAST_PAIRS
    barred, few = pl.lit("; the category is barred"), pl.lit(f"; fewer than {LEAST_PAIRS} purchases say too little")
    found = pl.format(
        "bought on two days or more: {} of {} purchases of an item by a customer, {}; surely {}, {}",
        "again", "pairs", percent(pl.col("share")), percent(pl.col("share_low")), pl.lit(needed),
    )  # fmt: skip
    return found + pl.when(is_barred).then(barred).when(is_small).then(few).otherwise(pl.lit(""))


def repeated(found: pl.DataFrame) -> tuple[str, ...]:
    """The categories whose items are offered again."""
    return tuple(found.filter("is_repeated")["category"])


def wilson_low(hits: Ints, tries: Ints) -> Floats:
    """Lower bound of Wilson's score interval (1927) of a share, 95 % one-sided; 0 without a try."""
    z = NormalDist().inv_cdf(_LEVEL)
    n = np.maximum(tries, 1)
    share = hits / n
    middle = share + z * z / (2 * n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low: Floats = np.where(tries > 0, np.maximum((middle - half) / (1 + z * z / n), 0.0), 0.0)
    return low
