"""Guests: the few customers of whom no engine knows anything, so that every step of a list has somebody to serve.

They come after all others, in rows and files of their own and by random numbers of their own, so that nothing else in
the shop depends on them: not a row of the other customers, and not the dirt.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from profiling_spark.demo.assortment import Assortment, query_pieces, sku_names
from profiling_spark.demo.faults import Tally
from profiling_spark.demo.rolls import Ints, dice, lookup
from profiling_spark.demo.words import CATEGORIES, GENDER_FORMS, PLACES

KINDS = ("searcher", "ad_clicker", "described", "placed")
"""Who only searched; who only clicked ads of one category; who only said gender, age and place; who only said the
place. The last two have no event."""
LAST_DAYS = 7  # in which guests came
ONE_IN = 250  # customers for a guest of each kind
_SEARCHES, _CLICKS = 2, 3


@dataclass(frozen=True)
class Guests:
    """`users`: their contacts, a row a guest, columns as of the contacts' files. `lines`: their behaviour, JSON
    objects. `actions`: these by action."""

    users: pl.DataFrame
    lines: pl.Series
    actions: Counter[str]

    def write(self, out: Path, tally: Tally, actions: Counter[str], *, end: date) -> None:
        """Write their behaviour beside the others', and count it."""
        tally.write(out / "behaviour" / f"{end}_guests.jsonl", [self.lines])
        tally.accepted += len(self.lines)
        actions.update(self.actions)


def invite(assortment: Assortment, *, customers: int, days: int, end: date, seed: int) -> Guests:
    """As many guests of each kind as a shop of so many customers has: one in ONE_IN, at least one."""
    rng = dice(seed, "guests")
    each = max(1, customers // ONE_IN)
    count = each * len(KINDS)
    kind = np.arange(count) // each
    ago = rng.integers(0, min(LAST_DAYS, days), count)
    minute = rng.integers(8 * 60, 22 * 60, count)
    place = rng.integers(0, len(PLACES), count)
    gender, age = rng.integers(0, 2, count), rng.integers(18, 70, count)
    is_described = kind == KINDS.index("described")
    forms = [GENDER_FORMS["female"][0], GENDER_FORMS["male"][0]]
    came = [(end - timedelta(days=int(d)), int(m)) for d, m in zip(ago, minute, strict=True)]
    registered = [f"{day} {m // 60:02d}:{m % 60:02d}:00" for day, m in came]
    users = pl.DataFrame(
        {
            "uid": [f"G{n:07d}" for n in range(1, count + 1)],
            "gender": lookup(forms, np.where(is_described, gender, -1)),
            "age": lookup([str(n) for n in range(100)], np.where(is_described, age, -1)),
            **{name: pl.Series([None] * count, dtype=pl.String) for name in ("birthday", "job", "income")},
            "province": lookup([p for p, _, _ in PLACES], place),
            "city": lookup([c for _, c, _ in PLACES], place),
            "registered_at": registered,
            "opt_out": ["false"] * count,
        }
    )
    texts = [
        *_acts("search", users, np.flatnonzero(kind == KINDS.index("searcher")), _searched(rng, each)),
        *_acts("ad_click", users, np.flatnonzero(kind == KINDS.index("ad_clicker")), _clicked(assortment, rng, each)),
    ]
    lines = pl.Series([f'{{"log_id":"g{end:%Y%m%d}-{n}",{text}}}' for n, text in enumerate(texts)], dtype=pl.String)
    return Guests(users, lines, Counter(search=each * _SEARCHES, ad_click=each * _CLICKS))


def _searched(rng: np.random.Generator, each: int) -> list[list[str]]:
    """What each guest searched for, as JSON members."""
    queries = query_pieces()
    return [[f'"query":{queries[n]}' for n in row] for row in rng.integers(0, len(queries), (each, _SEARCHES))]


def _clicked(assortment: Assortment, rng: np.random.Generator, each: int) -> list[list[str]]:
    """The products of one category whose ads each guest clicked, as JSON members."""
    skus, found = sku_names(len(assortment)), []
    for category in rng.integers(0, len(CATEGORIES), each):
        items: Ints = rng.choice(np.flatnonzero(assortment.category == category), _CLICKS, replace=False)
        group = CATEGORIES[category]
        found.append(
            [f'"sku":"{skus[i]}","cate":"{group.name}","brand":"{group.brands[assortment.brand[i]]}"' for i in items]
        )
    return found


def _acts(action: str, users: pl.DataFrame, guests: Ints, members: list[list[str]]) -> list[str]:
    """One visit of each guest, in the minute of the registration: an act a second."""
    found = []
    for guest, acts in zip(guests, members, strict=True):
        uid, registered = users["uid"][int(guest)], users["registered_at"][int(guest)]
        for second, member in enumerate(acts, start=1):
            ts = f"{registered[:10]}T{registered[11:16]}:{second:02d}.000+08:00"
            found.append(
                f'"ts":"{ts}","uid":"{uid}","action":"{action}",{member},"session":"{uid}","channel":"app",'
                f'"device":"android"'
            )
    return found
