"""Names and descriptions from what sets a segment's means apart from the population's, in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, permutations

from profiling_spark.prepare.wording import Language, figure, label, stem_of

NOTABLE = 0.5  # population standard deviations from which a difference goes into a name
SHOWN = 3  # differences in a description


@dataclass(frozen=True)
class Word:
    """One end of a trait: as an adjective before another, and standing alone."""

    adjective: str
    noun: str
    zh: str


@dataclass(frozen=True)
class Trait:
    """What one or several features show of a customer; `sign` -1 where a small figure means a lot of it."""

    stems: frozenset[str]
    high: Word
    low: Word


def _trait(stems: str, high: tuple[str, str, str], low: tuple[str, str, str]) -> Trait:
    return Trait(frozenset(stems.split()), Word(*high), Word(*low))


# In the order in which ties are settled.
TRAITS: tuple[Trait, ...] = (
    _trait(
        "days_since_last_event recency_days",
        ("Lapsing", "lapsing customers", "沉睡"),
        ("Recent", "recently active customers", "近期活跃"),
    ),
    _trait(
        "tenure_days registered_days",
        ("Long-standing", "long-standing customers", "老客"),
        ("New", "newcomers", "新客"),
    ),
    _trait(
        "discount_share",
        ("Discount-seeking", "discount seekers", "折扣偏好"),
        ("Full-price", "full-price buyers", "原价购买"),
    ),
    _trait(
        "price_preference", ("Quality-first", "premium buyers", "高价位"), ("Low-price", "low-price buyers", "低价位")
    ),
    _trait(
        "purchases frequency",
        ("Frequent", "frequent buyers", "高频"),
        ("Occasional", "occasional buyers", "低频"),
    ),
    _trait(
        "purchase_amount monetary net_amount consumption_power",
        ("High-spending", "big spenders", "高消费"),
        ("Low-spending", "small spenders", "低消费"),
    ),
    _trait(
        "view_to_purchase view_to_cart cart_to_purchase purchases_per_session purchase_frequency",
        ("Decisive", "decisive buyers", "目标明确"),
        ("Browsing", "browsers who seldom buy", "多逛少买"),
    ),
    _trait(
        "views logins sessions active_days activity searches carts favorites session_seconds",
        ("Active", "active visitors", "高活跃"),
        ("Quiet", "quiet visitors", "低活跃"),
    ),
    _trait(
        "category_breadth brand_breadth items_bought",
        ("Wide-ranging", "wide-ranging buyers", "品类广"),
        ("Focused", "focused buyers", "品类集中"),
    ),
    _trait(
        "refunds refund_share",
        ("Often returning goods,", "frequent returners", "高退货"),
        ("Few-returns", "keepers", "低退货"),
    ),
)
_TYPICAL = ("Typical customers", "普通客群")


@dataclass(frozen=True)
class Name:
    """A segment's name."""

    en: str
    zh: str


def names(
    differences: Sequence[Mapping[str, float]], sizes: Sequence[int], means: Sequence[Mapping[str, float]]
) -> list[Name]:
    """One name a segment, all different.

    `differences`: feature to (segment mean - population mean) in population standard deviations of the prepared space.
    Larger segments choose first; a name that is taken gives way to the next strongest pair of traits, and at last to
    the figure of the segment's strongest feature.
    """
    taken: set[str] = set()
    chosen: dict[int, Name] = {}
    for i in sorted(range(len(differences)), key=lambda i: (-sizes[i], i)):
        candidates = _candidates(differences[i])
        with_figures = (_with_figure(candidates[0], feature, means[i]) for feature in _by_strength(differences[i]))
        possible = chain(candidates, with_figures, [_by_size(candidates[0], sizes[i])])
        name = next(n for n in possible if n.en not in taken)
        taken.add(name.en)
        chosen[i] = name
    return [chosen[i] for i in range(len(differences))]


def describe(
    difference: Mapping[str, float], mean: Mapping[str, float], population: Mapping[str, float], language: Language
) -> str:
    """The strongest differences with the segment's and the population's means, in the features' own units."""
    parts = []
    for feature in _by_strength(difference)[:SHOWN]:
        own, all_ = figure(feature, mean[feature]), figure(feature, population[feature])
        name = label(feature, language)
        text = f"{name}: {own} (all customers: {all_})" if language == "en" else f"{name}：{own}（全体 {all_}）"
        parts.append(text)
    return "; ".join(parts) if language == "en" else "；".join(parts)


def _candidates(difference: Mapping[str, float]) -> list[Name]:
    """Names from the strongest to the weakest; the first has the segment's notable traits, or that it has none."""
    scored = _strengths(difference)
    notable = [t for t, s in scored if abs(s) >= NOTABLE]
    strength = dict(scored)
    words = {t: TRAITS[t].high if strength[t] > 0 else TRAITS[t].low for t in strength}
    first = [_name(words, notable[:2])] if notable else [Name(*_TYPICAL)]
    pairs = sorted(permutations(strength, 2), key=lambda p: -abs(strength[p[0]]) - abs(strength[p[1]]))
    return [*first, *(_name(words, pair) for pair in pairs), *(_name(words, [t]) for t in strength)]


def _strengths(difference: Mapping[str, float]) -> list[tuple[int, float]]:
    """(trait number, mean difference of its features), the strongest first; traits without a feature are left out."""
    found = []
    for number, trait in enumerate(TRAITS):
        values = [d for feature, d in difference.items() if stem_of(feature) in trait.stems]
        if values:
            found.append((number, sum(values) / len(values)))
    return sorted(found, key=lambda pair: (-abs(pair[1]), pair[0]))


def _name(words: Mapping[int, Word], traits: Sequence[int]) -> Name:
    """The strongest trait is the noun, the second its adjective."""
    if len(traits) == 1:
        word = words[traits[0]]
        return Name(word.noun[0].upper() + word.noun[1:], word.zh if word.zh.endswith("客") else f"{word.zh}客群")
    first, second = words[traits[0]], words[traits[1]]
    return Name(f"{second.adjective} {first.noun}", f"{second.zh}{first.zh}")


def _by_strength(difference: Mapping[str, float]) -> list[str]:
    return sorted(difference, key=lambda f: (-abs(difference[f]), f))


def _with_figure(name: Name, feature: str, mean: Mapping[str, float]) -> Name:
    shown = figure(feature, mean[feature])
    return Name(f"{name.en} ({label(feature, 'en')}: {shown})", f"{name.zh}（{label(feature, 'zh')}：{shown}）")


def _by_size(name: Name, size: int) -> Name:
    """The last resort, for clusters that lie apart by less than the figures show."""
    return Name(f"{name.en} (group of {size:,})", f"{name.zh}（{size:,} 人）")
