"""Configured features once more, in plain Python over dicts, from the words of docs/features.md: shares no code.

`feature` is what stands in the YAML file. And strategies: any configured features that the settings accept.
"""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from histories import ALL_TYPES, WINDOWS, Row
from hypothesis import strategies as st
from reference import divide, money, of, orders

Feature = dict[str, Any]
SUMS = ("amount", "discount", "quantity", "duration_seconds")


def custom_values(
    features: list[Feature], built_in: dict[str, Any], events: list[Row], *, as_of: date, zone: ZoneInfo
) -> dict[str, Any]:
    """One customer's values by column. `events` are the customer's own, of any date; `built_in` the other features."""
    past = [e for e in events if e["event_date"] < as_of]
    values: dict[str, Any] = {}
    for feature in sorted(features, key=lambda f: f["measure"] == "ratio"):
        for w in _spans(feature):
            inside = past if w is None else [e for e in past if e["event_date"] >= as_of - timedelta(days=w)]
            end = "" if w is None else f"_{w}d"
            if feature["measure"] == "ratio":
                known = {**built_in, **values}
                top, below = (known.get(f"{feature[o]}{end}", known.get(feature[o])) for o in _OPERANDS)
                values[feature["name"] + end] = divide(top, below)
            else:
                values[feature["name"] + end] = _value(feature, inside, as_of, zone)
    return values


_OPERANDS = ("numerator", "denominator")


def _spans(feature: Feature) -> tuple[int | None, ...]:
    if feature["measure"] == "recency" or feature.get("windows_days") == "all":
        return (None,)
    return tuple(feature.get("windows_days") or WINDOWS)


def _value(feature: Feature, inside: list[Row], as_of: date, zone: ZoneInfo) -> Any:
    typed = of(inside, *feature["event_types"])
    matching = [e for e in typed if all(_meets(_read(e, c, zone), a) for c, a in feature.get("where", {}).items())]
    if feature["measure"] == "recency":
        return min(((as_of - e["event_date"]).days for e in matching), default=None)
    if feature["measure"] == "share":
        return divide(_total(feature, matching, zone), _total(feature, typed, zone))
    return _total(feature, matching, zone)


def _total(feature: Feature, events: list[Row], zone: ZoneInfo) -> Any:
    column = feature.get("column")
    if column is None:
        single = len([e for e in events if e["event_type"] not in ("purchase", "refund")])
        return single + orders(of(events, "purchase")) + orders(of(events, "refund"))
    if column == "duration_seconds":
        return sum(e[column] or 0.0 for e in events)
    if column in SUMS:
        return money(events, column)
    return len({_read(e, column, zone) for e in events} - {None})


def _read(event: Row, column: str, zone: ZoneInfo) -> Any:
    if column == "hour":
        return event["event_time"].astimezone(zone).hour
    return event["event_date"].isoweekday() if column == "weekday" else event[column]


def _meets(value: Any, asked: Any) -> bool:
    if value is None:
        return False
    if not isinstance(asked, dict):
        return value in [Decimal(str(a)) if isinstance(a, float) else a for a in _as_list(asked)]
    low, high = (None if asked.get(end) is None else Decimal(str(asked[end])) for end in ("min", "max"))
    above, below = low is None or value >= low, high is None or value <= high
    return above or below if low is not None and high is not None and low > high else above and below


def _as_list(asked: Any) -> list[Any]:
    return asked if isinstance(asked, list) else [asked]


def _ends(numbers: tuple[float, ...]) -> st.SearchStrategy[Any]:
    """A range, or one value: any ends of a rising choice."""
    pairs = st.tuples(st.sampled_from(numbers), st.sampled_from(numbers)).map(sorted)
    ranges = pairs.map(lambda p: {"min": p[0], "max": p[1]})
    return ranges | ranges.map(lambda r: {"min": r["min"]}) | ranges.map(lambda r: {"max": r["max"]})


_HOURS = st.fixed_dictionaries({"min": st.integers(0, 23), "max": st.integers(0, 23)}) | st.integers(0, 23)
_WHERE: dict[str, st.SearchStrategy[Any]] = {
    "channel": st.sampled_from(("app", ["app"], ["web", "never seen"], "app; drop table")),
    "device": st.sampled_from(("手机", ["pc", "手机"])),
    "category": st.sampled_from(("a", ["b", "茶"])),
    "item_id": st.sampled_from(("i1", ["i2", "i3", "never seen"])),
    "third_party_payment": st.booleans(),
    "amount": _ends((0, 0.25, 10, 50.75, 99)) | st.sampled_from((0, [0.25, 50.75])),
    "quantity": _ends((0, 1, 2, 3)) | st.just([1, 3]),
    "unit_price": _ends((0.25, 0.5, 0.75)),
    "duration_seconds": _ends((0.125, 60, 500.5)),
    "hour": _HOURS | st.lists(st.integers(0, 23), min_size=1, max_size=3),
    "weekday": st.sampled_from((7, [1, 6, 7], {"min": 6, "max": 1}, {"min": 1, "max": 5})),
}
_DISTINCT = (
    "item_id",
    "category",
    "channel",
    "device",
    "session_id",
    "order_id",
    "event_date",
    "hour",
    "weekday",
)
_SPAN = st.sampled_from((None, "all", [3], [7, 30], [3, 7, 30]))
_RATIOS: tuple[Feature, ...] = (
    {"numerator": "purchases", "denominator": "views"},
    {"numerator": "purchase_amount", "denominator": "frequency"},
    {"numerator": "monetary", "denominator": "tenure_days", "windows_days": "all"},
    {"numerator": "refund_share", "denominator": "night_share", "windows_days": [7]},
)


def _named(feature: Feature, number: int) -> Feature:
    return {"name": f"own_{number}", "unit": "units", "description": "own", **feature}


@st.composite
def _features(draw: st.DrawFn) -> Feature:
    measure = draw(st.sampled_from(("count", "sum", "distinct", "share", "recency", "ratio")))
    if measure == "ratio":
        return {"measure": measure, **draw(st.sampled_from(_RATIOS))}
    common = st.sampled_from(("purchase", "view", "refund", "cart"))
    types = st.lists(common | st.sampled_from(sorted(ALL_TYPES)), min_size=1, max_size=4, unique=True)
    wanted = draw(st.lists(st.sampled_from(sorted(_WHERE)), min_size=measure == "share", max_size=2, unique=True))
    feature = {"measure": measure, "event_types": draw(types), "where": {c: draw(_WHERE[c]) for c in wanted}}
    columns = {"sum": SUMS, "distinct": _DISTINCT, "share": (None, *SUMS, *_DISTINCT)}.get(measure, (None,))
    feature["column"] = draw(st.sampled_from(columns))
    feature["windows_days"] = None if measure == "recency" else draw(_SPAN)
    return {key: value for key, value in feature.items() if value is not None}


def own_features() -> st.SearchStrategy[list[Feature]]:
    """Any configured features, named own_0, own_1, ..."""
    several = st.lists(_features(), min_size=1, max_size=4)
    return several.map(lambda found: [_named(f, n) for n, f in enumerate(found)])
