"""The features of DESIGN.md section 5 once more, in plain Python over dicts, one customer and one feature at a time.

Written from the definitions, sharing no code with the package: it is what the kernels are compared with.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

Row = dict[str, Any]
Values = dict[str, Any]

SCORES = {"r_score", "f_score", "m_score", "rfm_score", "rfm_group"}
COUNT_OF = {
    "logins": "login",
    "views": "view",
    "searches": "search",
    "favorites": "favorite",
    "carts": "cart",
    "ad_views": "ad_view",
    "ad_clicks": "ad_click",
    "services": "service",
    "review_events": "review",
}


def features(
    events: list[Row],
    *,
    as_of: date,
    windows: tuple[int, ...],
    timezone: str,
    supplied: frozenset[str],
    users: list[Row] | None = None,
    reviews: list[Row] | None = None,
    percentiles: dict[str, float] | None = None,
    popular: dict[int, list[str]] | None = None,
    bot_events_per_day: int | None = None,
    bot_days: int = 365,
    left_out: str | None = None,
) -> dict[str, Values]:
    """Features but for the RFM scores, by user_id. Events with the flag `left_out` count in nothing."""
    zone = ZoneInfo(timezone)
    past = [e for e in events if e["event_date"] < as_of]
    known = _speaking(users or [], as_of, zone)
    result = {}
    everyone = {row["user_id"] for row in [*past, *known]}
    past = counted(past, left_out)
    robots = bots(past, as_of=as_of, most=bot_events_per_day, days=bot_days)
    for user in everyone:
        own = [e for e in past if e["user_id"] == user]
        values = _history(own, as_of, supplied, percentiles) | _favorites(own, as_of, zone)
        values["is_bot"] = user in robots
        values |= _person([v for v in known if v["user_id"] == user], as_of, zone)
        for w in windows:
            first = as_of - timedelta(days=w)
            inside = [e for e in own if e["event_date"] >= first]
            found = _counts(inside, supplied) | _rhythm(inside, zone) | _money(inside, supplied)
            found |= _seen(inside, supplied, None if popular is None else popular[w])
            found |= _reviewed(reviews, user, first, as_of, zone)
            values |= {f"{name}_{w}d": value for name, value in found.items()}
        result[user] = values
    return result


def assert_same_values(found: pl.DataFrame, expected: dict[str, dict[str, Any]]) -> None:
    """Every feature but the RFM scores; doubles to 1e-12, all else exactly and of the same type."""
    assert set(found["user_id"]) == set(expected)
    assert found.height == len(expected)
    for row in found.to_dicts():
        user = row.pop("user_id")
        wanted = expected[user]
        row.pop("as_of")
        assert set(row) - SCORES == set(wanted)
        for name, value in wanted.items():
            close = pytest.approx(value, rel=1e-12, abs=1e-12) if isinstance(value, float) else value
            assert row[name] == close, (user, name)
            assert not isinstance(value, Decimal) or isinstance(row[name], Decimal), name


def counted(events: list[Row], left_out: str | None) -> list[Row]:
    """Events without the flag."""
    return [e for e in events if left_out is None or left_out not in (e["flags"] or "").split(",")]


def bots(events: list[Row], *, as_of: date, most: int | None, days: int) -> set[str]:
    """Customers with more than `most` events, impressions aside, on a day of the last `days`."""
    inside = [e for e in events if 1 <= (as_of - e["event_date"]).days <= days and e["event_type"] != "ad_view"]
    counted = Counter((e["user_id"], e["event_date"]) for e in inside)
    return {user for (user, _), n in counted.items() if most is not None and n > most}


def divide(top: Any, below: Any) -> float | None:
    return None if top is None or not below else float(top) / float(below)


def of(events: Iterable[Row], *types: str) -> list[Row]:
    return [e for e in events if e["event_type"] in types]


def orders(events: list[Row]) -> int:
    return len({e["order_id"] for e in events if e["order_id"] is not None}) + sum(
        1 for e in events if e["order_id"] is None
    )


def money(events: list[Row], column: str = "amount") -> Decimal:
    return sum((e[column] for e in events if e[column] is not None), Decimal(0))


def if_supplied(supplied: frozenset[str], needed: str, value: Callable[[], Any]) -> Any:
    return value() if needed in supplied else None


def _counts(inside: list[Row], supplied: frozenset[str]) -> Values:
    counts: Values = {n: if_supplied(supplied, t, lambda t=t: len(of(inside, t))) for n, t in COUNT_OF.items()}
    counts["purchases"] = if_supplied(supplied, "purchase", lambda: orders(of(inside, "purchase")))
    counts["refunds"] = if_supplied(supplied, "refund", lambda: orders(of(inside, "refund")))
    parts = [counts[n] for n in ("logins", "views", "purchases") if counts[n] is not None]
    counts["activity"] = sum(parts) if parts else None
    sessions = len({e["session_id"] for e in inside if e["session_id"] is not None})
    counts["sessions"] = sessions
    counts["purchase_frequency"] = divide(counts["purchases"], counts["logins"])
    counts["purchases_per_session"] = divide(counts["purchases"], sessions)
    counts["view_to_cart"] = divide(counts["carts"], counts["views"])
    counts["cart_to_purchase"] = divide(counts["purchases"], counts["carts"])
    counts["view_to_purchase"] = divide(counts["purchases"], counts["views"])
    for name, column in (("category_breadth", "category"), ("brand_breadth", "brand"), ("items_bought", "item_id")):
        distinct = {e[column] for e in of(inside, "purchase") if e[column] is not None}
        counts[name] = len(distinct) if "purchase" in supplied else None
    return counts


def _rhythm(inside: list[Row], zone: ZoneInfo) -> Values:
    hours = [e["event_time"].astimezone(zone).hour for e in inside]
    return {
        "active_days": len({e["event_date"] for e in inside if e["event_type"] != "ad_view"}),
        "session_seconds": sum(e["duration_seconds"] or 0.0 for e in inside),
        "night_share": divide(sum(h >= 22 or h <= 5 for h in hours), len(inside)),
        "weekend_share": divide(sum(e["event_date"].strftime("%a") in ("Sat", "Sun") for e in inside), len(inside)),
    }


def _money(inside: list[Row], supplied: frozenset[str]) -> Values:
    bought, returned = of(inside, "purchase"), of(inside, "refund")
    names = ("purchase_amount", "flagged_amount", "net_amount", "consumption_power", "discount_share", "refund_share")
    if "purchase" not in supplied:
        return dict.fromkeys(names)
    spent, back, off = money(bought), money(returned), money(bought, "discount")
    return {
        "purchase_amount": spent,
        "flagged_amount": money([e for e in bought if e["flags"]]),
        "net_amount": spent - back,
        "consumption_power": divide(spent, orders(bought)),
        "discount_share": divide(off, spent + off),
        "refund_share": divide(back, spent) if "refund" in supplied else None,
    }


def _seen(inside: list[Row], supplied: frozenset[str], popular: list[str] | None) -> Values:
    if popular is None or "view" not in supplied:
        return {"popular_item_viewer": None}
    return {"popular_item_viewer": any(e["item_id"] in popular for e in of(inside, "view"))}


def _history(own: list[Row], as_of: date, supplied: frozenset[str], percentiles: dict[str, float] | None) -> Values:
    ago = [(as_of - e["event_date"]).days for e in own if e["event_type"] != "ad_view"]
    values: Values = {"days_since_last_event": min(ago, default=None), "tenure_days": max(ago, default=None)}
    bought = of(own, "purchase")
    days = sorted({e["event_date"] for e in bought})
    gaps = [(b - a).days for a, b in pairwise(days)]
    levels = [percentiles[e["item_id"]] for e in bought if percentiles and e["item_id"] in percentiles]
    if "purchase" not in supplied:
        names = ("recency_days", "frequency", "monetary", "flagged_amount", "interpurchase_days", "price_preference")
        return values | dict.fromkeys(names)
    return values | {
        "recency_days": (as_of - days[-1]).days if days else None,
        "frequency": orders(bought),
        "monetary": money(bought) - money(of(own, "refund")),
        "flagged_amount": money([e for e in bought if e["flags"]]),
        "interpurchase_days": divide(sum(gaps), len(gaps)),
        "price_preference": divide(sum(levels), len(levels)),
    }


def _favorites(own: list[Row], as_of: date, zone: ZoneInfo) -> Values:
    recent = [e for e in own if e["event_date"] >= as_of - timedelta(days=90)]
    taste = of(recent, "view", "favorite", "cart", "purchase")
    return {
        "favorite_category": _mode(e["category"] for e in taste),
        "favorite_brand": _mode(e["brand"] for e in taste),
        "favorite_channel": _mode(e["channel"] for e in recent),
        "favorite_hour": _mode(e["event_time"].astimezone(zone).hour for e in recent),
    }


def _mode(values: Iterable[Any]) -> Any:
    counted = Counter(v for v in values if v is not None)
    most = max(counted.values(), default=0)
    return min((v for v, n in counted.items() if n == most), default=None)


def _reviewed(reviews: list[Row] | None, user: str, first: date, as_of: date, zone: ZoneInfo) -> Values:
    if reviews is None:
        return {"reviews": None, "mean_rating": None}
    own = [r for r in reviews if r["user_id"] == user and r["review_time"] is not None]
    inside = [r for r in own if first <= _day(r["review_time"], zone) < as_of]
    stars = [r["rating"] for r in inside if r["rating"] is not None]
    return {"reviews": len(inside), "mean_rating": divide(sum(stars), len(stars))}


def _day(time: datetime, zone: ZoneInfo) -> date:
    return time.astimezone(zone).date()


def _speaking(versions: list[Row], as_of: date, zone: ZoneInfo) -> list[Row]:
    """Of each user and source the last version before as_of, else the earliest of those without a time of their own."""

    def time(version: Row) -> datetime:
        found: datetime = version["valid_from"] or version["delivered_at"]
        return found

    chosen = []
    for key in {(v["user_id"], v["source"]) for v in versions}:
        own = sorted((v for v in versions if (v["user_id"], v["source"]) == key), key=time)
        before = [v for v in own if _day(time(v), zone) < as_of]
        speaks = before[-1:] or [v for v in own if v["valid_from"] is None][:1]
        chosen += [v for v in speaks if not v.get("ended")]
    return chosen


def _person(known: list[Row], as_of: date, zone: ZoneInfo) -> Values:
    ranked = sorted(known, key=lambda v: str(v["source"]))
    names = ("gender", "age", "age_band", "birth_date", "occupation", "income", "province", "city", "registered_at")
    values = {n: [(v[n], v["source"]) for v in ranked if v[n] is not None] for n in names}
    last: Row = {n: found[0][0] for n, found in values.items() if found}
    conflicts = [f"{n}: {found[0][1]}" for n, found in values.items() if len({value for value, _ in found}) > 1]
    age, born, registered = last.get("age"), last.get("birth_date"), last.get("registered_at")
    if age is None and born is not None and born <= as_of:
        age = sum(1 for year in range(born.year + 1, as_of.year + 1) if _birthday(born, year) <= as_of)
    days = None if registered is None else (as_of - _day(registered, zone)).days
    return {
        "gender_code": {"male": 0, "female": 1}.get(last.get("gender") or ""),
        "age": age,
        "age_band": last.get("age_band") if age is None else _band(age),
        **{name: last.get(name) for name in ("occupation", "income", "province", "city")},
        "registered_days": days if days is not None and days > 0 else None,
        "attribute_conflicts": ", ".join(conflicts) or None,
    }


def _birthday(born: date, year: int) -> date:
    """Who is born on 29 February is a year older on 1 March of a common year."""
    try:
        return born.replace(year=year)
    except ValueError:
        return date(year, 3, 1)


def _band(age: int) -> str:
    for last, name in ((17, "under 18"), (25, "18-25"), (35, "26-35"), (45, "36-45"), (55, "46-55"), (65, "56-65")):
        if age <= last:
            return name
    return "over 65"
