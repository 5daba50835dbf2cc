"""What is known of customers and items besides their events: the newest versions, since lists are for acting now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TypeVar

import numpy as np
import polars as pl
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from profiling_spark.attributes import believed, opt_outs, versions
from profiling_spark.config import Settings
from profiling_spark.config.policy import RecommendPolicy
from profiling_spark.contracts.features import ITEM_FEATURES
from profiling_spark.contracts.silver import ITEMS, USERS
from profiling_spark.recommend.engines.popular import GroupPopularity, Popularity
from profiling_spark.recommend.history.pairs import Totals
from profiling_spark.recommend.lists.content import ContentSpace, content_space
from profiling_spark.recommend.lists.policy import Policy, policy_of
from profiling_spark.recommend.matrix.item_side import Bools
from profiling_spark.recommend.matrix.top_n import NONE
from profiling_spark.storage import Tables

_DESCRIBED = pl.Schema(
    {
        "item_id": pl.String,
        "title": pl.String,
        "category": pl.String,
        "subcategory": pl.String,
        "brand": pl.String,
        "list_price": pl.Float64,
        "stock": pl.Int64,
    }
)


_Totals = TypeVar("_Totals", bound=Totals)


@dataclass(frozen=True)
class Catalogue:
    """Items by number: those of the model first, in its order, then newer ones. Titles fall back to the id. `weights`:
    0 where nobody takes the item now; `are_new`: may be offered all the same; `are_ended`: the catalogue has ended it.
    """

    item_ids: tuple[str, ...]
    titles: tuple[str, ...]
    categories: tuple[str | None, ...]
    weights: tuple[float, ...]
    subcategories: tuple[str | None, ...]
    brands: tuple[str | None, ...]
    prices: tuple[float | None, ...]
    stocks: tuple[int | None, ...]
    are_new: tuple[bool, ...]
    price_percentiles: tuple[float | None, ...]
    are_ended: tuple[bool, ...]

    def popularity(self, groups: tuple[GroupPopularity, ...]) -> tuple[Popularity, dict[str, int]]:
        """The popularity with its steps, and the number of each category."""
        names = sorted({c for c in self.categories if c is not None})
        number = {name: n for n, name in enumerate(names)}
        codes = [NONE if c is None else number[c] for c in self.categories]
        return Popularity(np.array(self.weights), np.array(codes, dtype=np.int64), groups), number

    def policy(self, settings: RecommendPolicy) -> Policy:
        """The shop's rules over these items."""
        return policy_of(
            settings, categories=self.categories, brands=self.brands, prices=self.prices, stocks=self.stocks,
            price_percentiles=self.price_percentiles, are_ended=self.are_ended,
        )  # fmt: skip

    @property
    def is_offered(self) -> Bools:
        """(items,): somebody takes it now, or it is new."""
        found: Bools = (np.array(self.weights) > 0) | np.array(self.are_new, dtype=bool)
        return found

    def content(self) -> ContentSpace:
        """What the items are like."""
        columns = {
            "title": self.titles,
            "category": self.categories,
            "subcategory": self.subcategories,
            "brand": self.brands,
        }
        texts = [pl.Series(name, values, dtype=pl.String) for name, values in columns.items()]
        return content_space(pl.DataFrame([*texts, pl.Series("price", self.prices, dtype=pl.Float64)]))


def served_users(features: DataFrame, tables: Tables) -> DataFrame:
    """(user_id, is_opted_out, price_preference) of everyone in user_features; opted out: by a recorded wish only."""
    opted_out = F.coalesce("personalisation_opt_out", F.lit(False)).alias("is_opted_out")
    wishes = opt_outs(versions(tables, USERS))
    known = features.select("user_id", "price_preference").join(wishes, on="user_id", how="left")
    return known.select("user_id", opted_out, "price_preference")


