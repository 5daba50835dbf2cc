"""SQL of the settings is checked before the first file is read: all faults at once, without a Spark job."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from profiling_spark.config import Settings, load_settings
from profiling_spark.config.load import read_settings
from profiling_spark.errors import ConfigError
from profiling_spark.expressions import check_expressions

CONF = Path(__file__).resolve().parents[1] / "conf"
TAG = {"name_en": "T", "name_zh": "T", "when": "monetary > 1", "reason": "x"}
EVENTS = {"format": "csv", "path": "x.csv", "target": "events", "event_types": {"x": "view"}}
COLUMNS = {"user_id": "u", "event_time": "t", "event_type": "'x'"}


def log(**columns: str) -> dict[str, Any]:
    return EVENTS | {"columns": COLUMNS | columns}


def faults(spark: SparkSession, **settings: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        check_expressions(spark, Settings.model_validate(settings))
    head, *lines = str(caught.value).splitlines()
    assert head == "the settings have SQL that cannot be used:"
    return [line.strip() for line in lines]


def test_every_broken_expression_is_named_at_once(spark: SparkSession) -> None:
    sources = {
        "log": log(quantity="try_cast(q as", item_id="no_such('a', i)") | {"where": "quantity +"},
        "json": {
            **log(event_id="concat(a.b, "),
            "format": "json",
            "event_types": {"x": "cart"},
            "where": "rand() > 0.5",
        },
    }
    rules = [
        {"name": "a", "when": "quantity > "},
        {"name": "b", "when": "quantiti > 1"},
        {"name": "c", "when": "quantity + 1"},
        {"name": "d", "when": "max(quantity) > 1"},
        {"name": "e", "when": "rating > 3 and text <> ''", "target": "reviews", "level": "warn"},
    ]
    keep = {"events": "event_tyme", "reviews": "review_time"}
    tags = {
        "good": TAG,
        "column": TAG | {"when": "monetery > 1"},
        "kind": TAG | {"when": "frequency"},
        "value": TAG | {"value": "no_such_function(monetary)"},
        "clock": TAG | {"when": "favorite_channel = cast(now() as string)"},
    }
    found = faults(spark, sources=sources, ingest={"rules": rules, "keep": keep}, profile={"tags": tags})
    by_setting = dict(line.split(": ", 1) for line in found)
    assert sorted(by_setting) == [
        "ingest.keep.events",
        "ingest.rules.0.when",
        "ingest.rules.1.when",
        "ingest.rules.2.when",
        "ingest.rules.3.when",
        "profile.tags.clock.when",
        "profile.tags.column.when",
        "profile.tags.kind.when",
        "profile.tags.value.value",
        "sources.json.columns.event_id",
        "sources.json.where",
        "sources.log.columns.item_id",
        "sources.log.columns.quantity",
        "sources.log.where",
    ]
    assert by_setting["ingest.rules.0.when"].startswith("'quantity > ': Syntax error at or near end of input")
    assert "`quantiti` cannot be resolved. Did you mean" in by_setting["ingest.rules.1.when"]
    assert by_setting["ingest.rules.2.when"].startswith("'quantity + 1': expected true or false, found decimal")
    assert "expected a value of one row" in by_setting["ingest.rules.3.when"]
    assert by_setting["profile.tags.kind.when"] == "'frequency': expected true or false, found bigint"
    assert "gives another value each time" in by_setting["sources.json.where"]
    assert "SQLSTATE" not in " ".join(found)


def test_names_of_columns_and_tags_of_configured_features_pass(spark: SparkSession) -> None:
    names = {"item_id": "Item no. (EAN)", "category": "order #", "brand": "Brand(s)", "channel": "Sold in"}
    json = log(item_id="item.id", quantity="size(lines) + lines[0].n") | {"event_types": {"x": "cart"}}
    feature = {"name": "own_views", "measure": "count", "event_types": ["view"], "unit": "u", "description": "d"}
    settings = {
        "sources": {"log": log(**names), "json": json | {"format": "json", "lines": "a.lines"}},
        "custom_features": [feature],
        "profile": {
            "tags": {"t": TAG | {"when": "own_views_30d > 1 and churn_level = 'high'", "value": "own_views_7d"}}
        },
    }
    check_expressions(spark, Settings.model_validate(settings))


def test_values_of_the_environment_stand_in_no_message(spark: SparkSession, tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(
        "ingest:\n  rules:\n"
        "    - {name: a, when: \"item_id = '${TOKEN}' and quantity\"}\n"
        '    - {name: b, when: "quantity ${OPERATOR} 1"}\n'
        '    - {name: c, when: "${COLUMN} > 3"}\n'
        '    - {name: d, when: "quantity + 300"}\n',
        encoding="utf-8",
    )
    environ = {"TOKEN": "s3cr3t t0ken", "OPERATOR": "then from 300", "COLUMN": "hidden"}
    settings = read_settings([file], environ=environ).settings
    with pytest.raises(ConfigError) as caught:
        check_expressions(spark, settings)
    text = str(caught.value)
    assert not [word for value in environ.values() for word in value.split() if word != "300" and word in text]
    lines = [line.strip() for line in text.splitlines()[1:]]
    assert lines[0].startswith("ingest.rules.0.when: \"item_id = '${TOKEN}' and quantity\": ")
    assert lines[1].startswith("ingest.rules.1.when: 'quantity ${OPERATOR} 1': Syntax error at or near ")
    assert lines[2].startswith("ingest.rules.2.when: '${COLUMN} > 3': ")
    # a short value is concealed in the lines of its own setting alone
    assert lines[3].startswith("ingest.rules.3.when: 'quantity + 300': expected true or false")


def test_the_settings_of_the_project_pass_in_less_than_half_a_second_and_without_a_job(spark: SparkSession) -> None:
    files = sorted(CONF.glob("*.yaml"))
    assert len(files) > 5
    seconds = []
    spark.sparkContext.setJobGroup("check_expressions", "no job")
    for file in (*files, *files):
        settings = load_settings([file])
        started = time.perf_counter()
        check_expressions(spark, settings)
        seconds.append(time.perf_counter() - started)
    assert not spark.sparkContext.statusTracker().getJobIdsForGroup("check_expressions")
    assert min(seconds[len(files) :]) < 0.5
