"""The serving pass over a bucket: every customer's list with engine and reason. A kernel: no Spark, no writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from profiling_spark.config.settings import RecommendPolicy
from profiling_spark.recommend import reasons
from profiling_spark.recommend.interactions import UNITS, HistoryParams, favourite_category, interactions
from profiling_spark.recommend.item_side import Bools, Ints, ItemSide, block_rows, padded_blocks
from profiling_spark.recommend.policy import Policy, policy_of
from profiling_spark.recommend.popular import POPULAR, POPULAR_IN_CATEGORY, Popularity
from profiling_spark.recommend.shelf import LIST, Shelf
from profiling_spark.recommend.stored import StoredSide
from profiling_spark.recommend.top_n import NONE, parts_of

_CHOSEN = pl.Schema({"user": pl.Int64, "item": pl.Int64, "score": pl.Float64, "engine": pl.String, "reason": pl.String})


@dataclass(frozen=True)
class Catalogue:
    """Items by number: those of the model first, in its order, then newer ones. Titles fall back to the id."""

    item_ids: tuple[str, ...]
    titles: tuple[str, ...]
    categories: tuple[str | None, ...]
    weights: tuple[float, ...]
    brands: tuple[str | None, ...]
    prices: tuple[float | None, ...]
    stocks: tuple[int | None, ...]

    def popularity(self) -> tuple[Popularity, dict[str, int]]:
        """The popularity, and the number of each category."""
        names = sorted({c for c in self.categories if c is not None})
        number = {name: n for n, name in enumerate(names)}
        codes = [NONE if c is None else number[c] for c in self.categories]
        return Popularity(np.array(self.weights), np.array(codes, dtype=np.int64)), number

    def policy(self, settings: RecommendPolicy) -> Policy:
        """The shop's rules over these items."""
        return policy_of(
            settings, categories=self.categories, brands=self.brands, prices=self.prices, stocks=self.stocks
        )


