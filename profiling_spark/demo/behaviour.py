"""Behaviour logs: one JSON object a line, one file per local day."""

from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from profiling_spark.demo.assortment import Assortment, query_pieces, sku_names
from profiling_spark.demo.faults import Fault, Tally, mixed, plant, put, repeats
from profiling_spark.demo.people import uid_names
from profiling_spark.demo.rolls import DAY_MS, dice, lookup
from profiling_spark.demo.story import ACTIONS, where_pieces, words_of
from profiling_spark.demo.words import CATEGORIES

OFFSET = "+08:00"  # Asia/Shanghai, which has no summer time
# an app's own signals carry no product, search text or stay
_BARE = {"thing": None, "query": None, "stay": None}
FAULTS = (
    Fault("unreadable", 0.0012, (put(),)),
    Fault("no_user", 0.0018, (put(uid=None), put(uid=',"uid":""'), put(uid=',"uid":null'))),
    Fault("bad_event_time", 0.0012, (put(ts="not-a-time"), put(ts="2026-06-31T25:61:00+08:00"), put(ts="yesterday"))),
    Fault(
        "time_out_of_range",
        0.0010,
        (put(ts="1970-01-01T08:00:00.000+08:00"), put(ts="2099-12-31T12:00:00.000+08:00")),
    ),
    Fault("unknown_event_type", 0.0015, (put(action="clickk"), put(action="???"), put(action="浏览商品"))),
    Fault("ignored", 0.0200, (put(action="heartbeat", **_BARE), put(action="app_start", **_BARE))),
)
DUPLICATES = 0.003
STRAY = ("--- log rotated, part {} ---", "ERROR write failed: connection reset by peer ({})", "{{log_id: {}, truncated")


def write_behaviour(
    out: Path, events: pl.DataFrame, assortment: Assortment, *, people: int, first_day: date, days: int, seed: int
) -> tuple[Tally, Counter[str]]:
    """Write behaviour/*.jsonl from compact events sorted by `at`; the counts, and accepted events by action."""
    tally, actions = Tally(), Counter[str]()
    uids, things, queries, places = _pieces(assortment, people)
    bounds = np.searchsorted(events["at"].to_numpy(), np.arange(days + 1) * DAY_MS)
    resend = set(dice(seed, "resend behaviour").permutation(days)[: max(1, days // 60)].tolist())
    carried = pl.Series([], dtype=pl.String)
    for day in range(days):
        rng, name = dice(seed, "behaviour dirt", day), first_day + timedelta(days=day)
        part = events[bounds[day] : bounds[day + 1]]
        good = pl.DataFrame(
            {
                "log_id": pl.Series(np.arange(len(part))),
                "ts": _stamp(part["at"], first_day),
                "uid": lookup(uids, part["customer"].cast(pl.Int64).to_numpy()),
                "action": words_of("action", ACTIONS, part),
                "thing": lookup(things, part["item"].cast(pl.Int64).to_numpy()),
                "query": lookup(queries, part["query"].cast(pl.Int64).to_numpy()),
                "session": part["visit"].cast(pl.String),
                "stay": pl.select(pl.when(part["stay"] >= 0).then(part["stay"].cast(pl.String))).to_series(),
                "where": lookup(places, part["where"].cast(pl.Int64).to_numpy()),
            }
        )
        dirty = plant(good, FAULTS, rng).with_columns(log_id=len(good) + pl.int_range(pl.len()))
        lines = _lines(good, name)
        bad = _spoiled(_lines(dirty, name), dirty["_reason"], rng)
        here, tomorrow = repeats(len(good), DUPLICATES, 0.3 if day < days - 1 else 0.0, rng)
        text = mixed(
            [lines, bad, lines[here], carried],
            [np.arange(len(good)), dirty["_place"].to_numpy(), here + 5, np.zeros(len(carried), dtype=np.int64)],
        )
        rows = tally.write(out / "behaviour" / f"{name}.jsonl", [text])
        if rows and day in resend:
            tally.resend(out / "behaviour" / f"{name}.jsonl", rows)
        tally.accepted += len(good)
        tally.duplicates += len(here) + len(tomorrow)
        reasons = Counter(dirty["_reason"].to_list())
        tally.ignored += reasons.pop("ignored", 0)
        tally.rejected.update(reasons)
        actions.update(dict(part["action"].value_counts().iter_rows()))
        carried = lines[tomorrow]
    return tally, Counter({ACTIONS[int(number)]: count for number, count in actions.items()})


def _pieces(assortment: Assortment, people: int) -> tuple[pl.Series, list[str], list[str], list[str]]:
    """Ready JSON members for customers, products, search texts and places."""
    uids = pl.select(pl.concat_str(pl.lit(',"uid":"'), pl.Series(uid_names(people)), pl.lit('"'))).to_series()
    skus = sku_names(len(assortment))
    things = [
        f',"sku":"{skus[i]}","cate":"{CATEGORIES[c].name}","brand":"{CATEGORIES[c].brands[b]}"'
        for i, (c, b) in enumerate(zip(assortment.category.tolist(), assortment.brand.tolist(), strict=True))
    ]
    return uids, things, [f',"query":{text}' for text in query_pieces()], where_pieces()


def _stamp(at: pl.Series, first_day: date) -> pl.Series:
    """Local ISO time with milliseconds and offset."""
    start = pl.lit(first_day).cast(pl.Datetime("ms"))
    return pl.select(
        (start + pl.lit(at).cast(pl.Duration("ms"))).dt.to_string(f"%Y-%m-%dT%H:%M:%S%.3f{OFFSET}")
    ).to_series()


def _lines(rows: pl.DataFrame, day: date) -> pl.Series:
    """One JSON object per row; members without a value are left out."""

    def member(name: str) -> pl.Expr:
        return pl.concat_str(pl.lit(f',"{name}":"'), name, pl.lit('"'))

    number = pl.concat_str(pl.lit(f'{{"log_id":"b{day:%Y%m%d}-'), pl.col("log_id").cast(pl.String), pl.lit('"'))
    stay = pl.concat_str(pl.lit(',"stay_ms":'), "stay")  # null without a stay
    parts = [number, member("ts"), pl.col("uid"), member("action"), pl.col("thing"), pl.col("query"), member("session")]
    return rows.select(line=pl.concat_str(*parts, stay, pl.col("where"), pl.lit("}"), ignore_nulls=True))["line"]


def _spoiled(lines: pl.Series, reasons: pl.Series, rng: np.random.Generator) -> pl.Series:
    """The lines, those marked unreadable cut short (an object without its end) or replaced by stray text."""
    kind = rng.integers(0, 4, len(lines))
    serial = [
        STRAY[k % len(STRAY)].format(n) for k, n in zip(kind.tolist(), rng.integers(0, 10**9, len(lines)), strict=True)
    ]
    frame = pl.DataFrame({"line": lines, "reason": reasons, "kind": kind, "stray": pl.Series(serial, dtype=pl.String)})
    cut = pl.col("line").str.head(pl.col("line").str.len_chars() // 2)
    spoiled = pl.when(pl.col("kind") > 0).then(cut).otherwise(pl.col("stray"))
    return frame.select(pl.when(pl.col("reason") == "unreadable").then(spoiled).otherwise(pl.col("line"))).to_series()
