"""Features of the demo shop's customers, in the spirit of the real ones but small: for the planted-structure tests."""

from datetime import date, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray
from shop_reader import Reading

WINDOWS = (7, 30, 90)
COUNTED = ("login", "search", "click", "fav", "add_cart", "ad_show", "ad_click", "service", "purchase", "refund")


def events(behaviour: Reading, orders: Reading) -> pl.DataFrame:
    """Accepted events of both sources; amount is net of discount."""
    logs = pl.DataFrame(
        [
            {"uid": r["uid"], "day": r["ts"][:10], "type": r["action"], "sku": r.get("sku"), "session": r["session"]}
            for r in behaviour.accepted
        ],
        schema_overrides={"sku": pl.String},
    )
    bought = pl.DataFrame(
        [
            {
                "uid": r["uid"],
                "day": r["order_time"][:10],
                "type": "purchase" if r["type"] == "order" else "refund",
                "sku": r["sku"],
                "order": r["order_id"],
                "gross": int(r["qty"]) * float(r["price"]),
                "discount": float(r["discount"]),
            }
            for r in orders.accepted
        ]
    )
    return pl.concat([logs, bought], how="diagonal").with_columns(
        pl.col("day").str.to_date(), amount=pl.col("gross") - pl.col("discount")
    )


def features(rows: pl.DataFrame, items: pl.DataFrame, as_of: date) -> pl.DataFrame:
    """One row per customer with an event before `as_of`; counts over [as_of - n, as_of)."""
    rank = items.unique().select(
        "sku",
        "cate",
        percentile=(pl.col("price").cast(pl.Float64).rank("ordinal").over("cate") - 1) / (pl.len().over("cate") - 1),
    )
    past = rows.filter(pl.col("day") < as_of).join(rank, on="sku", how="left")
    age = (pl.lit(as_of) - pl.col("day")).dt.total_days()
    kind, bought = pl.col("type"), pl.col("type") == "purchase"
    exprs = [age.min().alias("days_since_last_event"), age.max().alias("tenure_days")]
    exprs += [
        age.filter(bought).min().fill_null(999).alias("recency_days"),
        pl.col("percentile").filter(bought).mean().alias("price_preference"),
        pl.col("percentile").filter(kind == "click").mean().alias("view_percentile"),
    ]
    for w in WINDOWS:
        inside = age <= w
        exprs += [(inside & (kind == name)).sum().alias(f"{name}_{w}d") for name in COUNTED]
        exprs += [
            pl.col("amount").filter(inside & bought).sum().alias(f"amount_{w}d"),
            pl.col("order").filter(inside & bought).n_unique().alias(f"orders_{w}d"),
            pl.col("cate").filter(inside & bought).n_unique().alias(f"categories_{w}d"),
            pl.col("session").filter(inside).n_unique().alias(f"sessions_{w}d"),
            pl.col("day").filter(inside).n_unique().alias(f"active_days_{w}d"),
            (pl.col("discount").filter(inside & bought).sum() / pl.col("gross").filter(inside & bought).sum()).alias(
                f"discount_share_{w}d"
            ),
        ]
    return past.group_by("uid").agg(exprs).sort("uid")


def matrix(table: pl.DataFrame) -> NDArray[np.float64]:
    """Means for the unknown, log1p, zero mean and unit deviation."""
    values = table.drop("uid").with_columns(pl.all().cast(pl.Float64).fill_nan(None))
    x = values.with_columns(pl.all().fill_null(pl.all().mean())).fill_null(0.0).to_numpy()
    x = np.log1p(x)
    return np.asarray((x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-9))


def churn(rows: pl.DataFrame, as_of: date, horizon: int = 30) -> pl.DataFrame:
    """uid, churned: customers with an event in [as_of - 2 horizon, as_of - horizon) and whether none came later."""
    start, middle = as_of - timedelta(days=2 * horizon), as_of - timedelta(days=horizon)
    before = rows.filter(pl.col("day").is_between(start, middle, closed="left"))["uid"].unique()
    after = rows.filter(pl.col("day") >= middle)["uid"].unique()
    return pl.DataFrame({"uid": before}).with_columns(churned=~pl.col("uid").is_in(after.implode())).sort("uid")
