"""What a row of the feature catalogue is, and the forms that many rows share. `{w}` in a text is the window in days."""

from __future__ import annotations

from dataclasses import dataclass

FAVORITE_DAYS = 90  # favourites look at the last quarter whatever the configured windows are
COUNT, DAYS, REAL, TEXT, MONEY_SUM = "bigint", "int", "double", "string", "decimal(28,4)"
CURRENCY = "reporting currency"
SHARE = "share, 0 to 1"


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


def count(stem: str, event_type: str) -> Entry:
    text = f"{event_type} events in the last {{w}} days"
    return Entry(stem, "Behaviour", COUNT, text, "events", "event_type, event_date", needs=(event_type,), empty=0)


def orders(stem: str, event_type: str) -> Entry:
    text = (
        f"distinct {event_type} orders with a line in the last {{w}} days; an event without order_id is its own order"
    )
    return Entry(
        stem, "Behaviour", COUNT, text, "orders", "event_type, event_date, order_id", needs=(event_type,), empty=0
    )


def rate(stem: str, formula: str, unit: str, null: str, needs: tuple[str, ...]) -> Entry:
    return Entry(stem, "Behaviour", REAL, formula, unit, "counts of the same window", null=null, needs=needs)


def timing_share(stem: str, when: str, sources: str) -> Entry:
    text = f"share of the events of the last {{w}} days that lie {when}, business timezone"
    return Entry(stem, "Behaviour", REAL, text, SHARE, sources, null="no event in the last {w} days")


def distinct(stem: str, what: str, column: str) -> Entry:
    text = f"distinct {what} among purchases of the last {{w}} days"
    return Entry(
        stem, "Preference", COUNT, text, what, f"event_type, event_date, {column}", needs=("purchase",), empty=0
    )


def favorite(column: str, kind: str, among: str, sources: str) -> Entry:
    text = f"most frequent known {column} among {among} of the last {FAVORITE_DAYS} days, ties by the smaller"
    null = f"none known in the last {FAVORITE_DAYS} days"
    span = f"{FAVORITE_DAYS} days"
    unit = "hour 0-23, business timezone" if column == "hour" else "name"
    return Entry(f"favorite_{column}", "Preference", kind, text, unit, sources, null=null, windowed=False, span=span)


def rfm(name: str, kind: str, formula: str, unit: str, sources: str, null: str, empty: int | None = None) -> Entry:
    scored = name in ("r_score", "f_score", "m_score", "rfm_score", "rfm_group")
    needs = ("purchase", "rfm_cuts") if scored else ("purchase",)
    if name in ("monetary", "m_score", "rfm_score", "rfm_group"):
        needs = (*needs, "amounts")
    return Entry(name, "RFM", kind, formula, unit, sources, null=null, needs=needs, empty=empty, windowed=False)


def person(name: str, kind: str, formula: str, unit: str, sources: str, null: str = "not known") -> Entry:
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


TASTE = "views, favorites, carts and purchases"
NO_PURCHASE = "no purchase yet"
