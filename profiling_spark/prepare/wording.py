"""How a feature is worded in a sentence, in English and Chinese: label, unit, figures, direction."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isnan
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

Language = Literal["en", "zh"]
Kind = Literal["count", "money", "share", "number", "since"]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_WINDOWED = re.compile(r"(.+)_(\d+)d")
_THOUSAND = 1000
_WHOLE_FROM = 100  # money is shown without cents from here on


@dataclass(frozen=True)
class Family:
    """All windows of one feature. For `since` the labels name the thing that did (not) happen."""

    kind: Kind
    en: str
    zh: str


_FAMILIES: dict[str, Family] = {
    "recency_days": Family("since", "order", "下单"),
    "days_since_last_event": Family("since", "activity", "活动"),
    "tenure_days": Family("count", "days as a customer", "成为客户天数"),
    "interpurchase_days": Family("count", "days between orders", "下单间隔天数"),
    "frequency": Family("count", "orders in all", "累计订单数"),
    "monetary": Family("money", "total spending", "累计消费"),
    "purchases": Family("count", "orders", "订单数"),
    "refunds": Family("count", "refunds", "退款数"),
    "logins": Family("count", "logins", "登录次数"),
    "views": Family("count", "product views", "浏览次数"),
    "searches": Family("count", "searches", "搜索次数"),
    "favorites": Family("count", "favorites", "收藏次数"),
    "carts": Family("count", "products put into the cart", "加购次数"),
    "ad_views": Family("count", "adverts seen", "广告曝光次数"),
    "ad_clicks": Family("count", "adverts clicked", "广告点击次数"),
    "services": Family("count", "service contacts", "客服联系次数"),
    "review_events": Family("count", "reviews", "评价次数"),
    "reviews": Family("count", "reviews", "评价次数"),
    "activity": Family("count", "logins, views and orders", "登录浏览下单总数"),
    "active_days": Family("count", "active days", "活跃天数"),
    "sessions": Family("count", "visits", "访问次数"),
    "session_seconds": Family("count", "seconds on pages", "停留秒数"),
    "category_breadth": Family("count", "categories bought", "购买品类数"),
    "brand_breadth": Family("count", "brands bought", "购买品牌数"),
    "items_bought": Family("count", "different products bought", "购买商品种数"),
    "purchase_amount": Family("money", "spending", "消费金额"),
    "flagged_amount": Family("money", "spending on flagged rows", "被标记行的消费金额"),
    "net_amount": Family("money", "spending net of refunds", "净消费金额"),
    "consumption_power": Family("money", "value of an order", "笔均金额"),
    "discount_share": Family("share", "discount on what is bought", "折扣占比"),
    "refund_share": Family("share", "share of spending sent back", "退款占比"),
    "night_share": Family("share", "share of activity at night", "夜间活动占比"),
    "weekend_share": Family("share", "share of activity at weekends", "周末活动占比"),
    "price_preference": Family("share", "price level within category", "品类内价位"),
    "purchase_frequency": Family("number", "orders per login", "每次登录订单数"),
    "purchases_per_session": Family("number", "orders per visit", "每次访问订单数"),
    "view_to_cart": Family("number", "carts per view", "浏览加购率"),
    "cart_to_purchase": Family("number", "orders per cart", "加购下单率"),
    "view_to_purchase": Family("number", "orders per view", "浏览下单率"),
    "mean_rating": Family("number", "mean rating given", "平均评分"),
}

# (below the typical value, above it)
_DIRECTION: dict[Language, dict[bool, tuple[str, str]]] = {
    "en": {True: ("fewer ", "more "), False: ("lower ", "higher ")},
    "zh": {True: ("较少", "较多"), False: ("较低", "较高")},
}

# 0/1 features that the preparation makes. (as a label, where it is so, where it is not), {} is the column's label
_STATES: dict[str, dict[Language, tuple[str, str, str]]] = {
    "missing": {
        "en": ("{} not known", "{}: not known", "{}: known"),
        "zh": ("{}未知", "{}：未知", "{}：已知"),
    },
    "outlier": {
        "en": ("{} far from usual", "{}: far from usual", "{}: within the usual range"),
        "zh": ("{}异常", "{}：异常", "{}：在正常范围内"),
    },
}
_CATEGORY: dict[Language, tuple[str, str, str]] = {
    "en": ("{} is {}", "{}: {}", "{}: not {}"),
    "zh": ("{}为{}", "{}：{}", "{}：非{}"),
}


def stem_of(feature: str) -> str:
    """The feature without its window; all categories of one column have the column's."""
    column, state = _parts(feature)
    match = _WINDOWED.fullmatch(column)
    stem = match[1] if match else column
    return f"{stem} {state}" if state in _STATES and "=" not in feature else stem


