"""Gold tables: what analysts, campaigns and BI tools read."""

from collections.abc import Sequence
from dataclasses import replace

from profiling_spark.contracts.table import AMOUNT_SUM, Column, Table

AS_OF = Column("as_of", "date", "the table knows days before this one only")
_OLD = "written by release 0.1.0"
_NO_TITLE = f"no source that lists the item now has one, or {_OLD}"
USER = Column("user_id", "string", "customer", personal=True)

SEGMENTS = Table(
    name="segments",
    layer="gold",
    row="segment of a method at a date",
    columns=(
        AS_OF,
        Column("method", "string", "kmeans"),
        Column("segment_id", "int", "stable number of the segment"),
        Column("name_en", "string", "name"),
        Column("name_zh", "string", "Chinese name"),
        Column("users", "bigint", "customers in it"),
        Column("share", "double", "of all segmented customers, 0 to 1"),
        Column("silhouette", "double", "mean Euclidean silhouette of its sampled customers", "fewer than 2 segments"),
        Column("flagged", "double", "share of its customers' amounts that rests on flagged rows, 0 to 1", "no amounts"),
        Column("description_en", "string", "what sets it apart"),
        Column("description_zh", "string", "the same in Chinese"),
    ),
    key=("as_of", "method", "segment_id"),
    slice=("as_of", "method"),
    partition_by=("as_of",),
)

SEGMENT_FEATURES = Table(
    name="segment_features",
    layer="gold",
    row="feature of a segment",
    columns=(
        AS_OF,
        Column("method", "string", "kmeans"),
        Column("segment_id", "int", "segment"),
        Column("feature", "string", "column of user_features"),
        Column("mean", "double", "over the segment, in the feature's own unit", "no customer of it has the feature"),
        Column("population_mean", "double", "over all customers", "no customer has the feature"),
        Column("difference_sd", "double", "(mean - population mean) in population standard deviations", "no spread"),
    ),
    key=("as_of", "method", "segment_id", "feature"),
    slice=("as_of", "method"),
    partition_by=("as_of",),
)

USER_SEGMENTS = Table(
    name="user_segments",
    layer="gold",
    row="customer and method",
    columns=(
        AS_OF,
        Column("method", "string", "kmeans"),
        USER,
        Column("segment_id", "int", "segment"),
        Column("name_en", "string", "the segment's name"),
        Column("name_zh", "string", "the segment's Chinese name"),
        Column("distance", "double", "Euclidean, to the segment's centre in the prepared space"),
        Column("reason", "string", "what puts the customer there"),
    ),
    key=("as_of", "method", "user_id"),
    slice=("as_of", "method"),
    partition_by=("as_of",),
)

USER_SCORES = Table(
    name="user_scores",
    layer="gold",
    row="customer and task",
    columns=(
        AS_OF,
        Column("task", "string", "churn"),
        USER,
        Column("probability", "double", "calibrated, 0 to 1", personal=True),
        Column("raw_score", "double", "the model's own output", personal=True),
        Column("percentile", "double", "share of scored customers with a lower probability, 0 to 1", personal=True),
        Column("level", "string", "low, medium or high, by the thresholds in the settings", personal=True),
        Column("reason_1", "string", "strongest reason", "no reason", personal=True),
        Column("reason_2", "string", "second reason", "no second reason", personal=True),
        Column("reason_3", "string", "third reason", "no third reason", personal=True),
        Column("model_version", "string", "model that scored"),
    ),
    key=("as_of", "task", "user_id"),
    slice=("as_of", "task"),
    partition_by=("as_of",),
)

