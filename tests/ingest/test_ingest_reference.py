"""Random dirty files, in any order of delivery, against the same rules in plain Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ingest_shop import HEADER, rows
from ingest_shop import settings as log_settings

from profiling_spark.contracts.silver import EVENTS, INGESTED_FILES, REJECTED_ROWS
from profiling_spark.ingest.job import ingest
from profiling_spark.storage import Tables

WORDS = {"buy": "purchase", "look": "view", "back": "refund", "beat": "ignored"}
FIRST, LAST = datetime(2000, 1, 1), datetime(2026, 12, 31, 23, 59, 59)
EIGHT_HOURS = timedelta(hours=8)  # Shanghai has no summer time
_COLUMNS = ("id", "when", "who", "what", "sku", "qty", "price", "order")

Line = tuple[str, ...]


def lines() -> st.SearchStrategy[Line]:
    """Lines of the log, good and bad: few ids and customers, so that repeats and conflicts are common."""
    number = st.sampled_from(("1", "2", "", "0", "-1", "1.5", "NaN", "x", "1e400", " 3 "))
    when = st.sampled_from(
        ("2026-05-01 23:30:00", "2026-05-02 00:10:00", "2026-05-02 09:00:00", "1999-12-31 10:00:00", "soon", "")
    )
    return st.tuples(
        st.sampled_from(("", "1", "2", "3", "4")),
        when,
        st.sampled_from(("u1", "u2", "u3", "", " u1 ")),
        st.sampled_from(("buy", "look", "back", "beat", "BUY", "")),
        st.sampled_from(("a", "")),
        number,
        number,
        st.sampled_from(("o1", "")),
    )


def _number(text: str, digits: int) -> tuple[Decimal | None, bool]:
    """(value, whether it is there and no number) of a DECIMAL(18, digits)."""
    if not text.strip():
        return None, False
    try:
        value = Decimal(text.strip())
        if not value.is_finite() or abs(value) >= Decimal(10) ** (18 - digits):
            return None, True
    except InvalidOperation:
        return None, True
    return value, False


def _time(text: str) -> tuple[datetime | None, bool]:
    if not text.strip():
        return None, False
    try:
        return datetime.strptime(text.strip(), "%Y-%m-%d %H:%M:%S"), False
    except ValueError:
        return None, True


def judged(line: Line) -> tuple[str, list[str], dict[str, Any]]:
    """(ignored, rejected or ok; reasons; the values that are compared)."""
    row = dict(zip(_COLUMNS, line, strict=True))
    when, bad_time = _time(row["when"])
    quantity, bad_quantity = _number(row["qty"], 4)
    price, bad_price = _number(row["price"], 6)
    word, user = row["what"].strip(), row["who"].strip()
    kind = WORDS.get(word)
    bought = kind in ("purchase", "refund")
    broken = {
        "bad_event_time": bad_time,
        "bad_quantity": bad_quantity,
        "bad_unit_price": bad_price,
        "no_user": not user,
        "no_event_time": when is None and not bad_time,
        "time_out_of_range": when is not None and not FIRST <= when <= LAST,
        "no_event_type": not word,
        "unknown_event_type": bool(word) and kind is None,
        "price_not_positive": bought and price is not None and price <= 0,
        "quantity_not_positive": bought and quantity is not None and quantity <= 0,
    }
    reasons = sorted(name for name, is_broken in broken.items() if is_broken)
    kept = price if bought or price is None or price > 0 else None
    amount = None if price is None or quantity is None else price * quantity
    flag = "price_not_positive" if kept is None and price is not None else None
    values = {"when": when, "user": user, "kind": kind, "quantity": quantity, "price": kept, "amount": amount}
    values["flag"] = flag
    return ("ignored" if kind == "ignored" else "rejected" if reasons else "ok"), reasons, values


def judged_price(line: Line) -> tuple[Decimal | None]:
    """The price as mapped, before a rule leaves it out."""
    return (_number(line[6], 6)[0],)


def reference(files: Sequence[list[Line]]) -> tuple[Counter[Any], Counter[Any], Counter[str]]:
    """(events, reasons of refused rows, rows by outcome) of all files together.

    Of rows of one customer and id the latest survives; between equally late ones of other content the real rule is a
    hash, so the reference only says how many there are.
    """
    survivors: dict[Any, list[dict[str, Any]]] = {}
    refused, outcome = Counter[Any](), Counter[str]()
    for line in (x for file in files for x in file):
        what, reasons, values = judged(line)
        if what == "ok":
            mapped = (
                values["when"],
                values["user"],
                line[3],
                line[4],
                values["quantity"],
                *judged_price(line),
                line[7],
            )
            key = (values["user"], line[0].strip()) if line[0].strip() else mapped
            survivors.setdefault(key, []).append({**values, "sku": line[4], "order": line[7]})
        else:
            outcome[what] += 1
            refused[",".join(reasons)] += what == "rejected"
    events = Counter[Any]()
    for group in survivors.values():
        latest = max(row["when"] for row in group)
        contents = {tuple(row.items()) for row in group}
        last = {content for content in contents if dict(content)["when"] == latest}
        outcome["accepted"] += 1
        outcome["duplicate"] += len(group) - len(contents)
        outcome["superseded"] += len(contents) - 1
        events[frozenset(last)] += 1
    return events, +refused, outcome


def _stored(tables: Tables) -> list[tuple[Any, ...]]:
    found = []
    for r in rows(tables, EVENTS):
        row = {"when": r["event_time"] + EIGHT_HOURS, "user": r["user_id"], "kind": r["event_type"]}
        row |= {"quantity": r["quantity"], "price": r["unit_price"], "amount": r["amount"], "flag": r["flags"]}
        found.append(tuple({**row, "sku": r["item_id"] or "", "order": r["order_id"] or ""}.items()))
    return found


@pytest.mark.slow
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(files=st.lists(st.lists(lines(), min_size=20, max_size=60), min_size=2, max_size=5), split=st.integers(0, 4))
def test_any_dirty_files_become_what_plain_python_makes_of_them(tables, make_context, tmp_path_factory, files, split):
    folder = tmp_path_factory.mktemp("random")
    lake = Tables(tables.spark, str(folder / "lake"), run_id="x")
    base = log_settings(lake.root, folder / "raw", rules=[])
    (folder / "raw").mkdir()
    for run, part in enumerate((files[:split], files[split:])):
        for n, content in enumerate(part):
            # equal contents would be one file: blank lines are no rows, and make them differ
            text = HEADER + "".join(",".join(line) + "\n" for line in content) + "\n" * (run * len(files) + n)
            (folder / "raw" / f"{run}{n}.csv").write_text(text, encoding="utf-8")
        if part:
            ingest(make_context(base, run_id=f"run {run}", tables=lake))
    events, refused, outcome = reference(files)
    assert Counter(r["reasons"] for r in rows(lake, REJECTED_ROWS) for _ in range(r["occurrences"])) == refused
    ledger = rows(lake, INGESTED_FILES)
    outcomes = ("accepted", "rejected", "duplicate", "ignored", "superseded")
    counted = Counter({k: sum(f[f"rows_{k}"] for f in ledger) for k in outcomes})
    # which of several losers is the repeat of another depends on who came first
    for found in (counted, outcome):
        found["lost"] = found.pop("duplicate", 0) + found.pop("superseded", 0)
    assert +counted == +outcome
    assert [f["rows_read"] for f in ledger] == [sum(f[f"rows_{k}"] for k in outcomes) for f in ledger]
    stored = _stored(lake)
    assert len(stored) == sum(events.values())
    unmatched = Counter(events)
    for row in stored:
        match = next((group for group in unmatched if row in group), None)
        assert match is not None, row
        unmatched[match] -= 1
        unmatched = +unmatched