def _parts(feature: str) -> tuple[str, str]:
    """(column, state or category) of `views_30d missing` and `city=Paris`; the second is empty for a plain feature."""
    column, sign, category = feature.partition("=")
    if sign:
        return column, category
    column, _, state = feature.partition(" ")
    return column, state


def _indicated(feature: str, language: Language) -> tuple[str, str, str] | None:
    """A 0/1 feature of the preparation as a label, where it is so and where not; None for any other feature."""
    column, state = _parts(feature)
    if not state:
        return None
    if "=" in feature:
        as_label, yes, no = (text.format(label(column, language), state) for text in _CATEGORY[language])
        return as_label, yes, no
    as_label, yes, no = (text.format(label(column, language)) for text in _STATES[state][language])
    return as_label, yes, no


def family_of(feature: str) -> Family:
    """How a feature is worded; one that nobody described by its column's name."""
    if _parts(feature)[1]:
        return Family("share", "", "")
    stem = stem_of(feature)
    return _FAMILIES.get(stem, Family("number", stem.replace("_", " "), stem))


def label(feature: str, language: Language) -> str:
    """What the feature counts, with its window: "orders in 30 days", "近 30 天订单数"."""
    indicated = _indicated(feature, language)
    if indicated:
        return indicated[0]
    family, match = family_of(feature), _WINDOWED.fullmatch(feature)
    if language == "zh":
        name = f"距上次{family.zh}天数" if family.kind == "since" else family.zh
        return f"近 {match[2]} 天{name}" if match else name
    name = f"days since the last {family.en}" if family.kind == "since" else family.en
    return f"{name} in {match[2]} days" if match else name


def figure(feature: str, value: float) -> str:
    """One mean as text, in the feature's unit."""
    if isnan(value):
        return "-"
    kind = family_of(feature).kind
    if kind == "share":
        return f"{value * 100:.0f} %"
    if kind == "money" or abs(value) >= _WHOLE_FROM:
        return f"{value:,.0f}" if abs(value) >= _WHOLE_FROM else f"{value:,.2f}"
    return f"{value:.2f}" if kind == "number" else f"{value:.1f}".removesuffix(".0")


def sentences(feature: str, values: Floats, typical: float, language: Language) -> pl.Series:
    """One customer's value each, beside the typical one: "no order for 41 days (typical: 12)"; NaN is "missing"."""
    family, indicated = family_of(feature), _indicated(feature, language)
    frame = pl.DataFrame({"v": pl.Series(values, dtype=pl.Float64).fill_nan(None)})
    if indicated:
        _, yes, no = indicated
        unknown = _STATES["missing"][language][1].format(label(_parts(feature)[0], language))
        state = pl.when(pl.col("v") == 1).then(pl.lit(yes)).when(pl.col("v") == 0).then(pl.lit(no))
        return frame.select(state.otherwise(pl.lit(unknown))).to_series()
    shown, middle = _figures(family.kind), frame.select(v=pl.lit(typical)).select(_figures(family.kind)).item()
    known = _since(family, shown, middle, typical, language)
    if family.kind != "since":
        known = _compared(feature, shown, middle, typical, language)
    missing = _missing(feature, family, language)
    return frame.select(pl.when(pl.col("v").is_null()).then(pl.lit(missing)).otherwise(known)).to_series()


