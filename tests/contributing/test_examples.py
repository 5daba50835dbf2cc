"""Every example of CONTRIBUTING.md is applied to a copy of the package, and gives what can be worked out by hand."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from guide import PROJECT, examples
from pyarrow import orc

TITLES = ["A feature", "A source format", "A recommendation engine", "A quality rule", "A table", "A command"]
EXAMPLES = examples()
SMALL_SPARK = {"PROFILING_SPARK_MASTER": "local[2]", "PYSPARK_SUBMIT_ARGS": "--driver-memory 1g pyspark-shell"}
KERNEL = """
import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
import polars as pl
from profiling_spark.contracts.features import user_features_columns
from profiling_spark.features import EVENT_COLUMNS, FeatureParams, user_features
from profiling_spark.features.page import render_markdown
from profiling_spark.prepare.wording import label

types = {"event_time": pl.Datetime("us", "UTC"), "event_date": pl.Date, "discount": pl.Decimal(18, 4),
         "amount": pl.Decimal(18, 4), "duration_seconds": pl.Float64}
sold = [("u1", 5, 30), ("u1", 5, 20), ("u1", 2, 40), ("u1", 1, 15), ("u2", 5, 7)]  # who, days ago, how much
events = pl.DataFrame(
    [{"event_time": datetime(2024, 4, 11 - ago, 12, tzinfo=UTC), "event_date": date(2024, 4, 11 - ago), "user_id": user,
      "event_type": "purchase", "amount": Decimal(amount)} for user, ago, amount in sold],
    schema={c: types.get(c, pl.String) for c in EVENT_COLUMNS},
)
params = FeatureParams(date(2024, 4, 11), (3, 7), "UTC", frozenset({"purchase"}))
made = user_features(events, params=params)
print(json.dumps({
    "rows": [[str(v) for v in row] for row in made.select("user_id", "dearest_day_3d", "dearest_day_7d").rows()],
    "type": {c.name: c.type for c in user_features_columns((3, 7))}["dearest_day_7d"],
    "page": [line for line in render_markdown((7,)).splitlines() if "dearest_day" in line],
    "label": label("dearest_day_7d", "en"),
}))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's package with all examples applied, one after the other."""
    root = tmp_path_factory.mktemp("contributing")
    for name in ("profiling_spark", "conf"):
        shutil.copytree(PROJECT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(PROJECT / name, root)
    for example in EXAMPLES.values():
        for change in example.changes:
            change.apply(root)
    return root


def run(copy: Path, *arguments: str) -> str:
    """What Python prints with the copy as the package."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env={**os.environ, **SMALL_SPARK, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_has_an_example_of_each_kind() -> None:
    assert list(EXAMPLES) == TITLES


@pytest.mark.parametrize("title", TITLES)
def test_an_example_takes_the_lines_and_files_that_it_says(title: str) -> None:
    changes = EXAMPLES[title].changes
    assert (sum(c.lines for c in changes), len({c.path for c in changes})) == EXAMPLES[title].counts


def test_the_examples_have_the_style_that_is_asked_for(copy: Path) -> None:
    run(copy, "-m", "ruff", "check", "--no-cache", "profiling_spark")
    run(copy, "-m", "ruff", "format", "--check", "--no-cache", "profiling_spark")


def test_a_feature_is_the_most_spent_on_one_day(copy: Path) -> None:
    found = json.loads(run(copy, "-c", KERNEL))
    # u1: 50 five days ago, then 40 and 15; u2 bought five days ago only
    assert found["rows"] == [["u1", "40.0000", "50.0000"], ["u2", "0.0000", "7.0000"]]
    assert found["type"] == "decimal(28,4)"
    assert found["page"][0].startswith("| `dearest_day_{w}d` | the most spent on one day of the last w days")
    assert found["label"] == "spending on the dearest day in 7 days"


def test_a_command_adds_up_refused_rows_by_rule(copy: Path, tmp_path: Path) -> None:
    kinds = {"occurrences": pa.int64(), "first_line": pa.int64()}
    names = ("file_id", "target_table", "row_hash", "raw", "reasons", "occurrences", "first_line", "source", "run_id")
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in (*names, "replayed_by")])
    refused = [("a", "no_user", 2), ("b", "bad_age,no_user", 3), ("c", "bad_age", 1), ("d", "unreadable", 1)]
    rows = [{"row_hash": row, "reasons": reasons, "occurrences": n} for row, reasons, n in refused]
    write_deltalake(str(tmp_path / "rejected_rows"), pa.Table.from_pylist(rows, schema=schema))
    at = ("-m", "profiling_spark", "refused", "--set", f"storage.root={tmp_path}")
    assert run(copy, *at) == "        5  no_user\n        4  bad_age\n        1  unreadable\n"
    assert json.loads(run(copy, *at, "--json"))[0] == {"reasons": "no_user", "occurrences": 5}
    assert "refused               which rules refused rows, and how many" in run(copy, "-m", "profiling_spark")


class Shop:
    """A log in ORC, the example's rule beside its source, and what `use_examples.py` found with the copy."""

    def __init__(self, copy: Path, folder: Path) -> None:
        (folder / "data").mkdir()
        day = datetime(2026, 5, 1, 12, tzinfo=UTC)
        # who, pieces, price, channel; the third breaks the rule
        log = [("u1", 2, 5.0, "app"), ("u1", 1, 4.0, "app"), ("u2", 1001, 1.0, "web"), ("u3", 1000, 1.0, "web")]
        log += [("u4", 1, 9.0, "app"), ("u5", 1, 9.0, None)]
        rows: list[dict[str, Any]] = [
            {"at": day, "who": who, "pieces": n, "price": price, "way": way, "n": str(place)}
            for place, (who, n, price, way) in enumerate(log)
        ]
        orc.write_table(pl.DataFrame(rows).to_arrow(), str(folder / "data" / "log.orc"))
        (folder / "data" / "cut.orc").write_bytes((folder / "data" / "log.orc").read_bytes()[:-40])
        columns = {"event_id": "n", "event_time": "at", "user_id": "who", "event_type": "'sale'", "channel": "way"}
        source = {
            "format": "orc",
            "path": "*.orc",
            "target": "events",
            "columns": {**columns, "quantity": "pieces", "unit_price": "price"},
            "event_types": {"sale": "purchase"},
        }
        settings = {
            "storage": {"root": str(folder / "lake")},
            "data_root": str(folder / "data"),
            "business_timezone": "UTC",
            "buckets": 1,
            "sources": {"log": source},
        }
        (folder / "shop.yaml").write_text(json.dumps(settings))  # JSON is YAML
        (rule,) = EXAMPLES["A quality rule"].changes
        (folder / "rule.yaml").write_text(rule.text)
        files = [str(folder / name) for name in ("shop.yaml", "rule.yaml")]
        script = str(Path(__file__).with_name("use_examples.py"))
        self.found = json.loads(run(copy, script, *files).splitlines()[-1])


@pytest.fixture(scope="module")
def shop(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(copy, tmp_path_factory.mktemp("shop"))


@pytest.mark.slow
def test_a_format_is_read_and_a_damaged_file_of_it_refused(shop: Shop) -> None:
    assert shop.found["events"] == [
        ["u1", 1, "4.0000"],
        ["u1", 2, "10.0000"],
        ["u3", 1000, "1000.0000"],
        ["u4", 1, "9.0000"],
        ["u5", 1, "9.0000"],
    ]
    (problem,) = shop.found["problems"]
    assert "cut.orc: cannot be read: Failed to parse the postscript" in problem
    assert shop.found["tried"] == {"rows": 6, "accepted": 5, "refused": {"too_many_pieces": 1}}


@pytest.mark.slow
def test_a_rule_refuses_what_it_says(shop: Shop) -> None:
    assert shop.found["refused"] == [["too_many_pieces", 1]]


@pytest.mark.slow
def test_a_table_is_filled_by_its_stage(shop: Shop) -> None:
    assert shop.found["channels"] == [["2026-05-02", "app", 2], ["2026-05-02", "web", 1]]
    assert shop.found["dearest"] == {"u1": "14.0000", "u3": "1000.0000", "u4": "9.0000", "u5": "9.0000"}


@pytest.mark.slow
def test_an_engine_is_fitted_stored_and_scores_by_what_was_taken_together(shop: Shop) -> None:
    # a and b were taken together by two customers, a and c by two, b and c by one; with one neighbour each the smaller
    # number stands for equal ones
    engine = shop.found["engine"]
    assert engine["similar"] == [[0.0, 2.0, 2.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    # 3 times a, the neighbour of b and of c
    assert engine["scores"] == [[None, *[pytest.approx(2 * math.log(1 + 3), rel=1e-6)] * 2]]
    assert engine["stored"] == ["together", "together", engine["similar"], engine["similar"]]
    assert engine["compared"] == ["als", "graph_filter", "item_cf", "together"]