USER_RECOMMENDATIONS = Table(
    name="user_recommendations",
    layer="gold",
    row="customer and rank",
    columns=(
        AS_OF,
        USER,
        Column("rank", "int", "1 is the best"),
        Column("item_id", "string", "product", personal=True),
        Column("title", "string", "of the product; its id where the catalogue has none", personal=True),
        Column(
            "score",
            "double",
            "what ranks it: the engine's own scale, with what the policy's price steering adds; comparable within one "
            "customer and engine, where it never rises with the rank",
        ),
        Column(
            "engine",
            "string",
            "the engine that serves, content (a new item), or the step of the ladder: last_session, "
            "popular_in_category, popular_in_segment, popular_in_group (gender and age), popular_in_region, popular",
        ),
        Column("again", "boolean", "known to the customer, who has not bought it (or buys its like again)"),
        Column("reason", "string", "why this item", personal=True),
    ),
    key=("as_of", "user_id", "rank"),
    slice=("as_of",),
    partition_by=("as_of",),
)

ITEM_NEIGHBOURS = Table(
    name="item_neighbours",
    layer="gold",
    row="item and rank",
    columns=(
        AS_OF,
        Column("item_id", "string", "product"),
        Column("title", "string", "its newest title", _NO_TITLE),
        Column("rank", "int", "1 is the most similar"),
        Column("neighbour_item_id", "string", "product often taken by the same customers"),
        Column("neighbour_title", "string", "its newest title", _NO_TITLE),
        Column("similarity", "double", "cosine over customers, 0 to 1; of a model that serves, as of its fit"),
    ),
    key=("as_of", "item_id", "rank"),
    slice=("as_of",),
    partition_by=("as_of",),
)

BUNDLES = Table(
    name="bundles",
    layer="gold",
    row="pair or triple of items that stand in the same orders more often than chance",
    columns=(
        AS_OF,
        Column("rank", "int", "1 has the largest log_likelihood_ratio"),
        Column("item_1_id", "string", "product; the ids of a bundle are in their order"),
        Column("item_1_title", "string", "its newest title", _NO_TITLE),
        Column("item_2_id", "string", "product"),
        Column("item_2_title", "string", "its newest title", _NO_TITLE),
        Column("item_3_id", "string", "product", "a pair"),
        Column("item_3_title", "string", "its newest title", f"a pair, or {_NO_TITLE}"),
        Column("orders", "bigint", "orders that have all of them"),
        Column("support", "double", "the same as a share of the orders, 0 to 1"),
        Column("lift", "double", "support / the product of the items' own shares of the orders; 1 is chance"),
        Column(
            "log_likelihood_ratio",
            "double",
            "how sure it is that this is no chance: G2 of an item and the rest of the bundle, under chance about "
            "chi-squared of one degree of freedom (above 10.83 once in a thousand); of a triple the least of three",
            _OLD,
        ),
        Column("confidence", "double", "of the orders with the others, the share that has added_item_id too, 0 to 1"),
        Column("added_item_id", "string", "the item of the bundle for which confidence is largest"),
        Column("added_item_title", "string", "its newest title", _NO_TITLE),
    ),
    key=("as_of", "rank"),
    slice=("as_of",),
    partition_by=("as_of",),
)

ITEM_AUDIENCE = Table(
    name="item_audience",
    layer="gold",
    row="item and customer who is likely to want it",
    columns=(
        AS_OF,
        Column("item_id", "string", "product"),
        Column("rank", "int", "1 is the best customer"),
        USER,
        Column("score", "double", "the serving engine's own scale; comparable within one item", personal=True),
    ),
    key=("as_of", "item_id", "rank"),
    slice=("as_of",),
    partition_by=("as_of",),
)

REPEAT_CATEGORIES = Table(
    name="repeat_categories",
    layer="gold",
    row="category of which something was bought: whether what was bought there is offered again, and why",
    columns=(
        AS_OF,
        Column("category", "string", "category of the items"),
        Column("pairs", "bigint", "pairs of a customer and an item that the customer bought, in the histories' days"),
        Column("again", "bigint", "of them those bought on two days or more"),
        Column("share", "double", "again / pairs, 0 to 1", "named in the settings, and nothing bought"),
        Column("share_low", "double", "lower bound of the share (Wilson, 95 % one-sided), which decides"),
        Column("is_repeated", "boolean", "what was bought is offered again"),
        Column("reason", "string", "why, with the figures"),
    ),
    key=("as_of", "category"),
    slice=("as_of",),
    partition_by=("as_of",),
)