def chosen_sentences(
    features: tuple[str, ...], chosen: Ints, raw: Floats, typical: Floats, language: Language
) -> NDArray[np.object_]:
    """For each row the sentence of its chosen feature (a column number); None where that is negative."""
    texts = np.full(len(chosen), None, dtype=object)
    for j in np.unique(chosen[chosen >= 0]):
        rows = np.flatnonzero(chosen == j)
        texts[rows] = sentences(features[j], raw[rows, j], float(typical[j]), language).to_numpy()
    return texts


def _figures(kind: Kind) -> pl.Expr:
    """The column `v` as text. Every branch is an expression: no Python per row."""
    v = pl.col("v")
    if kind == "share":
        return pl.format("{} %", (v * 100).round(0).cast(pl.Int64))
    if kind == "number":
        return v.round(2).cast(pl.String).str.strip_suffix(".0")
    whole = _grouped(v.round(0).cast(pl.Int64))
    if kind == "money":
        return pl.when(v.abs() >= _WHOLE_FROM).then(whole).otherwise(v.round(2).cast(pl.String).str.strip_suffix(".0"))
    return whole


def _grouped(whole: pl.Expr) -> pl.Expr:
    """1234567 -> 1,234,567."""
    size, sign = whole.abs(), pl.when(whole < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    last = (size % _THOUSAND).cast(pl.String).str.zfill(3)
    middle = (size // _THOUSAND % _THOUSAND).cast(pl.String).str.zfill(3)
    thousands = pl.format("{},{}", size // _THOUSAND, last)
    millions = pl.format("{},{},{}", size // _THOUSAND**2, middle, last)
    text = (
        pl.when(size >= _THOUSAND**2)
        .then(millions)
        .when(size >= _THOUSAND)
        .then(thousands)
        .otherwise(size.cast(pl.String))
    )
    return sign + text


def _since(family: Family, shown: pl.Expr, middle: str, typical: float, language: Language) -> pl.Expr:
    recent = pl.col("v") < typical
    if language == "zh":
        late = pl.format("已 {} 天无{}（一般 {} 天）", shown, pl.lit(family.zh), pl.lit(middle))
        early = pl.format("{} 天前有{}（一般 {} 天）", shown, pl.lit(family.zh), pl.lit(middle))
        return pl.when(recent).then(early).otherwise(late)
    days = pl.when(pl.col("v") == 1).then(pl.lit("day")).otherwise(pl.lit("days"))
    late = pl.format("no {} for {} {} (typical: {})", pl.lit(family.en), shown, days, pl.lit(middle))
    early = pl.format("last {} {} {} ago (typical: {})", pl.lit(family.en), shown, days, pl.lit(middle))
    return pl.when(recent).then(early).otherwise(late)


def _compared(feature: str, shown: pl.Expr, middle: str, typical: float, language: Language) -> pl.Expr:
    low, high = _DIRECTION[language][family_of(feature).kind == "count"]
    v = pl.col("v")
    way = pl.when(v < typical).then(pl.lit(low)).when(v > typical).then(pl.lit(high)).otherwise(pl.lit(""))
    name, middle_text = pl.lit(label(feature, language)), pl.lit(middle)
    if language == "zh":
        return pl.format("{}{}：{}（一般 {}）", name, way, shown, middle_text)
    return pl.format("{}{}: {} (typical: {})", way, name, shown, middle_text)


def _missing(feature: str, family: Family, language: Language) -> str:
    if family.kind == "since":
        return f"no {family.en} ever" if language == "en" else f"从未{family.zh}"
    return f"{label(feature, language)}: none" if language == "en" else f"{label(feature, language)}：无"
