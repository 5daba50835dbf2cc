"""Settings of what is refused, flagged, counted, and how much of it stops a run."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from profiling_spark.config.base import Days, Fault, Model, Name, Share, nearest
from profiling_spark.config.targets import TARGETS, helping, mappable

Target = Literal["events", "users", "items", "reviews"]
Level = Literal["reject", "flag", "warn"]

UNREADABLE, NO_USER, NEW_COLUMN = "unreadable", "no_user", "new_column"
NO_RATE, WRONG_ENCODING = "no_rate", "wrong_encoding"
# begins the name of the rule that each mapped column of a type has
BAD = "bad_"
_NO_RATE = "exchange_rates has no rate of the currency on that day, or the currency is not given"

# message of each rule that is always there, by target; every bad_COLUMN comes on top of these
BUILT_IN: dict[Target, dict[str, str]] = {
    "events": {
        NO_USER: "the customer is not named",
        "no_event_time": "the time is not given",
        "time_out_of_range": "the day lies outside earliest_event_date..latest_event_date",
        "no_event_type": "the kind of event is not given",
        "unknown_event_type": "the source's word is not in its event_types",
        "price_not_positive": "a purchase or refund without a positive price",
        "quantity_not_positive": "a purchase or refund without a positive quantity",
        "negative_amount": "the amount is negative although neither price nor quantity is",
        "negative_discount": "a purchase or refund with a negative discount",
        NO_RATE: _NO_RATE,
    },
    "users": {
        NO_USER: "the customer is not named",
        "bad_age": "the age is no number from 0 to 120",
        NO_RATE: _NO_RATE,
    },
    "items": {
        "no_item": "the product is not named",
        "price_negative": "the list price is negative",
        NO_RATE: _NO_RATE,
    },
    "reviews": {"no_text": "the review is empty", "bad_rating": "the rating is no number from 1 to 5"},
}


class Limit(Model):
    """Above either of these a run publishes nothing. `max_share` is of the rows that the source gave in the run."""

    max_share: Share | None = None
    max_rows: Annotated[int, Field(ge=0)] | None = None

    def faults(self) -> Iterable[Fault]:
        """No limit at all."""
        if self.max_share is None and self.max_rows is None:
            yield Fault((), "expected max_share, max_rows or both")

    def is_passed(self, rows: int, read: int) -> bool:
        """Whether so many rows of so many are too many."""
        over_share = self.max_share is not None and rows > self.max_share * read
        return over_share or (self.max_rows is not None and rows > self.max_rows)

    def __str__(self) -> str:
        parts = [f"a share of {self.max_share}"] if self.max_share is not None else []
        return " and ".join([*parts, f"{self.max_rows} rows"] if self.max_rows is not None else parts)


class Rule(Model):
    """A row breaks the rule where `when` (SQL over canonical columns) is true; null counts as false.

    reject: the row goes to rejected_rows. flag: the event is kept and carries the rule's name in `flags`. warn: the row
    is kept as it is. All three are counted in quality_metrics. `features`: whether a flagged event counts in features
    and histories (keep), or stays in events alone (leave_out).
    """

    name: Name
    target: Target = "events"
    level: Level = "flag"
    features: Literal["keep", "leave_out"] = "keep"
    when: Annotated[str, Field(min_length=1)]
    message: str = ""

    def faults(self) -> Iterable[Fault]:
        """What rows of the target or of the level cannot carry, and a name that is taken."""
        if self.level == "flag" and self.target != "events":
            message = f"level flag is for events, which have the column flags; for {self.target}: reject or warn"
            yield Fault(("level",), message, also=(("target",),))
        if self.features == "leave_out" and self.level != "flag":
            message = "features: leave_out is for rules of level flag, whose rows carry the rule's name"
            yield Fault(("features",), message, also=(("level",),))
        always = (*BUILT_IN[self.target], UNREADABLE, WRONG_ENCODING, NEW_COLUMN)
        if self.name in always or self.name.startswith(BAD):
            yield Fault(("name",), "this name belongs to a rule that is always there", also=(("target",),))


class Ingest(Model):
    earliest_event_date: date = date(2000, 1, 1)
    latest_event_date: date | None = None
    max_future_days: Annotated[int, Field(ge=0, le=366)] = 1
    redelivery_days: Days = 7
    max_rejected_share: Share = 0.2
    max_no_user_share: Share = 0.5
    rules: tuple[Rule, ...] = ()
    limits: dict[Name, Limit] = {}
    keep: dict[Target, str] = {"events": "event_time", "reviews": "review_time"}
    precedence: tuple[Name, ...] = ()

    def faults(self) -> Iterable[Fault]:
        """No day at all, rules of one name, limits of rules that there are not."""
        latest = self.latest_event_date
        if latest is not None and self.earliest_event_date > latest:
            message = f"latest_event_date {latest} lies before earliest_event_date {self.earliest_event_date}"
            yield Fault(("latest_event_date",), message, also=(("earliest_event_date",),))
        named = [(r.target, r.name) for r in self.rules]
        for place, (target, name) in enumerate(named):
            if (target, name) in named[:place]:
                yield Fault(("rules", str(place), "name"), f"rules {target}.{name}: each name once per target")
        known = {UNREADABLE, WRONG_ENCODING, NEW_COLUMN, *(r.name for r in self.rules)}
        known |= {name for rules in BUILT_IN.values() for name in rules}
        columns = {f"{BAD}{c}" for t in TARGETS for c in (*mappable(t), *helping(t))}
        for name in self.limits:
            if name not in known | columns:
                near = nearest(name, known | columns)
                message = f"limits {name}: no such rule; there are {', '.join(sorted(known))} and {BAD}COLUMN{near}"
                yield Fault(("limits", name), message, also=(("rules",),))
        twice = sorted({n for n in self.precedence if self.precedence.count(n) > 1})
        if twice:
            yield Fault(("precedence",), f"{', '.join(twice)}: each source once")
