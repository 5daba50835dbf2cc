"""What is known of customers and items besides their events: the last version before as_of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from profiling_spark.contracts.silver import ITEMS, USERS
from profiling_spark.recommend.fit import Totals
from profiling_spark.recommend.serve import Catalogue
from profiling_spark.storage import Tables

_DESCRIBED = pl.Schema(
    {
        "item_id": pl.String,
        "title": pl.String,
        "category": pl.String,
        "brand": pl.String,
        "list_price": pl.Float64,
        "stock": pl.Int64,
    }
)


def latest_versions(rows: DataFrame, *, key: str, values: Sequence[str], as_of: date, timezone: str) -> DataFrame:
    """One row per key: `values` of the last version whose valid_from, business timezone, lies before as_of."""
    day = F.to_date(F.from_utc_timestamp("valid_from", timezone))
    last = F.max_by(F.struct(*values), F.col("valid_from")).alias("_last")
    return rows.where(day < F.lit(as_of)).groupBy(key).agg(last).select(key, "_last.*")


def served_users(features: DataFrame, tables: Tables, *, as_of: date, timezone: str) -> DataFrame:
    """(user_id, is_opted_out) of everyone in user_features; who never said anything is not opted out."""
    said = latest_versions(
        tables.read(USERS), key="user_id", values=["personalisation_opt_out"], as_of=as_of, timezone=timezone
    )
    opted_out = F.coalesce("personalisation_opt_out", F.lit(False)).alias("is_opted_out")
    return features.select("user_id").join(said, on="user_id", how="left").select("user_id", opted_out)


def catalogue_of(
    totals: Totals, model_items: Sequence[str], tables: Tables, *, as_of: date, timezone: str
) -> Catalogue:
    """The items of the model in its order, then those that came since, in the order of ids.

    An item that nobody takes any more keeps its number and has weight 0. Category and title are the catalogue's, else
    the category of its events and the item id.
    """
    known = set(model_items)
    item_ids = (*model_items, *(i for i in totals.items if i not in known))
    values = _DESCRIBED.names()[1:]
    versions = latest_versions(tables.read(ITEMS), key="item_id", values=values, as_of=as_of, timezone=timezone)
    described = pl.DataFrame(versions.toArrow()).cast(_DESCRIBED)
    taken = pl.DataFrame(
        {"item_id": totals.items, "event_category": totals.categories, "weight": totals.weights},
        schema={"item_id": pl.String, "event_category": pl.String, "weight": pl.Float64},
    )
    rows = (
        pl.DataFrame({"item_id": item_ids}, schema={"item_id": pl.String})
        .join(described, on="item_id", how="left", maintain_order="left")
        .join(taken, on="item_id", how="left", maintain_order="left")
        .select(
            "item_id",
            pl.coalesce("title", "item_id").alias("title"),
            pl.coalesce("category", "event_category").alias("category"),
            pl.col("weight").fill_null(0.0),
            "brand",
            "list_price",
            "stock",
        )
    )
    return Catalogue(*(tuple(column) for column in rows))
