"""A visit as a sequence of events in time, and what follows from its orders: refunds and reviews."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from profiling_spark.demo.assortment import Assortment
from profiling_spark.demo.kinds import setting
from profiling_spark.demo.people import People
from profiling_spark.demo.rolls import DAY_MS, Ints, lookup, one_of, pick, running_number
from profiling_spark.demo.visits import Views, Visits
from profiling_spark.demo.words import CHANNELS, DEVICES, PAYMENTS, PLACES, QUERIES, REMARKS

ACTIONS = ("login", "search", "ad_show", "ad_click", "click", "fav", "add_cart", "service", "order")
LOGIN, SEARCH, AD_SHOW, AD_CLICK, VIEW, FAVOURITE, CART, SERVICE, ORDER = range(len(ACTIONS))
# mean seconds until the next event, by action
PACE = np.array([6.0, 9.0, 4.0, 3.0, 42.0, 4.0, 8.0, 60.0, 90.0])
SLOTS = 16  # places in time for each position in a visit; 5 is the view itself
LAST = 1 << 20  # more slots than a visit has


@dataclass(frozen=True)
class Story:
    """What a group of customers did; `visit` counts within the group, times are ms since the first midnight, local.

    `events`: visit, customer, at, action, item, stay, query, where. `lines`: order lines (order, line, customer, at,
    item, quantity, discount in cents, pay, channel, remark). `refunds`: the same columns, at the time of the refund.
    `reviews`: customer, at, item, stars.
    """

    events: pl.DataFrame
    lines: pl.DataFrame
    refunds: pl.DataFrame
    reviews: pl.DataFrame
    visits: int
    orders: int


def simulate(people: People, visits: Visits, views: Views, assortment: Assortment, rng: np.random.Generator) -> Story:
    """Put everything a visit held on its time axis, then let refunds and reviews follow in later visits."""
    bought = np.flatnonzero(views.is_bought)
    # in a burst every product is an order of its own
    key = views.visit * SLOTS * SLOTS + np.where(visits.is_burst[views.visit], views.position + 1, 0)
    order_key, order = np.unique(key[bought], return_inverse=True)
    line_of, refund_at = _refunded(people, visits, views, bought, rng)
    timeline = _timeline(people, visits, views, assortment, order_key, refund_at, rng)
    at, end = _clock(visits, timeline, rng)
    placed = timeline["action"].to_numpy() == ORDER
    when = np.zeros(len(order_key), dtype=np.int64)
    when[timeline["order"].to_numpy()[placed]] = at[placed]
    lines = _lines(people, visits, views, assortment, bought, order, when, rng)
    refund_time = end[refund_at] + rng.integers(60, 600, len(refund_at)) * 1000
    refunds = lines[line_of].with_columns(at=pl.Series(refund_time))
    events = _events(visits, timeline, at, placed, rng)
    is_refunded = np.zeros(len(bought), dtype=bool)
    is_refunded[line_of] = True
    reviews = _reviews(people, visits, views, assortment, bought, is_refunded, end, rng)
    return Story(events, lines, refunds, reviews, len(visits), len(order_key))


def _refunded(
    people: People, visits: Visits, views: Views, bought: Ints, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Which order lines are sent back, and in which later visit of the same customer (else in the same visit)."""
    visit = views.visit[bought]
    who = visits.customer[visit]
    chance = setting("refund")[people.kind[who]] * np.exp(0.8 * people.trouble[who])
    chance = np.where(visits.is_burst[visit], 0.75, np.minimum(chance, 0.6))
    line = np.flatnonzero(rng.random(len(bought)) < chance)
    target = visits.later(visit[line], one_of((0.3, 0.5, 0.2), len(line), rng))
    return line, np.where(target >= 0, target, visit[line])


