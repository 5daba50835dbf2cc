"""Settings of the preparation: what is refused, and that the message names what is allowed."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from profiling_spark.config import load_settings
from profiling_spark.config.prepare import Missing
from profiling_spark.errors import ConfigError


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (
            {"columns": {"viewz_30d": {}}},
            "columns.viewz_30d: expected a numeric column of user_features, found no",
        ),
        ({"columns": {"city": {}}}, "columns.city: expected a numeric column of user_features, found string"),
        (
            {"encode": {"monetary": {"method": "one_hot"}}},
            "encode.monetary: expected a text or boolean (or",
        ),
        ({"columns": {"monetary": {"missing": {"strategy": "zero"}}}}, "strategy = 'zero'"),
        (
            {"missing": {"strategy": "drop_row"}},
            "drop_row: for all columns allowed: auto, mean, median, mode,",
        ),
        ({"missing": {"strategy": "constant"}}, "allowed: a value with the strategy constant"),
        ({"missing": {"value": 3}}, "allowed: a value with the strategy constant"),
        ({"missing": {"strategy": "mean", "otherwise": "mode"}}, "the strategy mean always finds a value"),
        ({"outliers": {"method": "iqr", "factor": 0.5}}, "factor = 0.5"),
        ({"scaling": "log"}, "scaling = 'log'"),
        ({"components": 3}, "components = 3"),
        ({"encode": {"city": {"method": "binary"}}}, "binary needs two"),
        ({"encode": {"city": {"method": "ordinal"}}}, "ordinal needs them, from the lowest to the highest"),
        ({"encode": {"city": {"method": "one_hot", "categories": ["a", "a"]}}}, "categories: each once"),
        ({"impute": {}}, "this key is not known here; allowed: columns, components, encode"),
    ],
)
def test_a_wrong_rule_is_refused(tmp_path: Path, prepare: dict[str, Any], message: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump({"prepare": prepare}), encoding="utf-8")

    with pytest.raises(ConfigError) as caught:
        load_settings([file])

    assert message in str(caught.value)


def test_a_column_says_otherwise_than_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    rules = {"missing": {"strategy": "mean"}, "columns": {"monetary": {"missing": {"strategy": "mode", "flag": True}}}}
    file.write_text(yaml.safe_dump({"prepare": rules}), encoding="utf-8")

    found = load_settings([file]).prepare

    assert found.missing_of("monetary") == Missing(strategy="mode", flag=True)
    assert found.missing_of("views_30d") == Missing(strategy="mean")
    assert found.scaling_of("monetary") == "auto"
