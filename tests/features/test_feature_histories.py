"""What the random histories hold: a property says nothing about a case that is never drawn."""

from collections import Counter
from datetime import date, datetime, timedelta
from itertools import groupby, product

import pytest
from histories import AS_OF, AUTUMN, AUTUMN_SWITCH, SPRING_SWITCH, WINDOWS, Row, drawn, histories, local

HISTORIES = 120
NULLABLE = (
    *("item_id", "category", "brand", "session_id", "order_id", "amount", "discount", "duration_seconds", "channel"),
    *("device", "third_party_payment", "quantity", "unit_price"),
)


@pytest.fixture(scope="module")
def sample() -> list[list[Row]]:
    return drawn(histories(40), HISTORIES)


@pytest.mark.parametrize("as_of", [AS_OF, AUTUMN])
def test_days_on_both_sides_of_every_windows_edges_are_drawn(sample: list[list[Row]], as_of: date) -> None:
    ages = {(as_of - row["event_date"]).days for rows in sample for row in rows}
    edges = {-1, 0, 1, *(age for w in WINDOWS for age in (w, w + 1))}
    assert edges <= ages


@pytest.mark.parametrize("as_of", [AS_OF, AUTUMN])
def test_the_seconds_around_the_midnight_of_every_edge_are_drawn(sample: list[list[Row]], as_of: date) -> None:
    midnights = {local(as_of - timedelta(days=w), "00:00:00") for w in (0, *WINDOWS)}
    edges = midnights | {midnight - timedelta(seconds=1) for midnight in midnights}
    assert edges <= {row["event_time"] for rows in sample for row in rows}


def test_the_hours_around_both_changes_of_the_clocks_are_drawn(sample: list[list[Row]]) -> None:
    hours = {
        (name, (row["event_time"] - switch).total_seconds() // 3600)
        for rows in sample
        for row in rows
        for name, switch in (("spring", SPRING_SWITCH), ("autumn", AUTUMN_SWITCH))
    }
    assert set(product(("spring", "autumn"), (-2, -1, 0, 1))) <= hours


@pytest.mark.parametrize("switch", [SPRING_SWITCH, AUTUMN_SWITCH])
def test_sessions_across_a_change_of_the_clocks_are_drawn(sample: list[list[Row]], switch: datetime) -> None:
    across = 0
    for rows in sample:
        near = [r for r in rows if r["session_id"] and abs(r["event_time"] - switch) <= timedelta(hours=2)]
        near.sort(key=lambda r: (r["user_id"], r["session_id"]))
        for _, visit in groupby(near, key=lambda r: (r["user_id"], r["session_id"])):
            across += len({row["event_time"] < switch for row in visit}) == 2
    assert across > 0


@pytest.mark.parametrize("column", NULLABLE)
def test_known_and_unknown_values_are_drawn(sample: list[list[Row]], column: str) -> None:
    known = Counter(row[column] is not None for rows in sample for row in rows)
    assert min(known[True], known[False]) >= 100
