"""Write a demo shop: raw logs with planted structure and dirt, and the truth about both."""

import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from profiling_spark.demo.assortment import Assortment, make_assortment
from profiling_spark.demo.behaviour import write_behaviour
from profiling_spark.demo.guests import invite
from profiling_spark.demo.kinds import NAMES
from profiling_spark.demo.orders import with_outliers, write_orders
from profiling_spark.demo.people import People, gather_people, uid_names
from profiling_spark.demo.rolls import DAY_MS, Bools, Ints, dice, lookup
from profiling_spark.demo.story import Story, simulate
from profiling_spark.demo.tables import NEW_ITEMS, write_items, write_reviews, write_users
from profiling_spark.demo.truth import FILE, VERSION, DemoError, DemoTruth
from profiling_spark.demo.visits import browse, plan_visits
from profiling_spark.demo.words import CATEGORIES

END = date(2026, 6, 30)
MOST_DAYS = 120
TIMEZONE = "Asia/Shanghai"
HORIZON = 30  # days of the churn label
GROUP = 10_000  # customers at a time; bounds the memory of the intermediate arrays


def generate(out: Path, *, customers: int = 4000, days: int = 120, seed: int = 7, end: date = END) -> DemoTruth:
    """Write the demo shop into `out` and return its truth; the same arguments give the same bytes.

    `days` local days up to and including `end`, about 80 behaviour events per customer in 120 days; beside them a few
    guests of whom nobody can learn (guests.py). A folder that
    already holds this shop is left as it is; another demo shop is replaced; anything else is refused. The shop is
    written beside `out` and renamed, so an interrupted run leaves nothing half done. Memory: about 120 bytes per event.
    """
    if customers < 1 or not 1 <= days <= MOST_DAYS or seed < 0:
        found = f"customers={customers}, days={days}, seed={seed}"
        raise DemoError(f"demo shop: expected customers >= 1, days in 1..{MOST_DAYS}, seed >= 0, found {found}")
    out = out.resolve()
    wanted = {"version": VERSION, "customers": customers, "days": days, "seed": seed, "end": end}
    if (out / FILE).is_file():
        standing = _standing(out)
        if standing and {name: getattr(standing, name) for name in wanted} == wanted:
            return standing
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DemoError(f"{out}: expected a new, empty or demo folder, found other content; nothing was changed")
    partial, old = out.with_name(f".{out.name}.partial"), out.with_name(f".{out.name}.old")
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    truth = _write(partial, customers=customers, days=days, seed=seed, end=end)
    if out.exists():
        out.rename(old)
    partial.rename(out)
    shutil.rmtree(old, ignore_errors=True)
    return truth


def _standing(out: Path) -> DemoTruth | None:
    """The truth of the demo shop in the folder; None where another version of the generator wrote it."""
    try:
        return DemoTruth.load(out)
    except DemoError:
        return None


