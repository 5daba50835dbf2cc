"""What items are like: TF-IDF over category, subcategory, brand, price band and words of the title.

A term is present in an item or not; its weight is scikit-learn's smooth inverse document frequency,
ln((1 + items) / (1 + items with it)) + 1, and the weights of an item have length 1. So the product of two items is
their cosine, and a past item adds its weight times the cosine to the score of an item: contributions add up exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import sparse

from profiling_spark.recommend.matrix.item_side import Floats, Histories, Ints, Scores

CONTENT = "content"
WORD = "word"
_BANDS = 5  # price bands within a category: fifths of its items by price
_RUN = r"\p{Han}+|[[\p{L}\p{N}]--\p{Han}]+"
_IDEOGRAPH = r"\p{Han}"


def words(texts: pl.Series) -> pl.DataFrame:
    """(row, word), each once a row: lower-case words, and pairs of neighbouring characters where Chinese has no spaces
    between words (a character that stands alone is a word). `row`: place in `texts`.
    """
    runs = (
        pl.DataFrame({"text": texts.cast(pl.String)})
        .with_row_index("row")
        .select("row", run=pl.col("text").str.to_lowercase().str.extract_all(_RUN))
        .explode("run", empty_as_null=False)
        .drop_nulls()
    )
    is_chinese = pl.col("run").str.contains(_IDEOGRAPH)
    chinese = runs.filter(is_chinese).with_row_index("at").with_columns(letter=pl.col("run").str.split(""))
    letters = chinese.explode("letter", empty_as_null=False)
    following = pl.col("letter").shift(-1).over("at")
    pairs = letters.with_columns(
        word=pl.when(pl.col("run").str.len_chars() == 1).then("letter").otherwise(pl.col("letter") + following)
    )
    both = [runs.filter(~is_chinese).select("row", word="run"), pairs.drop_nulls("word").select("row", "word")]
    return pl.concat(both).unique().sort("row", "word")


def item_terms(items: pl.DataFrame) -> pl.DataFrame:
    """(row, term), each once a row, of columns title, category, subcategory, brand, price (null: not known). A term is
    its kind, a colon and its text; the words are those of all the texts, so that a search for a brand finds its items.
    """
    numbered = items.with_row_index("row")
    named = [
        numbered.filter(pl.col(kind).is_not_null()).select("row", term=f"{kind}:" + pl.col(kind))
        for kind in ("category", "subcategory", "brand")
    ]
    priced = numbered.filter(pl.col("category").is_not_null() & pl.col("price").is_not_null())
    place = (pl.col("price").rank("min").over("category") - 1) * _BANDS // pl.len().over("category")
    named.append(priced.select("row", term="price:" + pl.col("category") + ":" + place.cast(pl.String)))
    texts = items.select(pl.concat_str("title", "category", "subcategory", "brand", separator=" ", ignore_nulls=True))
    named.append(words(texts.to_series()).select("row", term=f"{WORD}:" + pl.col("word")))
    return pl.concat(named)


@dataclass(frozen=True)
class ContentSpace:
    """`items` (items, terms): TF-IDF rows of length 1, a row of zeros where nothing is known. A term that only one item
    has carries no information about what items share and is left out. `kinds` of the terms, such as "brand"."""

    items: sparse.csr_array
    terms: tuple[str, ...]
    weights: Floats

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kind of each term; a word of the title is itself."""
        cut = (term.split(":", 1) for term in self.terms)
        return tuple(text if kind == WORD else kind for kind, text in cut)

    def rows_of(self, terms: pl.DataFrame, count: int) -> sparse.csr_array:
        """(count, terms) from (row, term): documents such as searches, in the space of the items."""
        return _rows(terms, self.terms, self.weights, count)


def content_space(items: pl.DataFrame) -> ContentSpace:
    """The space of a catalogue, columns as of `item_terms`."""
    found = item_terms(items)
    frequent = found.group_by("term").len("items").filter(pl.col("items") > 1).sort("term")
    weights = np.log((1 + len(items)) / (1 + frequent["items"].to_numpy())) + 1
    terms = tuple(frequent["term"])
    return ContentSpace(_rows(found, terms, weights, len(items)), terms, weights)


def _rows(found: pl.DataFrame, terms: Sequence[str], weights: Floats, count: int) -> sparse.csr_array:
    vocabulary = pl.DataFrame({"term": terms}, schema={"term": pl.String}).with_row_index("column")
    known = found.join(vocabulary, on="term", how="inner").sort("row", "column")
    row, column = known["row"].to_numpy().astype(np.int64), known["column"].to_numpy().astype(np.int64)
    length = np.sqrt(np.bincount(row, weights[column] ** 2, minlength=count))
    return sparse.csr_array((weights[column] / length[row], (row, column)), shape=(count, len(terms)))


@dataclass(frozen=True)
class _Liked:
    side: ContentSide
    histories: Histories
    values: Floats

    def block(self) -> Scores:
        return np.where(self.values > 0, self.values, -np.inf).astype(np.float32)

    def exact(self, chosen: Ints) -> Floats:
        values: Floats = np.take_along_axis(self.values, chosen, axis=1)
        return values

    def contributions(self, chosen: Ints) -> Floats:
        h = self.histories
        customers, width = h.items.shape
        past = self.side.documents[h.items.ravel()]
        parts = np.empty((customers, chosen.shape[1], width))
        for place in range(chosen.shape[1]):
            offered = self.side.offered[np.repeat(chosen[:, place], width)]
            parts[:, place] = past.multiply(offered).sum(axis=1).reshape(customers, width) * h.weights
        return parts


@dataclass(frozen=True)
class ContentSide:
    """An item is offered for its likeness to past documents: `offered` (items, terms) and `documents` (documents,
    terms) in one space. The numbers of a history are rows of `documents`, which may hold more than items: searches.
    """

    documents: sparse.csr_array
    offered: sparse.csr_array
    engine: str = CONTENT

    @property
    def items(self) -> int:
        return int(self.offered.shape[0])

    def score(self, histories: Histories) -> _Liked:
        """All scores in double precision: many items are equally alike, so there is no short list to decide between."""
        rows = np.repeat(np.arange(len(histories)), histories.items.shape[1])
        shape = (len(histories), self.documents.shape[0])
        past = sparse.csr_array((histories.weights.ravel(), (rows, histories.items.ravel())), shape=shape)
        return _Liked(self, histories, (past @ self.documents @ self.offered.T).toarray())


def shared_kinds(side: ContentSide, space: ContentSpace, documents: Ints, items: Ints) -> list[str]:
    """What each document and offered item (column of the side) share most: a kind of term, or a word."""
    product = side.documents[documents].multiply(side.offered[items]).tocsr()
    kinds = space.kinds
    return [kinds[column] for column in product.argmax(axis=1)] if len(documents) else []
