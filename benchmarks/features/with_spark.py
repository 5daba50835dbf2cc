"""The features in plain Spark SQL: a groupBy a question, joined by customer, written to Delta.

Distinct counts of all windows come from two groupBys (each value's latest day, then the days in the window): with
count_distinct Spark would copy every row once for each of the 21 counts.
"""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import Any

from feature_shop import AS_OF, BOT_EVENTS, TIMEZONE, WINDOWS, Shop
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from profiling_spark.features.rfm import GROUP_RULES

_COUNTED = {
    **{"login": "logins", "view": "views", "search": "searches", "favorite": "favorites", "cart": "carts"},
    **{"ad_view": "ad_views", "ad_click": "ad_clicks", "service": "services", "review": "review_events"},
}
_RATES = {
    "purchase_frequency": ("purchases", "logins"),
    "purchases_per_session": ("purchases", "sessions"),
    "view_to_cart": ("carts", "views"),
    "cart_to_purchase": ("purchases", "carts"),
    "view_to_purchase": ("purchases", "views"),
}
_BREADTH = {"category_breadth": "category", "brand_breadth": "brand", "items_bought": "item_id"}
_BANDS = {"18-25": 18, "26-35": 26, "36-45": 36, "46-55": 46, "56-65": 56, "over 65": 66}
_MONEY = "decimal(28,4)"
_SUMS = ("purchase_amount", "flagged_amount", "_refunded")


def build(spark: Any, shop: Shop, out: Path) -> None:
    """Every feature of every customer at AS_OF as a Delta table in `out`."""
    read = spark.read.format("delta")
    events, users, items, reviews = (read.load(str(shop.folder / t)) for t in ("events", "users", "items", "reviews"))
    past = _past(events)
    bought = past.where(_is("purchase"))
    parts = [
        past.groupBy("user_id").agg(*_metrics()),
        _distinct(bought, "order_key", "purchases", F.count(F.lit(1)).alias("frequency")),
        _purchase_days(bought),
        _distinct(past.where(_is("refund")), "order_key", "refunds"),
        _distinct(past, "session_id", "sessions"),
        _distinct(past.where(~_is("ad_view")), "event_date", "active_days"),
        _bots(past),
        *(_distinct(bought, column, stem) for stem, column in _BREADTH.items()),
        *(_favourite(past, column) for column in ("category", "brand", "channel", "hour")),
        _price_preference(bought, _percentiles(past, items)),
        _viewers(past),
        _reviews(reviews),
    ]
    customers = parts[0].join(_attributes(users), "user_id", how="full")
    wide = reduce(lambda a, b: a.join(b, "user_id", how="left"), parts[1:], customers)
    scored = _with_scores(_with_ratios(_with_zeros(wide)), _cuts(past))
    scored.select([c for c in scored.columns if not c.startswith("_")]).write.format("delta").save(str(out))


def _past(events: DataFrame) -> DataFrame:
    """Events before AS_OF with their age in days, local hour, order and whole milliseconds."""
    order = F.coalesce(F.concat(F.lit("order "), "order_id"), F.concat(F.lit("event "), "event_id"))
    return events.where(F.col("event_date") < F.lit(AS_OF)).select(
        *("user_id", "event_type", "event_date", "event_time", "item_id", "category", "brand", "session_id"),
        *("channel", "amount", "discount", "unit_price", "flags"),
        F.date_diff(F.lit(AS_OF), "event_date").alias("age"),
        F.hour(F.from_utc_timestamp("event_time", TIMEZONE)).alias("hour"),
        F.round(F.col("duration_seconds") * 1000).cast("bigint").alias("milliseconds"),
        order.alias("order_key"),
    )


def _bots(past: DataFrame) -> DataFrame:
    """Whether a customer's busiest day, impressions aside, has more than BOT_EVENTS events."""
    days = past.where(~_is("ad_view")).groupBy("user_id", "event_date").agg(F.count(F.lit(1)).alias("_acts"))
    return days.groupBy("user_id").agg((F.max("_acts") > BOT_EVENTS).alias("is_bot"))