def _write(out: Path, *, customers: int, days: int, seed: int, end: date) -> DemoTruth:
    """Draw the shop, write all its files under `out`, the truth last."""
    first_day = end - timedelta(days=days - 1)
    assortment = make_assortment(int(np.clip(customers // 5, 600, 1000)), seed)
    people = gather_people(customers, days=days, seed=seed)
    stories = list(_stories(people, assortment, days=days, first_day=first_day, seed=seed))
    events = _by_time(pl.concat([s.events for s in stories]))
    used = sum(s.orders for s in stories)
    lines = with_outliers(pl.concat([s.lines for s in stories]), assortment, orders=used, seed=seed)
    refunds = pl.concat([s.refunds for s in stories]).with_columns(outlier=pl.lit(False))
    orders = _by_time(pl.concat([lines.with_columns(type=0), refunds.with_columns(type=1)]))
    reviews = _by_time(pl.concat([s.reviews for s in stories]))
    del stories
    behaviour, actions = write_behaviour(
        out, events, assortment, people=customers, first_day=first_day, days=days, seed=seed
    )
    guests = invite(assortment, customers=customers, days=days, end=end, seed=seed)
    guests.write(out, behaviour, actions, end=end)
    bought, facts = write_orders(out, orders, assortment, people=customers, first_day=first_day, days=days, seed=seed)
    frames = {"behaviour": events, "orders": orders, "reviews": reviews}
    users, user_facts = write_users(out, people, guests.users, _first(frames, customers), days=days, end=end, seed=seed)
    written = {
        "behaviour": behaviour, "orders": bought, "users": users,
        "items": write_items(out, assortment, days=days, end=end, seed=seed),
        "reviews": write_reviews(out, reviews, assortment, people=customers, first_day=first_day, seed=seed),
    }  # fmt: skip
    table = _customers(people, frames, days=days)
    truth = DemoTruth(
        version=VERSION, customers=customers, days=days, seed=seed, end=end, as_of=end + timedelta(days=1),
        timezone=TIMEZONE, items=len(assortment) + NEW_ITEMS, guests=len(guests.users),
        sources={name: tally.truth() for name, tally in written.items()},
        actions=dict(sorted(actions.items())), orders=facts, users=user_facts,
        kinds={name: int((table["kind"] == name).sum()) for name in NAMES},
        active=int(table["is_active"].sum()), at_risk_of_churn=int(table["in_churn_population"].sum()),
        churned=int(table["churned"].sum()), risk_customers=int(table["is_risk"].sum()),
    )  # fmt: skip
    (out / FILE).parent.mkdir()
    table.write_parquet(out / "truth" / "customers.parquet")
    truth.save(out)
    return truth


def _stories(people: People, assortment: Assortment, *, days: int, first_day: date, seed: int) -> Iterator[Story]:
    """What each group of customers did, visits and orders numbered over the whole shop."""
    visits_before = orders_before = 0
    for part, start in enumerate(range(0, len(people), GROUP)):
        rng = dice(seed, "visits", part)
        members = np.arange(start, min(start + GROUP, len(people)))
        visits = plan_visits(people, members, days=days, first_day=first_day, rng=rng)
        story = simulate(people, visits, browse(people, visits, assortment, rng), assortment, rng)
        yield Story(
            story.events.with_columns((pl.col("visit") + visits_before).cast(pl.Int32)),
            story.lines.with_columns(pl.col("order") + orders_before),
            story.refunds.with_columns(pl.col("order") + orders_before),
            story.reviews, story.visits, story.orders,
        )  # fmt: skip
        visits_before += story.visits
        orders_before += story.orders


def _by_time(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows in the order of their times; ties keep the order of customers."""
    return rows.sort("at", maintain_order=True)


def _first(frames: dict[str, pl.DataFrame], customers: int) -> Ints:
    """Each customer's first event, ms since the first midnight; -1 without any."""
    first = np.full(customers, np.iinfo(np.int64).max)
    for rows in frames.values():
        np.minimum.at(first, rows["customer"].to_numpy(), rows["at"].to_numpy())
    return np.where(first == np.iinfo(np.int64).max, -1, first)


def _customers(people: People, frames: dict[str, pl.DataFrame], *, days: int) -> pl.DataFrame:
    """truth/customers.parquet: one row per customer, with or without events; counts of accepted rows."""
    count = len(people)

    def within(first: int, last: int) -> Bools:
        """Customers with an event of any source on days [first, last)."""
        seen = np.zeros(count, dtype=bool)
        for rows in frames.values():
            day = rows["at"].to_numpy() // DAY_MS
            seen[rows["customer"].to_numpy()[(day >= first) & (day < last)]] = True
        return seen

    population = within(days - 2 * HORIZON, days - HORIZON)
    totals = {name: np.bincount(rows["customer"].to_numpy(), minlength=count) for name, rows in frames.items()}
    refunds = frames["orders"].filter(pl.col("type") == 1)["customer"].to_numpy()
    names = [category.name for category in CATEGORIES]
    active = within(0, days)
    return pl.DataFrame(
        {
            "uid": uid_names(count),
            "kind": lookup(NAMES, people.kind),
            "is_active": active,
            "in_churn_population": population,
            "churned": population & ~within(days - HORIZON, days),
            "is_risk": people.is_risk & active,
            "category_1": lookup(names, people.preferred[:, 0]),
            "category_2": lookup(names, people.preferred[:, 1]),
            "category_3": lookup(names, people.preferred[:, 2]),
            "price_level": people.level,  # 0 cheapest to 4 dearest within a category
            "trouble": people.trouble,  # dissatisfaction, about standard normal
            "behaviour_events": totals["behaviour"],
            "order_lines": totals["orders"] - np.bincount(refunds, minlength=count),
            "refund_lines": np.bincount(refunds, minlength=count),
            "reviews": totals["reviews"],
        }
    )
