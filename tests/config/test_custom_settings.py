"""Configured features in the settings: what is refused, and that the message names what is allowed."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from profiling_spark.config import Settings, load_settings
from profiling_spark.config.features import CustomFeature
from profiling_spark.errors import ConfigError
from profiling_spark.features.page_notes import EXAMPLE

COUNT = {"name": "n", "measure": "count", "event_types": ["view"], "unit": "views", "description": "d"}
SUM = {**COUNT, "measure": "sum", "column": "amount"}
DISTINCT = {**COUNT, "measure": "distinct", "column": "brand"}
SHARE = {**COUNT, "measure": "share", "where": {"channel": "app"}}
RECENCY = {**COUNT, "measure": "recency"}
RATIO = {"name": "r", "measure": "ratio", "numerator": "n", "denominator": "views", "unit": "u", "description": "d"}


def faults(folder: Path, *features: dict[str, Any], **others: Any) -> str:
    file = folder / "own.yaml"
    file.write_text(yaml.safe_dump({"custom_features": [*features], **others}), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings([file])
    return str(caught.value)


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        (COUNT | {"name": "Night"}, "name = 'Night'"),
        (COUNT | {"measure": "mean"}, "measure = 'mean'"),
        (COUNT | {"colour": 1}, "colour = 1: this key is not known here; allowed: column, denominator, description"),
        (COUNT | {"unit": " "}, "unit = ' ': allowed: a text"),
        (COUNT | {"event_types": ["purchas"]}, "event_types: purchas unknown; allowed: login, search, view"),
        (COUNT | {"event_types": ["view", "view"]}, "event_types: each once"),
        (COUNT | {"event_types": []}, "custom feature n: a count needs event_types"),
        (COUNT | {"column": "amount"}, "a count takes no column"),
        (COUNT | {"windows_days": "ever"}, "windows_days = 'ever': allowed: all, or some of"),
        (COUNT | {"windows_days": [30, 7]}, "in rising order"),
        (COUNT | {"windows_days": []}, "in rising order"),
        (
            COUNT | {"windows_days": [7, 14]},
            "n: windows_days [14] are not among the settings' windows_days [7, 30, 90]",
        ),
        (SUM | {"column": "unit_price"}, "column unit_price: no column for a sum; allowed: amount, discount, quantity"),
        ({k: v for k, v in SUM.items() if k != "column"}, "a sum needs column"),
        (DISTINCT | {"column": "search_text"}, "column search_text: no column for a distinct; allowed: item_id"),
        (COUNT | {"measure": "share"}, "a share needs where"),
        (SHARE | {"column": "unit_price"}, "column unit_price: no column for a share; allowed: amount"),
        (RECENCY | {"windows_days": [7]}, "a recency takes no windows_days"),
        (RATIO | {"event_types": ["view"]}, "a ratio takes no event_types"),
        (RATIO | {"denominator": None}, "a ratio needs denominator"),
    ],
)
def test_a_wrong_feature_is_refused(tmp_path: Path, feature: dict[str, Any], message: str) -> None:
    assert message in faults(tmp_path, feature)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"colour": "red"}, "where.colour: no column to filter by; allowed: item_id, category"),
        ({"user_id": "u"}, "where.user_id: no column to filter by"),
        (
            {"channel": True},
            "where.channel: expected texts (in quotes where YAML takes them for something else); found True",
        ),
        ({"channel": ["app", 12]}, "found 12"),
        ({"channel": {"min": 1}}, "where.channel: expected texts"),
        ({"channel": None}, "found None (a text that YAML takes for something else needs quotes)"),
        ({"channel": []}, "either at least one value, or min, max or both"),
        ({"channel": [["app"]]}, "found ['app']"),
        ({"amount": {"any_of": [1], "max": 2}}, "either at least one value, or min, max or both"),
        ({"amount": {"from": 1}}, "from = 1: this key is not known here; allowed: any_of, max, min"),
        ({"amount": {"min": "1"}}, "allowed: a value, a list of values, or min and max with numbers; found '1'"),
        ({"amount": {"min": 2, "max": 1}}, "where.amount: min 2 is above max 1"),
        ({"amount": 0.00001}, "where.amount: expected numbers with at most 4 decimals; found 1e-05"),
        ({"amount": {"max": float("inf")}}, "found inf"),
        ({"amount": 10**14}, "found 100000000000000"),
        ({"duration_seconds": {"min": 0.0001}}, "at most 3 decimals"),
        ({"hour": 24}, "where.hour: expected whole numbers from 0 to 23; found 24"),
        ({"hour": {"min": 22, "max": 5.5}}, "found 5.5"),
        ({"hour": True}, "found True"),
        ({"weekday": [0, 1]}, "where.weekday: expected whole numbers from 1 to 7; found 0"),
        ({"third_party_payment": "yes"}, "where.third_party_payment: expected true or false; found 'yes'"),
    ],
)
def test_a_wrong_filter_is_refused(tmp_path: Path, where: dict[str, Any], message: str) -> None:
    assert message in faults(tmp_path, COUNT | {"where": where})


@pytest.mark.parametrize(
    "name", ["purchases", "frequency", "rfm_group", "as_of", "user_id", "segment_id", "churn_level"]
)
def test_a_name_that_the_tables_have_is_refused(tmp_path: Path, name: str) -> None:
    assert f"{name} is the name of a built-in column" in faults(tmp_path, COUNT | {"name": name})


def test_a_name_stands_once_and_has_no_windows_ending(tmp_path: Path) -> None:
    assert "n stands twice" in faults(tmp_path, COUNT, SUM)
    assert "purchases_7d ends like a window" in faults(tmp_path, COUNT | {"name": "purchases_7d"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"numerator": "visits"}, "r: visits is no feature that a ratio can take; allowed: n; built in: logins, views"),
        ({"denominator": "rfm_group"}, "r: rfm_group is no feature that a ratio can take"),
        ({"denominator": "r"}, "r: r is no feature that a ratio can take"),
        ({}, "r: n has no window of [30, 90] days; give windows_days that both operands have"),
        ({"windows_days": "all"}, "r: views has windows, so windows_days: all does not fit"),
        ({"numerator": "monetary", "denominator": "frequency"}, "neither operand has windows; write windows_days: all"),
    ],
)
def test_a_ratio_of_what_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    assert message in faults(tmp_path, COUNT | {"windows_days": [7]}, RATIO | changes)


def test_all_faults_of_a_feature_are_told_together_with_the_file(tmp_path: Path) -> None:
    text = faults(tmp_path, SUM | {"column": "city", "where": {"colour": "red"}, "numerator": "n"}, buckets=0)
    assert "own.yaml:1: buckets = 0" in text
    assert "custom_features.0.numerator = 'n': custom feature n: a sum takes no numerator" in text
    assert "custom_features.0.where.colour = 'red': custom feature n: where.colour: no column to filter by" in text
    assert "custom_features.0.column = 'city': custom feature n: column city: no column for a sum" in text


def test_settings_survive_their_own_dump() -> None:
    settings = Settings.model_validate(yaml.safe_load(EXAMPLE))
    assert Settings.model_validate(settings.model_dump(mode="json")) == settings
    assert Settings.model_validate(settings.model_dump()) == settings


def test_the_example_of_the_page_loads(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(EXAMPLE, encoding="utf-8")
    names = [f.name for f in load_settings([file]).custom_features]
    assert names == ["night_app_orders", "app_spend_share", "days_since_big_order", "night_order_rate"]


def test_windows_of_a_feature() -> None:
    spans = [
        CustomFeature.model_validate(f).spans((7, 30))
        for f in (COUNT, COUNT | {"windows_days": [30]}, COUNT | {"windows_days": "all"}, RECENCY)
    ]
    assert spans == [(7, 30), (30,), (None,), (None,)]


def test_columns_that_come_with_each_event_type() -> None:
    base = {"user_id": "u", "event_time": "t", "event_type": "e"}
    behaviour = {"columns": base | {"item_id": "i", "device": "d"}, "event_types": {"click": "view", "beat": "ignored"}}
    orders = {"columns": base | {"quantity": "q", "unit_price": "p"}, "event_types": {"sale": "purchase"}}
    events = {"format": "csv", "path": "x.csv", "target": "events"}
    items = {
        "format": "csv",
        "path": "i.csv",
        "target": "items",
        "columns": {"item_id": "i", "brand": "b", "title": "t"},
    }
    sources = {"behaviour": events | behaviour, "orders": events | orders, "items": items}
    given = Settings.model_validate({"sources": sources}).columns_by_event_type
    assert set(given) == {"view", "purchase"}
    assert given["view"] == {*base, "item_id", "device", "brand"}
    assert given["purchase"] == {*base, "quantity", "unit_price", "amount"}
