"""The six planted kinds of customers and what sets them apart."""

from dataclasses import dataclass

import numpy as np

from profiling_spark.demo.rolls import Floats


@dataclass(frozen=True)
class Kind:
    """One kind. Means are per visit unless stated; a customer's own values vary around them."""

    name: str
    share: float  # of all customers
    visits_per_day: float
    views: float  # further views after the first
    searches: float
    ads: float  # ads shown
    favourite: float  # chance per view
    cart: float  # chance per view of a product in the customer's price range
    order: float  # chance that a visit with a filled cart ends in an order
    direct: float  # chance per view of buying without a cart
    discounted: float  # chance that an order line carries a discount
    depth: float  # mean share of the amount taken off a discounted line
    refund: float  # chance per order line
    service: float  # chance of a service contact
    price: tuple[float, float, float, float, float]  # shares of the five price levels, cheapest first
    focus: float  # share of visits that go to the two or three preferred categories
    leaving: float  # log-odds of stopping in the last weeks, before the customer's own troubles
    wage: float  # log of income against the mean


KINDS = (
    Kind("bargain_hunter", 0.22, 0.165, 1.5, 0.35, 0.4, 0.18, 0.60, 0.40, 0.0, 0.90, 0.30, 0.05, 0.03,
         (0.80, 0.18, 0.02, 0.0, 0.0), 0.88, -4.3, -0.25),
    Kind("quality_first", 0.15, 0.14, 0.25, 0.10, 0.05, 0.08, 0.60, 0.85, 0.14, 0.06, 0.08, 0.03, 0.02,
         (0.0, 0.0, 0.03, 0.27, 0.70), 0.92, -4.5, 0.35),
    Kind("loyal_vip", 0.10, 0.36, 0.9, 0.3, 0.15, 0.22, 0.65, 0.90, 0.08, 0.35, 0.12, 0.03, 0.03,
         (0.0, 0.15, 0.35, 0.35, 0.15), 0.55, -5.2, 0.40),
    Kind("browser", 0.23, 0.16, 2.1, 1.0, 0.6, 0.06, 0.03, 0.10, 0.0, 0.20, 0.10, 0.03, 0.02,
         (0.2, 0.2, 0.2, 0.2, 0.2), 0.80, -4.2, -0.10),
    Kind("lapsing", 0.18, 0.23, 1.1, 0.35, 0.2, 0.10, 0.35, 0.50, 0.02, 0.30, 0.12, 0.08, 0.07,
         (0.1, 0.25, 0.3, 0.25, 0.1), 0.90, 0.0, 0.0),
    Kind("new", 0.12, 0.50, 1.2, 0.6, 0.3, 0.12, 0.28, 0.45, 0.02, 0.40, 0.15, 0.04, 0.05,
         (0.15, 0.25, 0.3, 0.2, 0.1), 0.85, -6.0, -0.05),
)  # fmt: skip
NAMES = [kind.name for kind in KINDS]
LAPSING = NAMES.index("lapsing")
NEW = NAMES.index("new")


def setting(name: str) -> Floats:
    """One setting of all kinds, in the order of `KINDS`."""
    return np.array([getattr(kind, name) for kind in KINDS], dtype=np.float64)