def _metrics() -> list[Column]:
    """Counts and sums of a customer's events; columns that start with _ are parts of ratios."""
    night = (F.col("hour") >= 22) | (F.col("hour") < 6)
    weekend = F.dayofweek("event_date").isin(1, 7)
    spent, back = (F.coalesce(F.sum(F.when(_is(kind), F.col("amount"))), F.lit(0)) for kind in ("purchase", "refund"))
    flagged = _is("purchase") & F.col("flags").isNotNull()
    found = [
        F.min(F.when(~_is("ad_view"), F.col("age"))).alias("days_since_last_event"),
        F.max(F.when(~_is("ad_view"), F.col("age"))).alias("tenure_days"),
        (spent - back).cast(_MONEY).alias("monetary"),
        F.sum(F.when(flagged, F.col("amount"))).alias("flagged_amount"),
    ]
    for w in WINDOWS:
        recent = F.col("age") <= w
        found += [F.count_if(recent & _is(k)).alias(f"{s}_{w}d") for k, s in _COUNTED.items()]
        found += [
            (F.coalesce(F.sum(F.when(recent, F.col("milliseconds"))), F.lit(0)) / 1000).alias(f"session_seconds_{w}d"),
            (F.count_if(recent & night) / _or_null(F.count_if(recent))).alias(f"night_share_{w}d"),
            (F.count_if(recent & weekend) / _or_null(F.count_if(recent))).alias(f"weekend_share_{w}d"),
            F.sum(F.when(recent & _is("purchase"), F.col("amount"))).alias(f"purchase_amount_{w}d"),
            F.sum(F.when(recent & flagged, F.col("amount"))).alias(f"flagged_amount_{w}d"),
            F.sum(F.when(recent & _is("refund"), F.col("amount"))).alias(f"_refunded_{w}d"),
            F.sum(F.when(recent & _is("purchase"), F.col("discount"))).alias(f"_discount_{w}d"),
        ]
    return found


def _is(event_type: str) -> Column:
    return F.col("event_type") == event_type


def _or_null(count: Column) -> Column:
    return F.nullif(count, F.lit(0))


def _distinct(events: DataFrame, column: str, stem: str, *more: Column) -> DataFrame:
    """Distinct values in each window, and `more` aggregates of one row a value with the age of its latest day."""
    latest = events.where(F.col(column).isNotNull()).groupBy("user_id", column).agg(F.min("age").alias("age"))
    counts = (F.count_if(F.col("age") <= w).alias(f"{stem}_{w}d") for w in WINDOWS)
    return latest.groupBy("user_id").agg(*counts, *more)


def _purchase_days(bought: DataFrame) -> DataFrame:
    days = bought.select("user_id", "age").distinct().groupBy("user_id")
    mean = (F.max("age") - F.min("age")) / _or_null(F.count(F.lit(1)) - 1)
    return days.agg(F.min("age").alias("recency_days"), mean.alias("interpurchase_days"))


def _favourite(past: DataFrame, column: str) -> DataFrame:
    """The most frequent value of 90 days, ties by the smaller."""
    recent = past.where((F.col("age") <= 90) & F.col(column).isNotNull())
    if column in ("category", "brand"):
        recent = recent.where(F.col("event_type").isin("view", "favorite", "cart", "purchase"))
    counted = recent.groupBy("user_id", column).agg((-F.count(F.lit(1))).alias("n"))
    best = counted.groupBy("user_id").agg(F.min(F.struct("n", column)).alias("best"))
    return best.select("user_id", F.col(f"best.{column}").alias(f"favorite_{column}"))


def _percentiles(past: DataFrame, items: DataFrame) -> DataFrame:
    """item_id and its price's percentile within its category."""
    day = F.to_date(F.from_utc_timestamp("valid_from", TIMEZONE))
    last = F.max_by(F.struct("category", "list_price"), "valid_from").alias("last")
    catalogue = items.where(day < F.lit(AS_OF)).groupBy("item_id").agg(last).select("item_id", "last.*")
    seen = (
        past.where("item_id is not null")
        .groupBy("item_id")
        .agg(
            F.expr("percentile_disc(0.5) within group (order by unit_price)").alias("paid"),
            F.expr("max_by(category, event_time) filter (where category is not null)").alias("named"),
        )
    )
    item = catalogue.join(seen, "item_id", how="full").select(
        "item_id",
        F.coalesce("category", "named").alias("category"),
        F.coalesce("list_price", F.col("paid").cast("decimal(18,6)")).alias("price"),
    )
    category = Window.partitionBy("category")
    place = F.percent_rank().over(category.orderBy("price"))
    percentile = F.when(F.count(F.lit(1)).over(category) == 1, 0.5).otherwise(place)
    return item.dropna().select("item_id", percentile.alias("percentile"))


