"""What the shop allows in a list, after ranking and before writing. What rules took out of the first places is counted.

Rules on items: in stock, categories and brands allowed or barred. Rules on a customer's items: prices outside the
customer's own habit (what was seen before: seen.py). Rules on a list: at most so many items
of a category or a brand, by going down the ranking. What is left is steered by price (steering.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from profiling_spark.config.policy import RecommendPolicy
from profiling_spark.recommend.lists.steering import PRICE_STEERING, Steering
from profiling_spark.recommend.matrix.item_side import Bools, Floats, Ints, ScoreBlock
from profiling_spark.recommend.matrix.score_block import best, close_pairs, columns_of, scores_of, some_rows
from profiling_spark.recommend.matrix.top_n import NONE

RULES = ("not_listed", "out_of_stock", "category", "brand", "price", "per_category", "per_brand", PRICE_STEERING)
_LEAST_PRICES = 3  # a habit needs so many priced items


@dataclass(frozen=True)
class Cap:
    """At most `most` items of a group in a list; `groups` (items,): the group's number, NONE where not known."""

    rule: str
    groups: Ints
    most: int


@dataclass(frozen=True)
class Policy:
    """The rules over numbered items. `barred` by rule (items,); `may_repeat` (items,): may be offered again to who
    bought it; `prices` (items,): nan where not known; `price_range`: shares of the customer's own median price, None:
    no rule.
    """

    barred: Mapping[str, Bools]
    caps: tuple[Cap, ...]
    may_repeat: Bools
    prices: Floats
    price_range: tuple[float, float] | None
    steering: Steering

    @property
    def has_rules(self) -> bool:
        """Whether any rule can take anything out."""
        return bool(self.is_barred.any()) or len(self.caps) > 0 or self.price_range is not None

    @property
    def is_barred(self) -> Bools:
        """(items,): offered to nobody."""
        found: Bools = np.logical_or.reduce([np.zeros(len(self.prices), dtype=bool), *self.barred.values()])
        return found

    def habits(self, users: Ints, items: Ints, count: int) -> Floats:
        """(count,): the median price of what each customer bought, given as pairs of user and item number; nan where
        fewer than three of these items have a price, and where there is no rule.
        """
        usual = np.full(count, np.nan)
        if self.price_range is not None:
            paid = pl.DataFrame({"user": users, "price": self.prices[items]}).filter(pl.col("price").is_finite())
            known = paid.group_by("user").agg(pl.col("price").median(), pl.len())
            known = known.filter(pl.col("len") >= _LEAST_PRICES)
            usual[known["user"].to_numpy()] = known["price"].to_numpy()
        return usual

    def outside(self, habits: Floats, items: Ints) -> Bools:
        """(customers, any): True where the price of `items` (customers or 1, any) lies outside the range around the
        customer's usual one. A customer without a habit, and an item without a price, have no outside.
        """
        least, most = self.price_range or (0.0, np.inf)
        usual, prices = habits[:, None], self.prices[items]
        found: Bools = (prices < least * usual) | (prices > most * usual)
        return found

    def counted(self, before: Ints, habits: Floats, listed: Ints) -> dict[str, int]:
        """How many of the places of `before`, the lists without the rules, each rule took: the first rule that did.

        `listed`: the lists with the rules; `habits` (customers,): usual prices.
        """
        is_open = before != NONE
        found = np.zeros(before.shape, dtype=bool)
        counts = {}
        for rule, barred in self.barred.items():
            removed = is_open & ~found & barred[before]
            counts[rule], found = int(removed.sum()), found | removed
        removed = is_open & ~found & self.outside(habits, before)
        counts["price"], found = int(removed.sum()), found | removed
        is_listed = (before[:, :, None] == listed[:, None, :]).any(axis=2)
        for cap in self.caps:
            # what no other rule took and is still not listed was one too many of a full group
            groups = np.where(listed != NONE, cap.groups[listed], NONE)
            own = cap.groups[before]
            full = ((groups[:, None, :] == own[:, :, None]) & (own[:, :, None] != NONE)).sum(axis=2) >= cap.most
            removed = is_open & ~found & ~is_listed & full
            counts[cap.rule], found = int(removed.sum()), found | removed
        return counts


def policy_of(
    settings: RecommendPolicy,
    *,
    categories: Sequence[str | None],
    brands: Sequence[str | None],
    prices: Sequence[float | None],
    stocks: Sequence[int | None],
    price_percentiles: Sequence[float | None],
    are_ended: Sequence[bool],
) -> Policy:
    """The rules of the settings over a catalogue, item by item. Stock that is not known counts as in stock; an item
    whose category (brand) is not known is barred only where categories (brands) are allowed by name. What the catalogue
    has ended is not offered, whatever the settings say.
    """
    barred = {
        "not_listed": np.array(are_ended, dtype=bool),
        "out_of_stock": np.array([settings.in_stock and s is not None and s <= 0 for s in stocks], dtype=bool),
        "category": _listed(categories, settings.allow_categories, settings.bar_categories),
        "brand": _listed(brands, settings.allow_brands, settings.bar_brands),
    }
    caps = [
        Cap(rule, _numbers(names), most)
        for rule, names, most in (
            ("per_category", categories, settings.max_per_category),
            ("per_brand", brands, settings.max_per_brand),
        )
        if most is not None
    ]
    may_repeat = np.array([c in settings.repeat_categories for c in categories], dtype=bool)
    steering = Steering(settings.price_steering, _known(price_percentiles))
    return Policy(barred, tuple(caps), may_repeat, _known(prices), settings.price_range, steering)


