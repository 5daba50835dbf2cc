"""Fifty runs that fail, each with a customer's value in its way: it is in no message, log or table of runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ingest_shop import GOOD, HEADER, settings

from profiling_spark import log
from profiling_spark.cli.execute import failure
from profiling_spark.cli.options import Given
from profiling_spark.config import Settings
from profiling_spark.contracts.operations import JOB_RUNS
from profiling_spark.errors import InputError
from profiling_spark.pipeline import Pipeline
from profiling_spark.storage import Tables

CANARY = "Wei Zhang 13812345678"
PARTS = (CANARY, *CANARY.split())
# each stumbles over the text of any column and, but for the first, quotes it
STUMBLES = {
    "assert": "assert_true(length({0}) < 0, {0})",
    "raise": "raise_error(concat('the value is ', {0}))",
    "integer": "cast({0} as int)",
    "time": "to_timestamp({0}, 'yyyy-MM-dd')",
    "date": "make_date(cast({0} as int), 1, 1)",
    "json": "from_json({0}, 'a int', map('mode', 'FAILFAST')).a",
    "binary": "cast(to_binary({0}, 'hex') as string)",
    "url": "parse_url({0}, 'HOST')",
    "number": "to_number({0}, '999')",
}
SOURCE_COLUMNS = {"id": "event_id", "who": "user_id", "sku": "item_id", "price": "unit_price", "order": "order_id"}
CASES = [(column, name) for column in SOURCE_COLUMNS for name in STUMBLES]
RULES = {
    "share": {"max_rejected_share": 0.01},
    "no_user": {"max_no_user_share": 0.01},
    "limit": {"limits": {"many": {"max_rows": 0}}},
    "sql": {"rules": [{"name": "odd", "level": "reject", "when": "assert_true(length(user_id) < 3, user_id) is null"}]},
    "cast": {"rules": [{"name": "odd", "level": "flag", "when": "cast(order_id as int) > 1"}]},
}


def line(column: str) -> str:
    values = {"id": "9", "when": "2026-05-02 10:00:00", "who": "u9", "what": "buy", "sku": "a", "qty": "3"}
    values |= {"price": "5", "order": "o9"} | {column: CANARY}
    return ",".join(values.values())


@pytest.fixture(scope="module")
def failed(spark, tmp_path_factory):
    """What each failing run says anywhere, by its name."""
    folder = tmp_path_factory.mktemp("canary")
    errors: dict[str, str] = {}
    for column, name in CASES:
        errors[f"{column} {name}"] = run(
            spark, folder / column, column, {SOURCE_COLUMNS[column]: STUMBLES[name].format(f"`{column}`")}
        )
    for name, changes in RULES.items():
        column = "who" if name != "no_user" else "order"
        errors[name] = run(spark, folder / name, "order" if name == "cast" else column, {}, **changes)
    return errors


def run(spark, folder: Path, column: str, mapped: dict[str, str], **changes: object) -> str:
    folder.mkdir(exist_ok=True)
    bad = line(column) if "max_no_user_share" not in changes else f"9,2026-05-02,,buy,a,3,5,{CANARY}"
    bad = f"9,{CANARY},u9,buy,a,3,5,o9" if "max_rejected_share" in changes else bad
    (folder / "a.csv").write_text(HEADER + "\n".join([*GOOD, bad]) + "\n")
    made = settings(str(folder / "lake"), folder, **changes).model_dump(mode="json")
    made["sources"]["log"]["columns"] |= mapped
    log_file = folder / f"{len(list(folder.iterdir()))}.log"
    with log.written_to(str(log_file)), pytest.raises(Exception) as raised:  # noqa: PT011 - of several kinds
        Pipeline(Settings.model_validate(made), spark).run("ingest")
    assert not isinstance(raised.value, (AssertionError, InputError))
    return "\n".join([printed(raised.value), log_file.read_text(encoding="utf-8"), recorded(spark, folder / "lake")])


def printed(err: Exception) -> str:
    """On the terminal and as JSON, with and without the stack."""
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        for given in (Given(as_json=True), Given(verbose=True), Given()):
            assert failure(err, given) > 0
    return out.getvalue()


def recorded(spark, lake: Path) -> str:
    return str(Tables(spark, str(lake), run_id="reader").rows(JOB_RUNS).to_dicts())


@pytest.mark.slow
def test_fifty_failing_runs_name_no_value(failed):
    assert len(failed) == 50
    for name, text in failed.items():
        assert not [part for part in PARTS if part in text], name


@pytest.mark.slow
def test_each_says_what_went_wrong_and_is_logged(failed):
    for name, text in failed.items():
        lines = [json.loads(line) for line in text.splitlines() if line.startswith('{"time"')]
        assert [entry["event"].split(":")[0] for entry in lines if entry["level"] == "ERROR"] == [
            "stage ended",
            "run failed",
        ], name
        assert "error: " in text
        assert "'status': 'failed'" in text
