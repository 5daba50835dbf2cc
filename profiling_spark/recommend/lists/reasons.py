"""Why an item is offered, in the customer's language: the past item or search that added most to its score, or where it
is popular. A group of customers is named by nothing but the customer's own attributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import polars as pl

from profiling_spark.recommend.engines.popular import (
    POPULAR,
    POPULAR_IN_CATEGORY,
    POPULAR_IN_GROUP,
    POPULAR_IN_REGION,
    POPULAR_IN_SEGMENT,
)
from profiling_spark.recommend.history.seen import OTHER, STATES
from profiling_spark.recommend.history.sessions import CATEGORY, SEARCH
from profiling_spark.recommend.lists.steering import LOW_PRICE, QUALITY_FIRST
from profiling_spark.recommend.matrix.item_side import Floats, Ints

Language = Literal["en", "zh"]

_DID: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "purchase": "because you bought {}",
        "cart": "because you put {} in the cart",
        "favorite": "because you saved {}",
        "view": "because you viewed {}",
        SEARCH: "because you searched for “{}”",
        CATEGORY: "because you looked at {}",
    },
    "zh": {
        "purchase": "因为您购买过{}",
        "cart": "因为您把{}加入过购物车",
        "favorite": "因为您收藏过{}",
        "view": "因为您浏览过{}",
        SEARCH: "因为您搜索过“{}”",
        CATEGORY: "因为您浏览过{}类商品",
    },
}
_OTHER: Mapping[Language, str] = {"en": "because you were interested in {}", "zh": "因为您关注过{}"}
_AGAIN: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "purchase": "you bought it on {}; items of its category are often bought again",
        "refund": "you had it before and gave it back on {}",
        "review": "you reviewed it on {}",
        "cart": "still in your cart: you put it there on {} and have not bought it",
        "favorite": "you saved it on {}",
        "view": "you looked at it on {}",
        OTHER: "you came across it on {}",
    },
    "zh": {
        "purchase": "您于{}购买过，此类商品常被再次购买",
        "refund": "您曾购买，并于{}退货",
        "review": "您于{}评价过",
        "cart": "仍在您的购物车中：您于{}加入，尚未购买",
        "favorite": "您于{}收藏过",
        "view": "您于{}浏览过",
        OTHER: "您于{}接触过",
    },
}
_POPULAR: Mapping[Language, Mapping[str, str]] = {
    "en": {
        POPULAR: "popular with all customers",
        POPULAR_IN_CATEGORY: "popular in {}",
        POPULAR_IN_SEGMENT: "popular with customers like you",
        POPULAR_IN_GROUP: "popular with {}",
        POPULAR_IN_REGION: "popular in {}",
    },
    "zh": {
        POPULAR: "深受全体顾客欢迎",
        POPULAR_IN_CATEGORY: "{}中的热门商品",
        POPULAR_IN_SEGMENT: "深受与您相似的顾客欢迎",
        POPULAR_IN_GROUP: "深受{}欢迎",
        POPULAR_IN_REGION: "在{}很受欢迎",
    },
}
_SHARED: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "category": "same category",
        "subcategory": "same category",
        "brand": "same brand",
        "price": "similar price",
    },
    "zh": {"category": "同类", "subcategory": "同类", "brand": "同品牌", "price": "价位相近"},
}
_WORD: Mapping[Language, str] = {"en": "both “{}”", "zh": "都是“{}”"}
_NEW: Mapping[Language, str] = {"en": "new, ", "zh": "新品，"}
_PEOPLE: Mapping[Language, Mapping[str, str]] = {
    "en": {"female": "women", "male": "men", "": "customers"},
    "zh": {"female": "女性顾客", "male": "男性顾客", "": "顾客"},
}
_STEERED: Mapping[Language, Mapping[int, str]] = {
    "en": {
        LOW_PRICE: ", in the lower half of its category's prices, as you often choose",
        QUALITY_FIRST: ", in the upper half of its category's prices, as you often choose",
    },
    "zh": {LOW_PRICE: "，在同类中价位较低，符合您的偏好", QUALITY_FIRST: "，在同类中价位较高，符合您的偏好"},
}
_BANDS_ZH = {"under 18": "18岁以下", "over 65": "65岁以上"}


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
    phrases = [_DID[language].get(kind, _OTHER[language]) for kind in kinds]
    template = pl.col("kind").replace_strict(
        list(range(len(phrases))), phrases, default=_OTHER[language], return_dtype=pl.String
    )
    return _filled(template, pl.col("past_title"))


def again(language: Language) -> pl.Expr:
    """Why a known item is offered again, from the columns `state` (place in STATES) and `state_date`."""
    phrases = [_AGAIN[language].get(state, _AGAIN[language][OTHER]) for state in STATES]
    template = pl.col("state").replace_strict(list(range(len(STATES))), phrases, default=None, return_dtype=pl.String)
    day = pl.col("state_date").dt.to_string("%Y-%m-%d")
    return _filled(template, day)


def popularity(language: Language) -> pl.Expr:
    """Text from the columns `engine` and `subject`: the category, the region or the group of customers."""
    words = _POPULAR[language]
    template = pl.col("engine").replace_strict(list(words), list(words.values()), return_dtype=pl.String)
    return _filled(template, pl.col("subject"))


def people(language: Language, attributes: str) -> str:
    """Customers of a gender and an age band, from a name such as "female/26-35"; either may be empty."""
    gender, _, band = attributes.partition("/")
    who = _PEOPLE[language][gender]
    if language == "en":
        return f"{who} {band}".rstrip()
    years = _BANDS_ZH.get(band, f"{band}岁" if band[-1:].isdigit() else band)
    return f"{years}的{who}" if band else who


def shared(language: Language, kinds: Sequence[str], *, is_new: bool) -> list[str]:
    """What an item has in common with the past item, as an addition to the reason, from kinds of content terms."""
    known, word = _SHARED[language], _WORD[language]
    start = _NEW[language] if is_new else ""
    opening, closing = (" (", ")") if language == "en" else ("（", "）")
    return [f"{opening}{start}{known.get(k) or word.format(k)}{closing}" for k in kinds]


def steered(language: Language) -> pl.Expr:
    """Addition to the reason from the column `lift`: empty where its price added nothing to the score."""
    words = _STEERED[language]
    return pl.col("lift").replace_strict(list(words), list(words.values()), default="", return_dtype=pl.String)


def _filled(template: pl.Expr, text: pl.Expr) -> pl.Expr:
    parts = template.str.split_exact("{}", 1)
    head, tail = parts.struct.field("field_0"), parts.struct.field("field_1")
    return pl.when(tail.is_null()).then(head).otherwise(pl.concat_str(head, text, tail))
