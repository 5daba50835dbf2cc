"""Features of customers: kernels of Polars expressions over one bucket of events. Nothing here knows Spark."""

from profiling_spark.features.bucket import EVENT_COLUMNS
from profiling_spark.features.custom import event_columns
from profiling_spark.features.demographics import USER_COLUMNS
from profiling_spark.features.kernel import many_dates, user_features
from profiling_spark.features.reviews import REVIEW_COLUMNS
from profiling_spark.features.rfm import RFM_EVENT_COLUMNS, RfmCuts, fit_cuts, rfm_measures, rfm_scores, with_rfm
from profiling_spark.features.windows import FeatureParams

__all__ = [
    "EVENT_COLUMNS",
    "REVIEW_COLUMNS",
    "RFM_EVENT_COLUMNS",
    "USER_COLUMNS",
    "FeatureParams",
    "RfmCuts",
    "event_columns",
    "fit_cuts",
    "many_dates",
    "rfm_measures",
    "rfm_scores",
    "user_features",
    "with_rfm",
]