def _price_preference(bought: DataFrame, percentiles: DataFrame) -> DataFrame:
    known = bought.join(F.broadcast(percentiles), "item_id")
    return known.groupBy("user_id").agg(F.avg("percentile").alias("price_preference"))


def _viewers(past: DataFrame) -> DataFrame:
    """Whether one of a window's 10 most viewed items was viewed in it."""
    views = past.where(_is("view") & F.col("item_id").isNotNull() & (F.col("age") <= max(WINDOWS)))
    counted = views.groupBy("item_id").agg(*(F.count_if(F.col("age") <= w).alias(f"n_{w}") for w in WINDOWS))
    popular = {}
    for w in WINDOWS:
        top = counted.where(F.col(f"n_{w}") > 0).orderBy(F.desc(f"n_{w}"), "item_id").limit(10)
        popular[w] = [row["item_id"] for row in top.collect()]
    return views.groupBy("user_id").agg(
        *(
            F.bool_or((F.col("age") <= w) & F.col("item_id").isin(popular[w])).alias(f"popular_item_viewer_{w}d")
            for w in WINDOWS
        )
    )


def _reviews(reviews: DataFrame) -> DataFrame:
    age = F.date_diff(F.lit(AS_OF), F.to_date(F.from_utc_timestamp("review_time", TIMEZONE)))
    dated = reviews.where("user_id is not null").select("user_id", "rating", age.alias("age")).where("age > 0")
    found = []
    for w in WINDOWS:
        found.append(F.count_if(F.col("age") <= w).alias(f"reviews_{w}d"))
        found.append(F.avg(F.when(F.col("age") <= w, F.col("rating"))).alias(f"mean_rating_{w}d"))
    return dated.groupBy("user_id").agg(*found)


def _attributes(users: DataFrame) -> DataFrame:
    """The last version before AS_OF, as features."""
    names = ("gender", "age", "age_band", "birth_date", "occupation", "income", "province", "city", "registered_at")
    day = F.to_date(F.from_utc_timestamp("valid_from", TIMEZONE))
    last = F.max_by(F.struct(*names), "valid_from").alias("last")
    known = users.where(day < F.lit(AS_OF)).groupBy("user_id").agg(last).select("user_id", "last.*")
    birthday = F.month("birth_date") * 100 + F.dayofmonth("birth_date")
    years = F.lit(AS_OF.year) - F.year("birth_date") - (birthday > AS_OF.month * 100 + AS_OF.day).cast("int")
    known = known.withColumn("age", F.coalesce("age", F.when(F.col("birth_date") <= F.lit(AS_OF), years)))
    band = F.when(F.col("age") < 18, "under 18").when(F.col("age").isNull(), F.col("age_band"))
    for name, youngest in sorted(_BANDS.items(), key=lambda b: -b[1]):
        band = band.when(F.col("age") >= youngest, name)
    registered = F.date_diff(F.lit(AS_OF), F.to_date(F.from_utc_timestamp("registered_at", TIMEZONE)))
    return known.select(
        *("user_id", "age", "occupation", "income", "province", "city"),
        F.when(F.col("gender") == "male", 0).when(F.col("gender") == "female", 1).alias("gender_code"),
        band.alias("age_band"),
        F.when(registered > 0, registered).alias("registered_days"),
    )


