"""An independent reader of the demo shop: plain Python, the standard json and csv modules, no code of the generator.

Each row gets one verdict: a reason to refuse it, `ignored`, `duplicate` or `accepted`.
"""

import csv
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

KNOWN = {"login", "search", "click", "fav", "add_cart", "ad_show", "ad_click", "service"}
IGNORED = {"heartbeat", "app_start"}
ORDER_FIELDS = 14


@dataclass
class Reading:
    """Verdicts and accepted rows of one source; a file whose content was read before is not read again."""

    rows: int = 0
    files: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    repeated: list[str] = field(default_factory=list)
    accepted: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rejected(self) -> dict[str, int]:
        return {k: n for k, n in sorted(self.verdicts.items()) if k not in ("accepted", "duplicate", "ignored")}


def _lines(folder: Path, reading: Reading) -> list[str]:
    """Lines of the files with differing content, without line ends; originals sort before their resent copies."""
    seen: set[bytes] = set()
    lines: list[str] = []
    for path in sorted(folder.iterdir(), key=lambda p: ("_resend" in p.name, p.name)):
        content = path.read_bytes()
        if content in seen:
            reading.repeated.append(path.name)
            continue
        seen.add(content)
        reading.files += 1
        assert content.endswith(b"\n")
        lines += content.decode().removesuffix("\n").split("\n")[path.suffix == ".csv" :]
    reading.rows = len(lines)
    return lines


def _bad_time(text: str) -> str | None:
    try:
        year = datetime.fromisoformat(text).year
    except ValueError:
        return "bad_event_time"
    return None if 2000 <= year <= 2050 else "time_out_of_range"


def _behaviour_fault(row: dict[str, Any]) -> list[str]:
    faults = [] if row.get("uid") else ["no_user"]
    faults += [fault] if (fault := _bad_time(row["ts"])) else []
    return faults + ([] if row["action"] in KNOWN | IGNORED else ["unknown_event_type"])


def _json_rows(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _judge(reading: Reading, line: str, row: dict[str, Any], faults: list[str], seen: set[str]) -> None:
    assert len(faults) <= 1, (faults, line)
    if faults:
        reading.verdicts[faults[0]] += 1
    elif row.get("action") in IGNORED:
        reading.verdicts["ignored"] += 1
    elif line in seen:
        reading.verdicts["duplicate"] += 1
    else:
        seen.add(line)
        reading.verdicts["accepted"] += 1
        reading.accepted.append(row)


def read_behaviour(out: Path) -> Reading:
    reading, seen = Reading(), set[str]()
    for line in _lines(out / "behaviour", reading):
        if (row := _json_rows(line)) is None:
            reading.verdicts["unreadable"] += 1
        else:
            _judge(reading, line, row, _behaviour_fault(row), seen)
    return reading


def read_reviews(out: Path) -> Reading:
    reading, seen = Reading(), set[str]()
    for line in _lines(out / "reviews", reading):
        if (row := _json_rows(line)) is None:
            reading.verdicts["unreadable"] += 1
        else:
            _judge(reading, line, row, [] if 1 <= row["stars"] <= 5 else ["bad_rating"], seen)
    return reading


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _order_fault(row: dict[str, Any]) -> list[str]:
    faults = [] if row["uid"] else ["no_user"]
    faults += [fault] if (fault := _bad_time(row["order_time"])) else []
    price = _number(row["price"])
    faults += ["bad_unit_price"] if math.isnan(price) else ["price_not_positive"] if price <= 0 else []
    faults += ["quantity_not_positive"] if int(row["qty"]) <= 0 else []
    amount = int(row["qty"]) * price
    has_excess = not faults and not 0 <= float(row["discount"]) <= amount
    return faults + (["discount_above_amount"] if has_excess else [])


def read_orders(out: Path) -> Reading:
    reading, seen = Reading(), set[str]()
    lines = _lines(out / "orders", reading)
    first = sorted((out / "orders").iterdir())[0]
    header = next(csv.reader([first.read_text(encoding="utf-8").split("\n", 1)[0]]))
    for line, fields in zip(lines, csv.reader(lines, strict=True), strict=True):
        if len(fields) != ORDER_FIELDS:
            reading.verdicts["unreadable"] += 1
            continue
        row = dict(zip(header, fields, strict=True))
        _judge(reading, line, row, _order_fault(row), seen)
    return reading


def read_users(out: Path) -> Reading:
    """`accepted`: the contacts as the last delivery has them; the counts are of all deliveries."""
    reading, seen = Reading(), set[str]()
    for path in sorted((out / "users").iterdir()):
        reading.files += 1
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        for line, row in zip(lines[1:], csv.DictReader(lines, strict=True), strict=True):
            age = row["age"]
            fault = age != "" and not 0 <= _number(age) <= 120
            _judge(reading, line, row, ["bad_age"] if fault else [], seen)
            reading.rows += 1
    reading.accepted = list({row["uid"]: row for row in reading.accepted}.values())
    return reading
