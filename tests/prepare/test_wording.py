"""Sentences as customers' managers read them."""

import numpy as np
import pytest

from profiling_spark.config import Settings
from profiling_spark.feature_catalogue.user_features import user_feature_list
from profiling_spark.prepare.wording import chosen_sentences, figure, label, sentences, stem_of

NAN = float("nan")


@pytest.mark.parametrize(
    ("feature", "value", "typical", "text"),
    [
        ("recency_days", 41, 12, "no order for 41 days (typical: 12)"),
        ("recency_days", 1, 12, "last order 1 day ago (typical: 12)"),
        ("recency_days", NAN, 12, "no order ever"),
        ("purchases_30d", 2, 11, "fewer orders in 30 days: 2 (typical: 11)"),
        ("refunds_90d", 3, 0, "more refunds in 90 days: 3 (typical: 0)"),
        ("views_90d", 4, 4, "product views in 90 days: 4 (typical: 4)"),
        ("purchase_amount_90d", 1234567.8, 99.5, "higher spending in 90 days: 1,234,568 (typical: 99.5)"),
        ("monetary", -2048.0, 310, "lower total spending: -2,048 (typical: 310)"),
        ("discount_share_90d", 0.384, 0.1, "higher discount on what is bought in 90 days: 38 % (typical: 10 %)"),
        ("view_to_cart_30d", 0.126, 0.5, "lower carts per view in 30 days: 0.13 (typical: 0.5)"),
        ("refund_share_30d", NAN, 0.1, "share of spending sent back in 30 days: none"),
        ("new_thing_30d", 3.0, 1.0, "higher new thing in 30 days: 3 (typical: 1)"),
        ("views_30d missing", 1.0, 0.0, "product views in 30 days: not known"),
        ("views_30d missing", 0.0, 0.0, "product views in 30 days: known"),
        ("monetary outlier", 1.0, 0.0, "total spending: far from usual"),
        ("city=St. Louis", 1.0, 0.0, "city: St. Louis"),
        ("city=St. Louis", 0.0, 0.0, "city: not St. Louis"),
        ("city=St. Louis", NAN, 0.0, "city: not known"),
    ],
)
def test_english(feature: str, value: float, typical: float, text: str) -> None:
    assert sentences(feature, np.array([value]), typical, "en").to_list() == [text]


@pytest.mark.parametrize(
    ("feature", "value", "typical", "text"),
    [
        ("recency_days", 41, 12, "已 41 天无下单（一般 12 天）"),
        ("days_since_last_event", 2, 12, "2 天前有活动（一般 12 天）"),
        ("recency_days", NAN, 12, "从未下单"),
        ("purchases_30d", 2, 11, "近 30 天订单数较少：2（一般 11）"),
        ("price_preference", 0.9, 0.5, "品类内价位较高：90 %（一般 50 %）"),
        ("views_30d missing", 1.0, 0.0, "近 30 天浏览次数：未知"),
        ("city=上海", 0.0, 0.0, "city：非上海"),
    ],
)
def test_chinese(feature: str, value: float, typical: float, text: str) -> None:
    assert sentences(feature, np.array([value]), typical, "zh").to_list() == [text]


def test_each_row_speaks_of_its_own_feature() -> None:
    raw = np.array([[3.0, 40.0], [8.0, 2.0], [1.0, 1.0]])

    texts = chosen_sentences(("carts_7d", "recency_days"), np.array([1, 0, -1]), raw, np.array([5.0, 12.0]), "en")

    assert texts.tolist() == [
        "no order for 40 days (typical: 12)",
        "more products put into the cart in 7 days: 8 (typical: 5)",
        None,
    ]


def test_means_are_shown_in_the_features_unit() -> None:
    assert figure("purchases_30d", 3.04) == "3"
    assert figure("monetary", 12345.6) == "12,346"
    assert figure("discount_share_90d", 0.236) == "24 %"
    assert figure("views_30d", NAN) == "-"


def test_every_number_about_behaviour_has_words_of_its_own() -> None:
    numbers = [
        f.name
        for f in user_feature_list(Settings().windows_days)
        if f.type in ("bigint", "double", "decimal(28,4)") and f.entry.family != "Demographics"
    ]
    untranslated = {stem_of(n) for n in numbers if label(n, "zh").isascii()}
    assert not untranslated


def test_states_and_categories_have_labels_and_families() -> None:
    assert label("views_30d missing", "en") == "product views in 30 days not known"
    assert label("city=Paris", "en") == "city is Paris"
    assert figure("city=Paris", 0.4) == "40 %"
    assert stem_of("views_30d missing") == stem_of("views_90d missing") == "views missing"
    assert stem_of("city=Paris") == stem_of("city=Lyon missing") == "city"
