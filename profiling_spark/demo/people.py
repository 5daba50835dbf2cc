"""The customers: who they are, what they like, how often they come and when they stop."""

from dataclasses import dataclass

import numpy as np

from profiling_spark.demo.assortment import PRICE_LEVELS, STYLES
from profiling_spark.demo.kinds import KINDS, LAPSING, NEW, setting
from profiling_spark.demo.rolls import Bools, Floats, Ints, cdf, dice, one_of, pick
from profiling_spark.demo.words import BRANDS, CATEGORIES, DEVICES, PLACES

NEVER = 10_000  # a day no data set reaches
RISK_SHARE = 0.006


@dataclass(frozen=True)
class People:
    """Latent facts as arrays, one entry per customer; days count from the first day of the data (0)."""

    kind: Ints
    rate: Floats  # visits per day while in full swing
    trouble: Floats  # dissatisfaction, standard normal-like: more refunds and service, fewer favourites, leaves sooner
    breadth: Floats  # how far the customer's taste spreads, mean 0
    level: Ints  # price level
    preferred: Ints  # three columns: preferred categories; -1 where there is no third
    categories: Floats  # cumulative shares over categories
    style: Ints  # per category
    brand: Ints  # per category
    first_day: Ints
    stop_day: Ints  # first day without any visit
    fade_days: Ints  # the visits thin out over so many days before `stop_day`
    registered_day: Ints  # may lie before day 0
    hour_shift: Floats  # hours later (or earlier) than the others
    channel: Ints
    device: Ints
    place: Ints
    is_female: Bools
    is_risk: Bools

    def __len__(self) -> int:
        return len(self.kind)


def uid_names(count: int) -> list[str]:
    return [f"U{n:07d}" for n in range(1, count + 1)]


def gather_people(count: int, *, days: int, seed: int) -> People:
    """Draw `count` customers; kinds come in fixed shares and random order."""
    rng = dice(seed, "people")
    bounds = np.round(np.cumsum(setting("share")) * count).astype(np.int64)
    kind = rng.permutation(np.searchsorted(bounds, np.arange(count), side="right").clip(0, len(KINDS) - 1))
    rate = setting("visits_per_day")[kind] * rng.lognormal(-0.03, 0.25, count)
    trouble = rng.normal(0, 1, count) + np.where(kind == LAPSING, 0.9, 0.0)
    breadth = rng.normal(0, 1, count) - np.where(kind == LAPSING, 0.4, 0.0)
    level = pick(cdf(np.array([k.price for k in KINDS])), kind, rng)
    is_female = rng.random(count) < 0.52
    preferred, categories = _category_tastes(kind, breadth, is_female, rng)
    channel = one_of((0.6, 0.18, 0.22), count, rng)
    registered, first = _arrivals(kind, days, rng)
    stop, fade = _departures(kind, rate, trouble, breadth, days, rng)
    return People(
        kind=kind, rate=rate, trouble=trouble, breadth=breadth, level=level, preferred=preferred,
        categories=categories,
        style=rng.integers(0, STYLES, (count, len(CATEGORIES))),
        # brands are ordered by price, so a customer's brand sits near the customer's price level
        brand=np.clip(level[:, None] + rng.integers(-1, 2, (count, len(CATEGORIES))), 0, min(BRANDS, PRICE_LEVELS) - 1),
        first_day=first, stop_day=stop, fade_days=fade, registered_day=registered,
        hour_shift=rng.normal(0, 1.2, count) + np.where(rng.random(count) < 0.08, 4.0, 0.0),
        channel=channel, device=rng.integers(0, len(DEVICES[0]), count),
        place=one_of(tuple(float(w) for _, _, w in PLACES), count, rng),
        is_female=is_female, is_risk=_risk(kind, rng),
    )  # fmt: skip


def _category_tastes(kind: Ints, breadth: Floats, is_female: Bools, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """Two or three preferred categories, and cumulative shares over all of them."""
    count, width = len(kind), len(CATEGORIES)
    appeal = rng.gumbel(0, 1, (count, width)) + np.linspace(0.8, 0.0, width)
    appeal[:, [2, 5]] += np.where(is_female, 0.8, -0.8)[:, None]
    appeal[:, 3] += np.where(is_female, -0.8, 0.8)
    best = np.argsort(-appeal, axis=1, kind="stable")[:, :3]
    has_third = rng.random(count) < 0.6
    shares = np.where(has_third[:, None], [0.5, 0.3, 0.2], [0.6, 0.4, 0.0])
    focus = np.clip(setting("focus")[kind] - 0.06 * breadth, 0.3, 0.97)
    weights = np.full((count, width), 1.0) * ((1 - focus) / width)[:, None]
    np.put_along_axis(weights, best, np.take_along_axis(weights, best, 1) + shares * focus[:, None], 1)
    return np.where(np.c_[np.ones((count, 2), bool), has_third], best, -1), cdf(weights)


def _arrivals(kind: Ints, days: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Day of registration and first day with visits. Only new customers arrive in the last weeks."""
    count = len(kind)
    registered = days - rng.integers(min(70, days), 1500, count)
    recent = days - rng.integers(2, min(20, max(days, 3)), count)
    registered = np.where(kind == NEW, recent, registered)
    return registered, np.clip(registered, 0, days - 1)


def _departures(
    kind: Ints, rate: Floats, trouble: Floats, breadth: Floats, days: int, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Last day and length of the fading before it.

    Lapsing customers all fade out; whoever has more trouble goes sooner. Of the others a few leave, the odds rising
    with trouble and falling with visits and breadth; they leave without much warning in their rhythm.
    """
    count = len(kind)
    usual = setting("visits_per_day")[kind]
    odds = setting("leaving")[kind] + 1.3 * trouble - 0.5 * breadth - 0.8 * np.log(rate / usual)
    leaves = (kind != LAPSING) & (kind != NEW) & (rng.random(count) < 1 / (1 + np.exp(-odds)))
    pull = rng.normal(0, 1, count) + 0.9 * trouble - 0.4 * breadth
    lapse = days - np.clip(np.round(24 + 8 * pull), 4, 55)
    leave = days - rng.integers(25, 41, count)
    stop = np.where(kind == LAPSING, lapse, np.where(leaves, leave, NEVER)).astype(np.int64)
    fade = np.where(kind == LAPSING, rng.integers(25, 45, count), rng.integers(4, 12, count))
    return np.maximum(stop, 1), fade


def _risk(kind: Ints, rng: np.random.Generator) -> Bools:
    """The few customers with bursts of orders and refunds."""
    count = len(kind)
    chosen = np.zeros(count, dtype=bool)
    wanted = max(2, round(count * RISK_SHARE))
    able = np.flatnonzero((kind != NEW) & (kind != LAPSING))
    chosen[rng.permutation(able)[:wanted]] = True
    return chosen
