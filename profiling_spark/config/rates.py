"""Settings of exchange rates: one for good, or one a day from a file."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from profiling_spark.config.base import Model

RATE_DECIMALS = 10
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Rate = Annotated[Decimal, Field(gt=0, lt=10**8, decimal_places=RATE_DECIMALS)]


class DayRates(Model):
    """Rates by day from a CSV file with a header: the columns `day` (2025-12-31) and `rate`; a day that is left out has
    the rate of the last one before it.

    A rate is what one unit of the currency is worth in the reporting currency; `inverse`: the other way round, as the
    European Central Bank writes it.
    """

    path: Annotated[str, Field(min_length=1)]
    day: Annotated[str, Field(min_length=1)] = "date"
    rate: Annotated[str, Field(min_length=1)] = "rate"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    inverse: bool = False
