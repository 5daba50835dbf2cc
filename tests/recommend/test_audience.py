"""The best customers for an item, one customer and item at a time."""

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from recommend_shop import PARAMS, events
from test_serve import NEIGHBOURS, SIMILAR, catalogue_of

from profiling_spark.config.settings import Recommend
from profiling_spark.recommend.extras.audience import AudienceKernel, wanted_items
from profiling_spark.recommend.history.interactions import UNITS, interactions

ITEMS = ("a", "b", "c", "d", "e")


@given(seed=st.integers(0, 10_000), customers=st.integers(1, 6))
@settings(deadline=None, max_examples=50)
def test_audiences_of_any_shop(seed, customers):
    rng = np.random.default_rng(seed)
    rows = [
        (f"u{rng.integers(8)}", ITEMS[rng.integers(5)], str(rng.choice(["view", "cart", "purchase"])), int(age))
        for age in rng.integers(1, 60, 30)
    ]
    frame = events(rows)
    users = pl.DataFrame({"user_id": [f"u{n}" for n in range(8)], "is_opted_out": [n == 3 for n in range(8)]})
    wanted = np.array([0, 1, 3])
    kernel = AudienceKernel(ITEMS, wanted, NEIGHBOURS, PARAMS, customers)
    found = kernel(frame, {"users": users})
    bought = {(u, i) for u, i, kind, _ in rows if kind == "purchase"}
    past = interactions(frame, PARAMS).filter("is_history").select("user_id", "item_id", "units").rows()
    expected = []
    for number in wanted:
        scores = {}
        for user, item, units in past:
            similar = float(SIMILAR[ITEMS.index(item), number])
            if similar > 0 and user != "u3" and (user, ITEMS[number]) not in bought:
                scores[user] = scores.get(user, 0.0) + similar * float(np.log1p(units / UNITS))
        best = sorted((-round(score, 9), user) for user, score in scores.items())[:customers]
        expected += [(ITEMS[number], user) for _, user in best]
    assert found.select("item_id", "user_id").rows() == expected


def test_which_items_get_an_audience():
    catalogue = catalogue_of(ITEMS, ITEMS, (None,) * 5, (1.0, 0.0, 3.0, 2.0, 9.0), stocks=(1, 1, 0, 1, 1))

    def wanted(known=4, **asked):
        return wanted_items(catalogue, Recommend(audience=asked), known).tolist()

    # the model does not know e; nobody takes b; c is out of stock, but may be asked for by name
    assert wanted(items=9) == [0, 3]
    assert wanted(items=1) == [3]
    assert wanted(items=1, item_ids=("b", "c", "e")) == [2, 3]
    assert wanted() == []
