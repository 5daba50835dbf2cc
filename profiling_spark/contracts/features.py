"""Feature tables. Columns follow the settings' windows and features; feature_catalogue says what a feature is."""

from __future__ import annotations

from collections.abc import Sequence

from profiling_spark.contracts.table import AMOUNT_SUM, PRICE, Column, Table
from profiling_spark.feature_catalogue.configured import Configured
from profiling_spark.feature_catalogue.user_features import user_feature_list

_AS_OF = Column("as_of", "date", "the features know days before this one only")
_NO_EVENT = "no source supplies the event type"


def user_features_columns(windows: tuple[int, ...], custom: Sequence[Configured] = ()) -> tuple[Column, ...]:
    """as_of, user_id, then every feature. All are figures about one person, so none keeps statistics in the log."""
    features = (Column(f.name, f.type, f.meaning, f.null, personal=True) for f in user_feature_list(windows, custom))
    return (_AS_OF, Column("user_id", "string", "customer", personal=True), *features)


def custom_columns(windows: tuple[int, ...], custom: Sequence[Configured]) -> tuple[Column, ...]:
    """Columns of the features that the settings describe."""
    built_in = {c.name for c in user_features_columns(windows)}
    return tuple(c for c in user_features_columns(windows, custom) if c.name not in built_in)


def user_features_table(windows: tuple[int, ...], custom: Sequence[Configured] = ()) -> Table:
    """Contract of `user_features` for the settings' windows (days) and the features that they configure."""
    return Table(
        name="user_features",
        layer="features",
        row="customer with an event or attributes before as_of",
        columns=user_features_columns(windows, custom),
        key=("as_of", "user_id"),
        slice=("as_of",),
        partition_by=("as_of",),
    )


ITEM_FEATURES = Table(
    name="item_features",
    layer="features",
    row="product with an event or a catalogue row before as_of",
    columns=(
        _AS_OF,
        Column("item_id", "string", "product"),
        Column("category", "string", "category", "not known"),
        Column("brand", "string", "brand", "not known"),
        Column("price", PRICE, "price of one piece, reporting currency", "not known"),
        Column(
            "price_percentile",
            "double",
            "place of the price among the items of its category, 0 cheapest to 1 dearest",
            "price or category not known",
        ),
        Column("views", "bigint", "view events, whole history", _NO_EVENT),
        Column("carts", "bigint", "cart events, whole history", _NO_EVENT),
        Column("purchases", "bigint", "distinct orders with the item, whole history", _NO_EVENT),
        Column("buyers", "bigint", "distinct customers who bought it, whole history", _NO_EVENT),
        Column("conversion", "double", "purchases / views; may pass 1", "no view, or no source supplies views"),
        Column("popularity_rank", "int", "1 has the most purchases (views where no source supplies purchases)"),
        Column("repeat_share", "double", "share of its buyers with more than one order of it, 0 to 1", "no buyer"),
        Column("rating", "double", "mean rating of its reviews, the source's stars", "no rated review"),
    ),
    key=("as_of", "item_id"),
    slice=("as_of",),
    partition_by=("as_of",),
)

RFM_CUTS = Table(
    name="rfm_cuts",
    layer="features",
    row="cut point of a measure: equal values get equal scores, a score rises where the value is above the cut",
    columns=(
        _AS_OF,
        Column("measure", "string", "recency_days, frequency or monetary"),
        Column("cut", "int", "1 to 4: at 20, 40, 60 and 80 % of the customers with a purchase"),
        Column("value", AMOUNT_SUM, "a value that occurs, in the measure's own unit"),
        Column("customers", "bigint", "customers with a purchase"),
    ),
    key=("as_of", "measure", "cut"),
    slice=("as_of",),
    partition_by=("as_of",),
)
