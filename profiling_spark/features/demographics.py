"""Who the customer is: of each source the last version of the attributes before as_of, whole, never mixed with older
ones (of a source without times the earliest, where it came later); each attribute from the first source, in the order
of belief, that knows it.
"""

from __future__ import annotations

import polars as pl

from profiling_spark.features.windows import FeatureParams, age_days, local_date

USER_COLUMNS: tuple[str, ...] = (
    "user_id",
    "valid_from",
    "version_time",
    "delivered_at",
    "ended",
    "gender",
    "age",
    "age_band",
    "birth_date",
    "occupation",
    "income",
    "province",
    "city",
    "registered_at",
    "source",
)
_VERSION = ("valid_from", "version_time", "delivered_at", "ended")
_ATTRIBUTES = tuple(c for c in USER_COLUMNS if c not in ("user_id", "source", *_VERSION))
_CONFLICTS = "attribute_conflicts"

# youngest age of the band and its name, falling
AGE_BANDS: tuple[tuple[int, str], ...] = (
    (66, "over 65"),
    (56, "56-65"),
    (46, "46-55"),
    (36, "36-45"),
    (26, "26-35"),
    (18, "18-25"),
)
YOUNGEST_BAND = "under 18"


def gender_code() -> pl.Expr:
    """male 0, female 1; null where neither is stated."""
    male, female = pl.col("gender") == "male", pl.col("gender") == "female"
    return pl.when(male).then(0).when(female).then(1).cast(pl.Int32).alias("gender_code")


def age(params: FeatureParams) -> pl.Expr:
    """Years as the source states them, else the birthdays reached by as_of; null where neither is known."""
    born, today = pl.col("birth_date"), params.as_of
    day_of_year = born.dt.month().cast(pl.Int32) * 100 + born.dt.day()
    years = today.year - born.dt.year() - (day_of_year > today.month * 100 + today.day).cast(pl.Int32)
    from_birth = pl.when(born <= pl.lit(today)).then(years)
    return pl.coalesce(pl.col("age"), from_birth).cast(pl.Int32).alias("age")


def age_band() -> pl.Expr:
    """Band of the column `age`; the source's own band where the age is unknown."""
    years = pl.col("age")
    bands = [pl.when(years >= youngest).then(pl.lit(name)) for youngest, name in AGE_BANDS]
    youngest_band = pl.when(years.is_not_null()).then(pl.lit(YOUNGEST_BAND))
    return pl.coalesce(*bands, youngest_band, pl.col("age_band")).alias("age_band")


def registered_days(params: FeatureParams) -> pl.Expr:
    """Days from registration to as_of; null where unknown or not before as_of."""
    days = age_days(params.as_of, "_registered")
    return pl.when(days > 0).then(days).alias("registered_days")


def believed(versions: pl.LazyFrame, params: FeatureParams) -> pl.DataFrame:
    """One row per customer from one row per customer and source: each attribute from the first source of
    `params.precedence` (then by name) that knows it. `attribute_conflicts` lists "attribute: source" where another
    source differs; null where none does.
    """
    rank = {name: place for place, name in enumerate(params.precedence)}
    place = pl.col("source").replace_strict(rank, default=len(rank), return_dtype=pl.Int32)
    ordered = versions.sort("user_id", place, "source").collect()
    if not ordered["user_id"].is_duplicated().any():
        return ordered.with_columns(pl.lit(None, pl.String).alias(_CONFLICTS))
    winners = [
        pl.when(pl.col(c).drop_nulls().n_unique() > 1)
        .then(pl.concat_str(pl.lit(f"{c}: "), pl.col("source").filter(pl.col(c).is_not_null()).first()))
        .alias(f"_{c}")
        for c in _ATTRIBUTES
    ]
    merged = ordered.group_by("user_id", maintain_order=True).agg(
        *(pl.col(c).drop_nulls().first() for c in _ATTRIBUTES), *winners
    )
    listed = pl.concat_str([f"_{c}" for c in _ATTRIBUTES], separator=", ", ignore_nulls=True)
    return merged.with_columns(pl.when(listed != "").then(listed).alias(_CONFLICTS))


def speaking(versions: pl.LazyFrame, params: FeatureParams) -> pl.LazyFrame:
    """The version of each customer and source that speaks at as_of, if it is not ended."""
    key = ["user_id", "source"]
    ordered = versions.sort(*key, "version_time", "delivered_at")
    is_before = local_date("version_time", params.timezone) < params.as_of
    last = ordered.filter(is_before).unique(subset=key, keep="last", maintain_order=True)
    later = ordered.filter(~is_before, pl.col("valid_from").is_null())
    earliest = later.unique(subset=key, keep="first", maintain_order=True).join(
        last, on=key, how="anti", nulls_equal=True
    )
    return pl.concat([last, earliest]).filter(~pl.col("ended").fill_null(False))


def demographics(users: pl.DataFrame | pl.LazyFrame, params: FeatureParams) -> pl.DataFrame:
    """One row for everyone of whom a version speaks at as_of (USER_COLUMNS in, features out)."""
    known = (
        believed(speaking(users.lazy().select(USER_COLUMNS), params), params)
        .lazy()
        .with_columns(age(params), gender_code(), _registered=local_date("registered_at", params.timezone))
    )
    return known.select(
        "user_id",
        "gender_code",
        "age",
        age_band(),
        "occupation",
        pl.col("income").cast(pl.Decimal(18, 4)),
        "province",
        "city",
        registered_days(params),
        _CONFLICTS,
    ).collect()
