"""Every setting with type, range and default. conf/base.yaml states them with units and reasons; a test compares."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, field_validator

from profiling_spark.config.base import Days, Fault, Model, Name, Positive, Share, nearest
from profiling_spark.config.environment import Secrets
from profiling_spark.config.features import CustomFeature
from profiling_spark.config.policy import RecommendPolicy
from profiling_spark.config.prepare import Prepare
from profiling_spark.config.quality import Ingest
from profiling_spark.config.rates import Currency, DayRates, Rate
from profiling_spark.config.settings_faults import settings_faults
from profiling_spark.config.sources import Source, check_timezone
from profiling_spark.config.supply import Supplier, Supply
from profiling_spark.contracts.silver import EVENT_TYPES


class Storage(Model):
    root: Annotated[str, Field(min_length=1)] = "./lake"


class SparkSettings(Model):
    shuffle_partitions: Positive = 4
    fit_partitions: Positive = 2


class Segments(Model):
    features: tuple[str, ...] = ()
    k: Annotated[int, Field(ge=2, le=50)] | None = None
    k_min: Annotated[int, Field(ge=2)] = 4
    k_max: Annotated[int, Field(ge=2, le=50)] = 10
    min_stability: Share = 0.8
    silhouette_tolerance: Share = 0.1
    sample_rows: Annotated[int, Field(ge=100)] = 5000
    max_iterations: Positive = 50
    max_age_days: Days = 90

    def faults(self) -> Iterable[Fault]:
        """No number of segments at all, and a feature that would weigh double."""
        if self.k_min > self.k_max:
            yield Fault(("k_min",), f"k_min {self.k_min} is above k_max {self.k_max}", also=(("k_max",),))
        for place, name in enumerate(self.features):
            if name in self.features[:place]:
                yield Fault(("features", str(place)), f"{name} stands twice")


class Churn(Model):
    horizon_days: Days = 30
    active_days: Days = 30
    keep_features: Positive | None = None
    trees: Positive = 100
    max_depth: Annotated[int, Field(ge=1, le=20)] = 8
    subsampling_rate: Annotated[float, Field(gt=0, le=1)] = 0.7
    holdout_percent: Annotated[int, Field(ge=5, le=50)] = 20
    holdout_salt: int = 42
    min_rows: Positive = 200
    min_class_rows: Positive = 30
    suspicious_auc: Annotated[float, Field(gt=0.5, le=1)] = 0.97
    max_age_days: Days = 30
    high_from: Share = 0.6
    medium_from: Share = 0.3

    def faults(self) -> Iterable[Fault]:
        """Levels without room."""
        if self.medium_from >= self.high_from:
            message = f"medium_from {self.medium_from} must be below high_from {self.high_from}"
            yield Fault(("medium_from",), message, also=(("high_from",),))


class Scores(Model):
    churn: Churn = Churn()


MOST_NEIGHBOURS = 5000  # that an item keeps in graph_filter


class GraphFilterBand(Model):
    vectors: Positive
    exponent: Annotated[float, Field(ge=0, le=2)]
    ratio: Annotated[float, Field(ge=0)]


class GraphFilter(Model):
    user_exponent: Annotated[float, Field(ge=0, le=2)] = 0.3
    item_exponent: Annotated[float, Field(ge=0, le=2)] = 0.4
    neighbours: Annotated[int, Field(ge=1, le=MOST_NEIGHBOURS)] = 500
    neighbours_share: Annotated[float, Field(gt=0, le=1)] = 0.03125
    bands: Annotated[tuple[GraphFilterBand, ...], Field(min_length=1)] = (
        GraphFilterBand(vectors=192, exponent=0.5, ratio=1.07),
        GraphFilterBand(vectors=576, exponent=0.2, ratio=0.76),
    )
    vectors_share: Annotated[float, Field(gt=0, le=1)] = 0.02
    least_vectors: Positive = 64
    passes: Annotated[int, Field(ge=2, le=30)] = 4
    weight_users: Positive = 1000
    trials: Annotated[int, Field(ge=0, le=200)] = 12
    candidates: Annotated[int, Field(ge=0)] = 400


class ExplicitMf(Model):
    rank: Annotated[int, Field(ge=1, le=512)] = 8
    iterations: Annotated[int, Field(ge=1, le=50)] = 10
    regularisation: Annotated[float, Field(ge=0)] = 0.1


class Bundles(Model):
    min_orders: Annotated[int, Field(ge=2)] = 5
    max_items: Annotated[int, Field(ge=2, le=100)] = 30
    most: Annotated[int, Field(ge=0, le=1_000_000)] = 10_000


class Audience(Model):
    items: Annotated[int, Field(ge=0, le=1000)] = 0
    item_ids: Annotated[tuple[str, ...], Field(max_length=1000)] = ()
    customers: Annotated[int, Field(ge=1, le=100_000)] = 100


class ItemCf(Model):
    neighbours: Annotated[int, Field(ge=1, le=1000)] = 200


class Recommend(Model):
    weights: dict[str, float] = {
        "view": 1.0,
        "favorite": 3.0,
        "cart": 4.0,
        "purchase": 8.0,
        "refund": -8.0,
    }
    half_life_days: Annotated[float, Field(gt=0)] = 45.0
    history_days: Days = 365
    history_items: Positive = 300
    min_items: Annotated[int, Field(ge=1, le=100)] = 2
    bot_events_per_day: Positive | None = 1000
    top_n: Annotated[int, Field(ge=1, le=1000)] = 20
    neighbours: Annotated[int, Field(ge=1, le=1000)] = 50
    rank: Annotated[int, Field(ge=2, le=512)] = 32
    iterations: Annotated[int, Field(ge=1, le=30)] = 5
    regularisation: Annotated[float, Field(ge=0)] = 0.2
    alpha: Annotated[float, Field(gt=0)] = 1.0
    als_trials: Annotated[int, Field(ge=0, le=200)] = 16
    als_pairs: Annotated[int, Field(ge=0)] = 50
    blend_users: Annotated[int, Field(ge=0)] = 1000
    explicit_mf: ExplicitMf = ExplicitMf()
    item_cf: ItemCf = ItemCf()
    graph_filter: GraphFilter = GraphFilter()
    policy: RecommendPolicy = RecommendPolicy()
    new_items_share: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    new_item_days: Days = 30
    session_gap_minutes: Positive = 30
    min_group_customers: Annotated[int, Field(ge=2)] = 20
    audience: Audience = Audience()
    bundles: Bundles = Bundles()
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    evaluation_users: Positive = 5000
    min_pairs: Positive = 100
    max_age_days: Days = 7

    def faults(self) -> Iterable[Fault]:
        """Words that are no event types, and histories in which nothing can stand."""
        for word, weight in self.weights.items():
            keys = ("weights", word)
            if word not in EVENT_TYPES:
                message = f"no event type; allowed: {', '.join(EVENT_TYPES)}{nearest(word, EVENT_TYPES)}"
                yield Fault(keys, message)
            elif not isfinite(weight):
                yield Fault(keys, "expected a finite number")
            elif word == "refund" and weight > 0:
                yield Fault(keys, "a refund takes a purchase back: expected a weight of 0 or below")
        if not any(weight > 0 for weight in self.weights.values()):
            yield Fault(("weights",), "no event has a weight above 0, so that no history has anything in it")
        if self.min_items > self.history_items:
            message = f"min_items {self.min_items} is above history_items {self.history_items}: nobody has so many"
            yield Fault(("min_items",), message, also=(("history_items",),))
        candidates = self.graph_filter.candidates
        if 0 < candidates < self.top_n:
            message = f"graph_filter.candidates {candidates} are fewer than the top_n {self.top_n} items of a list"
            yield Fault(("graph_filter", "candidates"), message, also=(("top_n",),))


class Tag(Model):
    """A customer carries the tag where `when` (SQL over the columns of user_profile and user_features) is true."""

    name_en: Annotated[str, Field(min_length=1)]
    name_zh: Annotated[str, Field(min_length=1)]
    when: Annotated[str, Field(min_length=1)]
    value: str | None = None
    reason: Annotated[str, Field(min_length=1)]


_TAGS = {
    "vip": Tag(
        name_en="VIP",
        name_zh="贵宾",
        when="r_score >= 4 and f_score >= 4 and m_score = 5",
        value="monetary",
        reason="{frequency} orders worth {monetary} in all, the last {recency_days} days ago",
    ),
    "low_price": Tag(
        name_en="Low-price",
        name_zh="低价偏好",
        when="price_preference <= 0.35",
        value="price_preference",
        reason="buys at {price_preference} of the price range of its categories (0 cheapest, 1 dearest)",
    ),
    "quality_first": Tag(
        name_en="Quality-first",
        name_zh="品质优先",
        when="price_preference >= 0.65",
        value="price_preference",
        reason="buys at {price_preference} of the price range of its categories (0 cheapest, 1 dearest)",
    ),
    "churn_prone": Tag(
        name_en="Churn-prone",
        name_zh="流失风险",
        when="churn_level = 'high'",
        value="churn_probability",
        reason="churn probability {churn_probability}: {churn_reason}",
    ),
    "new": Tag(
        name_en="New",
        name_zh="新客",
        when="tenure_days <= 30",
        value="tenure_days",
        reason="first seen {tenure_days} days ago",
    ),
    "lapsed": Tag(
        name_en="Lapsed",
        name_zh="已流失",
        when="days_since_last_event > 30",
        value="days_since_last_event",
        reason="not seen for {days_since_last_event} days",
    ),
}


class Profile(Model):
    tags: dict[Name, Tag] = _TAGS


class Maintain(Model):
    file_megabytes: Annotated[int, Field(ge=1, le=1024)] = 128
    files_factor: Annotated[float, Field(ge=1)] = 2.0
    keep_days: Annotated[int, Field(ge=7, le=3650)] = 30


class Settings(Model):
    """All settings of a run."""

    storage: Storage = Storage()
    data_root: str = "."
    business_timezone: str = "UTC"
    currency: Currency = "USD"
    exchange_rates: dict[Currency, Rate | DayRates] = {}
    language: Literal["en", "zh"] = "en"
    buckets: Annotated[int, Field(ge=1, le=4096)] = 4
    windows_days: tuple[Days, ...] = (7, 30, 90)
    custom_features: tuple[CustomFeature, ...] = ()
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 42
    spark: SparkSettings = SparkSettings()
    sources: dict[Name, Source] = {}
    ingest: Ingest = Ingest()
    prepare: Prepare = Prepare()
    segments: Segments = Segments()
    scores: Scores = Scores()
    recommend: Recommend = Recommend()
    profile: Profile = Profile()
    maintain: Maintain = Maintain()
    _secrets: Secrets = PrivateAttr(default=Secrets({}))

    @field_validator("business_timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        return check_timezone(value)

    @field_validator("windows_days")
    @classmethod
    def _distinct_windows(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or list(value) != sorted(set(value)):
            raise ValueError("allowed: at least one window, each once, in rising order")
        return value

    def faults(self) -> Iterable[Fault]:
        """What settings of several parts cannot mean together."""
        return settings_faults(self)

    def concealed(self, message: str) -> str:
        """A message about these settings without the values of the environment in them; see `Secrets.concealed`."""
        return self._secrets.concealed(message)

    @property
    def precedence(self) -> tuple[str, ...]:
        """All sources, the one that is believed first first: those of ingest.precedence, then the others by name."""
        first = self.ingest.precedence
        return (*first, *sorted(name for name in self.sources if name not in first))

    @property
    def left_out(self) -> tuple[str, ...]:
        """Rules whose flagged events count in no feature and no history."""
        return tuple(sorted(r.name for r in self.ingest.rules if r.features == "leave_out"))

    @property
    def flagging(self) -> tuple[str, ...]:
        """Rules whose flagged events count, and are reported where a figure rests on them."""
        return tuple(r.name for r in self.ingest.rules if r.level == "flag" and r.features == "keep")

    def known_columns(self, name: str) -> frozenset[str]:
        """Columns of a source's files that any source of the same files maps, or declares unused."""
        path = self.sources[name].path
        return frozenset(w for s in self.sources.values() if s.path == path for w in (*s.words, *s.unused))

    @property
    def supplied(self) -> frozenset[str]:
        """Event types that any source of the settings can give; see `remembered.supply` for what the storage knows."""
        return Supply.of(self.suppliers.values()).event_types

    @property
    def columns_by_event_type(self) -> dict[str, frozenset[str]]:
        """Columns of events that come with each event type from the sources of the settings."""
        return Supply.of(self.suppliers.values()).columns_by_event_type

    @property
    def suppliers(self) -> dict[str, Supplier]:
        """What each source supplies."""
        return {n: Supplier(s.target, s.given_columns, s.supplied) for n, s in self.sources.items()}
