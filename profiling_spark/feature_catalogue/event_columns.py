"""Which event columns a configured feature may filter by, sum and count; the settings are checked against it."""

from __future__ import annotations

TEXTS: tuple[str, ...] = (
    "item_id",
    "category",
    "brand",
    "channel",
    "device",
    "province",
    "city",
    "payment_method",
)
FLAGS: tuple[str, ...] = ("third_party_payment",)
# decimals that a limit may have: those of the column, and milliseconds, to which durations are rounded
NUMBERS: dict[str, int] = {"quantity": 4, "unit_price": 6, "discount": 4, "amount": 4, "duration_seconds": 3}
# first and last value; hour is of the business timezone, weekday 1 is Monday. Both are derived, so always there
CLOCK: dict[str, tuple[int, int]] = {"hour": (0, 23), "weekday": (1, 7)}
FILTERS: tuple[str, ...] = (*TEXTS, *FLAGS, *NUMBERS, *CLOCK)

# type of the sum. A sum of unit prices means nothing, and would not fit the four decimals of a sum
SUMS: dict[str, str] = {
    "amount": "decimal(28,4)",
    "discount": "decimal(28,4)",
    "quantity": "decimal(28,4)",
    "duration_seconds": "double",
}
DISTINCTS: tuple[str, ...] = (*TEXTS, "session_id", "order_id", "event_date", *CLOCK)

# columns that no source maps: hour and weekday follow from the time, event_date from the time and the timezone
ALWAYS_THERE: tuple[str, ...] = (*CLOCK, "event_date")
# events that are lines of an order: what counts is the order
ORDER_TYPES: tuple[str, ...] = ("purchase", "refund")
