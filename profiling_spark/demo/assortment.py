"""The catalogue, and how taste leads to products."""

import json
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from profiling_spark.demo.rolls import Floats, Ints, cdf, dice, pick
from profiling_spark.demo.words import BRANDS, CATEGORIES, PARTS, QUERIES, TITLES

STYLES = 4  # latent tastes inside a category; no file shows them
PRICE_LEVELS = 5  # centres 0.1, 0.3, ... of the price percentile inside a category
TENTHS_OF_CENTS = (
    15,
    125,
    85,
    255,
)  # mils; the first products of the last category cost less than a cent or odd tenths


@dataclass(frozen=True)
class Assortment:
    """The catalogue as arrays, one entry per product; money in mils (thousandths of CNY)."""

    category: Ints
    part: Ints
    brand: Ints
    style: Ints
    price: Ints
    percentile: Floats  # of price inside the category, 0 cheapest, 1 dearest
    liked: Floats  # how well the product is received, mean 0
    taste: Floats  # rows: see `taste_row`; cumulative shares over the products
    popular: Floats  # one row: cumulative shares over the products, whoever looks

    def __len__(self) -> int:
        return len(self.category)

    def subcategory(self, item: Ints) -> Ints:
        """Number of the product's subcategory over the whole shop; -1 stays -1."""
        found: Ints = np.where(item >= 0, self.category[item] * PARTS + self.part[item], -1)
        return found


def taste_row(category: Ints, style: Ints, brand: Ints, level: Ints) -> Ints:
    """Row of `Assortment.taste` for a category, a latent style in it, a brand and a price level."""
    row: Ints = ((category * STYLES + style) * BRANDS + brand) * PRICE_LEVELS + level
    return row


def sku_names(count: int) -> list[str]:
    return [f"K{n:05d}" for n in range(1, count + 1)]


def price_text(mils: int) -> str:
    """CNY with two decimals, three where the price has tenths of a cent."""
    return f"{mils / 1000:.3f}" if mils % 10 else f"{mils / 1000:.2f}"


def make_assortment(count: int, seed: int) -> Assortment:
    """`count` products over the twelve categories, with long-tailed popularity."""
    rng = dice(seed, "shelf")  # names the stream of random numbers: another name draws another shop
    kinds = len(CATEGORIES)
    category = np.arange(count) % kinds
    style = rng.integers(0, STYLES, count)
    # a style leans to one subcategory without being it: the catalogue alone does not separate tastes
    part = np.where(rng.random(count) < 0.7, style % PARTS, rng.integers(0, PARTS, count))
    brand = rng.integers(0, BRANDS, count)
    base = np.array([c.price for c in CATEGORIES])[category]
    tier = np.array([0.42, 0.68, 1.0, 1.5, 2.5])[brand]
    yuan = base * tier * rng.lognormal(0, 0.22, count)
    price = np.maximum(np.round(yuan * 100), 10).astype(np.int64) * 10
    tiny = np.flatnonzero(category == kinds - 1)[: len(TENTHS_OF_CENTS)]
    price[tiny] = TENTHS_OF_CENTS[: len(tiny)]
    part[tiny], brand[tiny] = PARTS - 1, 0
    percentile = np.zeros(count)
    for c in range(kinds):
        own = np.flatnonzero(category == c)
        percentile[own] = np.argsort(np.argsort(price[own], kind="stable")) / max(len(own) - 1, 1)
    rank = rng.permutation(count) + 1
    popularity: Floats = np.power(rank + 4.0, -0.85)
    liked = rng.normal(0, 0.3, count)
    return Assortment(
        category, part, brand, style, price, percentile, liked,
        taste=_tastes(category, style, brand, percentile, popularity),
        popular=cdf(popularity[None, :]),
    )  # fmt: skip


def _tastes(category: Ints, style: Ints, brand: Ints, percentile: Floats, popularity: Floats) -> Floats:
    """Cumulative shares over all products for every (category, style, brand, price level)."""
    c, s, b, level = np.meshgrid(
        np.arange(len(CATEGORIES)), np.arange(STYLES), np.arange(BRANDS), np.arange(PRICE_LEVELS), indexing="ij"
    )
    centre = (level.ravel()[:, None] + 0.5) / PRICE_LEVELS
    weight = np.where(category == c.ravel()[:, None], popularity, 0.0)
    weight = weight * np.where(style == s.ravel()[:, None], 12.0, 1.0)
    weight = weight * np.where(brand == b.ravel()[:, None], 2.5, 1.0)
    return cdf(weight * (np.exp(-(((percentile - centre) / 0.2) ** 2) / 2) + 0.01))


def draw_items(assortment: Assortment, row: Ints, rng: np.random.Generator) -> Ints:
    """One product for each taste row."""
    return pick(assortment.taste, row, rng)


def catalogue(assortment: Assortment, *, end: date, seed: int) -> pl.DataFrame:
    """The catalogue: one row per product; price in CNY."""
    rng = dice(seed, "catalogue")
    count = len(assortment)
    pattern, model = rng.integers(0, len(TITLES), count), rng.integers(10, 999, count)
    titles, parts, brands = [], [], []
    for i in range(count):  # products, at most a thousand
        group = CATEGORIES[assortment.category[i]]
        zh, en = group.parts[assortment.part[i]]
        brand = group.brands[assortment.brand[i]]
        titles.append(TITLES[pattern[i]].format(brand=brand, zh=zh, en=en, n=model[i]))
        parts.append(zh)
        brands.append(brand)
    listed = [end - timedelta(days=int(d)) for d in rng.integers(130, 1500, count)]
    return pl.DataFrame(
        {
            "sku": sku_names(count),
            "title": titles,
            "cate": [CATEGORIES[c].name for c in assortment.category],
            "subcate": parts,
            "brand": brands,
            "price": pl.Series([price_text(int(p)) for p in assortment.price]).cast(pl.Decimal(18, 3)),
            "stock": rng.integers(0, 3000, count),
            "listed_at": pl.Series(listed, dtype=pl.Date),
        }
    )


def query_pieces() -> list[str]:
    """JSON strings of the search texts: entry subcategory * len(QUERIES) + pattern."""
    names = [part for group in CATEGORIES for part in group.parts]
    return [json.dumps(q.format(zh=zh, en=en), ensure_ascii=False) for zh, en in names for q in QUERIES]
