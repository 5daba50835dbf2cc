"""The smaller sources: users and items, each in two deliveries, and reviews.jsonl."""

import json
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from profiling_spark.demo.assortment import Assortment, catalogue, sku_names
from profiling_spark.demo.faults import Fault, Tally, mixed, plant, put
from profiling_spark.demo.kinds import setting
from profiling_spark.demo.people import People, uid_names
from profiling_spark.demo.rolls import Bools, Ints, dice, lookup, one_of
from profiling_spark.demo.truth import UserFacts
from profiling_spark.demo.words import CATEGORIES, GENDER_FORMS, JOBS, PARTS, PLACES, REVIEWS

NEW_ITEMS = 6
BAD_AGES = ("230", "-3", "999", "unknown")
_FORMS = len(REVIEWS[0])
REVIEW_FAULTS = (Fault("unreadable", 0.004, (put(),)), Fault("bad_rating", 0.006, (put(stars="0"), put(stars="9"))))


def write_users(
    out: Path, people: People, guests: pl.DataFrame, first_at: Ints, *, days: int, end: date, seed: int
) -> tuple[Tally, UserFacts]:
    """Write the contacts in two deliveries, halfway through the days and at their end. In the second there is one row
    per customer and some repeats; a row with an impossible age is to be refused, and is only there. In the first nobody
    had opted out, and some earned less.

    `guests`: contacts that come after all others, the same in both. `first_at`: each customer's first event, ms since
    the first day's midnight; -1 without any.
    """
    rng, count = dice(seed, "users"), len(people)
    is_bad = _some(count, 0.005, rng)
    rows = _user_rows(people, is_bad, first_at, days, end, rng)
    again = np.flatnonzero(_some(count, 0.004, rng) & ~is_bad)
    good = rows.filter(pl.Series(~is_bad))
    before = good.with_columns(
        income=pl.when(_every(20))
        .then((pl.col("income").cast(pl.Int64) * 9 // 10).cast(pl.String))
        .otherwise("income"),
        opt_out=pl.lit("false"),
    )
    tally = _in_two_deliveries(before, good, len(again))
    tally.rejected["bad_age"] = int(is_bad.sum())
    tally.rows += tally.rejected["bad_age"] + 2 * len(guests)
    tally.accepted += len(guests)
    tally.duplicates += len(guests)
    places = np.concatenate([np.arange(count), np.minimum(again + 40, count)])
    delivered = pl.concat([pl.concat([rows, rows[again]])[np.argsort(places, kind="stable")], guests])
    (out / "users").mkdir(parents=True)
    for day, part in zip(delivery_days(end, days), (pl.concat([before, guests]), delivered), strict=True):
        part.write_csv(out / "users" / f"users_{day}.csv")
    return tally, _user_facts(pl.concat([good, guests]))


def delivery_days(end: date, days: int) -> tuple[date, date]:
    """When the contacts and the catalogue were delivered."""
    return end - timedelta(days=max(1, days // 2)), end


def _every(nth: int) -> pl.Expr:
    return pl.int_range(pl.len()) % nth == nth // 2


def _in_two_deliveries(before: pl.DataFrame, after: pl.DataFrame, repeats: int) -> Tally:
    """Counts of the same keys twice, and `repeats` of the second delivery's rows."""
    same = int(pl.select(pl.all_horizontal(before[c].eq_missing(after[c]) for c in after.columns)).to_series().sum())
    rows = len(before) + len(after)
    return Tally(files=2, rows=rows + repeats, accepted=rows - same, duplicates=same + repeats)


def _some(count: int, share: float, rng: np.random.Generator) -> Bools:
    """At least one of `count` rows marked."""
    marked = np.zeros(count, dtype=bool)
    marked[rng.permutation(count)[: max(1, round(count * share))]] = True
    return marked


def _user_rows(
    people: People, is_bad: Bools, first_at: Ints, days: int, end: date, rng: np.random.Generator
) -> pl.DataFrame:
    """The contacts as text; null becomes an empty field."""
    count = len(people)
    first_day = np.datetime64(end) - (days - 1)
    usual = one_of((0.3, 0.1, 0.3, 0.08, 0.04, 0.18), count, rng) + np.where(people.is_female, 6, 0)
    wage = setting("wage")[people.kind]
    age = np.clip(np.round(rng.normal(36, 11, count) + 6 * wage), 16, 88).astype(np.int64)
    born = np.datetime64(end) - (age * 365.25 + rng.integers(5, 360, count)).astype(np.int64)
    income = (8500 * np.exp(wage + rng.normal(0, 0.35, count)) / 100).astype(np.int64) * 100
    # who registered while the logs run did so just before the first event
    seconds = people.registered_day * 86_400 + rng.integers(0, 86_400, count)
    seconds = np.where((people.registered_day >= 0) & (first_at >= 0), first_at // 1000 - 20, seconds)
    registered = pl.Series(first_day.astype("datetime64[ms]") + seconds * 1000)
    return pl.DataFrame(
        {
            "uid": uid_names(count),
            "gender": _thinned(lookup([*GENDER_FORMS["male"], *GENDER_FORMS["female"]], usual), 0.06, rng),
            "age": _thinned(pl.Series(age).cast(pl.String), 0.08, rng),
            "birthday": _thinned(pl.Series(born).cast(pl.String), 0.3, rng),
            "job": _thinned(lookup(list(JOBS), rng.integers(0, len(JOBS), count)), 0.15, rng),
            "income": _thinned(pl.Series(income).cast(pl.String), 0.12, rng),
            "province": _thinned(lookup([p for p, _, _ in PLACES], people.place), 0.03, rng),
            "city": lookup([c for _, c, _ in PLACES], people.place),
            "registered_at": registered.dt.to_string("%Y-%m-%d %H:%M:%S"),
            "opt_out": lookup(["false", "true"], (rng.random(count) < 0.02).astype(np.int64)),
            "_wrong": lookup(list(BAD_AGES), np.where(is_bad, rng.integers(0, len(BAD_AGES), count), -1)),
        }
    ).select(
        "uid", "gender",
        pl.coalesce("_wrong", "age").alias("age"),
        # a birthday beside an impossible age would make the fault debatable
        pl.when(pl.col("_wrong").is_null()).then("birthday"),
        "job", "income", "province", "city", "registered_at", "opt_out",
    )  # fmt: skip


def _thinned(values: pl.Series, share: float, rng: np.random.Generator) -> pl.Series:
    """The values, a share of them null."""
    return pl.select(pl.when(pl.Series(rng.random(len(values)) >= share)).then(values)).to_series()


def _user_facts(rows: pl.DataFrame) -> UserFacts:
    """What the accepted rows hold."""
    forms = Counter(form or "" for form in rows["gender"].to_list())
    genders = {name: sum(forms[form] for form in written) for name, written in GENDER_FORMS.items()}
    return UserFacts(
        gender_forms=dict(sorted(forms.items())),
        genders={**genders, "unknown": forms[""]},
        nulls={name: rows[name].null_count() for name in rows.columns},
        opted_out=int((rows["opt_out"] == "true").sum()),
    )


def write_items(out: Path, assortment: Assortment, *, days: int, end: date, seed: int) -> Tally:
    """Write the catalogue in two deliveries: in the first some prices were higher; in the second two rows repeat, and
    NEW_ITEMS are new, which nobody has seen yet.
    """
    rows = catalogue(assortment, end=end, seed=seed)
    dearer = (pl.col("price") * pl.lit(6) / 5).cast(pl.Decimal(18, 3))
    before = rows.with_columns(price=pl.when(_every(12)).then(dearer).otherwise("price"))
    # each like a product that is there, under a number and a name of its own
    alike = np.sort(dice(seed, "new items").permutation(len(rows))[:NEW_ITEMS])
    new = rows[alike].with_columns(
        sku=pl.Series(sku_names(len(rows) + NEW_ITEMS)[-NEW_ITEMS:]),
        title=pl.col("title") + " II",
        listed_at=pl.lit(end),
    )
    (out / "items").mkdir(parents=True)
    for day, part in zip(delivery_days(end, days), (before, pl.concat([rows, rows[[7, 77]], new])), strict=True):
        part.write_parquet(out / "items" / f"items_{day}.parquet")
    tally = _in_two_deliveries(before, rows, 2)
    tally.rows += NEW_ITEMS
    tally.accepted += NEW_ITEMS
    return tally


def write_reviews(
    out: Path, reviews: pl.DataFrame, assortment: Assortment, *, people: int, first_day: date, seed: int
) -> Tally:
    """Write reviews.jsonl from reviews sorted by `at`."""
    rng, tally = dice(seed, "reviews"), Tally()
    number = assortment.subcategory(reviews["item"].to_numpy())
    review_kind = (reviews["stars"].to_numpy() - 1) * len(CATEGORIES) * PARTS + number
    start = pl.lit(first_day).cast(pl.Datetime("ms"))
    good = reviews.select(
        review_id=pl.int_range(pl.len()),
        uid=lookup(uid_names(people), reviews["customer"].to_numpy()),
        sku=lookup(sku_names(len(assortment)), reviews["item"].to_numpy()),
        stars=pl.col("stars").cast(pl.String),
        text=lookup(_review_texts(), review_kind * _FORMS + rng.integers(0, _FORMS, len(reviews))),
        ts=(start + pl.col("at").cast(pl.Duration("ms"))).dt.to_string("%Y-%m-%dT%H:%M:%S+08:00"),
    )
    dirty = plant(good, REVIEW_FAULTS, rng).with_columns(review_id=len(good) + pl.int_range(pl.len()))
    again = np.flatnonzero(rng.random(len(good)) < 0.005)
    lines, bad = _review_lines(good), _review_lines(dirty)
    cut = pl.select(pl.when(dirty["_reason"] == "unreadable").then(bad.str.head(40)).otherwise(bad)).to_series()
    text = mixed([lines, cut, lines[again]], [np.arange(len(good)), dirty["_place"].to_numpy(), again + 9])
    tally.write(out / "reviews" / "reviews.jsonl", [text])
    tally.accepted, tally.duplicates = len(good), len(again)
    tally.rejected.update(dirty["_reason"].to_list())
    return tally


def _review_texts() -> list[str]:
    """JSON strings: by stars, then subcategory, then form."""
    parts = [part for group in CATEGORIES for part in group.parts]
    return [
        json.dumps(form.format(zh=zh, en=en), ensure_ascii=False)
        for forms in REVIEWS
        for zh, en in parts
        for form in forms
    ]


def _review_lines(rows: pl.DataFrame) -> pl.Series:
    """One JSON object per row."""
    number = pl.col("review_id").cast(pl.String).str.zfill(8)
    return rows.select(
        line=pl.concat_str(
            pl.lit('{"review_id":"R'), number, pl.lit('","uid":"'), "uid", pl.lit('","sku":"'), "sku",
            pl.lit('","stars":'), "stars", pl.lit(',"text":'), "text", pl.lit(',"ts":"'), "ts", pl.lit('"}'),
        )
    )["line"]  # fmt: skip
