"""What the shop allows and prefers in recommendation lists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from profiling_spark.config.base import Fault, Model, Positive, Share

MASKED, AGAIN = "masked", "again"
SeenRule = Literal["masked", "offered", "again"]


class Seen(Model):
    """What becomes of an item by what the customer did with it: masked (never offered), offered, or again (offered, and
    marked as known)."""

    view: SeenRule = "again"
    favorite: SeenRule = "again"
    cart: SeenRule = "again"
    purchase: SeenRule = "masked"
    refund: SeenRule = "masked"
    review: SeenRule = "masked"
    other: SeenRule = "offered"


class PriceSteering(Model):
    strength: Share = 0.25
    low: Share = 0.35
    high: Share = 0.65

    def faults(self) -> Iterable[Fault]:
        """Customers who would prefer both ends."""
        if self.low >= self.high:
            yield Fault(("low",), f"low {self.low} must be below high {self.high}", also=(("high",),))


class RecommendPolicy(Model):
    in_stock: bool = True
    seen: Seen = Seen()
    most_seen_share: Share = 0.5
    cool_down_days: Annotated[int, Field(ge=0, le=365)] = 0
    repeat_categories: tuple[str, ...] = ()
    repeat_share: Annotated[float, Field(gt=0, le=1)] = 0.25
    allow_categories: tuple[str, ...] = ()
    bar_categories: tuple[str, ...] = ()
    allow_brands: tuple[str, ...] = ()
    bar_brands: tuple[str, ...] = ()
    max_per_category: Positive | None = None
    max_per_brand: Positive | None = None
    price_range: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(gt=0)]] | None = None
    price_steering: PriceSteering = PriceSteering()

    @property
    def is_narrow(self) -> bool:
        """Whether the rules may leave a customer only few items of the catalogue."""
        return bool(self.allow_categories or self.allow_brands or self.price_range)

    def faults(self) -> Iterable[Fault]:
        """An empty range, and what is both allowed and barred."""
        if self.price_range is not None and self.price_range[0] > self.price_range[1]:
            yield Fault(("price_range",), f"price_range {list(self.price_range)}: the least share comes first")
        for what, barred, wanted in (
            ("allow_categories", "bar_categories", self.allow_categories),
            ("repeat_categories", "bar_categories", self.repeat_categories),
            ("allow_brands", "bar_brands", self.allow_brands),
        ):
            both = sorted({*wanted} & {*getattr(self, barred)})
            if both:
                yield Fault((what,), f"{', '.join(both)}: barred by {barred}", also=((barred,),))
