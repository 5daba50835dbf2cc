"""Configured features in the contract and on the page; the views; what the page says of cuts, groups and prices."""

from itertools import product

import pytest
import yaml
from histories import WINDOWS, event, event_frame, params

from profiling_spark.config import Settings
from profiling_spark.contracts.features import user_features_columns, user_features_table
from profiling_spark.errors import ConfigError
from profiling_spark.feature_catalogue.user_features import user_feature_list
from profiling_spark.features import fit_cuts, rfm_measures, user_features
from profiling_spark.features.page import page, render_markdown
from profiling_spark.features.page_notes import EXAMPLE
from profiling_spark.features.rfm import GROUP_RULES
from profiling_spark.features.views import VIEWS, view_columns

OF_THE_PAGE = Settings.model_validate(yaml.safe_load(EXAMPLE))
FEATURES = """
custom_features:
  - {name: apart, measure: count, event_types: [view, refund], unit: acts, description: Acts, where: {device: [a, b]}}
  - {name: time, measure: sum, event_types: [view], column: duration_seconds, unit: seconds, description: Time}
  - {name: kinds, measure: distinct, event_types: [view], column: brand, unit: brands, description: Kinds,
     windows_days: all}
  - {name: cheap, measure: share, event_types: [purchase], column: amount, where: {discount: {min: 0.01}}, unit: share,
     description: Bought at a discount}
  - {name: seen, measure: recency, event_types: [view], unit: days, description: Last seen,
     where: {hour: {min: 22, max: 5}, third_party_payment: true}}
"""


def test_configured_columns_stand_last_in_the_contract_with_their_types() -> None:
    custom = OF_THE_PAGE.custom_features
    columns = user_features_columns((7, 30, 90), custom)
    assert columns[: len(user_features_columns((7, 30, 90)))] == user_features_columns((7, 30, 90))
    added = [(c.name, c.type) for c in columns[len(user_features_columns((7, 30, 90))) :]]
    assert added == [
        ("night_app_orders_7d", "bigint"),
        ("night_app_orders_30d", "bigint"),
        *((f"app_spend_share_{w}d", "double") for w in (7, 30, 90)),
        ("days_since_big_order", "int"),
        ("night_order_rate_7d", "double"),
        ("night_order_rate_30d", "double"),
    ]
    table = user_features_table((7, 30, 90), custom)
    assert table.columns == columns
    assert not {name for name, _ in added} & set(table.statistics_columns)
    assert len(table.schema) == len(columns)


def test_the_kernel_gives_the_contracts_columns_in_order() -> None:
    settings = Settings.model_validate({"windows_days": WINDOWS, **yaml.safe_load(FEATURES)})
    found = user_features(event_frame([event("view")]), params=params(custom=settings.custom_features))
    assert tuple(found.columns) == user_features_table(WINDOWS, settings.custom_features).names


def test_meanings_say_what_is_computed() -> None:
    settings = Settings.model_validate({"windows_days": WINDOWS, **yaml.safe_load(FEATURES)})
    texts = {c.name: (c.meaning, c.null) for c in user_features_columns(WINDOWS, settings.custom_features)}
    assert texts["apart_7d"] == (
        "Acts: view events plus distinct refund orders with a line in the last 7 days where device is a or b;"
        " an event without order_id is its own order (acts)",
        "no source gives view or refund events with device",
    )
    assert texts["time_3d"] == (
        "Time: sum of duration_seconds over view events in the last 3 days; each rounded to a millisecond (seconds)",
        "no source gives view events with duration_seconds",
    )
    assert texts["kinds"][0] == "Kinds: distinct known brand among view events in the whole history (brands)"
    assert texts["cheap_30d"] == (
        "Bought at a discount: share where discount is at least 0.01, of sum of amount over purchase events"
        " in the last 30 days (share)",
        "nothing to share in the last 30 days; no source gives purchase events with discount and amount",
    )
    assert texts["seen"] == (
        "Last seen: days from the date of the last view event where hour is 22 to 5 over midnight and"
        " third_party_payment is true to as_of (days)",
        "no such event yet; no source gives view events with third_party_payment",
    )
    ratio = {c.name: (c.meaning, c.null) for c in user_features_columns((7, 30), OF_THE_PAGE.custom_features[:1])}
    assert ratio["night_app_orders_7d"][0].startswith("Orders placed at night in the app: distinct purchase orders")


