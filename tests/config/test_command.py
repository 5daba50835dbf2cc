"""The command line that every job has."""

from __future__ import annotations

from datetime import date

import pytest

from profiling_spark.command import LAST, parse
from profiling_spark.errors import ConfigError


def test_a_span_of_dates_is_for_features_only():
    command = parse("build_features", "", ["--from", "2026-01-01", "--to", "2026-01-03"])
    assert (command.since, command.as_of) == (date(2026, 1, 1), date(2026, 1, 3))
    with pytest.raises(ConfigError, match="unrecognized arguments"):
        parse("ingest", "", ["--from", "2026-01-01", "--to", "2026-01-03"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--from", "2026-01-01"],
        ["--to", "2026-01-01"],
        ["--from", "2026-01-02", "--to", "2026-01-01"],
        ["--from", "2026-01-01", "--to", "2026-01-02", "--as-of", "2026-01-02"],
        ["--as-of", "yesterday"],
        ["--stale", "--as-of", "2026-01-02"],
    ],
)
def test_dates_that_contradict_each_other_are_refused(arguments):
    with pytest.raises(ConfigError, match=r"--from|--as-of"):
        parse("build_features", "", arguments)


def test_rows_are_taken_again_by_run_or_by_source_and_the_command_is_told_as_given():
    assert parse("ingest", "", ["--replay", "last"]).replay == LAST
    with pytest.raises(ConfigError, match="not allowed with"):
        parse("ingest", "", ["--replay", "last", "--reload", "log"])
    given = ["--config", "my shop.yaml", "--set", "storage.root=lake"]
    line = parse("ingest", "", [*given, "--reload", "log"]).line("ingest", "--replay", "r1")
    assert line == "scripts/submit.sh ingest --config 'my shop.yaml' --set storage.root=lake --replay r1"