def _with_zeros(wide: DataFrame) -> DataFrame:
    """A customer without a matching event has none of what is counted or summed."""
    stems = (*_COUNTED.values(), *_BREADTH, "purchases", "refunds", "sessions", "active_days", "reviews")
    zero = {f"{stem}_{w}d": F.coalesce(f"{stem}_{w}d", F.lit(0)) for stem in stems for w in WINDOWS}
    zero["frequency"] = F.coalesce("frequency", F.lit(0))
    zero["is_bot"] = F.coalesce("is_bot", F.lit(False))
    zero |= {c: F.coalesce(c, F.lit(0)).cast(_MONEY) for c in ("monetary", "flagged_amount")}
    for w in WINDOWS:
        zero |= {f"{s}_{w}d": F.coalesce(f"{s}_{w}d", F.lit(0)).cast(_MONEY) for s in _SUMS}
        zero[f"_discount_{w}d"] = F.coalesce(f"_discount_{w}d", F.lit(0)).cast(_MONEY)
        zero[f"session_seconds_{w}d"] = F.coalesce(f"session_seconds_{w}d", F.lit(0.0))
        zero[f"popular_item_viewer_{w}d"] = F.coalesce(f"popular_item_viewer_{w}d", F.lit(False))
    return wide.withColumns(zero)


def _with_ratios(wide: DataFrame) -> DataFrame:
    found: dict[str, Column] = {}
    for w in WINDOWS:
        amount, back, off = (F.col(f"{s}_{w}d").cast("double") for s in ("purchase_amount", "_refunded", "_discount"))
        purchases = F.col(f"purchases_{w}d")
        found |= {f"{r}_{w}d": F.col(f"{a}_{w}d") / _or_null(F.col(f"{b}_{w}d")) for r, (a, b) in _RATES.items()}
        found[f"activity_{w}d"] = F.col(f"logins_{w}d") + F.col(f"views_{w}d") + purchases
        found[f"net_amount_{w}d"] = (F.col(f"purchase_amount_{w}d") - F.col(f"_refunded_{w}d")).cast(_MONEY)
        found[f"consumption_power_{w}d"] = amount / _or_null(purchases)
        found[f"discount_share_{w}d"] = off / _or_null(amount + off)
        found[f"refund_share_{w}d"] = back / _or_null(amount)
    return wide.withColumns(found)


def _cuts(past: DataFrame) -> dict[str, list[Any]]:
    """The four cut points of each RFM measure over the customers with a purchase: values that occur."""
    spent, back = (F.coalesce(F.sum(F.when(_is(kind), F.col("amount"))), F.lit(0)) for kind in ("purchase", "refund"))
    measures = (
        past.where(_is("purchase") | _is("refund"))
        .groupBy("user_id")
        .agg(
            F.min(F.when(_is("purchase"), F.col("age"))).alias("recency_days"),
            F.count_distinct(F.when(_is("purchase"), F.col("order_key"))).alias("frequency"),
            (spent - back).cast(_MONEY).alias("monetary"),
        )
    )
    names = ("recency_days", "frequency", "monetary")
    disc = "percentile_disc({}) within group (order by {})"
    wanted = [F.expr(disc.format(q, m)).alias(f"{m}_{q}") for m in names for q in (0.2, 0.4, 0.6, 0.8)]
    row = measures.where("frequency > 0").agg(*wanted).first()
    return {m: [row[f"{m}_{q}"] for q in (0.2, 0.4, 0.6, 0.8)] for m in names} if row else {}


def _with_scores(wide: DataFrame, cuts: dict[str, list[Any]]) -> DataFrame:
    buyer = F.col("recency_days").isNotNull()

    def passed(measure: str) -> Column:
        points = (F.lit(c).cast(_MONEY if measure == "monetary" else "bigint") for c in cuts[measure])
        return reduce(lambda a, b: a + b, ((F.col(measure) > p).cast("int") for p in points))

    scored = wide.withColumns(
        {
            "r_score": F.when(buyer, F.lit(5) - passed("recency_days")),
            "f_score": F.when(buyer, F.lit(1) + passed("frequency")),
            "m_score": F.when(buyer, F.lit(1) + passed("monetary")),
        }
    )
    group = F.lit(None).cast("string")
    for rule in GROUP_RULES:
        boxes = (("r_score", rule.r), ("f_score", rule.f), ("m_score", rule.m))
        holds = reduce(lambda a, b: a & b, (F.col(s).between(*box) for s, box in boxes))
        group = F.when(holds, rule.group).otherwise(group)
    score = F.col("r_score") + F.col("f_score") + F.col("m_score")
    return scored.withColumns({"rfm_score": score, "rfm_group": group})
