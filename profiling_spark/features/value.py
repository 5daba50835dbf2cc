"""What a customer spends, and how purchases follow each other. Money is exact decimals until a ratio is taken."""

from __future__ import annotations

import polars as pl

from profiling_spark.features.windows import AGE, FeatureParams, ratio, total_within, windowed


def purchase_amount(days: int) -> pl.Expr:
    """Sum of purchase amounts in the window, net of discount, reporting currency; an unknown amount adds nothing."""
    return total_within("bought", days).alias(windowed("purchase_amount", days))


def refund_amount(days: int) -> pl.Expr:
    """Sum of refund amounts in the window (each on its own day), reporting currency. Internal: feeds two features."""
    return total_within("returned", days).alias(windowed("_refund_amount", days))


def discount_amount(days: int) -> pl.Expr:
    """Sum of discounts on purchases in the window, reporting currency. Internal: feeds discount_share."""
    return total_within("discounted", days).alias(windowed("_discount", days))


def flagged_amount(days: int | None = None) -> pl.Expr:
    """The part of the purchase amounts, of the window or the whole history, on rows that a rule flagged and keeps."""
    if days is None:
        return pl.col("flagged").sum().alias("flagged_amount")
    return total_within("flagged", days).alias(windowed("flagged_amount", days))


def interpurchase_days() -> pl.Expr:
    """Mean days between consecutive days with a purchase: (last - first) / (purchase days - 1); null below two."""
    age = pl.when(pl.col("purchase") > 0).then(pl.col(AGE))
    return ratio(age.max() - age.min(), (pl.col("purchase") > 0).sum().cast(pl.Int64) - 1).alias("interpurchase_days")


def day_metrics(params: FeatureParams) -> list[pl.Expr]:
    """Every metric of this family that is an aggregate of customer-day rows."""
    sums = (purchase_amount, refund_amount, discount_amount, flagged_amount)
    return [interpurchase_days(), flagged_amount(), *(f(w) for w in params.windows for f in sums)]


def net_amount(days: int) -> pl.Expr:
    """purchase_amount less refunds of the window; may be negative."""
    bought, returned = pl.col(windowed("purchase_amount", days)), pl.col(windowed("_refund_amount", days))
    return (bought - returned).alias(windowed("net_amount", days))


def consumption_power(days: int) -> pl.Expr:
    """purchase_amount / purchases: mean value of an order; null without purchases."""
    value = ratio(windowed("purchase_amount", days), windowed("purchases", days))
    return value.alias(windowed("consumption_power", days))


def discount_share(days: int) -> pl.Expr:
    """Discounts / (purchase amounts + discounts): the share of the list value taken off; null without either."""
    discount = pl.col(windowed("_discount", days))
    share = ratio(discount, pl.col(windowed("purchase_amount", days)) + discount)
    return share.alias(windowed("discount_share", days))


def refund_share(days: int) -> pl.Expr:
    """Refund / purchase amounts of the window; passes 1 where older purchases are returned; null without purchases."""
    share = ratio(windowed("_refund_amount", days), windowed("purchase_amount", days))
    return share.alias(windowed("refund_share", days))


def derived(params: FeatureParams) -> list[pl.Expr]:
    """Every metric of this family that is computed from a customer's finished sums."""
    parts = (net_amount, consumption_power, discount_share, refund_share)
    return [f(w) for w in params.windows for f in parts]
