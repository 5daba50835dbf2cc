"""Text columns as numbers: the categories are fitted once and stored; one that was not there then does no harm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

if TYPE_CHECKING:  # workers load this room, and need no settings
    from profiling_spark.config.prepare import Encode

Floats = NDArray[np.float64]

UNSEEN = -1.0  # place of a category that is not in the order


@dataclass(frozen=True)
class Encoding:
    """One text column as numeric features. See config.prepare.Encode for what unseen and missing become."""

    name: str
    method: Literal["binary", "ordinal", "one_hot"]
    categories: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """ordinal: the column's own name. Else `column=category`: one a category, for binary the second's only."""
        if self.method == "ordinal":
            return (self.name,)
        shown = self.categories[1:] if self.method == "binary" else self.categories
        return tuple(f"{self.name}={c}" for c in shown)

    def columns(self) -> list[Column]:
        """As doubles in the order of `names`, null where missing; booleans are `true` and `false`."""
        text = F.col(self.name).cast("string")
        if self.method == "one_hot":
            is_it = [F.coalesce(text == F.lit(c), F.lit(False)).cast("double") for c in self.categories]
            return [c.alias(n) for c, n in zip(is_it, self.names, strict=True)]
        place = F.lit(None).cast("double")
        for number, category in enumerate(self.categories):
            place = F.when(text == F.lit(category), F.lit(float(number))).otherwise(place)
        if self.method == "ordinal":
            place = F.when(text.isNotNull(), F.coalesce(place, F.lit(UNSEEN)))
        return [place.alias(self.names[0])]

    def values(self, texts: Sequence[str | None]) -> Floats:
        """The same on texts: rows by `names`, NaN where missing."""
        if self.method == "one_hot":
            return np.array([[float(t == c) for c in self.categories] for t in texts]).reshape(len(texts), -1)
        unseen = UNSEEN if self.method == "ordinal" else np.nan
        places: Mapping[str | None, float] = {None: np.nan, **{c: float(i) for i, c in enumerate(self.categories)}}
        return np.array([[places.get(t, unseen)] for t in texts])


def fit_encodings(rows: DataFrame, settings: Mapping[str, Encode]) -> tuple[Encoding, ...]:
    """One encoding a column of the settings; categories that they leave out are counted on the (training) rows.

    The most frequent come first, of equals the smaller name. Spark runs one job where any are left out, else none.
    """
    learned = [name for name, rule in settings.items() if not rule.categories]
    pairs = [F.struct(F.lit(n).alias("name"), F.col(n).cast("string").alias("category")) for n in learned]
    counts: list[tuple[str, int, str]] = []
    if learned:
        found = rows.select(F.inline(F.array(*pairs))).where("category IS NOT NULL").groupBy("name", "category").count()
        counts = sorted((r["name"], -r["count"], r["category"]) for r in found.collect())
    encodings = []
    for name, rule in settings.items():
        frequent = tuple(category for n, _, category in counts if n == name)[: rule.max_categories]
        encodings.append(Encoding(name, rule.method, rule.categories or frequent))
    return tuple(encodings)