USER_TAGS = Table(
    name="user_tags",
    layer="gold",
    row="customer and tag",
    columns=(
        AS_OF,
        USER,
        Column("tag", "string", "name in the settings"),
        Column("name_en", "string", "what to show"),
        Column("name_zh", "string", "what to show in Chinese"),
        Column("value", "double", "the figure that earned the tag", "the rule has no figure", personal=True),
        Column("reason", "string", "the rule with this customer's figures", personal=True),
    ),
    key=("as_of", "user_id", "tag"),
    slice=("as_of",),
    partition_by=("as_of",),
)

_NEVER = "never"
_NOT_RUN = "the task was skipped or the customer is outside it"
TOP_RECOMMENDATIONS = 3

USER_PROFILE = Table(
    name="user_profile",
    layer="gold",
    row="customer, as of the published date",
    columns=(
        USER,
        AS_OF,
        Column("gender", "string", "male or female", "not known", personal=True),
        Column("age", "int", "years", "not known", personal=True),
        Column("age_band", "string", "years", "not known", personal=True),
        Column("province", "string", "province or state", "not known", personal=True),
        Column("city", "string", "city", "not known", personal=True),
        Column("tenure_days", "int", "days from the first event of one's own to as_of", "no event yet", personal=True),
        Column("days_since_last_event", "int", "1 is the day before as_of", "no event yet", personal=True),
        Column("is_bot", "boolean", "does more on a day than a person can", personal=True),
        Column("recency_days", "int", "days since the last purchase", _NEVER, personal=True),
        Column("frequency", "bigint", "purchases, whole history", "no source has purchases", personal=True),
        Column("monetary", AMOUNT_SUM, "spent net of refunds, whole history", "no source has purchases", personal=True),
        Column(
            "flagged_amount",
            AMOUNT_SUM,
            "the part of the purchase amounts that rests on flagged rows",
            "no source has purchases",
            personal=True,
        ),
        Column("rfm_group", "string", "named group of the RFM scores", "no purchase", personal=True),
        Column("price_preference", "double", "0 cheapest in category, 1 dearest", "no priced purchase", personal=True),
        Column("favorite_category", "string", "of the last 90 days", "none", personal=True),
        Column("favorite_brand", "string", "of the last 90 days", "none", personal=True),
        Column("favorite_channel", "string", "of the last 90 days", "none", personal=True),
        Column("segment_id", "int", "KMeans segment", _NOT_RUN, personal=True),
        Column("segment_name_en", "string", "its name", _NOT_RUN, personal=True),
        Column("segment_name_zh", "string", "its Chinese name", _NOT_RUN, personal=True),
        Column("churn_probability", "double", "calibrated, 0 to 1", _NOT_RUN, personal=True),
        Column("churn_level", "string", "low, medium, high", _NOT_RUN, personal=True),
        Column("churn_reason", "string", "strongest reason", _NOT_RUN, personal=True),
        Column("tags", "string", "tag names, comma separated, in the order of the settings", "no tag", personal=True),
        *(
            column
            for rank in range(1, TOP_RECOMMENDATIONS + 1)
            for column in (
                Column(f"recommendation_{rank}", "string", f"item of rank {rank}", "no list", personal=True),
                Column(f"recommendation_{rank}_reason", "string", "why", "no list", personal=True),
            )
        ),
        Column("run_id", "string", "run that wrote the row"),
    ),
    key=("user_id",),
)


def user_profile_table(custom: Sequence[Column] = ()) -> Table:
    """Contract of `user_profile` with the columns of the settings' own features before `run_id`."""
    *columns, run_id = USER_PROFILE.columns
    return replace(USER_PROFILE, columns=(*columns, *custom, run_id))


def tag_columns(features: Sequence[Column]) -> tuple[Column, ...]:
    """What tags may look at: the columns of `user_features`, and those of `user_profile` that are known before tags."""
    known = {c.name for c in features} | {"tags", "run_id"}
    return (*features, *(c for c in USER_PROFILE.columns if c.name not in known))
