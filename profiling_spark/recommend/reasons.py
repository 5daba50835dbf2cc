"""Why an item is offered, in the customer's language: the past item that added most to its score, or popularity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import polars as pl

from profiling_spark.recommend.item_side import Floats, Ints
from profiling_spark.recommend.popular import POPULAR, POPULAR_IN_CATEGORY

Language = Literal["en", "zh"]

_DID: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "purchase": "because you bought {}",
        "cart": "because you put {} in the cart",
        "favorite": "because you saved {}",
        "view": "because you viewed {}",
    },
    "zh": {
        "purchase": "因为您购买过{}",
        "cart": "因为您把{}加入过购物车",
        "favorite": "因为您收藏过{}",
        "view": "因为您浏览过{}",
    },
}
_OTHER: Mapping[Language, str] = {"en": "because you were interested in {}", "zh": "因为您关注过{}"}
_POPULAR: Mapping[Language, Mapping[str, str]] = {
    "en": {POPULAR: "popular with all customers", POPULAR_IN_CATEGORY: "popular in {}"},
    "zh": {POPULAR: "深受全体顾客欢迎", POPULAR_IN_CATEGORY: "{}中的热门商品"},
}


def strongest(contributions: Floats, weights: Floats) -> Ints:
    """Place in the history of the past item that added most, for (customers, chosen, history); ties by place.

    `weights` of the history: a padded place (0) is never the reason, even where all real ones pull the score down.
    """
    # rounded, so that a tie is not decided by the last bit
    added = np.where(weights[:, None, :] > 0, np.round(contributions, 9), -np.inf)
    place: Ints = added.argmax(axis=2)
    return place


def because(language: Language, kinds: tuple[str, ...]) -> pl.Expr:
    """Text from the columns `kind` (place in `kinds`, else -1) and `past_title`."""
    said = [_DID[language].get(kind, _OTHER[language]) for kind in kinds]
    template = pl.col("kind").replace_strict(
        list(range(len(said))), said, default=_OTHER[language], return_dtype=pl.String
    )
    return _filled(template, "past_title")


def popularity(language: Language) -> pl.Expr:
    """Text from the columns `engine` and `category`."""
    words = _POPULAR[language]
    template = pl.col("engine").replace_strict(list(words), list(words.values()), return_dtype=pl.String)
    return _filled(template, "category")


def _filled(template: pl.Expr, name: str) -> pl.Expr:
    parts = template.str.split_exact("{}", 1)
    head, tail = parts.struct.field("field_0"), parts.struct.field("field_1")
    return pl.when(tail.is_null()).then(head).otherwise(pl.concat_str(head, pl.col(name), tail))
