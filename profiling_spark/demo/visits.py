"""When customers come, and what they look at, keep and put into the cart during a visit."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from profiling_spark.demo.assortment import STYLES, Assortment, draw_items, taste_row
from profiling_spark.demo.kinds import LAPSING, NEW, setting
from profiling_spark.demo.people import People
from profiling_spark.demo.rolls import DAY_MS, Bools, Floats, Ints, one_of, pick, running_number
from profiling_spark.demo.words import CHANNELS, PLACES

WEEK = (0.9, 0.88, 0.92, 0.95, 1.1, 1.3, 1.2)  # Monday first
FESTIVALS = {(6, 18): 1.9, (11, 11): 2.2}  # month, day: the shop's big sales
HOURS = (3, 1.5, 1, 0.6, 0.5, 0.8, 1.6, 3, 4, 5, 5.5, 6, 7, 6, 5, 5, 5, 5.5, 6, 7.5, 9, 9.5, 8, 5)
MOST_VIEWS = 60  # of one visit


@dataclass(frozen=True)
class Visits:
    """One entry per visit, sorted by customer and time. `customer` counts over the whole shop."""

    customer: Ints
    day: Ints
    start: Ints  # wished start, ms since the first day's midnight
    channel: Ints
    device: Ints
    place: Ints
    is_burst: Bools  # many orders within the hour

    def __len__(self) -> int:
        return len(self.customer)

    def later(self, visit: Ints, steps: Ints) -> Ints:
        """The same customer's visit so many visits later; -1 where there is none."""
        target = np.minimum(visit + steps, len(self) - 1)
        is_same = (visit + steps < len(self)) & (self.customer[target] == self.customer[visit])
        found: Ints = np.where(is_same, target, -1)
        return found


@dataclass(frozen=True)
class Views:
    """One entry per product looked at, sorted by visit and position in it."""

    visit: Ints
    position: Ints
    item: Ints
    is_favourite: Bools
    is_cart: Bools
    is_bought: Bools
    is_ad: Bools  # came by an ad


def plan_visits(people: People, members: Ints, *, days: int, first_day: date, rng: np.random.Generator) -> Visits:
    """Visits of the customers `members`, by the weekly and hourly rhythm and each one's own rate."""
    counts = rng.poisson(_rates(people, members, days, first_day))
    arriving = np.flatnonzero(people.kind[members] == NEW)
    counts[arriving, people.first_day[members][arriving]] += 1  # a new customer's first day is the registration
    cell = np.repeat(np.arange(counts.size), counts.ravel())
    customer, day = members[cell // days], cell % days
    hour = one_of(HOURS, len(cell), rng) + rng.random(len(cell)) + people.hour_shift[customer]
    start = day * DAY_MS + ((hour % 24) * 3_600_000).astype(np.int64)
    order = np.lexsort((start, customer))
    customer, day, start = customer[order], day[order], start[order]
    is_usual = rng.random(len(cell)) < 0.85
    return Visits(
        customer, day, start,
        channel=np.where(is_usual, people.channel[customer], rng.integers(0, len(CHANNELS), len(cell))),
        device=people.device[customer],
        place=np.where(rng.random(len(cell)) < 0.95, people.place[customer], rng.integers(0, len(PLACES), len(cell))),
        is_burst=_bursts(people, customer, rng),
    )  # fmt: skip


def _rates(people: People, members: Ints, days: int, first_day: date) -> Floats:
    """Expected visits, one row per customer and one column per day."""
    dates = [first_day + timedelta(days=d) for d in range(days)]
    week = np.array([WEEK[d.weekday()] * FESTIVALS.get((d.month, d.day), 1.0) for d in dates])
    day = np.arange(days)
    left = (people.stop_day[members][:, None] - day) / people.fade_days[members][:, None]
    is_here = day >= people.first_day[members][:, None]
    rates: Floats = people.rate[members][:, None] * week * np.clip(left, 0.0, 1.0) * is_here
    return rates


def _bursts(people: People, customer: Ints, rng: np.random.Generator) -> Bools:
    """One visit, sometimes more, of each risk customer."""
    roll = rng.random(len(customer))
    if len(customer) == 0:
        return np.zeros(0, dtype=bool)
    begins = np.flatnonzero(np.r_[True, customer[1:] != customer[:-1]])
    least = np.repeat(np.minimum.reduceat(roll, begins), np.diff(np.r_[begins, len(customer)]))
    chosen: Bools = people.is_risk[customer] & ((roll == least) | (roll < 0.06))
    return chosen


def browse(people: People, visits: Visits, assortment: Assortment, rng: np.random.Generator) -> Views:
    """The products seen in each visit, and which of them were kept, carted and bought."""
    customer = visits.customer
    kind = people.kind[customer]
    # someone about to leave looks around less
    eager = np.where(kind == LAPSING, 1.0, np.exp(-0.12 * people.trouble[customer]))
    count = 1 + rng.poisson(setting("views")[kind] * eager)
    count = np.where(visits.is_burst, rng.integers(8, 16, len(visits)), np.minimum(count, MOST_VIEWS))
    count = np.where(~visits.is_burst & (rng.random(len(visits)) < 0.08), 0, count)  # just checked in
    visit = np.repeat(np.arange(len(visits)), count)
    who = customer[visit]
    item = _items(people, visits, assortment, visit, rng)
    kind = people.kind[who]
    centre = (people.level[who] + 0.5) / 5
    fits = np.exp(-1.5 * np.maximum(np.abs(assortment.percentile[item] - centre) - 0.1, 0))
    fits = np.where(kind == LAPSING, 1.0, fits)
    favourite = setting("favourite")[kind] * np.exp(-0.5 * people.trouble[who])
    cart = rng.random(len(visit)) < setting("cart")[kind] * fits
    orders = rng.random(len(visits)) < setting("order")[people.kind[customer]]
    direct = rng.random(len(visit)) < setting("direct")[kind] * fits
    bought = (cart & orders[visit] & (rng.random(len(visit)) < 0.85)) | direct | visits.is_burst[visit]
    return Views(
        visit, running_number(visit), item,
        is_favourite=rng.random(len(visit)) < favourite,
        is_cart=cart, is_bought=bought,
        is_ad=rng.random(len(visit)) < np.minimum(setting("ads")[kind] * 0.12, 0.3),
    )  # fmt: skip


def _items(people: People, visits: Visits, assortment: Assortment, visit: Ints, rng: np.random.Generator) -> Ints:
    """A product for each view: mostly the visit's own category, the customer's style and brand in it."""
    who = visits.customer[visit]
    aim = pick(people.categories, visits.customer, rng)[visit]
    category = np.where(rng.random(len(visit)) < 0.6, aim, pick(people.categories, who, rng))
    style = np.where(rng.random(len(visit)) < 0.85, people.style[who, category], rng.integers(0, STYLES, len(visit)))
    by_taste = draw_items(assortment, taste_row(category, style, people.brand[who, category], people.level[who]), rng)
    trend = pick(assortment.popular, np.zeros(len(visit), dtype=np.int64), rng)
    return np.where(rng.random(len(visit)) < 0.06, trend, by_taste)
