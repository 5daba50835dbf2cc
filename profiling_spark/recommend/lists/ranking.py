"""One step of the serving pass that ranks by what customers did: from documents to places in lists, with the reason."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import sparse

from profiling_spark.recommend.history.sessions import CATEGORY, ITEM, SEARCH
from profiling_spark.recommend.lists import reasons
from profiling_spark.recommend.lists.catalogue import Catalogue
from profiling_spark.recommend.lists.content import WORD, ContentSpace, words
from profiling_spark.recommend.lists.eligible_items import EligibleItems, named
from profiling_spark.recommend.matrix.item_side import Ints, ItemSide, padded_blocks
from profiling_spark.recommend.matrix.top_n import NONE, parts_of

_RANKED = pl.Schema(
    {
        "user": pl.Int64,
        "place": pl.Int64,
        "column": pl.Int64,
        "item": pl.Int64,
        "score": pl.Float64,
        "past": pl.Int64,
        "lift": pl.Int64,
    }
)


@dataclass(frozen=True)
class Documents:
    """What customers did, as the numbers of an item side's histories: `rows` (user, past, weight, kind) sorted by user
    and past, `titles` by number."""

    rows: pl.DataFrame
    titles: pl.Series

    def of(self, found: pl.DataFrame) -> pl.DataFrame:
        """`found` with the kind and title of its past document."""
        titles = pl.DataFrame({"past_title": self.titles}).with_row_index("past").cast({"past": pl.Int64})
        kinds = self.rows.select("user", "past", "kind")
        with_kinds = found.join(kinds, on=["user", "past"], how="left", maintain_order="left")
        return with_kinds.join(titles, on="past", how="left", maintain_order="left")


@dataclass(frozen=True)
class Lists:
    """The lists of all customers of a bucket while they fill: `own` (customers, places) in order, NONE where open, and
    `new` (customers, places kept for new items)."""

    own: Ints
    new: Ints

    def room(self, users: Ints | slice) -> Ints:
        """(users,): places that are open."""
        taken = (self.own[users] != NONE).sum(axis=1) + (self.new[users] != NONE).sum(axis=1)
        found: Ints = self.own.shape[1] - taken
        return found

    def leave_out(self, users: Ints, items: Ints) -> None:
        """Take each item out of the list of the user at its place."""
        row, place = np.nonzero(self.own[users] == items[:, None])
        self.own[users[row], place] = NONE

    def listed(self, users: Ints) -> Ints:
        """(users, any): what stands in these lists."""
        return np.concatenate([self.own[users], self.new[users]], axis=1)


def ranked(
    eligible: EligibleItems, side: ItemSide, documents: Documents, numbers: Ints, lists: Lists, *, new: bool, rows: int
) -> pl.DataFrame:
    """The best items of each customer with documents: user, place (from 0), column and item (its number), score, past
    (the document that added most), its kind and past_title; lift: to which end of the prices steering moved it up.

    They take all open places of `lists`, or those kept for new items where `new`. `numbers`: item of each column of
    the side. `rows`: customers at a time.
    """
    open_lists = lists.new if new else lists.own
    columns = tuple(documents.rows[c].to_numpy() for c in ("user", "past", "weight"))
    found = [_RANKED.to_frame()]
    for users, histories in padded_blocks(columns[0], columns[1], columns[2], rows=rows):
        scored = side.score(histories)
        n = open_lists.shape[1]
        chosen, scores, lifts = eligible.best(scored, users, numbers, n, listed=lists.listed(users), is_first=not new)
        if not new:
            chosen[np.arange(n) >= lists.room(users)[:, None]] = NONE
        open_lists[users] = named(chosen, numbers)
        row, place = np.nonzero(chosen != NONE)
        strongest = reasons.strongest(parts_of(scored, chosen), histories.weights)
        values = {
            "user": users[row],
            "place": place,
            "column": chosen[row, place],
            "item": numbers[chosen[row, place]],
            "score": scores[row, place],
            "past": histories.items[row, strongest[row, place]],
            "lift": lifts[row, place],
        }
        found.append(pl.DataFrame(values, schema=_RANKED))
    return documents.of(pl.concat(found))


def visit_documents(
    visits: pl.DataFrame, catalogue: Catalogue, content: ContentSpace, kinds: int
) -> tuple[Documents, sparse.csr_array]:
    """Visits as of `last_session` with the column `user`, as documents (documents, terms): the items of the catalogue
    by their numbers, then each distinct search and category. `kinds` of item events; searches and categories follow.
    """
    items = pl.DataFrame({"text": catalogue.item_ids}, schema={"text": pl.String}).with_row_index("past")
    others = visits.filter(pl.col("document") != ITEM).select("document", "text").unique().sort("document", "text")
    others = others.with_row_index("row").with_columns(past=pl.col("row") + len(items))
    searches = others.filter(pl.col("document") == SEARCH)
    searched = words(searches["text"])
    searched = searched.select(row=searches["row"].gather(searched["row"]), term=f"{WORD}:" + pl.col("word"))
    browsed = others.filter(pl.col("document") == CATEGORY).select("row", term="category:" + pl.col("text"))
    matrix = sparse.vstack([content.items, content.rows_of(pl.concat([searched, browsed]), len(others))], format="csr")
    numbers = pl.concat(
        [items.select("past", "text", document=pl.lit(ITEM)), others.select("past", "text", "document")]
    )
    order = {SEARCH: kinds, CATEGORY: kinds + 1}
    kind = pl.col("document").replace_strict(order, default=pl.col("kind"), return_dtype=pl.Int32)
    rows = visits.join(numbers, on=["document", "text"], how="inner").select(
        "user", pl.col("past").cast(pl.Int64), "weight", kind=kind
    )
    titles = pl.concat([pl.Series(catalogue.titles, dtype=pl.String), others["text"]])
    return Documents(rows.sort("user", "past"), titles), matrix