def test_the_page_shows_configured_features_and_their_windows() -> None:
    rendered = render_markdown((7, 30, 90), OF_THE_PAGE.custom_features)
    rows = {line.split("|")[1].strip(): line for line in rendered.splitlines() if line.startswith("| `")}
    listed = user_feature_list((7, 30, 90), OF_THE_PAGE.custom_features)
    assert len(rows) == len({(f.entry.name, f.entry.windowed) for f in listed})
    assert "| bigint | 7, 30 |" in rows["`night_app_orders_{w}d`"]
    assert "| double | each |" in rows["`app_spend_share_{w}d`"]
    assert "| int | whole history | no such event yet;" in rows["`days_since_big_order`"]
    assert "night_app_orders / purchases of the same window" in rows["`night_order_rate_{w}d`"]
    assert "## Configured" in rendered
    assert "## Configured" not in render_markdown((7, 30, 90))


def test_a_description_cannot_break_the_table() -> None:
    odd = {"name": "odd", "measure": "count", "event_types": ["view"], "unit": "a|b", "description": "two\n lines | x"}
    custom = Settings.model_validate({"custom_features": [odd]}).custom_features
    row = next(line for line in render_markdown((7,), custom).splitlines() if "`odd_" in line)
    assert "two lines \\| x: view events" in row
    assert row.replace("\\|", "").count("|") == 8


def test_the_page_of_settings_files(tmp_path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("windows_days: [7, 30]\n" + EXAMPLE, encoding="utf-8")
    assert page([str(file)]) == render_markdown((7, 30), OF_THE_PAGE.custom_features)
    assert page([]) == render_markdown((7, 30, 90))


@pytest.mark.parametrize("view", list(VIEWS))
def test_every_column_of_a_view_exists_once(view: str) -> None:
    columns = view_columns(view, WINDOWS)
    assert set(columns) <= set(user_features_table(WINDOWS).names)
    assert len(set(columns)) == len(columns)


def test_views_have_their_aspects_and_windows() -> None:
    assert {name: tuple(aspects) for name, (_, aspects) in VIEWS.items()} == {
        "U": ("browse", "search", "purchase"),
        "S": ("age", "gender", "place"),
        "T": ("purchase", "frequency", "amount"),
    }
    assert view_columns("S", (7, 30)) == ("age", "age_band", "gender_code", "province", "city")
    assert view_columns("U", (7, 30))[:2] == ("views_7d", "views_30d")
    with pytest.raises(ConfigError, match="one of U, S, T; found 'X'"):
        view_columns("X", (7,))


def test_the_page_has_the_rule_table_of_the_groups() -> None:
    rows = [line.strip("| ").split(" | ") for line in page([]).splitlines() if line.startswith("| ")]
    ruled = [row for row in rows if len(row) == 4 and row[0] in {rule.group for rule in GROUP_RULES}]

    def matches(row: list[str], scores: tuple[int, ...]) -> bool:
        ends = [[int(n) for n in cell.split("-")] for cell in row[1:]]
        return all(e[0] <= s <= e[-1] for e, s in zip(ends, scores, strict=True))

    for r, f, m in product(range(1, 6), repeat=3):
        (rule,) = [g for g in GROUP_RULES if g.r[0] <= r <= g.r[1] and g.f[0] <= f <= g.f[1] and g.m[0] <= m <= g.m[1]]
        assert [row[0] for row in ruled if matches(row, (r, f, m))] == [rule.group]


def test_cuts_are_where_the_page_says() -> None:
    bought = [event("purchase", n, user_id=f"u{n}", amount=str(n)) for n in range(1, 8)]
    cuts = fit_cuts(rfm_measures(event_frame(bought), params=params()))
    places = [-(-7 * k // 5) for k in (1, 2, 3, 4)]
    assert "ceil(n * k / 5)" in page([])
    assert list(cuts.recency_days) == places  # the n-th of seven customers bought n days ago
