"""What is known of customers and items besides their events: the last versions before as_of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from profiling_spark.attributes import believed, last_of_each_source
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


def served_users(features: DataFrame, tables: Tables, *, as_of: date, timezone: str) -> DataFrame:
    """(user_id, is_opted_out) of everyone in user_features; who never said anything is not opted out.

    A wish told by any source counts, whichever source is believed in other things.
    """
    wish = "personalisation_opt_out"
    told = last_of_each_source(tables.read(USERS), key=("user_id",), values=[wish], as_of=as_of, timezone=timezone)
    said = told.groupBy("user_id").agg(F.max(wish).alias(wish))
    opted_out = F.coalesce(wish, F.lit(False)).alias("is_opted_out")
    return features.select("user_id").join(said, on="user_id", how="left").select("user_id", opted_out)


def catalogue_of(
    totals: Totals,
    model_items: Sequence[str],
    tables: Tables,
    *,
    as_of: date,
    timezone: str,
    precedence: Sequence[str] = (),
) -> Catalogue:
    """The items of the model in its order, then those that came since, in the order of ids.

    An item that nobody takes any more keeps its number and has weight 0. Category and title are the catalogue's, else
    the category of its events and the item id.
    """
    known = set(model_items)
    item_ids = (*model_items, *(i for i in totals.items if i not in known))
    versions = believed(
        tables.read(ITEMS),
        key=("item_id",),
        values=_DESCRIBED.names()[1:],
        as_of=as_of,
        timezone=timezone,
        precedence=precedence,
    )
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
