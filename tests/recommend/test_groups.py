"""What groups of customers take, added up in Spark, against plain Python."""

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from job_shop import contract_rows, write_shop
from pyspark.sql import functions as F
from recommend_shop import AS_OF

from profiling_spark.config import Settings
from profiling_spark.contracts.gold import USER_SEGMENTS
from profiling_spark.recommend.history.bots import Bots
from profiling_spark.recommend.history.interactions import UNITS, HistoryParams
from profiling_spark.recommend.history.pairs import item_totals, pairs_of
from profiling_spark.recommend.history.sums import LEAST_TAKERS, history_sums
from profiling_spark.recommend.lists.groups import GROUP_STEPS, group_steps, with_groups

FEATURES = "user_id string, gender_code int, age_band string, province string"


@pytest.mark.parametrize("seed", [0, 1])
def test_the_sums_of_all_customers_are_those_of_their_pairs(tables, make_context, seed):
    """A night without a fit adds up in the buckets what a night with one adds up from the pairs."""
    settings = make_context().settings.model_copy(update={"buckets": 2})
    rng = np.random.default_rng(seed)
    kinds = ["view", "cart", "purchase", "refund", "review"]
    rows = [
        (f"u{rng.integers(25):02d}", f"i{rng.integers(12):02d}", str(rng.choice(kinds)), int(age))
        for age in rng.integers(1, 60, 120)
    ]
    write_shop(tables, settings, [*rows, ("robot", "i03", "purchase", 2), ("robot", "only", "view", 3)])
    params = replace(HistoryParams.of(settings, AS_OF), min_items=3)
    settings = settings.model_copy(update={"recommend": settings.recommend.model_copy(update={"min_items": 3})})
    bots = Bots(tables.spark.createDataFrame([("robot",)], "user_id string"), 1)
    users = tables.spark.createDataFrame([(u,) for u in sorted({r[0] for r in rows} | {"robot"})], "user_id string")
    found = history_sums(tables, bots.flagged(users), settings, params, kinds=())
    pairs = pairs_of(tables, settings, as_of=AS_OF, cutoff=None, bots=bots)
    expected = item_totals(pairs)
    assert found.totals.items == expected.items
    assert "only" not in found.totals.items
    assert found.totals.categories == expected.categories
    assert found.totals.weights.tolist() == expected.weights.tolist()
    assert found.totals.bought.customers.tolist() == expected.bought.customers.tolist()
    assert found.totals.bought.again.tolist() == expected.bought.again.tolist()
    assert found.totals.pairs == expected.pairs
    sizes = Counter(r["user_id"] for r in pairs.where("is_history").collect())
    assert found.few_items == sum(n < 3 for n in sizes.values()) > 0
    assert sum(n for n in sizes.values() if n >= 3) == expected.pairs


def test_groups_take_what_counting_finds(tables):
    settings = Settings.model_validate(
        {"storage": {"root": tables.root}, "buckets": 2, "recommend": {"min_group_customers": 8}}
    )
    rng = np.random.default_rng(2)
    kinds = ["view", "cart", "purchase", "refund"]
    rows = [
        (f"u{rng.integers(30):02d}", f"i{rng.integers(6):02d}", str(rng.choice(kinds)), int(age))
        for age in rng.integers(1, 90, 300)
    ]
    rows.append(("u00", "far", "view", 700))
    write_shop(tables, settings, rows)
    ids = sorted({user for user, *_ in rows})
    # the last of them are too few; one of each is not known
    described = [
        (u, 0 if n % 3 else None, "26-35" if n % 4 else None, ["Hunan", "Hebei", None][n % 3] if n < 25 else "Jilin")
        for n, u in enumerate(ids)
    ]
    features = tables.spark.createDataFrame(described, FEATURES)
    segments = [(u, n % 2 if day else 7, AS_OF - timedelta(days=3 - day)) for day in (0, 1) for n, u in enumerate(ids)]
    segments.append(("u00", 9, AS_OF + timedelta(days=1)))
    assigned = tables.spark.createDataFrame(segments, "user_id string, segment_id int, as_of date")
    assigned = contract_rows(USER_SEGMENTS, assigned, method=F.lit("kmeans"))
    tables.append(USER_SEGMENTS, assigned)

    users = tables.spark.createDataFrame([(u, False) for u in ids], "user_id string, is_bot boolean")
    grouped = with_groups(users, features, tables, as_of=AS_OF)
    words = {0: "male", 1: "female", None: ""}
    groups = {u: {} for u in ids}
    for n, (u, gender, band, province) in enumerate(described):
        name = f"{words[gender]}/{band or ''}"
        groups[u] = {"segment": str(n % 2), "attributes": name if name != "/" else None, "region": province}
    assert {r["user_id"]: {k: r[k] for k in groups["u00"]} for r in grouped.collect()} == groups

    params = HistoryParams.of(settings, AS_OF)
    found = history_sums(tables, grouped, settings, params, kinds=tuple(GROUP_STEPS))
    trades = Counter((user, item, kind) for user, item, kind, _ in rows)
    units: dict[tuple[str, str], int] = defaultdict(int)
    first: dict[str, date] = {}
    for user, item, kind, age in rows:
        if age <= 365:
            decay = 0.5 ** (age / params.half_life_days)
            weight = params.weights[kind] if kind != "refund" else 0.0
            if kind == "purchase":  # all that a customer bought is one order, and each refund takes a piece of it
                weight *= 1 - min(1.0, trades[user, item, "refund"] / trades[user, item, "purchase"])
            units[user, item] += round(weight * decay * UNITS)
            first[item] = min(first.get(item, AS_OF), AS_OF - timedelta(days=age))
    taken = {pair: n for pair, n in units.items() if n > 0}
    expected = []
    for kind in ("attributes", "region", "segment"):
        for name in sorted({groups[u][kind] for u in ids} - {None}):
            of_group = {pair: n for pair, n in taken.items() if groups[pair[0]][kind] == name}
            if len({u for u, _ in of_group}) >= 8:
                items = {i for _, i in of_group}
                sums = {i: [n for (_, j), n in of_group.items() if i == j] for i in items}
                kept = sorted((-sum(n), i) for i, n in sums.items() if len(n) >= LEAST_TAKERS)
                expected += [(kind, name, i, -n) for n, i in kept]
    assert found.top.rows() == expected
    assert {kind for kind, *_ in expected} == {"attributes", "region", "segment"}
    assert "Jilin" not in {name for _, name, *_ in expected}
    assert dict(found.first_dates.rows()) == first

    steps = group_steps(found.top, sorted(first))
    region = steps["region"]
    hunan = region.names.index("Hunan")
    of_hunan = slice(region.ends[hunan], region.ends[hunan + 1])
    top = [(sorted(first)[n], w) for n, w in zip(region.items[of_hunan], region.weights[of_hunan], strict=True)]
    assert top == [(i, pytest.approx(n / UNITS)) for kind, name, i, n in expected if name == "Hunan"]
