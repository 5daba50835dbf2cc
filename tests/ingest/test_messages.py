"""No value of a customer's row reaches the terminal, --json, an error or job_runs, whatever goes wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from frames import frame_of
from ingest_shop import GOOD, HEADER, settings

from profiling_spark.cli.execute import failure
from profiling_spark.cli.options import Given
from profiling_spark.config import Settings
from profiling_spark.context import Context, Step
from profiling_spark.contracts.silver import USERS
from profiling_spark.errors import ContractError, QualityError
from profiling_spark.ingest.job import ingest
from profiling_spark.job_runs import Book
from profiling_spark.maintain.job import check
from profiling_spark.messages import describe, trace
from profiling_spark.storage import Tables

CANARY = "Wei Zhang 13812345678"


def log_settings(tables: Tables, data: Path, columns: dict[str, str], **ingest_settings: Any) -> Settings:
    dumped = settings(tables.root, data, **ingest_settings).model_dump(mode="json")
    dumped["sources"]["log"]["columns"] |= columns
    return Settings.model_validate(dumped)


def output_of(context: Context, capsys: pytest.CaptureFixture[str]) -> str:
    """Everything that a failing ingest says anywhere."""
    step = Step("ingest", ingest)
    book = Book(context, "ingest", [step])
    with pytest.raises(Exception) as raised:  # noqa: PT011 - of several kinds
        book.stage(step)
    for command in (Given(as_json=True), Given(verbose=True), Given()):
        assert failure(raised.value, command) > 0
    output = capsys.readouterr()
    assert json.loads(output.out)["error"]
    own = str(raised.value) if isinstance(raised.value, (QualityError, ContractError)) else ""
    return "\n".join((output.out, output.err, book.stages["ingest"].error or "", own))


@pytest.mark.parametrize(
    ("lines", "columns", "limits", "expected"),
    [
        ([f"4,{CANARY},u1,buy,a,1,5,o"], {}, {"max_rejected_share": 0.1}, "[bad_event_time] {file}, line 3"),
        ([f"4,2026-05-01,,buy,a,1,5,{CANARY}"], {}, {"max_no_user_share": 0.1}, "[no_user] {file}, line 3"),
        (
            [f"4,2026-05-01 10:00:00,{CANARY},buy,a,3,5,o"],
            {},
            {"limits": {"many": {"max_rows": 0}}},
            "[many] {file}, line 2",
        ),
        ([f"4,2026-05-01,u1,buy,a,{CANARY},5,o"], {"quantity": "cast(qty as int)"}, {}, "CAST_INVALID_INPUT"),
        ([f"4,2026-05-01,u1,buy,a,1,{CANARY},o"], {"event_id": "raise_error(price)"}, {}, "USER_RAISED_EXCEPTION"),
        (None, {}, {}, "expected a header with columns such as id"),
    ],
)
def test_a_failing_ingest_names_file_and_line_and_shows_no_value(
    tables, make_context, tmp_path, capsys, lines, columns, limits, expected
):
    path = tmp_path / "day.csv"
    header = HEADER + GOOD[0] + "\n" if lines else f"4,2026-05-01,{CANARY},buy,a,1,5,o\n"
    path.write_text(header + "\n".join(lines or GOOD) + "\n", encoding="utf-8")
    output = output_of(make_context(log_settings(tables, tmp_path, columns, **limits)), capsys)
    assert expected.format(file=path) in output
    assert CANARY not in output
    assert CANARY.split()[0] not in output


def test_errors_of_workers_and_of_this_process_are_named_without_what_they_quote(spark):
    def quotes(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for _ in batches:
            raise ValueError(f"cannot read {CANARY}")
        yield pd.DataFrame()

    def promises(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for _ in batches:
            raise ContractError("events.amount: expected decimal")
        yield pd.DataFrame()

    messages = []
    for function in (quotes, promises):
        with pytest.raises(Exception) as raised:  # noqa: PT011 - of several kinds
            spark.range(1).mapInPandas(function, "id long").collect()
        messages.append((describe(raised.value), trace(raised.value)))
    assert messages[0][0].startswith("Spark: ValueError")
    assert messages[1][0] == "Spark: events.amount: expected decimal"
    with pytest.raises(Exception) as raised:  # noqa: PT011 - of several kinds
        pl.Series([CANARY]).cast(pl.Int64)
    messages.append((describe(raised.value), trace(raised.value)))
    with pytest.raises(KeyError) as absent:
        {}[CANARY]
    messages.append((describe(absent.value), trace(absent.value)))
    assert messages[-1][0].startswith("unexpected KeyError")
    assert CANARY not in str(messages)
    assert describe(OSError(28, "No space left on device", "/lake")).endswith("No space left on device: '/lake'")


def test_the_check_of_keys_names_no_customer(tables, make_context):
    time = datetime(2026, 5, 1, tzinfo=UTC)
    times = dict.fromkeys(("valid_from", "version_time", "delivered_at", "confirmed_at"), time)
    row = {"user_id": CANARY, **times, "source": "crm", "file_id": "f", "run_id": "r"}
    tables.append(USERS, frame_of(tables.spark, USERS, [row, row]))
    with pytest.raises(ContractError, match="1 keys occur more than once") as raised:
        check(make_context())
    assert CANARY not in str(raised.value)