def _known(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _listed(names: Sequence[str | None], allowed: Sequence[str], barred: Sequence[str]) -> Bools:
    return np.array([n in barred or (len(allowed) > 0 and n not in allowed) for n in names], dtype=bool)


def _numbers(names: Sequence[str | None]) -> Ints:
    number = {name: n for n, name in enumerate(sorted({n for n in names if n is not None}))}
    return np.array([NONE if n is None else number[n] for n in names], dtype=np.int64)


def select_capped(
    block: ScoreBlock, n: int, exact: Callable[[Ints], Floats], caps: Sequence[Cap], *, listed: Ints | None = None
) -> tuple[Ints, Floats]:
    """`best`, going down each row's ranking and passing over items of a group that is full.

    `listed` (rows, any): items that the list has already, which count. `block` is changed.
    """
    rows = len(scores_of(block))
    if not caps:
        return best(block, n, exact)
    chosen, values = np.full((rows, n), NONE), np.full((rows, n), np.nan)
    length = np.zeros(rows, dtype=np.int64)
    counts = [_group_counts(cap, listed, rows) for cap in caps]
    _close_full(block, np.arange(rows), caps, counts)
    active = np.arange(rows)
    while len(active):
        found, value = best(some_rows(block, active), n, _for_rows(exact, active, rows))
        passed_over = np.zeros(len(active), dtype=bool)
        for place in range(n):
            item = found[:, place]
            has_room = (item != NONE) & (length[active] < n)
            fits = has_room.copy()
            for cap, count in zip(caps, counts, strict=True):
                group = cap.groups[item]
                fits &= (group == NONE) | (count[active, group] < cap.most)
            passed_over |= has_room & ~fits
            row, taken = active[fits], item[fits]
            chosen[row, length[row]], values[row, length[row]] = taken, value[fits, place]
            length[row] += 1
            close_pairs(block, row, taken)
            for cap, count in zip(caps, counts, strict=True):
                count[row, cap.groups[taken]] += 1  # unknown groups count in the last column, which is never read
        active = active[passed_over & (length[active] < n)]
        _close_full(block, active, caps, counts)
    return chosen, values


def within_caps(items: Ints, n: int, caps: Sequence[Cap], *, listed: Ints | None = None) -> Ints:
    """(rows, n): places in `items` (rows, any), best first, of the first n that the caps let in, NONE at the end."""
    rows = np.arange(len(items))
    counts = [_group_counts(cap, listed, len(items)) for cap in caps]
    chosen, length = np.full((len(items), n), NONE), np.zeros(len(items), dtype=np.int64)
    for place in range(items.shape[1]):
        item = items[:, place]
        fits = (item != NONE) & (length < n)
        for cap, count in zip(caps, counts, strict=True):
            fits &= (cap.groups[item] == NONE) | (count[rows, cap.groups[item]] < cap.most)
        chosen[rows[fits], length[fits]] = place
        length[fits] += 1
        for cap, count in zip(caps, counts, strict=True):
            count[rows[fits], cap.groups[item[fits]]] += 1
    return chosen


def _for_rows(exact: Callable[[Ints], Floats], rows: Ints, count: int) -> Callable[[Ints], Floats]:
    """`exact` of a block, for some of its rows."""

    def of_rows(chosen: Ints) -> Floats:
        whole = np.zeros((count, chosen.shape[1]), dtype=np.int64)
        whole[rows] = chosen
        return exact(whole)[rows]

    return of_rows


def _group_counts(cap: Cap, listed: Ints | None, rows: int) -> Ints:
    """(rows, groups + 1): items of each group in the list so far."""
    counts = np.zeros((rows, int(cap.groups.max(initial=NONE)) + 2), dtype=np.int64)
    if listed is not None:
        row, place = np.nonzero(listed != NONE)
        np.add.at(counts, (row, cap.groups[listed[row, place]]), 1)
    return counts


def _close_full(block: ScoreBlock, rows: Ints, caps: Sequence[Cap], counts: Sequence[Ints]) -> None:
    """Take the items of full groups out of the running."""
    scores = scores_of(block)
    columns = np.broadcast_to(columns_of(block), scores.shape)
    for cap, count in zip(caps, counts, strict=True):
        is_full = count[rows] >= cap.most
        is_full[:, NONE] = False
        for at, row in enumerate(rows):
            if is_full[at].any():
                scores[row, is_full[at][cap.groups[columns[row]]]] = -np.inf