def _timeline(
    people: People,
    visits: Visits,
    views: Views,
    assortment: Assortment,
    order_key: Ints,
    refund_at: Ints,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """visit, action, item, query, order (number of `order_key`), in the order of events."""
    v, base = views.visit, views.position * SLOTS + 1
    kind = people.kind[visits.customer[v]]
    kinds = people.kind[visits.customer]
    # searches and shown ads stand before a view; the first view of a visit is more often a searched one
    share = setting("searches") / (1.0 + setting("views"))
    asked = np.flatnonzero(
        rng.random(len(v)) < np.minimum(share[kind] * np.where(views.position == 0, 1.4, 0.85), 0.95)
    )
    shown = np.flatnonzero(rng.random(len(v)) < np.minimum(setting("ads")[kind] * 0.25, 0.6))
    other = pick(assortment.popular, np.zeros(len(shown), dtype=np.int64), rng)
    clicked, liked, carted = (np.flatnonzero(x) for x in (views.is_ad, views.is_favourite, views.is_cart))
    calls = rng.random(len(visits)) < np.minimum(
        setting("service")[kinds] * np.exp(0.8 * people.trouble[visits.customer]), 0.5
    )
    calls[refund_at[rng.random(len(refund_at)) < 0.5]] = True
    service = np.flatnonzero(calls)
    is_seen = np.bincount(v, minlength=len(visits)) > 0  # without a login, a visit without a view would leave no trace
    logged = np.flatnonzero((rng.random(len(visits)) < 0.88) | ~is_seen)
    order_visit, order_place = np.divmod(order_key, SLOTS * SLOTS)
    order_slot = np.where(order_place > 0, order_place * SLOTS - 4, LAST - 2)
    query = assortment.subcategory(views.item[asked]) * len(QUERIES) + rng.integers(0, len(QUERIES), len(asked))
    parts = [
        _part(LOGIN, logged, np.zeros(len(logged), dtype=np.int64)),
        _part(SEARCH, v[asked], base[asked] + 1, query=query),
        _part(AD_SHOW, v[shown], base[shown] + 2, item=other),
        _part(AD_SHOW, v[clicked], base[clicked] + 3, item=views.item[clicked]),
        _part(AD_CLICK, v[clicked], base[clicked] + 4, item=views.item[clicked]),
        _part(VIEW, v, base + 5, item=views.item),
        _part(FAVOURITE, v[liked], base[liked] + 7, item=views.item[liked]),
        _part(CART, v[carted], base[carted] + 9, item=views.item[carted]),
        _part(ORDER, order_visit, order_slot, order=np.arange(len(order_key))),
        _part(SERVICE, service, np.full(len(service), LAST - 1)),
    ]
    timeline = pl.concat(parts, how="diagonal").fill_null(-1)
    return timeline.sort("_slot", maintain_order=True)


def _part(action: int, visit: Ints, slot: Ints, **facts: Ints) -> pl.DataFrame:
    """Events of one action; `_slot` puts them in order within their visits."""
    return pl.DataFrame({"visit": visit, "_slot": visit * LAST + slot, **facts}).with_columns(action=pl.lit(action))


def _clock(visits: Visits, timeline: pl.DataFrame, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Time of each event of the timeline, and the end of each visit. A visit stays within its day."""
    visit, action = timeline["visit"].to_numpy(), timeline["action"].to_numpy()
    pause = (PACE[action] * rng.lognormal(-0.3, 0.8, len(visit)) * 1000).astype(np.int64) + 200
    pause = np.minimum(pause, 900_000)
    total = np.cumsum(pause)
    begins = np.flatnonzero(np.r_[True, visit[1:] != visit[:-1]]) if len(visit) else np.zeros(0, dtype=np.int64)
    before = np.r_[0, total][begins]
    lengths = np.diff(np.r_[begins, len(visit)])
    since = total - pause - np.repeat(before, lengths)
    duration = np.zeros(len(visits), dtype=np.int64)
    duration[visit[begins]] = np.r_[0, total][begins + lengths] - before
    # 15 minutes are left for a refund or a review after the visit
    latest = (visits.day + 1) * DAY_MS - 900_000 - duration
    start = np.minimum(visits.start, latest)
    return start[visit] + since, start + duration


def _events(
    visits: Visits, timeline: pl.DataFrame, at: Ints, placed: np.ndarray, rng: np.random.Generator
) -> pl.DataFrame:
    """Behaviour events without the orders; compact types, since all of them stay in memory until they are written."""
    visit = timeline["visit"].to_numpy()
    following = np.r_[at[1:], 0] - at
    is_last = np.r_[visit[1:] != visit[:-1], True] if len(visit) else np.zeros(0, dtype=bool)
    stay = np.where(is_last, rng.integers(2_000, 90_000, len(visit)), (following * 0.9).astype(np.int64))
    where = (visits.channel * len(DEVICES[0]) + visits.device) * len(PLACES) + visits.place
    return pl.DataFrame(
        {
            "visit": pl.Series(visit, dtype=pl.Int64).cast(pl.Int32),
            "customer": pl.Series(visits.customer[visit], dtype=pl.Int64).cast(pl.Int32),
            "at": pl.Series(at, dtype=pl.Int64),
            "action": pl.Series(timeline["action"]).cast(pl.Int8),
            "item": timeline["item"].cast(pl.Int16),
            "stay": pl.Series(np.where(timeline["action"].to_numpy() == VIEW, stay, -1)).cast(pl.Int32),
            "query": timeline["query"].cast(pl.Int16),
            "where": pl.Series(where[visit], dtype=pl.Int64).cast(pl.Int16),
        }
    ).filter(pl.Series(~placed))


def _lines(
    people: People,
    visits: Visits,
    views: Views,
    assortment: Assortment,
    bought: Ints,
    order: Ints,
    when: Ints,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """One row per order line; `discount` in cents, off the whole line, never above its amount."""
    visit, item = views.visit[bought], views.item[bought]
    who = visits.customer[visit]
    kind, price = people.kind[who], assortment.price[item]
    quantity = 1 + rng.geometric(0.75, len(bought)) - 1
    quantity = np.where(price < 1000, rng.integers(20, 200, len(bought)), np.minimum(quantity, 9))
    depth = np.clip(setting("depth")[kind] * rng.lognormal(-0.1, 0.45, len(bought)), 0.02, 0.7)
    is_off = (rng.random(len(bought)) < setting("discounted")[kind]) & (price >= 1000)
    discount = np.where(is_off, (quantity * price * depth / 10).astype(np.int64), 0)
    by_order = np.argsort(order, kind="stable")
    line = np.zeros(len(bought), dtype=np.int64)
    line[by_order] = running_number(order[by_order]) + 1
    usual_pay = (who * 7 + 3) % len(PAYMENTS)
    is_usual = rng.random(len(when)) < 0.7
    pay = np.where(is_usual[order], usual_pay, one_of((0.4, 0.35, 0.1, 0.1, 0.05), len(when), rng)[order])
    note = np.where(rng.random(len(when)) < 0.6, 0, rng.integers(1, len(REMARKS), len(when)))[order]
    return pl.DataFrame(
        {
            "order": order, "line": line, "customer": who, "at": when[order], "item": item, "quantity": quantity,
            "discount": discount, "pay": pay, "channel": visits.channel[visit], "remark": note,
        }
    )  # fmt: skip


def _reviews(
    people: People,
    visits: Visits,
    views: Views,
    assortment: Assortment,
    bought: Ints,
    is_refunded: np.ndarray,
    end: Ints,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Reviews are written at the end of the customer's next visit, so they make nobody active on another day."""
    line = np.flatnonzero(rng.random(len(bought)) < 0.2)
    visit = views.visit[bought[line]]
    target = visits.later(visit, np.ones(len(line), dtype=np.int64))
    is_possible = target >= 0
    line, visit, target = line[is_possible], visit[is_possible], target[is_possible]
    who, item = visits.customer[visit], views.item[bought[line]]
    mood = 4.3 + assortment.liked[item] - 0.5 * people.trouble[who] - 1.6 * is_refunded[line]
    stars = np.clip(np.round(mood + rng.normal(0, 0.8, len(line))), 1, 5).astype(np.int64)
    at = end[target] + rng.integers(30, 800, len(line)) * 1000
    return pl.DataFrame({"customer": who, "at": at, "item": item, "stars": stars})


def where_pieces() -> list[str]:
    """JSON members of channel, device and place, in the order of the events' `where`."""
    return [
        f',"channel":"{channel}","device":"{device}","province":"{province}","city":"{city}"'
        for channel, devices in zip(CHANNELS, DEVICES, strict=True)
        for device in devices
        for province, city, _ in PLACES
    ]


def words_of(column: str, words: tuple[str, ...], frame: pl.DataFrame) -> pl.Series:
    """The words that a column of word numbers stands for."""
    return lookup(list(words), frame[column].cast(pl.Int64).to_numpy()).alias(column)
