"""What the shop allows and prefers in recommendation lists."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from profiling_spark.config.base import Model, Positive, Share


class PriceSteering(Model):
    strength: Share = 0.25
    low: Share = 0.35
    high: Share = 0.65

    @model_validator(mode="after")
    def _ordered(self) -> PriceSteering:
        if self.low >= self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        return self


class RecommendPolicy(Model):
    in_stock: bool = True
    repeat_categories: tuple[str, ...] = ()
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

    @model_validator(mode="after")
    def _ordered(self) -> RecommendPolicy:
        if self.price_range is not None and self.price_range[0] > self.price_range[1]:
            raise ValueError(f"price_range {list(self.price_range)}: the least share comes first")
        return self
