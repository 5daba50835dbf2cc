"""`item_features` and the most viewed items once more, in plain Python: shares no code with the package."""

from collections import Counter
from collections.abc import Collection
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from reference import Row, Values, divide, of

POPULAR = 10


def item_features(
    events: list[Row],
    items: list[Row],
    reviews: list[Row],
    *,
    as_of: date,
    zone: ZoneInfo,
    robots: Collection[str] = (),
) -> dict[str, Values]:
    """One catalogue source, every event type supplied. By item_id."""
    past = [e for e in events if e["event_date"] < as_of and e["item_id"] is not None]
    versions = [v for v in items if v["valid_from"].astimezone(zone).date() < as_of]
    rated = [r for r in reviews if r["review_time"] and r["review_time"].astimezone(zone).date() < as_of]
    found = {}
    for item in {row["item_id"] for row in (*past, *versions)}:
        own = [e for e in past if e["item_id"] == item]
        listed = max((v for v in versions if v["item_id"] == item), key=lambda v: v["valid_from"], default={})
        found[item] = (
            _described(own, listed)
            | _counted([e for e in own if e["user_id"] not in robots])
            | {"rating": _rating(rated, item)}
        )
    _rank(found)
    return found


def popular_items(events: list[Row], *, as_of: date, window: int, robots: Collection[str] = ()) -> list[str]:
    """The most viewed items of the window."""
    first = as_of - timedelta(days=window)
    inside = [e for e in of(events, "view") if e["item_id"] is not None and first <= e["event_date"] < as_of]
    inside = [e for e in inside if e["user_id"] not in robots]
    views = Counter(e["item_id"] for e in inside)
    return sorted(views, key=lambda item: (-views[item], item))[:POPULAR]


def _described(own: list[Row], listed: Row) -> Values:
    prices = sorted(e["unit_price"] for e in own if e["unit_price"] is not None)
    paid = prices[(len(prices) - 1) // 2] if prices else None
    price = listed.get("list_price")
    return {
        **{name: listed.get(name) or _last_known(own, name) for name in ("category", "brand")},
        "price": paid if price is None else price,
    }


def _last_known(own: list[Row], name: str) -> Any:
    known = [e for e in own if e[name] is not None]
    latest = max((e["event_time"] for e in known), default=None)
    return min((e[name] for e in known if e["event_time"] == latest), default=None)


def _counted(own: list[Row]) -> Values:
    bought = of(own, "purchase")
    orders: dict[str, set[str]] = {}
    for e in bought:
        orders.setdefault(e["user_id"], set()).add(e["order_id"] or e["event_id"])
    values: Values = {"views": len(of(own, "view")), "carts": len(of(own, "cart"))}
    values |= {"purchases": sum(map(len, orders.values())), "buyers": len(orders)}
    values["conversion"] = divide(values["purchases"], values["views"])
    values["repeat_share"] = divide(sum(len(numbers) > 1 for numbers in orders.values()), len(orders))
    return values


def _rating(rated: list[Row], item: str) -> float | None:
    stars = [r["rating"] for r in rated if r["item_id"] == item and r["rating"] is not None]
    return divide(sum(stars), len(stars))


def _rank(found: dict[str, Values]) -> None:
    for place, item in enumerate(sorted(found, key=lambda i: (-found[i]["purchases"], i)), start=1):
        own = found[item]
        same = [v for v in found.values() if v["category"] == own["category"] and v["price"] is not None]
        cheaper = sum(v["price"] < own["price"] for v in same) if own["price"] is not None else 0
        share = cheaper / (len(same) - 1) if len(same) > 1 else 0.5
        known = own["price"] is not None and own["category"] is not None
        own |= {"popularity_rank": place, "price_percentile": share if known else None}
