"""Names say what sets a segment apart, and no two are the same."""

from profiling_spark.segments.naming import describe, names


def test_the_strongest_trait_is_the_noun_the_second_its_adjective() -> None:
    named = names([{"monetary": 2.0, "frequency": 1.5, "views_90d": 0.1}], [10], [{}])[0]

    assert (named.en, named.zh) == ("Frequent big spenders", "高频高消费")


def test_without_a_notable_difference_customers_are_typical() -> None:
    assert names([{"monetary": 0.2, "frequency": -0.3}], [10], [{}])[0].en == "Typical customers"


def test_one_notable_trait_stands_alone() -> None:
    named = names([{"tenure_days": -2.0, "frequency": -0.1}], [10], [{}])[0]

    assert (named.en, named.zh) == ("Newcomers", "新客")


def test_segments_that_differ_alike_get_different_names() -> None:
    alike = {"monetary": 2.0, "frequency": 1.5, "views_90d": 0.4}

    named = names([alike, dict(alike), dict(alike)], [5, 9, 7], [{"monetary": 1.0}] * 3)

    assert len({n.en for n in named}) == 3
    assert len({n.zh for n in named}) == 3
    assert named[1].en == "Frequent big spenders"  # the largest chooses first


def test_the_next_pair_of_traits_is_the_strongest_whichever_way_they_point() -> None:
    alike = {"frequency": 1.0, "monetary": 0.9, "views_90d": -0.8, "tenure_days": 0.1}

    named = names([dict(alike) for _ in range(3)], [9, 8, 7], [{}] * 3)

    # 1.9 in both orders, then frequency and views with 1.8: not frequency and tenure with 1.1
    assert [n.en for n in named] == [
        "High-spending frequent buyers",
        "Frequent big spenders",
        "Quiet frequent buyers",
    ]


def test_names_stay_different_when_all_traits_are_used_up() -> None:
    same = [{"monetary": 2.0}] * 4
    means = [{"monetary": m} for m in (100.0, 200.0, 200.0, 200.0)]

    named = names(same, [9, 8, 7, 6], means)

    assert len({n.en for n in named}) == 4


def test_a_description_gives_the_strongest_differences_with_figures() -> None:
    difference = {"monetary": 2.0, "recency_days": -1.0, "views_90d": 0.5, "frequency": 0.1}
    mean = {"monetary": 2310.0, "recency_days": 4.0, "views_90d": 40.0, "frequency": 3.0}
    population = {"monetary": 410.0, "recency_days": 30.5, "views_90d": 20.0, "frequency": 2.9}

    assert describe(difference, mean, population, "en") == (
        "total spending: 2,310 (all customers: 410); days since the last order: 4 (all customers: 30.5); "
        "product views in 90 days: 40 (all customers: 20)"
    )
    assert describe(difference, mean, population, "zh").startswith("累计消费：2,310（全体 410）；距上次下单天数：4")
