"""What a bundle says: how often, how much more often than chance, and how surely both. No Spark, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import polars as pl

ITEMS = ("item_1_id", "item_2_id", "item_3_id")
OTHERS: Mapping[str, tuple[str, str]] = {
    ITEMS[0]: (ITEMS[1], ITEMS[2]),
    ITEMS[1]: (ITEMS[0], ITEMS[2]),
    ITEMS[2]: (ITEMS[0], ITEMS[1]),
}
"""The other two of a triple, by item."""
FIGURES = (*ITEMS, "orders", "support", "lift", "log_likelihood_ratio", "confidence", "added_item_id")
_DECIMALS = 6  # equal ratios are equal, whichever item comes first


def orders_of(item: str) -> str:
    """Column with the orders that have the item of this column."""
    return f"{item}_orders"


def orders_without(item: str) -> str:
    """Column with the orders that have the other two items of a triple; null for a pair."""
    return f"without_{item}_orders"


def log_likelihood_ratio(both: pl.Expr, first: pl.Expr, second: pl.Expr, orders: float) -> pl.Expr:
    """G2 of two things in the same orders (Dunning, Computational Linguistics 19(1), 1993, "Accurate Methods for the
    Statistics of Surprise and Coincidence"): 2 * sum over the four cells (with or without each) of n * ln(n / expected
    where the two have nothing to do with each other); if so, about chi-squared with one degree of freedom.

    `first`, `second`, `both`: orders with each and with both, of `orders`. It grows with support and with lift: ten
    times the orders at the same lift are ten times the ratio. It is as large where they avoid each other.
    """
    cells = (
        (both, first, second),
        (first - both, first, orders - second),
        (second - both, orders - first, second),
        (orders - first - second + both, orders - first, orders - second),
    )
    parts = [
        # the limit of n * ln(n) at 0 is 0
        pl.when(n > 0).then(n * (n * orders / (row * column)).log()).otherwise(0.0)
        for n, row, column in cells
    ]
    return (2 * reduce(pl.Expr.add, parts)).round(_DECIMALS)


def figures(sets: pl.DataFrame, *, orders: int) -> pl.DataFrame:
    """FIGURES of each of the `sets` (a pair or triple, in any order) that stands for a positive association.

    `sets`: ITEMS (the third null for a pair), `orders` with all of them, `orders_of` each item and `orders_without` it.
    With n orders, of which n_x have all items of x: support n_x / n; lift of x over its items i: (n_x / n) /
    product(n_i / n), 1 where the items have nothing to do with each other; confidence: of the orders with the others
    the share that has `added_item_id` too, for the item where this is largest (ties by id).

    A pair falls apart in one way, a triple in three: an item and the two others. log_likelihood_ratio is the least over
    these ways, and a set is left out where in any of them the parts meet no more often than chance (n_x / n is at most
    the product of the parts' shares): a triple is more than a strong pair beside something that everyone buys
    (Webb, ACM TKDD 4(1), 2010, "Self-sufficient itemsets": productive itemsets).
    """
    is_pair = pl.col(ITEMS[2]).is_null()
    total, both = float(orders), pl.col("orders").cast(pl.Float64)
    single = {item: pl.col(orders_of(item)).cast(pl.Float64) for item in ITEMS}
    of_pair = {ITEMS[0]: single[ITEMS[1]], ITEMS[1]: single[ITEMS[0]], ITEMS[2]: pl.lit(None, pl.Float64)}
    rest = {
        item: pl.when(is_pair).then(of_pair[item]).otherwise(pl.col(orders_without(item)).cast(pl.Float64))
        for item in ITEMS
    }
    expected = single[ITEMS[0]] / total * (single[ITEMS[1]] / total) * (single[ITEMS[2]] / total).fill_null(1.0)
    ratios = [log_likelihood_ratio(both, single[item], rest[item], total) for item in ITEMS]
    # the cells of a way that a pair does not have are null; ln of null would be taken for the empty cell's 0
    known = [pl.when(rest[item].is_not_null()).then(ratio) for item, ratio in zip(ITEMS, ratios, strict=True)]
    is_positive = [(both * total > single[item] * rest[item]).fill_null(value=True) for item in ITEMS]
    least = pl.min_horizontal(rest.values())
    added_item = (
        pl.when(rest[ITEMS[0]] == least)
        .then(pl.col(ITEMS[0]))
        .when(rest[ITEMS[1]] == least)
        .then(pl.col(ITEMS[1]))
        .otherwise(pl.col(ITEMS[2]))
    )
    return (
        sets.filter(is_positive)
        .with_columns(
            support=both / total,
            lift=both / total / expected,
            log_likelihood_ratio=pl.min_horizontal(known),
            confidence=both / least,
            added_item_id=added_item,
        )
        .select(FIGURES)
    )
