"""How features are made ready for models: what may be given per column, and what is refused before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from profiling_spark.config.base import Days, Fault, Model, nearest
from profiling_spark.config.features import is_numeric

Simple = Literal["auto", "mean", "median", "mode", "constant"]
Strategy = Literal["auto", "mean", "median", "mode", "constant", "forward_fill", "model", "drop_row"]
Scaling = Literal["auto", "standard", "min_max", "robust", "none"]

# these fill without looking at anything but the column
_SIMPLE: tuple[Simple, ...] = ("auto", "mean", "median", "mode", "constant")
_CATEGORIES = ("string", "boolean")
_CODES = ("gender_code", "favorite_hour")  # numbers that are names
_REACH = {"auto": 5.0, "none": 0.0, "iqr": 1.5, "z_score": 3.0}  # Tukey 1977; three standard deviations


class Missing(Model):
    """What stands for a missing value; `otherwise` where the strategy itself finds none. `flag`: a feature beside it.

    auto: the median, for days since something that never happened the longest + 1. forward_fill: the customer's last
    known value of an earlier as_of. model: a ridge regression on the other features. drop_row: the row is not trained
    on; when a model is applied, `otherwise` is filled in.
    """

    strategy: Strategy = "auto"
    otherwise: Simple = "auto"
    value: float | None = None
    flag: bool = False

    def faults(self) -> Iterable[Fault]:
        """A value without its strategy, and what would never be used."""
        if ("constant" in (self.strategy, self.otherwise)) != (self.value is not None):
            message = "allowed: a value with the strategy constant, and with no other"
            yield Fault(("value",), message, also=(("strategy",), ("otherwise",)))
        if self.strategy in _SIMPLE and self.otherwise != "auto":
            message = f"otherwise {self.otherwise}: the strategy {self.strategy} always finds a value"
            yield Fault(("otherwise",), message, also=(("strategy",),))

    @property
    def simple(self) -> Simple:
        """What fills without looking at anything but the column."""
        return next((s for s in _SIMPLE if s == self.strategy), self.otherwise)


class Outliers(Model):
    """Values outside the bounds are clipped to them, made missing, or only flagged by a feature beside the column.

    iqr: quartiles -/+ factor * their distance, 1.5 unless given. z_score: mean -/+ factor * standard deviation, 3
    unless given. auto: z_score with 5 for segments, whose squared distances an error of quantity would rule; none for
    the forest, which only orders values.
    """

    method: Literal["auto", "none", "iqr", "z_score"] = "auto"
    factor: Annotated[float, Field(ge=1)] | None = None  # below 1 every value might be outside
    action: Literal["clip", "null", "flag"] = "clip"

    @property
    def reach(self) -> float:
        """The factor in force."""
        return _REACH[self.method] if self.factor is None else self.factor


class ColumnRule(Model):
    """What one column does otherwise than the rest; what is left out is as for all."""

    missing: Missing | None = None
    outliers: Outliers | None = None
    scaling: Scaling | None = None


class Encode(Model):
    """How a text column becomes numbers.

    binary: 0 for the first of two categories, 1 for the second; anything else is missing. ordinal: the category's place
    in `categories` from 0 on; a category that is not among them -1, missing stays missing. one_hot: a 0/1 feature a
    category; for others and missing all are 0. Without `categories` one_hot takes the most frequent of the training
    rows, at most `max_categories`.
    """

    method: Literal["binary", "ordinal", "one_hot"]
    categories: tuple[str, ...] = ()
    max_categories: Annotated[int, Field(ge=1, le=100)] = 20

    def faults(self) -> Iterable[Fault]:
        """Categories that do not fit the method."""
        method = (("method",),)
        if len(set(self.categories)) < len(self.categories):
            yield Fault(("categories",), "categories: each once")
        if self.method == "binary" and len(self.categories) != 2:
            yield Fault(("categories",), "categories: binary needs two, the one for 0 and the one for 1", method)
        if self.method == "ordinal" and not self.categories:
            yield Fault(("categories",), "categories: ordinal needs them, from the lowest to the highest", method)


class Prepare(Model):
    """What models do to features before they look at them; stored with each model."""

    missing: Missing = Missing()
    outliers: Outliers = Outliers()
    scaling: Scaling = "auto"
    columns: dict[str, ColumnRule] = {}
    encode: dict[str, Encode] = {}
    forward_fill_days: Days = 365
    components: Literal[0, 5, 10] = 0

    def faults(self) -> Iterable[Fault]:
        """Strategies that are too dear for all columns."""
        if self.missing.strategy not in _SIMPLE:
            message = (
                f"missing.strategy {self.missing.strategy}: for all columns allowed: {', '.join(_SIMPLE)}; "
                "forward_fill, model and drop_row are chosen under columns, one by one"
            )
            yield Fault(("missing", "strategy"), message)

    def missing_of(self, column: str) -> Missing:
        """The column's rule for missing values."""
        return self._rule(column).missing or self.missing

    def outliers_of(self, column: str) -> Outliers:
        """The column's rule for outliers."""
        return self._rule(column).outliers or self.outliers

    def outliers_for(self, column: str, *, standardise: bool) -> Outliers:
        """The column's rule, `auto` replaced by what it is for segments (`standardise`) or the forest."""
        rule = self.outliers_of(column)
        if rule.method != "auto":
            return rule
        return rule.model_copy(update={"method": "z_score" if standardise else "none", "factor": rule.reach})

    def scaling_of(self, column: str) -> Scaling:
        """The column's scaling."""
        return self._rule(column).scaling or self.scaling

    def with_strategy(self, strategy: Strategy, names: Sequence[str]) -> list[str]:
        """Those of `names` whose missing values are treated so."""
        return [n for n in names if self.missing_of(n).strategy == strategy]

    def _rule(self, column: str) -> ColumnRule:
        return self.columns.get(column, ColumnRule())


def prepare_faults(prepare: Prepare, types: Mapping[str, str]) -> Iterator[Fault]:
    """Columns that user_features will not have, or not of the type needed. `types`: those it will have."""
    numeric = {n for n, t in types.items() if is_numeric(t)}
    named = {n for n, t in types.items() if t in _CATEGORIES or n in _CODES}
    also = (("windows_days",), ("custom_features",))
    for part, names, kind, allowed in (
        ("columns", prepare.columns, "a numeric", numeric),
        ("encode", prepare.encode, f"a text or boolean (or {' or '.join(_CODES)})", named),
    ):
        for name in names:
            if name not in allowed:
                near = "" if name in types else nearest(name, allowed)
                found = types.get(name, "no such column")
                message = f"{part}.{name}: expected {kind} column of user_features, found {found}{near}"
                yield Fault(("prepare", part, name), message, also)
    for name in prepare.columns.keys() & prepare.encode.keys():
        message = f"is prepared as a number by columns.{name}, and encoded as a name here: one of the two"
        yield Fault(("prepare", "encode", name), message, also=(("prepare", "columns", name),))
