"""Whose settings a session has: those that values rest on are the product's, all others the user's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from profiling_spark import session
from profiling_spark.errors import ConfigError

PROJECT = Path(__file__).resolve().parents[1]
_SHOW = """
import json, sys
from profiling_spark.config import Settings
from profiling_spark.session import build_session, plan_for
spark = build_session(Settings(), name="mine")
keys = sys.argv[1:]
print(json.dumps([spark.conf.get(key) for key in keys]))
plan_for(spark, Settings(), is_small=False)
print(json.dumps([spark.conf.get(key) for key in keys]))
"""


@pytest.mark.slow
def test_what_a_user_gives_to_spark_stands_also_after_the_size_of_the_input_is_known(monkeypatch):
    given = {
        "spark.sql.shuffle.partitions": "7",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.constraintPropagation.enabled": "true",
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "3",
    }
    arguments = " ".join(f"--conf {key}={value}" for key, value in given.items())
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", f"{arguments} pyspark-shell")
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    keys = [*given, "spark.sql.session.timeZone"]
    done = subprocess.run([sys.executable, "-c", _SHOW, *keys], capture_output=True, text=True, check=True)
    found = [line for line in done.stdout.splitlines() if line.startswith("[")]
    assert found == [str([*given.values(), "UTC"]).replace("'", '"')] * 2


@pytest.mark.parametrize("key", ["spark.sql.session.timeZone", "spark.sql.ansi.enabled"])
def test_what_would_change_stored_values_is_refused(monkeypatch, key):
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", f"--conf {key}=other pyspark-shell")
    with pytest.raises(ConfigError, match=rf"--conf {key}=other: expected (UTC|true), .* leave it out"):
        session.build_session(session.Settings(), name="refused")