@dataclass(frozen=True)
class Serve:
    """Kernel over (events, sides["users"]: user_id, is_opted_out): a list for each of these users.

    First the engine, from the customer's own history; a list that it cannot fill is filled up with popular items, those
    of the customer's favourite category first. Seen items are left out but in categories of repeat purchases, and the
    policy holds throughout. Customers who opted out of personalisation get the overall popular list, the same for all,
    in which nothing of theirs is left out either.

    Rows of rank 0 are no recommendations: each counts in `score` what the rule named in `engine` took out.
    """

    catalogue: Catalogue
    side: StoredSide | None
    params: HistoryParams
    top_n: int
    language: reasons.Language
    rules: RecommendPolicy

    def __call__(self, events: pl.DataFrame, sides: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        users = sides["users"].sort("user_id").with_row_index("user").with_columns(pl.col("user").cast(pl.Int64))
        popularity, category_numbers = self.catalogue.popularity()
        if not len(users) or popularity.barred.all():
            return LIST.to_frame()
        open_users = users.filter(~pl.col("is_opted_out"))
        past = self._past(events, open_users)
        shelf = self._shelf(past, popularity, len(users))
        categories = self._categories(events, open_users, category_numbers, len(users))
        lists = np.full((len(users), self.top_n), NONE)
        chosen = [_CHOSEN.to_frame()]
        if self.side is not None:
            chosen += self._personal(self.side.load(), past, shelf, lists)
        chosen += self._popular(shelf, lists, categories)
        return pl.concat([self._named(pl.concat(chosen), users), shelf.removed()])

    def _shelf(self, past: pl.DataFrame, popularity: Popularity, count: int) -> Shelf:
        """What may be offered to whom."""
        policy = self.catalogue.policy(self.rules)
        pairs = past.select("user", "item").to_numpy()
        bought = past.filter(pl.col("kind") == self.params.kind_of("purchase"))
        habits = policy.habits(bought["user"].to_numpy(), bought["item"].to_numpy(), count)
        return Shelf(popularity, policy, pairs[~policy.may_repeat[pairs[:, 1]]], habits, np.zeros(count, dtype=bool))

    def _past(self, events: pl.DataFrame, users: pl.DataFrame) -> pl.DataFrame:
        """The customers' interactions with items of the catalogue, numbered, sorted by user."""
        items = pl.DataFrame({"item_id": self.catalogue.item_ids}).with_row_index("item")
        pairs = interactions(events, self.params).join(users, on="user_id", how="inner")
        return (
            pairs.join(items, on="item_id", how="inner")
            .with_columns(pl.col("item").cast(pl.Int64))
            .sort("user", "item")
        )

    def _categories(self, events: pl.DataFrame, users: pl.DataFrame, numbers: Mapping[str, int], count: int) -> Ints:
        """Number of each user's favourite category, -1 where unknown or opted out."""
        known = favourite_category(events, self.params).join(users, on="user_id", how="inner")
        code = known["category"].replace_strict(
            list(numbers), list(numbers.values()), default=NONE, return_dtype=pl.Int64
        )
        categories = np.full(count, NONE)
        categories[known["user"].to_numpy()] = code.to_numpy()
        return categories

    def _personal(self, side: ItemSide, past: pl.DataFrame, shelf: Shelf, lists: Ints) -> list[pl.DataFrame]:
        known = past.filter(pl.col("is_history") & (pl.col("item") < side.items))
        columns = known["user"].to_numpy(), known["item"].to_numpy(), known["units"].to_numpy() / UNITS
        found = []
        for users, histories in padded_blocks(*columns, rows=block_rows(side.items)):
            scored = side.score(histories)
            items, scores = shelf.best(scored, users, side.items, self.top_n)
            parts = parts_of(scored, items)
            lists[users] = items
            row, place = np.nonzero(items != NONE)
            because = histories.items[row, reasons.strongest(parts, histories.weights)[row, place]]
            found.append(
                pl.DataFrame(
                    {
                        "user": users[row],
                        "item": items[row, place],
                        "score": scores[row, place],
                        "past": because,
                    }
                )
            )
        if not found:
            return []
        kinds = known.select("user", pl.col("item").alias("past"), "kind")
        titles = pl.DataFrame({"past_title": self.catalogue.titles}).with_row_index("past").cast({"past": pl.Int64})
        said = pl.concat(found).join(kinds, on=["user", "past"], how="left", maintain_order="left")
        said = said.join(titles, on="past", how="left", maintain_order="left")
        text = reasons.because(self.language, self.params.kinds)
        return [said.select("user", "item", "score", engine=pl.lit(side.engine), reason=text).cast(_CHOSEN)]

    def _popular(self, shelf: Shelf, lists: Ints, categories: Ints) -> list[pl.DataFrame]:
        short = np.flatnonzero((lists == NONE).any(axis=1))
        rows = min(block_rows(len(self.catalogue.item_ids)), 4096)
        found = []
        for at in range(0, len(short), rows):
            users = short[at : at + rows]
            fill, own = shelf.fill(users, lists[users], categories[users])
            row, place = np.nonzero(fill != NONE)
            found.append(self._filled(users[row], fill[row, place], own[row, place], shelf.popularity))
        return found

    def _filled(self, users: Ints, items: Ints, own: Bools, popularity: Popularity) -> pl.DataFrame:
        names = pl.Series(self.catalogue.categories, dtype=pl.String)
        frame = pl.DataFrame(
            {"user": users, "item": items, "score": popularity.weights[items], "category": names.gather(items)}
        ).with_columns(engine=pl.when(pl.Series(own)).then(pl.lit(POPULAR_IN_CATEGORY)).otherwise(pl.lit(POPULAR)))
        return frame.select("user", "item", "score", "engine", reason=reasons.popularity(self.language))

    def _named(self, chosen: pl.DataFrame, users: pl.DataFrame) -> pl.DataFrame:
        """Rows in the order of the steps become ranks; numbers become ids."""
        ids = pl.DataFrame({"item_id": self.catalogue.item_ids}).with_row_index("item").cast({"item": pl.Int64})
        ranked = chosen.with_columns(rank=pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("user"))
        named = ranked.join(users, on="user", how="inner").join(ids, on="item", how="inner")
        return named.sort("user_id", "rank").select(*LIST)
