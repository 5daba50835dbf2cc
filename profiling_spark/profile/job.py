"""The profile stage: tags and the one wide row a customer that BI tools and campaigns read."""

from __future__ import annotations

from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from profiling_spark.context import Context, Outcome
from profiling_spark.contracts.features import custom_columns, user_features_table
from profiling_spark.contracts.gold import (
    TOP_RECOMMENDATIONS,
    USER_PROFILE,
    USER_RECOMMENDATIONS,
    USER_SCORES,
    USER_SEGMENTS,
    USER_TAGS,
    user_profile_table,
)
from profiling_spark.profile.tags import tag_names, tag_rows


def build_profiles(ctx: Context) -> Outcome:
    """Bring tags, segment, scores and recommendations together in one row a customer."""
    wide = wide_profile(ctx)
    tags = ctx.settings.profile.tags
    tagged = ctx.tables.replace_slice(USER_TAGS, tag_rows(wide, tags, ctx.settings.flagging), as_of=ctx.as_of)
    published = ctx.tables.read(USER_PROFILE).agg(F.max("as_of").alias("as_of")).first()
    newest = published["as_of"] if published else None
    if newest is not None and newest > ctx.as_of:
        line = f"user_profile stays as of {newest}: a run of an older date does not take it back"
        return Outcome(rows_out=0, facts={"tags": tagged, "published": False}, lines=(line,))
    profile = wide.withColumns({"tags": tag_names(wide, tags), "run_id": F.lit(ctx.run_id)})
    own = custom_columns(ctx.settings.windows_days, ctx.settings.custom_features)
    rows = ctx.tables.replace_all(user_profile_table(own), profile)
    return Outcome(rows_out=rows, facts={"tags": tagged, "published": True}, lines=(f"{tagged:,} tags",))


def wide_profile(ctx: Context) -> DataFrame:
    """One row a customer of user_features at as_of, with everything that tags may look at."""
    as_of = ctx.as_of
    table = user_features_table(ctx.settings.windows_days, ctx.settings.custom_features)
    features = ctx.tables.read(table, as_of=as_of)
    gender = F.when(F.col("gender_code") == 0, F.lit("male")).when(F.col("gender_code") == 1, F.lit("female"))
    segments = ctx.tables.read(USER_SEGMENTS, as_of=as_of, method="kmeans").select(
        "user_id",
        "segment_id",
        F.col("name_en").alias("segment_name_en"),
        F.col("name_zh").alias("segment_name_zh"),
    )
    scores = ctx.tables.read(USER_SCORES, as_of=as_of, task="churn").select(
        "user_id",
        F.col("probability").alias("churn_probability"),
        F.col("level").alias("churn_level"),
        F.col("reason_1").alias("churn_reason"),
    )
    parts = [features.withColumn("gender", gender), segments, scores, _top_recommendations(ctx)]
    return reduce(lambda a, b: a.join(b, "user_id", how="left"), parts)


def _top_recommendations(ctx: Context) -> DataFrame:
    listed = ctx.tables.read(USER_RECOMMENDATIONS, as_of=ctx.as_of)
    top = listed.where(F.col("rank") <= TOP_RECOMMENDATIONS)
    columns = [
        F.max(F.when(F.col("rank") == rank, F.col(source))).alias(f"recommendation_{rank}{suffix}")
        for rank in range(1, TOP_RECOMMENDATIONS + 1)
        for source, suffix in (("item_id", ""), ("reason", "_reason"))
    ]
    return top.groupBy("user_id").agg(*columns)
