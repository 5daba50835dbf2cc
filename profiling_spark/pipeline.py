"""All stages in their order."""

from profiling_spark.features.job import build_features
from profiling_spark.ingest.job import ingest
from profiling_spark.profile.job import build_profiles
from profiling_spark.recommend.job import recommend_items
from profiling_spark.scores.job import score_users
from profiling_spark.segments.job import segment_users

STAGES = (ingest, build_features, segment_users, score_users, recommend_items, build_profiles)
