"""The raw columns of a model from user_features: numbers as doubles, text columns encoded, earlier values beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from profiling_spark.prepare.encode import Encoding, fit_encodings
from profiling_spark.prepare.fitted import Preparation, earlier, is_earlier
from profiling_spark.prepare.sample import as_doubles, known

if TYPE_CHECKING:  # workers load this room, and need no settings
    from profiling_spark.config.prepare import Prepare


@dataclass(frozen=True)
class Inputs:
    """What a model reads: numeric columns, encoded text columns, and of `carried` numeric ones the earlier value too.

    A row on which a number of `required` is missing is not trained on.
    """

    numbers: tuple[str, ...]
    encodings: tuple[Encoding, ...] = ()
    carried: tuple[str, ...] = ()
    required: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """Raw columns that are features."""
        return (*self.numbers, *(n for e in self.encodings for n in e.names))

    @property
    def names(self) -> tuple[str, ...]:
        """All raw columns."""
        return (*self.features, *map(earlier, self.carried))

    def having(self, kept: Sequence[str]) -> list[str]:
        """Those of the features that are `kept`, in its order, and the earlier values that belong to them."""
        return [*kept, *(earlier(n) for n in self.carried if n in kept)]

    def of(
        self, rows: DataFrame, features: DataFrame, *, as_of: date, days: int, also: Sequence[str] = ()
    ) -> DataFrame:
        """user_id, `also` and the raw columns of `rows`, which are those of user_features to learn from or to apply to.

        `as_of` is the date of the rows. Earlier values come from `features`, user_features with all its dates, and
        there from [as_of - days, as_of): null where no such date is stored or none knows the value. So they need
        features of several dates, such as nightly runs write; with one date alone the column's other strategy fills.
        """
        columns = [*as_doubles(self.numbers), *(column for e in self.encodings for column in e.columns())]
        raw = rows.select("user_id", *also, *columns)
        if not self.carried:
            return raw
        dates = (F.col("as_of") < F.lit(as_of)) & (F.col("as_of") >= F.lit(as_of - timedelta(days=days)))
        # the greatest date among the known ones; max leaves out the nulls of the others
        last = [
            F.max(F.when(known(n).isNotNull(), F.struct("as_of", known(n).alias("value"))))["value"].alias(earlier(n))
            for n in self.carried
        ]
        return raw.join(features.where(dates).groupBy("user_id").agg(*last), on="user_id", how="left")

    def incomplete(self) -> Column:
        """Whether a row is not to be trained on."""
        return reduce(or_, (known(n).isNull() for n in self.required), F.lit(False))


def inputs_to_fit(prepare: Prepare, names: Sequence[str], training_rows: DataFrame) -> Inputs:
    """What to read for a fit on the numeric features `names` and the text columns of the settings.

    Categories that the settings leave out are counted on `training_rows` of user_features (one job).
    """
    numbers = [n for n in names if n not in prepare.encode]
    return Inputs(
        tuple(numbers),
        fit_encodings(training_rows, prepare.encode),
        tuple(prepare.with_strategy("forward_fill", numbers)),
        tuple(prepare.with_strategy("drop_row", numbers)),
    )


def inputs_of(preparation: Preparation) -> Inputs:
    """What a fitted preparation reads."""
    encoded = {n for e in preparation.encodings for n in e.names}
    numbers = [n for n in preparation.inputs if n not in encoded and not is_earlier(n)]
    carried = [f.name for f in preparation.features if f.carried]
    return Inputs(tuple(numbers), preparation.encodings, tuple(carried))
