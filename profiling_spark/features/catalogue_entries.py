"""The catalogue's rows (see catalogue.py, which reads them). `{w}` in a text is the window in days."""

from __future__ import annotations

from dataclasses import dataclass

from profiling_spark.features.behaviour import COUNTED
from profiling_spark.features.windows import FAVORITE_DAYS

COUNT, DAYS, REAL, TEXT, MONEY_SUM = "bigint", "int", "double", "string", "decimal(28,4)"
_CURRENCY = "reporting currency"
_SHARE = "share, 0 to 1"


@dataclass(frozen=True)
class Entry:
    """`needs`: what must be supplied (event types, optional columns, side tables) for the feature not to be null.

    `empty`: its value for a customer without any matching row; None where that is unknown rather than zero.
    `span`: what it looks at, where that is neither each configured window nor the whole history.
    """

    name: str
    family: str
    type: str
    formula: str
    unit: str
    sources: str
    null: str = ""
    needs: tuple[str, ...] = ()
    empty: int | bool | None = None
    windowed: bool = True
    span: str = ""

    @property
    def period(self) -> str:
        """What it looks at, for the documentation."""
        return self.span or ("each" if self.windowed else "whole history")


def _count(stem: str, event_type: str) -> Entry:
    text = f"{event_type} events in the last {{w}} days"
    return Entry(stem, "Behaviour", COUNT, text, "events", "event_type, event_date", needs=(event_type,), empty=0)


def _orders(stem: str, event_type: str) -> Entry:
    text = (
        f"distinct {event_type} orders with a line in the last {{w}} days; an event without order_id is its own order"
    )
    return Entry(
        stem, "Behaviour", COUNT, text, "orders", "event_type, event_date, order_id", needs=(event_type,), empty=0
    )


def _rate(stem: str, formula: str, unit: str, null: str, needs: tuple[str, ...]) -> Entry:
    return Entry(stem, "Behaviour", REAL, formula, unit, "counts of the same window", null=null, needs=needs)


def _timing_share(stem: str, when: str, sources: str) -> Entry:
    text = f"share of the events of the last {{w}} days that lie {when}, business timezone"
    return Entry(stem, "Behaviour", REAL, text, _SHARE, sources, null="no event in the last {w} days")


def _distinct(stem: str, what: str, column: str) -> Entry:
    text = f"distinct {what} among purchases of the last {{w}} days"
    return Entry(
        stem, "Preference", COUNT, text, what, f"event_type, event_date, {column}", needs=("purchase",), empty=0
    )


def _favorite(column: str, kind: str, among: str, sources: str) -> Entry:
    text = f"most frequent known {column} among {among} of the last {FAVORITE_DAYS} days, ties by the smaller"
    null = f"none known in the last {FAVORITE_DAYS} days"
    span = f"{FAVORITE_DAYS} days"
    unit = "hour 0-23, business timezone" if column == "hour" else "name"
    return Entry(f"favorite_{column}", "Preference", kind, text, unit, sources, null=null, windowed=False, span=span)


def _rfm(name: str, kind: str, formula: str, unit: str, sources: str, null: str, empty: int | None = None) -> Entry:
    scored = name in ("r_score", "f_score", "m_score", "rfm_score", "rfm_group")
    needs = ("purchase", "rfm_cuts") if scored else ("purchase",)
    if name in ("monetary", "m_score", "rfm_score", "rfm_group"):
        needs = (*needs, "amounts")
    return Entry(name, "RFM", kind, formula, unit, sources, null=null, needs=needs, empty=empty, windowed=False)


def _person(name: str, kind: str, formula: str, unit: str, sources: str, null: str = "not known") -> Entry:
    span = "each source's last version before as_of"
    return Entry(
        name,
        "Demographics",
        kind,
        formula,
        unit,
        sources,
        null=null,
        needs=("users",),
        windowed=False,
        span=span,
    )


_TASTE = "views, favorites, carts and purchases"
_NO_PURCHASE = "no purchase yet"