def catalogue_of(
    totals: Totals,
    model_items: Sequence[str],
    tables: Tables,
    settings: Settings,
    *,
    described: pl.DataFrame,
    first_dates: pl.DataFrame,
    as_of: date,
) -> Catalogue:
    """The items of the model in its order, then those that came since, taken or not, in the order of ids.

    An item that nobody takes any more keeps its number and has weight 0. Category and title are the catalogue's, else
    the category of its events and the item id. `described`: `described_items`. `first_dates`: (item_id, first_date) of
    the events in the window.
    """
    new = new_items(described, first_dates, as_of=as_of, days=settings.recommend.new_item_days)
    known = set(model_items)
    item_ids = (*model_items, *sorted((set(totals.items) | new) - known))
    taken = pl.DataFrame(
        {"item_id": totals.items, "event_category": totals.categories, "weight": totals.weights},
        schema={"item_id": pl.String, "event_category": pl.String, "weight": pl.Float64},
    )
    rows = (
        pl.DataFrame({"item_id": item_ids}, schema={"item_id": pl.String})
        .join(described, on="item_id", how="left", maintain_order="left")
        .join(taken, on="item_id", how="left", maintain_order="left")
        .join(_price_percentiles(tables, as_of), on="item_id", how="left", maintain_order="left")
        .select(
            "item_id",
            pl.coalesce("title", "item_id").alias("title"),
            pl.coalesce("category", "event_category").alias("category"),
            pl.col("weight").fill_null(0.0),
            "subcategory",
            "brand",
            "list_price",
            "stock",
            pl.col("item_id").is_in(sorted(new)).alias("is_new"),
            "price_percentile",
            pl.col("is_ended").fill_null(False),
        )
    )
    return Catalogue(*(tuple(column) for column in rows))


def _price_percentiles(tables: Tables, as_of: date) -> pl.DataFrame:
    found = tables.read(ITEM_FEATURES, as_of=as_of).select("item_id", "price_percentile")
    return pl.DataFrame(found.toArrow()).cast({"item_id": pl.String, "price_percentile": pl.Float64})


def described_items(tables: Tables, settings: Settings) -> pl.DataFrame:
    """(item): _DESCRIBED by its newest versions, `is_ended` (no source lists the item any more: all else is null), and
    `listed`, the day of its first version."""
    items = versions(tables, ITEMS)
    newest = believed(
        items, key=("item_id",), values=_DESCRIBED.names()[1:], as_of=None, timezone=settings.business_timezone,
        precedence=settings.precedence,
    )  # fmt: skip
    day = F.to_date(F.from_utc_timestamp("version_time", settings.business_timezone))
    listed = items.groupBy("item_id").agg(F.min(day).alias("listed"))
    known = newest.withColumn("_known", F.lit(True))
    rows = listed.join(known, on="item_id", how="left").withColumn("is_ended", F.col("_known").isNull())
    frame = pl.DataFrame(rows.select(*_DESCRIBED.names(), "is_ended", "listed").toArrow())
    return frame.cast({**_DESCRIBED, "is_ended": pl.Boolean, "listed": pl.Date})  # type: ignore[dict-item]


def with_categories(totals: _Totals, described: pl.DataFrame) -> _Totals:
    """The totals with the catalogue's category (`described_items`) of each item, else that of its events."""
    items = {"item_id": totals.items, "event_category": totals.categories}
    frame = pl.DataFrame(items, schema={"item_id": pl.String, "event_category": pl.String})
    known = frame.join(described.select("item_id", "category"), on="item_id", how="left", maintain_order="left")
    return replace(totals, categories=tuple(known.select(pl.coalesce("category", "event_category")).to_series()))


def with_titles(rows: pl.DataFrame, described: pl.DataFrame, titles: Mapping[str, str]) -> pl.DataFrame:
    """`rows` in their order with a column for each of `titles`, by name the column of item ids that it is the title of;
    null where the catalogue (`described_items`) knows none.
    """
    for title, item in titles.items():
        known = described.select(pl.col("item_id").alias(item), pl.col("title").alias(title))
        rows = rows.join(known, on=item, how="left", maintain_order="left")
    return rows


def new_items(described: pl.DataFrame, first_dates: pl.DataFrame, *, as_of: date, days: int) -> set[str]:
    """Ids of the items that came in the `days` before as_of: the earlier of first event and first version.

    Where the events (the catalogue) themselves begin in these days, they do not show what is new.
    """
    since = as_of - timedelta(days=days)
    both = described.select("item_id", "listed").join(first_dates, on="item_id", how="full", coalesce=True)
    dates = [pl.when(pl.col(c).min() < since).then(c) for c in ("listed", "first_date")]
    return set(both.filter(pl.min_horizontal(dates) >= since)["item_id"])