BEHAVIOUR: tuple[Entry, ...] = (
    *(_count(stem, event_type) for stem, event_type in COUNTED.items()),
    _orders("purchases", "purchase"),
    _orders("refunds", "refund"),
    Entry(
        "activity",
        "Behaviour",
        COUNT,
        "logins + views + purchases of the last {w} days, of those supplied; a plain sum, so views dominate",
        "events and orders",
        "counts of the same window",
        null="no source supplies login, view or purchase",
    ),
    Entry(
        "active_days",
        "Behaviour",
        COUNT,
        "days with at least one event of one's own (no ad impression) in the last {w} days",
        "days",
        "event_type, event_date",
        empty=0,
    ),
    Entry(
        "sessions",
        "Behaviour",
        COUNT,
        "distinct sessions with an event in the last {w} days",
        "sessions",
        "session_id, event_date",
        needs=("sessions",),
        empty=0,
    ),
    Entry(
        "session_seconds",
        "Behaviour",
        REAL,
        "sum of duration_seconds over the events of the last {w} days, each rounded to a millisecond",
        "seconds",
        "duration_seconds, event_date",
        needs=("durations",),
        empty=0,
    ),
    Entry(
        "days_since_last_event",
        "Behaviour",
        DAYS,
        "days from the date of the last event of one's own (no ad impression) to as_of",
        "days, 1 is the day before as_of",
        "event_type, event_date",
        null="no event of one's own yet",
        windowed=False,
    ),
    Entry(
        "tenure_days",
        "Behaviour",
        DAYS,
        "days from the date of the first event of one's own (no ad impression) to as_of",
        "days, 1 is the day before as_of",
        "event_type, event_date",
        null="no event of one's own yet",
        windowed=False,
    ),
    Entry(
        "is_bot",
        "Behaviour",
        "boolean",
        "more events of one's own (no ad impressions) on any day than `recommend.bot_events_per_day`; bots have no "
        "segment, score or audience and count neither in the RFM cut points nor in what is said of items",
        "true or false",
        "event_type, event_date",
        empty=False,
        windowed=False,
        span="`recommend.history_days`",
    ),
    _timing_share("night_share", "from 22:00 to 05:59", "event_time, event_date"),
    _timing_share("weekend_share", "on Saturday or Sunday", "event_date"),
    _rate("purchase_frequency", "purchases / logins", "orders a login", "no login", ("purchase", "login")),
    _rate("purchases_per_session", "purchases / sessions", "orders a session", "no session", ("purchase", "sessions")),
    _rate("view_to_cart", "carts / views; may pass 1", "carts a view", "no view", ("cart", "view")),
    _rate("cart_to_purchase", "purchases / carts; may pass 1", "orders a cart event", "no cart", ("purchase", "cart")),
    _rate("view_to_purchase", "purchases / views; may pass 1", "orders a view", "no view", ("purchase", "view")),
)

VALUE: tuple[Entry, ...] = (
    Entry(
        "purchase_amount",
        "Value",
        MONEY_SUM,
        "sum of purchase amounts of the last {w} days, net of discount; an unknown amount adds nothing",
        _CURRENCY,
        "event_type, event_date, amount",
        needs=("purchase", "amounts"),
        empty=0,
    ),
    Entry(
        "flagged_amount",
        "Value",
        MONEY_SUM,
        "the part of the purchase amounts that rests on rows flagged by a rule (`events.flags`) which count",
        _CURRENCY,
        "event_type, amount, flags",
        needs=("purchase", "amounts"),
        empty=0,
        windowed=False,
    ),
    Entry(
        "flagged_amount",
        "Value",
        MONEY_SUM,
        "the part of purchase_amount of the last {w} days that rests on rows flagged by a rule which count",
        _CURRENCY,
        "event_type, event_date, amount, flags",
        needs=("purchase", "amounts"),
        empty=0,
    ),
    Entry(
        "net_amount",
        "Value",
        MONEY_SUM,
        "purchase amounts less refund amounts of the last {w} days, each on its own day; may be negative",
        _CURRENCY,
        "event_type, event_date, amount",
        needs=("purchase", "amounts"),
        empty=0,
    ),
    Entry(
        "consumption_power",
        "Value",
        REAL,
        "purchase_amount / purchases of the last {w} days: mean value of an order",
        f"{_CURRENCY} an order",
        "amounts and counts of the same window",
        null="no purchase in the last {w} days",
        needs=("purchase", "amounts"),
    ),
    Entry(
        "interpurchase_days",
        "Value",
        REAL,
        "mean days between consecutive days with a purchase: (last - first) / (purchase days - 1)",
        "days",
        "event_type, event_date",
        null="fewer than two days with a purchase",
        needs=("purchase",),
        windowed=False,
    ),
    Entry(
        "discount_share",
        "Value",
        REAL,
        "discounts / (purchase amounts + discounts) of the last {w} days: share of the undiscounted value taken off",
        _SHARE,
        "event_type, event_date, amount, discount",
        null="no purchase value in the last {w} days",
        needs=("purchase", "amounts", "discounts"),
    ),
    Entry(
        "refund_share",
        "Value",
        REAL,
        "refund amounts / purchase amounts of the last {w} days; passes 1 where older purchases are returned",
        "share, from 0",
        "event_type, event_date, amount",
        null="no purchase value in the last {w} days",
        needs=("purchase", "amounts", "refund"),
    ),
)

RFM: tuple[Entry, ...] = (
    _rfm(
        "recency_days",
        DAYS,
        "days from the last purchase's date to as_of",
        "days",
        "event_type, event_date",
        _NO_PURCHASE,
    ),
    _rfm("frequency", COUNT, "distinct purchase orders", "orders", "event_type, order_id", "", 0),
    _rfm(
        "monetary",
        MONEY_SUM,
        "purchase amounts less refund amounts; may be negative",
        _CURRENCY,
        "event_type, amount",
        "",
        0,
    ),
    _rfm(
        "r_score",
        DAYS,
        "5 less the cut points below recency_days",
        "1 (long ago) to 5",
        "recency_days, rfm_cuts",
        _NO_PURCHASE,
    ),
    _rfm(
        "f_score", DAYS, "1 and the cut points below frequency", "1 (seldom) to 5", "frequency, rfm_cuts", _NO_PURCHASE
    ),
    _rfm("m_score", DAYS, "1 and the cut points below monetary", "1 (little) to 5", "monetary, rfm_cuts", _NO_PURCHASE),
    _rfm("rfm_score", DAYS, "r_score + f_score + m_score", "3 to 15", "the three scores", _NO_PURCHASE),
    _rfm("rfm_group", TEXT, "group by the rule table over the three scores", "name", "the three scores", _NO_PURCHASE),
)

PREFERENCE: tuple[Entry, ...] = (
    _distinct("category_breadth", "categories", "category"),
    _distinct("brand_breadth", "brands", "brand"),
    _distinct("items_bought", "items", "item_id"),
    Entry(
        "price_preference",
        "Preference",
        REAL,
        "mean price percentile, within category, over the items of all purchase events",
        "0 (cheapest) to 1 (dearest)",
        "event_type, item_id, item_features.price_percentile",
        null="no purchase of an item with a known percentile",
        needs=("purchase", "item_prices"),
        windowed=False,
    ),
    _favorite("category", TEXT, _TASTE, "event_type, event_date, category"),
    _favorite("brand", TEXT, _TASTE, "event_type, event_date, brand"),
    _favorite("channel", TEXT, "all events", "event_date, channel"),
    _favorite("hour", DAYS, "all events", "event_date, event_time"),
    Entry(
        "popular_item_viewer",
        "Preference",
        "boolean",
        "viewed, in the last {w} days, one of the 10 items most viewed by all customers in them",
        "true or false",
        "event_type, event_date, item_id",
        needs=("view", "popular_items"),
        empty=False,
    ),
)

REVIEWS: tuple[Entry, ...] = (
    Entry(
        "reviews",
        "Reviews",
        COUNT,
        "reviews written in the last {w} days, business timezone",
        "reviews",
        "reviews.review_time",
        needs=("reviews",),
        empty=0,
    ),
    Entry(
        "mean_rating",
        "Reviews",
        REAL,
        "mean of the known ratings of the reviews of the last {w} days",
        "stars, the source's scale",
        "reviews.rating, reviews.review_time",
        null="no rated review in the last {w} days",
        needs=("reviews",),
    ),
)

DEMOGRAPHICS: tuple[Entry, ...] = (
    _person("gender_code", DAYS, "0 male, 1 female", "code", "users.gender"),
    _person("age", DAYS, "as stated, else the birthdays reached by as_of", "years", "users.age, users.birth_date"),
    _person(
        "age_band",
        TEXT,
        "under 18, 18-25, 26-35, 36-45, 46-55, 56-65 or over 65 by age; the source's own band where age is unknown",
        "band of years",
        "users.age, users.birth_date, users.age_band",
    ),
    _person("occupation", TEXT, "as the source names it", "name", "users.occupation"),
    _person("income", "decimal(18,4)", "income of a year", _CURRENCY, "users.income"),
    _person("province", TEXT, "province or state", "name", "users.province"),
    _person("city", TEXT, "city", "name", "users.city"),
    _person(
        "registered_days",
        DAYS,
        "days from registration to as_of, business timezone",
        "days, 1 is the day before as_of",
        "users.registered_at",
    ),
    _person(
        "attribute_conflicts",
        TEXT,
        "attributes of which two sources know different values, each with the source that is believed "
        "(`ingest.precedence`)",
        "attribute: source, comma separated",
        "users.source",
        null="the sources agree, or there is one only",
    ),
)

ENTRIES: tuple[Entry, ...] = (*BEHAVIOUR, *VALUE, *RFM, *PREFERENCE, *REVIEWS, *DEMOGRAPHICS)
